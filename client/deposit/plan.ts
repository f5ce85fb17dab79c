import { COIN_NAME, equalBytes, Failure, formatTon, type Nanoton } from "../../protocol/index.ts";
import type { SpendingCap } from "../spending.ts";
import { phaseOf, type SeenChannel } from "./channel-state.ts";
import type { ChannelOrder } from "./orders.ts";

// What may be sent to a channel, by what the chain shows of it: everything that the contract would refuse, and what a
// person did not mean, is refused before a wallet is asked. Pure.

export interface DepositRules {
  readonly cap: SpendingCap;
  readonly minDeposit: Nanoton;
}

/**
 * @throws {Failure} `deposit_too_small`, `spending_cap`, `channel_missing`, `channel_locked`, `channel_closing`.
 */
export function checkDeposit(
  order: Extract<ChannelOrder, { type: "open-channel" | "top-up" }>,
  seen: SeenChannel,
  { cap, minDeposit }: DepositRules,
): void {
  const { amount } = order;
  const phase = phaseOf(seen);
  if (phase === "closing" || phase === "closable") throw new Failure("channel_closing", closingWords(seen));
  if (amount < minDeposit) throw new Failure("deposit_too_small", `${ton(amount)}; the least is ${ton(minDeposit)}`);
  if (order.type === "open-channel") checkOpening(order, seen);
  else if (phase === "absent") throw new Failure("channel_missing");
  const before = (seen.state?.balance ?? 0n) + (seen.state?.charged ?? 0n);
  if (cap.inAll !== undefined && before + amount > cap.inAll) {
    const left = cap.inAll > before ? cap.inAll - before : 0n;
    throw new Failure("spending_cap", `${ton(amount)}, and ${ton(left)} of the cap in all are left to deposit`);
  }
}

/** A second deposit by mistake would be as good as the first: adding to it is said so. */
function checkOpening({ paymentKey }: Extract<ChannelOrder, { type: "open-channel" }>, seen: SeenChannel): void {
  if (seen.state === undefined || phaseOf(seen) !== "open") return;
  const isSameKey = equalBytes(seen.state.paymentKey, paymentKey);
  throw new Failure("channel_locked", isSameKey ? "it is open already" : "it is open for another payment key");
}

/** Whether there is anything to send. @throws {Failure} `channel_missing`, `channel_locked`. */
export function checkCreditLimit(creditLimit: Nanoton, seen: SeenChannel): "send" | "done" {
  const { state } = seen;
  if (state === undefined || phaseOf(seen) === "absent") throw new Failure("channel_missing");
  if (creditLimit === state.creditLimit) return "done";
  if (creditLimit < state.creditLimit && state.balance > 0n)
    throw new Failure("channel_locked", `its credit limit is ${ton(state.creditLimit)}`);
  return "send";
}

/** The next thing on the way to a close that the gateway has no part in. */
export type CloseStep =
  | { readonly type: "send"; readonly order: Extract<ChannelOrder, { type: "start-close" | "finish-close" }> }
  /** Until the chain's clock says so, in Unix seconds, the gateway may charge what it was promised. */
  | { readonly type: "wait"; readonly until: number }
  | { readonly type: "done" };

/** @throws {Failure} `channel_missing`. */
export function nextCloseStep(seen: SeenChannel): CloseStep {
  switch (phaseOf(seen)) {
    case "absent":
      // Nobody's deposit is in it, unless somebody paid in for an owner that never opened it.
      throw new Failure("channel_missing");
    case "empty":
      return { type: "done" };
    case "open":
      return { type: "send", order: { type: "start-close" } };
    case "closing":
      return { type: "wait", until: seen.state?.closeAt ?? 0 };
    case "closable":
      return { type: "send", order: { type: "finish-close" } };
  }
}

function closingWords({ state }: SeenChannel): string {
  return `it can be closed from ${new Date((state?.closeAt ?? 0) * 1000).toISOString()} on`;
}

function ton(amount: Nanoton): string {
  return `${formatTon(amount)} ${COIN_NAME}`;
}

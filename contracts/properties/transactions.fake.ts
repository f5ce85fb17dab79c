import type { BlockchainTransaction } from "@ton/sandbox";
import type { CommonMessageInfoInternal, Message } from "@ton/core";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { readBody, readBounced, type Body } from "./bodies.fake.ts";

/** One transaction, in the words of the specification. */
export interface Transaction {
  readonly account: RawAddress;
  readonly incoming: {
    /** Undefined for nobody: an external message. */
    readonly from: RawAddress | undefined;
    readonly value: Nanoton;
    readonly bounces: boolean;
    /** Whether it is a message of this account that was refused and came back. */
    readonly isBounced: boolean;
    readonly body: Body;
  };
  readonly outcome: Outcome;
  readonly sent: readonly Sent[];
  /** What was taken for storage since the transaction before, and what of the value paid for storage owed. */
  readonly rent: Nanoton;
  /** Rent that is still owed: a bounceable message does not pay it. */
  readonly debt: Nanoton;
  /** What an external message costs the contract for coming in. */
  readonly importFee: Nanoton;
  readonly gasFees: Nanoton;
  /** All that validators got, of this account's coins and of the value. */
  readonly burnt: Nanoton;
  /** What became of the account; a debt of 0.1 TON freezes it, and only its last state brings it back. */
  readonly status: "uninitialized" | "active" | "frozen" | "gone";
}

export type Outcome =
  | { readonly type: "done" }
  /** By the contract's own word, or because its messages could not be sent (codes of the action phase: 37, 38, 40). */
  | { readonly type: "refused"; readonly code: number }
  | { readonly type: "out-of-gas" }
  /** There is no contract. */
  | { readonly type: "no-contract" };

export interface Sent {
  readonly to: RawAddress;
  readonly value: Nanoton;
  readonly isBounce: boolean;
  readonly body: Body;
  readonly mode: number | undefined;
}

/** TVM's code for a contract that ran out of gas. */
const OUT_OF_GAS = [-14, 13];

export function readTransaction(transaction: BlockchainTransaction): Transaction {
  const { description, inMessage } = transaction;
  if (description.type !== "generic" || !inMessage) throw new Error("an unusual transaction");
  const { storagePhase, creditPhase, computePhase, actionPhase, bouncePhase } = description;
  const modes = transaction.outActions?.flatMap((action) => (action.type === "sendMsg" ? [action.mode] : [])) ?? [];
  const sent = transaction.outMessages.values().map((message, index): Sent => {
    const info = internal(message);
    const body = info.bounced ? readBounced(message.body) : readBody(message.body);
    const mode = info.bounced ? undefined : modes[index];
    return { to: info.dest.toRawString(), value: info.value.coins, isBounce: info.bounced, body, mode };
  });
  // A message's fee is split: a part is among the fees of this transaction, the rest travels with the message.
  const travelling = actionPhase?.success ? (actionPhase.totalFwdFees ?? 0n) - (actionPhase.totalActionFees ?? 0n) : 0n;
  const gasFees = computePhase.type === "vm" ? computePhase.gasFees : 0n;
  const rent = (storagePhase?.storageFeesCollected ?? 0n) + (creditPhase?.dueFeesColelcted ?? 0n);
  return {
    account: `0:${transaction.address.toString(16).padStart(64, "0")}`,
    incoming: incomingOf(inMessage),
    outcome: outcomeOf(computePhase, actionPhase),
    sent,
    rent,
    debt: storagePhase?.storageFeesDue ?? 0n,
    importFee:
      inMessage.info.type === "external-in"
        ? transaction.totalFees.coins - rent - gasFees - (actionPhase?.totalActionFees ?? 0n)
        : 0n,
    gasFees,
    burnt: transaction.totalFees.coins + travelling + (bouncePhase?.type === "ok" ? bouncePhase.forwardFees : 0n),
    status: transaction.endStatus === "non-existing" ? "gone" : transaction.endStatus,
  };
}

function incomingOf(message: Message): Transaction["incoming"] {
  if (message.info.type === "external-in") {
    return { from: undefined, value: 0n, bounces: false, isBounced: false, body: readBody(message.body) };
  }
  const info = internal(message);
  return {
    from: info.src.toRawString(),
    value: info.value.coins,
    bounces: info.bounce,
    isBounced: info.bounced,
    body: info.bounced ? readBounced(message.body) : readBody(message.body),
  };
}

function internal(message: Message): CommonMessageInfoInternal {
  if (message.info.type !== "internal") throw new Error("no message of ours goes outside");
  return message.info;
}

type Generic = Extract<BlockchainTransaction["description"], { type: "generic" }>;

function outcomeOf(compute: Generic["computePhase"], action: Generic["actionPhase"]): Outcome {
  if (compute.type === "skipped") return { type: compute.reason === "no-gas" ? "out-of-gas" : "no-contract" };
  if (OUT_OF_GAS.includes(compute.exitCode)) return { type: "out-of-gas" };
  if (!compute.success) return { type: "refused", code: compute.exitCode };
  if (action && !action.success) return { type: "refused", code: action.resultCode };
  return { type: "done" };
}

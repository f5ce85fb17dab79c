import type { Transaction } from "@ton/core";
import type { Deployment } from "../contracts/cells.ts";
import type { Nanoton } from "../protocol/index.ts";
import { TON, type GasScene } from "./gas-scene.ts";
import type { GasWallet } from "./gas-wallet.ts";

export interface Measured {
  readonly transactions: readonly Transaction[];
  /** What it cost who paid for it, without what they get for it or left as a reserve. */
  readonly cost: Nanoton;
  /** What stays on the contract for its rent. */
  readonly reserve: Nanoton;
}

/** Attached beside the amount; what is not used comes back. */
export const ATTACHED: Nanoton = TON / 20n;

export const QUERY = { queryId: 1n };

export type WithoutQuery<Message> = Message extends unknown ? Omit<Message, "queryId"> : never;

export interface Terms {
  /** What goes into the contract with it. */
  readonly amount?: Nanoton;
  /** What the payer gets. */
  readonly gain?: Nanoton;
  readonly reserve?: Nanoton;
  /** Seconds that go by before. */
  readonly later?: number;
}

/** What the wallet has less than it should, the amounts and the reserve aside. */
export async function byWallet(
  { chain }: GasScene,
  { address }: GasWallet,
  { amount = 0n, gain = 0n, reserve = 0n, later = 0 }: Terms,
  act: () => Promise<readonly Transaction[]>,
): Promise<Measured> {
  chain.advance(later);
  const before = await chain.balanceOf(address);
  const transactions = await act();
  const lost = before - (await chain.balanceOf(address));
  return { transactions, cost: lost + gain - amount - reserve, reserve };
}

export function send(
  from: GasWallet,
  to: Deployment,
  body: Uint8Array,
  value = ATTACHED,
  isFirst = false,
): ReturnType<GasWallet["send"]> {
  return from.send({ to: to.address, value, body, ...(isFirst && { deploys: to }) });
}

export async function external(
  { chain }: GasScene,
  { address }: Deployment,
  body: Uint8Array,
): Promise<readonly Transaction[]> {
  const trace = await chain.sendExternal(address, body);
  if (typeof trace === "number") throw new Error(`refused with ${trace}`);
  return trace.transactions;
}

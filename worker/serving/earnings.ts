import type { FinishReason, Nanoton, PriceSheet, TokenUsage } from "../../protocol/index.ts";
import type { GatewayAddress } from "./gateway-address.ts";

/** What one answer earned, by this worker's own receipt. */
export interface Earning {
  /** Unix ms. */
  readonly at: number;
  readonly gateway: GatewayAddress;
  /** `0:hex`, or empty while no owner is named. */
  readonly owner: string;
  readonly model: { readonly id: string; readonly manifestRoot: string };
  readonly finish: FinishReason;
  readonly usage: TokenUsage;
  /** What was asked for, nanoton per million tokens. */
  readonly price: PriceSheet;
  readonly earned: Nanoton;
}

/** Where earnings are written down as they happen. Nothing in it throws: a record that fails stops no answer. */
export interface EarningsBook {
  add(earning: Earning): void;
  /** All that was added for an owner at a gateway. */
  counted(gateway: GatewayAddress, owner: string): Nanoton;
  /** What was added there without an owner is this one's from now on. */
  name(gateway: GatewayAddress, owner: string): void;
}

/** For a worker that keeps no record. */
export const NO_EARNINGS_BOOK: EarningsBook = {
  add: () => undefined,
  counted: () => 0n,
  name: () => undefined,
};

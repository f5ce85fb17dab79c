import type { FailureCode, FinishReason, Nanoton, PriceSheet, TokenUsage } from "../../protocol/index.ts";
import type { EarningsBook } from "../serving/earnings.ts";

/** What has become of an earning; all but `paid` is at risk. */
export type EarningState = "owed" | "vouchered" | "claimable" | "paid";

/** How far an account's earnings have come, each counted from its first earning on; see {@link standingOf}. */
export interface Standing {
  readonly vouchered: Nanoton;
  readonly claimable: Nanoton;
  readonly paid: Nanoton;
}

/** One (gateway, owner) on the record's network. */
export interface AccountName {
  /** 32 bytes, lowercase hex. */
  readonly gatewayKey: string;
  readonly url: string;
  /** `0:hex`, or empty while no owner is named. */
  readonly owner: string;
}

export interface EarningRow {
  /** Grows with each earning, whatever the clock says. */
  readonly id: number;
  /** Unix ms. */
  readonly at: number;
  readonly account: AccountName;
  readonly model: { readonly id: string; readonly manifestRoot: string };
  readonly finish: FinishReason;
  readonly usage: TokenUsage;
  readonly price: PriceSheet;
  readonly earned: Nanoton;
  readonly state: EarningState;
  /** Unix ms, as it was seen here; undefined until then. */
  readonly voucheredAt: number | undefined;
  readonly claimableAt: number | undefined;
  readonly paidAt: number | undefined;
}

/** What happened to an account besides its earnings. */
export interface MoneyEvent {
  readonly type: "asked" | "failed" | "bounced" | "deducted" | "uncovered" | "paid-out";
  readonly at: number;
  readonly account: AccountName;
  readonly amount: Nanoton;
  /** Of a payout's transaction on the owner's account: lowercase hex; else a way or a code. */
  readonly detail: string;
}

export interface DayOfEarnings {
  /** Days since 1970, UTC. */
  readonly day: number;
  readonly account: AccountName;
  readonly model: { readonly id: string; readonly manifestRoot: string };
  readonly answers: number;
  readonly usage: TokenUsage;
  readonly earned: Nanoton;
}

/** By this worker's own count. */
export interface EarningsTotals extends Standing {
  readonly earned: Nanoton;
}

/** A payout as the chain has it. */
export interface Payout {
  readonly at: number;
  readonly lt: bigint;
  readonly value: Nanoton;
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

/**
 * Everything a worker earned and what became of it, on the disk as it happens. SQLite and not a log of our own: years of
 * rows stay on the disk, a screen asks for a page and a sum by day, and a kill at any instant leaves whole rows.
 */
export interface EarningsRecord extends EarningsBook {
  /** How far an account has come; what fell behind what was told before is an event. */
  mark(account: AccountName, standing: Standing, at: number): void;
  event(event: Omit<MoneyEvent, "type"> & { readonly type: Exclude<MoneyEvent["type"], "paid-out"> }): void;
  /** @returns whether it is new. */
  payout(account: AccountName, payout: Payout): boolean;
  /** Logical time of the newest payout; 0 before the first. */
  newestPayout(account: AccountName): bigint;
  standing(account: AccountName): EarningsTotals;
  /** Unix ms at which the oldest vouchered earning that is not paid was vouchered; undefined when there is none. */
  oldestUnpaidAt(account: AccountName): number | undefined;
  totals(): EarningsTotals;
  /** From the first day to the last, both included. */
  days(from: number, to: number): readonly DayOfEarnings[];
  /** The newest first, older than `before`. */
  page(request: { readonly before?: number; readonly limit: number }): readonly EarningRow[];
  /** The oldest first, newer than `after`. */
  pageUp(request: { readonly after: number; readonly limit: number }): readonly EarningRow[];
  /** The newest first. */
  events(limit: number): readonly MoneyEvent[];
  /** Moves what was written into place: for a moment in which nobody waits for an answer. */
  tidy(): void;
  /** What keeps earnings from being written down; undefined while nothing does. */
  problem(): RecordProblem | undefined;
  close(): void;
}

export interface RecordProblem {
  readonly code: FailureCode;
  readonly message: string;
}

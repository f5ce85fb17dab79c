import type { FailureCode, Nanoton, PriceSheet, Tier } from "../../protocol/index.ts";
import type { Hold } from "./debt.ts";
import type { EngineState } from "./engine.ts";
import type { LinkState } from "./link.ts";
import type { StreamOutcome } from "./stream.ts";
import type { VoucherReport } from "./vouchers.ts";

/** Everything serving knows of itself, plain: for control, screens and tests. Never a prompt, a completion or a key. */
export interface ServingStatus {
  /** Lowercase hex. */
  readonly workerId: string;
  /** Whose wallet it earns for, `0:hex`; undefined while nobody is named. */
  readonly owner: string | undefined;
  readonly tier: Tier;
  readonly gateways: readonly GatewayStatus[];
  readonly models: readonly ModelStatus[];
  readonly sessions: number;
  /** Streams with an engine, queued ones included. */
  readonly answering: number;
  readonly openStreams: number;
  readonly totals: Totals;
  /** The newest last. */
  readonly refusals: readonly Refusal[];
}

export interface GatewayStatus {
  readonly url: string;
  readonly link: LinkState;
  /** How far this computer's clock is ahead; undefined before the first challenge. */
  readonly clockAheadMs: number | undefined;
  /** Manifest roots of offers the gateway has accepted on this link. */
  readonly offered: readonly string[];
  readonly vouchers: VoucherReport;
  /** Why nothing new is done for it; undefined while it is served. */
  readonly hold: Hold | undefined;
  /** Why requests passed this worker by in the last minute. */
  readonly reasons: Readonly<Record<string, number>>;
  /** What the owner should know about this gateway; undefined while all is well. */
  readonly problem: Problem | undefined;
}

export interface Problem {
  readonly code: FailureCode;
  readonly message: string;
  /** Unix ms. */
  readonly at: number;
}

export interface ModelStatus {
  readonly id: string;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  readonly price: PriceSheet;
  readonly engine: EngineState;
}

export interface Totals {
  /** Answers that ended by themselves. */
  readonly answered: number;
  readonly cancelled: number;
  readonly failed: number;
  readonly refused: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** By this worker's own receipts since it started. */
  readonly earned: Nanoton;
}

export interface Refusal {
  readonly code: FailureCode;
  /** Unix ms. */
  readonly at: number;
}

export const NO_TOTALS: Totals = {
  answered: 0,
  cancelled: 0,
  failed: 0,
  refused: 0,
  promptTokens: 0,
  cachedTokens: 0,
  completionTokens: 0,
  earned: 0n,
};

export function addOutcome(totals: Totals, outcome: StreamOutcome, earned: Nanoton): Totals {
  switch (outcome.type) {
    case "abandoned":
      return { ...totals, cancelled: totals.cancelled + 1 };
    case "refused":
      return { ...totals, refused: totals.refused + 1 };
    case "answered": {
      const { finish, usage } = outcome;
      const kind = finish === "cancelled" || finish === "failed" ? finish : "answered";
      return {
        ...totals,
        [kind]: totals[kind] + 1,
        promptTokens: totals.promptTokens + usage.promptTokens,
        cachedTokens: totals.cachedTokens + usage.cachedTokens,
        completionTokens: totals.completionTokens + usage.completionTokens,
        earned: totals.earned + earned,
      };
    }
  }
}

const KEPT_REFUSALS = 16;

export function addRefusal(refusals: readonly Refusal[], refusal: Refusal): readonly Refusal[] {
  return [...refusals, refusal].slice(-KEPT_REFUSALS);
}

import type { FailureCode, Nanoton } from "../../protocol/index.ts";

/** Why nothing new is done for a gateway. Every hold ends by itself when its reason has gone. */
export type Hold =
  /** It showed a lower promise than it gave, or another one with the same total; or has forgotten it. */
  | { readonly type: "promise-fell" }
  /** What it promised is for another channel than the owner's. */
  | { readonly type: "other-channel" }
  /** Its contract is not what it should be. */
  | { readonly type: "distrusted"; readonly code: FailureCode; readonly message: string }
  /** It owes as much as the owner lets it. */
  | { readonly type: "debt"; readonly debt: Nanoton; readonly limit: Nanoton }
  /** The same, where nobody is named whom it could promise anything. */
  | { readonly type: "unnamed"; readonly debt: Nanoton; readonly limit: Nanoton };

export interface DebtFacts {
  /** Earned or promised, and not paid: {@link VoucherReport.debt}. */
  readonly debt: Nanoton;
  /** The owner's. */
  readonly limit: Nanoton;
  /** Whether the gateway knows whom it owes. */
  readonly isOwnerNamed: boolean;
  readonly hasFallen: boolean;
  readonly hasOtherChannel: boolean;
  readonly distrust: { readonly code: FailureCode; readonly message: string } | undefined;
}

/** What an owner lets a gateway owe unless they say otherwise: five cash-outs of the usual size. */
export const DEFAULT_DEBT_LIMIT: Nanoton = 5_000_000_000n;

/** Gateways stop at the same amount: without an owner there is no voucher, only a number in their books (NETWORK §4.7). */
export const UNNAMED_LIMIT: Nanoton = 200_000_000n;

/** Undefined while a gateway may be served. */
export function holdOf({
  debt,
  limit,
  isOwnerNamed,
  hasFallen,
  hasOtherChannel,
  distrust,
}: DebtFacts): Hold | undefined {
  if (distrust !== undefined) return { type: "distrusted", ...distrust };
  if (hasFallen) return { type: "promise-fell" };
  if (hasOtherChannel) return { type: "other-channel" };
  const least = isOwnerNamed || limit < UNNAMED_LIMIT ? limit : UNNAMED_LIMIT;
  if (debt < least) return undefined;
  return { type: isOwnerNamed ? "debt" : "unnamed", debt, limit: least };
}

import { Failure, FAILURE_TEXT, TIER_BADGES, TIERS, type FailureCode, type TierCounts } from "../protocol/index.ts";

/** What a caller can act on beyond the code. */
export interface FailureFacts {
  /** The field of the request that is to blame, as OpenAI's `param`. */
  readonly param?: string;
  readonly retryAfterMs?: number;
  /** How many workers serve the model, by tier, whatever their price. */
  readonly tiersOffered?: TierCounts;
}

/** A failure of one request, with what the caller can do about it. */
export class ClientFailure extends Failure {
  readonly facts: FailureFacts;

  constructor(code: FailureCode, message: string | undefined, facts: FailureFacts, options?: ErrorOptions) {
    super(code, message, options);
    this.facts = facts;
  }
}

/** The words for a person: what happened and what to do, then the detail. */
export function explain(failure: Failure): string {
  const detail = failure.message.slice(failure.code.length + 2);
  return detail === "" ? FAILURE_TEXT[failure.code] : `${FAILURE_TEXT[failure.code]} (${detail})`;
}

/** What is on offer instead of the tier that was asked for, and what accepting it means. */
export function tierTooLow(tiersOffered: TierCounts): ClientFailure {
  const offered = TIERS.filter((tier) => tiersOffered[tier] > 0).map(
    (tier) => `${tiersOffered[tier]} of tier ${tier}: "${TIER_BADGES[tier]}"`,
  );
  const detail = offered.length === 0 ? "no worker serves this model now" : `on offer: ${offered.join("; ")}`;
  return new ClientFailure("tier_too_low", detail, { tiersOffered });
}

/** What the time until the next attempt depends on. */
export interface ReconnectFacts {
  /** Attempts that failed since the link last worked; 0 = it has just been lost. */
  readonly failures: number;
  /** Unix ms when the link last served; undefined = never. */
  readonly servedAt: number | undefined;
  /** Unix ms. */
  readonly now: number;
  /** What the gateway asked for, when it did. */
  readonly retryAfterMs: number | undefined;
}

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
/** A gateway that restarts should have its workers back soon. */
const RECENT_MS = 600_000;
const LONGEST_RECENT_DELAY_MS = 3000;

/** Full jitter (NETWORK §1): anywhere up to the doubling delay, so that a thousand workers don't return at once. */
export function reconnectDelayMs(facts: ReconnectFacts, random: () => number): number {
  const isRecent = facts.servedAt !== undefined && facts.now - facts.servedAt < RECENT_MS;
  const longest = isRecent ? LONGEST_RECENT_DELAY_MS : LONGEST_DELAY_MS;
  const delay = random() * Math.min(FIRST_DELAY_MS * 2 ** facts.failures, longest);
  return Math.max(delay, Math.min(facts.retryAfterMs ?? 0, LONGEST_DELAY_MS));
}

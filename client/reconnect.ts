/** Pauses between attempts to dial (NETWORK §1). */

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** A link that worked a short while ago probably will again: its gateway has restarted. */
const LONGEST_AFTER_SERVICE_MS = 3_000;

/** Full jitter: anywhere from nothing to the doubled pause, so that a gateway that comes back is not stormed. */
export function pauseBefore(attempt: number, servedLately: boolean, fraction: number): number {
  const longest = servedLately ? LONGEST_AFTER_SERVICE_MS : LONGEST_PAUSE_MS;
  return Math.min(longest, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 16)) * fraction;
}

/** Two clocks, since a corrected wall clock must not end every link. */
export interface Clock {
  /** Unix milliseconds: what peers are held against. */
  unixMs(): number;
  /** Milliseconds that only grow: what deadlines are held against. */
  steadyMs(): number;
}

export const SYSTEM_CLOCK: Clock = { unixMs: () => Date.now(), steadyMs: () => performance.now() };

/** Unix seconds, as the wire has time. */
export function unixSeconds(clock: Clock): number {
  return Math.floor(clock.unixMs() / 1000);
}

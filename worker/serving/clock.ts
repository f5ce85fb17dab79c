/** Time, as an argument: tests turn it by hand. */
export interface Clock {
  /** Unix milliseconds. */
  now(): number;
  /** Milliseconds that never step back, for intervals. */
  elapsed(): number;
  /** Runs once after a delay, unless cancelled before. */
  after(delayMs: number, run: () => void): CancelTimer;
}

export type CancelTimer = () => void;

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Unix seconds, as the protocol counts time. */
export function unixSeconds(clock: Clock): number {
  return Math.floor(clock.now() / 1000);
}

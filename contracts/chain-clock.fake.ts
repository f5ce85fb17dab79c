import type { ChainClock } from "./chain-clock.ts";

export interface FakeChainClock extends ChainClock {
  /** Every pause so far, in milliseconds. */
  readonly pauses: readonly number[];
  /** Time passes for everybody. */
  advance(ms: number): void;
  /** Every question that is still without an answer runs out of time. */
  timeOut(): void;
}

/** A clock on which a pause is over at once and has taken all of its time: a test with long pauses does not wait. */
export function fakeChainClock(startMs = 1_800_000_000_000): FakeChainClock {
  const pauses: number[] = [];
  let waiting: AbortController[] = [];
  let elapsed = 0;
  return {
    pauses,
    now: () => startMs + elapsed,
    elapsed: () => elapsed,
    async pause(ms, signal) {
      signal?.throwIfAborted();
      pauses.push(ms);
      elapsed += ms;
    },
    timeout() {
      const controller = new AbortController();
      waiting.push(controller);
      return controller.signal;
    },
    advance(ms) {
      elapsed += ms;
    },
    timeOut() {
      const over = waiting;
      waiting = [];
      for (const controller of over) controller.abort(new DOMException("no answer", "TimeoutError"));
    },
  };
}

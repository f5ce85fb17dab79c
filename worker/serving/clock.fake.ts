import type { Clock } from "./clock.ts";

export interface FakeClock extends Clock {
  /** Moves time on and runs what falls due, in order. */
  advance(ms: number): void;
}

export function fakeClock(startMs = 1_800_000_000_000): FakeClock {
  let now = startMs;
  let timers: { readonly dueAt: number; readonly run: () => void }[] = [];
  const takeDue = (until: number): { readonly dueAt: number; readonly run: () => void } | undefined => {
    const due = timers.filter((timer) => timer.dueAt <= until).sort((a, b) => a.dueAt - b.dueAt)[0];
    timers = timers.filter((timer) => timer !== due);
    return due;
  };
  return {
    now: () => now,
    elapsed: () => now - startMs,
    after(delayMs, run) {
      const timer = { dueAt: now + delayMs, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      const until = now + ms;
      for (let due = takeDue(until); due !== undefined; due = takeDue(until)) {
        now = Math.max(now, due.dueAt);
        due.run();
      }
      now = until;
    },
  };
}

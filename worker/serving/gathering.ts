import type { CancelTimer, Clock } from "./clock.ts";

/** How fast events of one answer come, smoothed; decides whether the next may wait for company. */
export interface Pace {
  /** Of the last event, ms on the elapsed clock; undefined before the first. */
  readonly at: number | undefined;
  /** Smoothed time between events. */
  readonly intervalMs: number;
}

export const NO_PACE: Pace = { at: undefined, intervalMs: Infinity };

/** Longest time an event may be held back (ACN/1 §3.4). */
export const GATHER_MS = 50;

/** Events closer together than this are worth gathering: a frame costs its sealing, its write and its relaying. */
const FAST_MS = 10;
const NEWEST_WEIGHT = 0.3;
const LONGEST_INTERVAL_MS = 1000;

export function nextPace(pace: Pace, now: number): Pace {
  if (pace.at === undefined) return { at: now, intervalMs: Infinity };
  const interval = Math.min(now - pace.at, LONGEST_INTERVAL_MS);
  const isSecond = pace.intervalMs === Infinity;
  return { at: now, intervalMs: isSecond ? interval : pace.intervalMs + NEWEST_WEIGHT * (interval - pace.intervalMs) };
}

export function isFast(pace: Pace): boolean {
  return pace.intervalMs < FAST_MS;
}

/** Something that holds events back and sends them when told. */
export interface Holder {
  flush(): void;
}

/** Tells holders when their 50 ms are over: one timer for all answers, none for an event. */
export interface Gathering {
  hold(holder: Holder): void;
  release(holder: Holder): void;
}

export function createGathering(clock: Clock): Gathering {
  const dueAt = new Map<Holder, number>(); // in the order they fall due, since all wait equally long
  let cancel: CancelTimer | undefined;
  const flushDue = (): void => {
    cancel = undefined;
    const now = clock.elapsed();
    for (const [holder, due] of [...dueAt]) {
      if (due > now) break;
      dueAt.delete(holder);
      holder.flush();
    }
    schedule();
  };
  const schedule = (): void => {
    const [next] = dueAt.values();
    if (cancel !== undefined || next === undefined) return;
    cancel = clock.after(Math.max(1, next - clock.elapsed()), flushDue);
  };
  return {
    hold(holder) {
      if (dueAt.has(holder)) return;
      dueAt.set(holder, clock.elapsed() + GATHER_MS);
      schedule();
    },
    release(holder) {
      dueAt.delete(holder);
      if (dueAt.size > 0) return;
      cancel?.();
      cancel = undefined;
    },
  };
}

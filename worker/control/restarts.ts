/** When a crashed engine is started again. */
export interface Restart {
  readonly delayMs: number;
  /** It crashes too often: the owner should change something. It is still tried. */
  readonly isQuarantined: boolean;
}

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 60_000;
const WINDOW_MS = 600_000;
const QUARANTINE_CRASHES = 3;

/** Crashes that still count, the newest last. Times in ms of one clock. */
export function recentCrashes(crashedAt: readonly number[], now: number): readonly number[] {
  return crashedAt.filter((at) => now - at < WINDOW_MS);
}

/** 1, 2, 4 … 60 s; from the third crash within ten minutes on the owner is told (ENGINE §5). */
export function nextRestart(recent: readonly number[]): Restart {
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** Math.max(0, recent.length - 1), LONGEST_DELAY_MS);
  return { delayMs, isQuarantined: recent.length >= QUARANTINE_CRASHES };
}

/** Time, as an argument of whoever talks to a node. */
export interface ChainClock {
  /** Unix milliseconds: what the time of a block is held against. */
  now(): number;
  /** Milliseconds that never step back: what pauses between questions are counted in. */
  elapsed(): number;
  /** Resolves after so long; rejects with the signal's reason when that comes first. */
  pause(ms: number, signal?: AbortSignal): Promise<void>;
  /** A signal that fires after so long, and keeps no process alive for it. */
  timeout(ms: number): AbortSignal;
}

export const SYSTEM_CHAIN_CLOCK: ChainClock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  pause: (ms, signal) =>
    new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", stop);
        resolve();
      }, ms);
      if (signal?.aborted === true) stop();
      else signal?.addEventListener("abort", stop, { once: true });
    }),
  timeout: (ms) => AbortSignal.timeout(ms),
};

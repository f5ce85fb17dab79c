import { Failure } from "../protocol/index.ts";
import type { ChainClock } from "./chain-clock.ts";

export interface PaceOptions {
  /** Least time between two starts, in milliseconds; 0 for none. */
  readonly intervalMs: number;
  readonly clock: ChainClock;
  /** Ends every wait. */
  readonly signal?: AbortSignal;
}

/** More questions than this waiting for their turn means that somebody asks in a circle. */
const MAX_WAITING = 256;

/** The queue in front of one node: questions start in the order they came, and no faster than the node allows. */
export class Pace {
  readonly #options: PaceOptions;
  #lastTurn: Promise<void> = Promise.resolve();
  #waiting = 0;
  #nextStartAt = 0;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** @throws {Failure} `chain_rate_limited` when the queue is full, `cancelled` when the signal ended the wait. */
  async turn(): Promise<void> {
    if (this.#waiting >= MAX_WAITING) throw new Failure("chain_rate_limited", "too many questions wait for one node");
    this.#waiting++;
    const turn = this.#lastTurn.then(() => this.#untilStart());
    this.#lastTurn = turn.catch(() => undefined);
    try {
      await turn;
    } finally {
      this.#waiting--;
    }
  }

  /** The node asked for quiet: nobody starts for so long. */
  hold(ms: number): void {
    this.#nextStartAt = Math.max(this.#nextStartAt, this.#options.clock.elapsed() + ms);
  }

  async #untilStart(): Promise<void> {
    const { clock, intervalMs, signal } = this.#options;
    // A loop, since a hold may come while this one waits.
    for (let waitMs = this.#waitMs(); waitMs > 0; waitMs = this.#waitMs()) await pause(clock, waitMs, signal);
    if (signal?.aborted === true) throw new Failure("cancelled", "the chain is no longer read");
    this.#nextStartAt = clock.elapsed() + intervalMs;
  }

  #waitMs(): number {
    return this.#nextStartAt - this.#options.clock.elapsed();
  }
}

/** @throws {Failure} `cancelled`. */
export async function pause(clock: ChainClock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await clock.pause(ms, signal);
  } catch (cause) {
    throw new Failure("cancelled", "the chain is no longer read", { cause });
  }
}

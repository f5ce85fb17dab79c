import { holdFor, NO_USAGE, type Nanoton } from "../protocol/index.ts";
import { chargeOwed, type StreamFacts, type StreamTerms } from "./receipts.ts";

/** What this client has counted of one stream so far. */
export interface Meter {
  facts(): StreamFacts;
}

/** One stream whose receipt has not come. */
export interface OpenStream {
  readonly terms: StreamTerms;
  readonly meter: Meter;
  /** What it can cost, whatever happens. */
  readonly worst: Nanoton;
  /** Ms on a clock that never jumps. */
  readonly openedAt: number;
}

/** Receipts come within seconds of the end; what is older was never charged. */
const MAX_STREAMS = 8192;
/** A stream ends within ten minutes: what was not charged some minutes later never is. */
const CHARGED_WITHIN_MS = 900_000;

/** Streams whose receipt has not come, and what they may still cost. */
export class OpenStreams {
  readonly #streams = new Map<string, OpenStream>();
  #worst = 0n;

  get size(): number {
    return this.#streams.size;
  }

  /** What all of them together can cost; kept, so that it can be asked before every request. */
  get worst(): Nanoton {
    return this.#worst;
  }

  add(terms: StreamTerms, meter: Meter, openedAt: number): void {
    const worst = worstOf(terms);
    this.#streams.set(terms.reservationId, { terms, meter, worst, openedAt });
    this.#worst += worst;
    const [oldest] = this.#streams.size > MAX_STREAMS ? this.#streams.keys() : [];
    if (oldest !== undefined) this.forget(oldest);
  }

  get(reservationId: string): OpenStream | undefined {
    return this.#streams.get(reservationId);
  }

  forget(reservationId: string): void {
    const stream = this.#streams.get(reservationId);
    if (stream === undefined) return;
    this.#streams.delete(reservationId);
    this.#worst -= stream.worst;
  }

  /** The same as {@link worst} by what has arrived by now: exact for an answer that ended. Looks at every stream. */
  atMost(now: number): Nanoton {
    return [...this.#streams.values()].reduce((sum, stream) => sum + atMost(stream, now), 0n);
  }
}

export function worstOf({ promptBytes, maxTokens, price, feeBps }: StreamTerms): Nanoton {
  return holdFor(promptBytes, maxTokens, price, feeBps);
}

function atMost({ terms, meter, worst, openedAt }: OpenStream, now: number): Nanoton {
  if (now - openedAt > CHARGED_WITHIN_MS) return 0n;
  const { end, responseHash, tokenIds } = meter.facts();
  // Cancelled, cut or under way: what is on its way may still be counted.
  if (responseHash === undefined) return worst;
  const usage = end === undefined ? { ...NO_USAGE, completionTokens: tokenIds } : end.usage;
  const { charge } = chargeOwed(usage, end?.finish_reason ?? "failed", terms);
  return charge < worst ? charge : worst;
}

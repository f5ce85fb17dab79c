import type { PriceSheet, Receipt } from "../protocol/index.ts";
import type { StreamTerms } from "./receipts.ts";

/**
 * Terms that hold for the next streams of a session, kept on disk ahead of them: one line for many requests, and a client
 * that was killed still knows who may have signed for what, and how much at most.
 */
export interface Lease {
  /** Lowercase hex, 16 bytes. */
  readonly sessionId: string;
  /** 32 bytes. */
  readonly identityKey: Uint8Array;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  /** Lowercase hex. */
  readonly offerHash: string;
  readonly price: PriceSheet;
  readonly feeBps: number;
  /** At least as long as any request's plaintext. */
  readonly promptBytes: number;
  readonly maxTokens: number;
  /** Streams up to this one. */
  readonly through: number;
  /** Streams whose receipts were signed for. */
  readonly settled: number[];
}

export type LeaseLine = Lease & { readonly t: "leased" };

/** Streams that one line stands for. */
const STREAMS_A_LEASE = 64;
/** A session ends after an hour, its last charge some seconds later. */
const MAX_LEASES = 64;

export class Leases {
  readonly #byName = new Map<string, Lease>();
  readonly #settled = new Map<string, Set<number>>();

  put(lease: Lease): void {
    const name = nameOf(lease);
    this.#byName.delete(name);
    this.#byName.set(name, lease);
    for (const streamId of lease.settled) this.settle(lease.sessionId, streamId);
    const [oldest] = this.#byName.values();
    if (this.#byName.size > MAX_LEASES && oldest !== undefined) this.#drop(oldest);
  }

  /** A lease to be written before this stream may begin; undefined when one that was written covers it. */
  renewalFor(terms: StreamTerms): LeaseLine | undefined {
    const known = this.#byName.get(nameOf(terms));
    const isCovered =
      known?.feeBps === terms.feeBps &&
      terms.streamId <= known.through &&
      terms.promptBytes <= known.promptBytes &&
      terms.maxTokens <= known.maxTokens;
    if (isCovered) return undefined;
    const { sessionId, identityKey, manifestRoot, offerHash, price, feeBps } = terms;
    return {
      t: "leased",
      ...{ sessionId, identityKey, manifestRoot, offerHash, price, feeBps },
      promptBytes: roundedUp(Math.max(terms.promptBytes, known?.promptBytes ?? 0)),
      maxTokens: roundedUp(Math.max(terms.maxTokens, known?.maxTokens ?? 0)),
      through: terms.streamId + STREAMS_A_LEASE - 1,
      settled: [],
    };
  }

  settle(sessionId: string, streamId: number): void {
    const settled = this.#settled.get(sessionId);
    if (settled === undefined) this.#settled.set(sessionId, new Set([streamId]));
    else settled.add(streamId);
  }

  /** The terms that a receipt of a forgotten stream is held against; undefined when nothing was leased, or it was paid. */
  termsFor({ sessionId, streamId, offerHash }: Receipt, reservationId: string): StreamTerms | undefined {
    const lease = this.#byName.get(nameOf({ sessionId, offerHash }));
    if (lease === undefined || streamId > lease.through || this.#settled.get(sessionId)?.has(streamId) === true)
      return undefined;
    const { identityKey, manifestRoot, price, feeBps, promptBytes, maxTokens } = lease;
    return {
      reservationId,
      sessionId,
      streamId,
      identityKey,
      manifestRoot,
      offerHash,
      price,
      feeBps,
      promptBytes,
      maxTokens,
    };
  }

  /** Everything worth writing down anew, oldest first. */
  entries(): readonly LeaseLine[] {
    return [...this.#byName.values()].map((lease) => ({
      t: "leased",
      ...lease,
      settled: [...(this.#settled.get(lease.sessionId) ?? [])],
    }));
  }

  #drop(lease: Lease): void {
    this.#byName.delete(nameOf(lease));
    const isLast = [...this.#byName.values()].every(({ sessionId }) => sessionId !== lease.sessionId);
    if (isLast) this.#settled.delete(lease.sessionId);
  }
}

function nameOf({ sessionId, offerHash }: Pick<Lease, "sessionId" | "offerHash">): string {
  return `${sessionId}/${offerHash}`;
}

/** To a power of two, so that requests of many sizes need few lines. */
function roundedUp(value: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, value)));
}

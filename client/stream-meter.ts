import { sha256 } from "@noble/hashes/sha2.js";
import { CompletionCounter, type SealedEnd, type SealedEvent } from "../protocol/index.ts";
import type { StreamFacts } from "./receipts.ts";

/**
 * Counts one stream as it passes. It outlives the stream until the receipt has come, so it holds numbers and hashes and
 * nothing of what was said.
 */
export class StreamMeter {
  readonly #responseHash = sha256.create();
  readonly #counter: CompletionCounter;
  #requestHash: Uint8Array | undefined;
  #response: Uint8Array | undefined;
  #end: SealedEnd | undefined;
  #dataFrames = 0;

  /** `withheldBytes`: of the request's longest stop string. */
  constructor(withheldBytes: number) {
    this.#counter = new CompletionCounter(withheldBytes);
  }

  get hasBegun(): boolean {
    return this.#dataFrames > 0;
  }

  /** Ids received so far. */
  get tokenIds(): number {
    return this.#counter.count("length");
  }

  /** All frames of the request have left. */
  requestSent(frames: readonly Uint8Array[]): void {
    const hash = sha256.create();
    for (const frame of frames) hash.update(frame);
    this.#requestHash = hash.digest();
  }

  /** A frame that authenticated. */
  received(frame: Uint8Array): void {
    this.#responseHash.update(frame);
  }

  event(event: SealedEvent): void {
    this.#dataFrames++;
    this.#counter.add(event);
  }

  /** FIN or, without an end, ABORT was received. */
  ended(end: SealedEnd | undefined): void {
    this.#end = end;
    this.#response = this.#responseHash.digest();
  }

  facts(): StreamFacts {
    return {
      requestHash: this.#requestHash,
      responseHash: this.#response,
      end: this.#end,
      tokenIds: this.tokenIds,
      dataFrames: this.#dataFrames,
      bound: this.#counter.bound,
    };
  }
}

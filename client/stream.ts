import { sha256 } from "@noble/hashes/sha2.js";
import {
  ABORT,
  abortCode,
  CompletionCounter,
  DATA,
  Failure,
  FIN,
  FrameOpener,
  FrameSealer,
  MAX_FRAME_DATA,
  parseSealedEnd,
  parseSealedEvent,
  type FailureCode,
  type SealedEnd,
  type SealedEvent,
} from "../protocol/index.ts";
import type { Link, Route, RouteHandler } from "./link.ts";
import { refusalOfEnd, type StreamFacts, type StreamTerms } from "./receipts.ts";
import type { StreamPlace } from "./sessions.ts";

/** What one stream tells, in order: events, then exactly one of `done` and `failed`. */
export interface StreamListener {
  readonly event: (event: SealedEvent) => void;
  readonly done: (end: SealedEnd) => void;
  readonly failed: (failure: Failure) => void;
}

export interface StreamRequest {
  readonly terms: StreamTerms;
  readonly workerId: string;
  readonly plaintext: Uint8Array;
  readonly place: StreamPlace;
}

/** Seals one request to one worker and opens what comes back. */
export class SealedStream implements RouteHandler {
  readonly #request: StreamRequest;
  readonly #listener: StreamListener;
  #frames: readonly Uint8Array[];
  readonly #requestHash: Uint8Array;
  readonly #opener: FrameOpener;
  readonly #responseHash = sha256.create();
  readonly #counter = new CompletionCounter();
  #route: Route | undefined;
  #wasSent = false;
  #dataFrames = 0;
  /** The listener knows how it ended. */
  #isOver = false;
  #end: SealedEnd | undefined;

  constructor(request: StreamRequest, listener: StreamListener) {
    this.#request = request;
    this.#listener = listener;
    this.#frames = sealRequest(request);
    this.#requestHash = hashOf(this.#frames);
    this.#opener = new FrameOpener(request.place.down);
  }

  start(link: Link): void {
    const { terms, workerId } = this.#request;
    const { reservationId, sessionId, streamId } = terms;
    link.openRoute({ type: "open", reservationId, workerId, sessionId, streamId }, this);
  }

  /** Stops the worker at its next token; the listener hears `failed` at once. */
  cancel(code: FailureCode): void {
    if (this.#isOver) return;
    this.#fail(new Failure(code));
    this.#route?.close("cancelled");
  }

  /** What passed so far; it goes on being counted after a cancel, since it may be charged. */
  facts(): StreamFacts {
    const hasEnd = this.#opener.endedBy !== undefined;
    return {
      requestHash: this.#wasSent ? this.#requestHash : undefined,
      responseHash: hasEnd ? this.#responseHash.clone().digest() : undefined,
      end: this.#end,
      tokenIds: this.#counter.count("length"),
      dataFrames: this.#dataFrames,
      bound: this.#counter.bound,
    };
  }

  readonly opened = (route: Route): void => {
    this.#route = route;
    if (this.#isOver) return route.close("cancelled");
    const { place } = this.#request;
    if (place.enc !== undefined) route.send(place.enc);
    place.started();
    for (const frame of this.#frames) route.send(frame);
    this.#frames = [];
    this.#wasSent = true;
  };

  readonly bytes = (frame: Uint8Array): void => {
    try {
      this.#receive(frame);
    } catch (error) {
      const failure = error instanceof Failure ? error : new Failure("internal", undefined, { cause: error });
      this.#route?.close(failure.code);
      this.#route?.forget();
      this.#fail(failure);
    }
  };

  readonly closed = (failure: Failure): void => {
    const hasBegun = this.#dataFrames > 0;
    this.#fail(hasBegun ? new Failure("truncated", `the gateway closed the route: ${failure.code}`) : failure);
  };

  #receive(frame: Uint8Array): void {
    const { type, data } = this.#opener.open(frame);
    this.#responseHash.update(frame);
    this.#request.place.proven();
    switch (type) {
      case DATA:
        return this.#onEvent(parseSealedEvent(data));
      case FIN:
        return this.#onEnd(parseSealedEnd(data));
      case ABORT:
        this.#route?.forget();
        return this.#fail(new Failure(abortCode(data)));
    }
  }

  #onEvent(event: SealedEvent): void {
    this.#dataFrames++;
    this.#counter.add(event);
    if (this.#counter.count("length") > this.#request.terms.maxTokens) {
      throw new Failure("bad_message", "the answer is longer than its declared length");
    }
    if (!this.#isOver) this.#listener.event(event);
  }

  #onEnd(end: SealedEnd): void {
    this.#route?.forget();
    this.#end = end;
    const refusal = refusalOfEnd(end, this.#request.terms, this.facts());
    if (refusal !== undefined) return this.#fail(new Failure("bad_receipt", refusal));
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listener.done(end);
  }

  #fail(failure: Failure): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#request.place.failed(failure.code);
    this.#listener.failed(failure);
  }
}

/** The request in the fewest frames: what a gateway lets through is measured by that (NETWORK §2). */
function sealRequest({ plaintext, place }: StreamRequest): readonly Uint8Array[] {
  const sealer = new FrameSealer(place.up);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < plaintext.length; at += MAX_FRAME_DATA) {
    frames.push(sealer.seal(plaintext.subarray(at, at + MAX_FRAME_DATA)));
  }
  frames.push(sealer.seal(new Uint8Array(), FIN));
  return frames;
}

function hashOf(frames: readonly Uint8Array[]): Uint8Array {
  const hash = sha256.create();
  for (const frame of frames) hash.update(frame);
  return hash.digest();
}

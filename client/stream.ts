import {
  ABORT,
  abortCode,
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
import { refusalOfEnd, type StreamTerms } from "./receipts.ts";
import type { StreamPlace } from "./sessions.ts";
import { StreamMeter } from "./stream-meter.ts";

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
  /** Of the longest stop string. */
  readonly withheldBytes: number;
  readonly place: StreamPlace;
}

/** Seals one request to one worker and opens what comes back. */
export class SealedStream implements RouteHandler {
  readonly meter: StreamMeter;
  readonly #terms: StreamTerms;
  readonly #workerId: string;
  readonly #place: StreamPlace;
  readonly #listener: StreamListener;
  readonly #opener: FrameOpener;
  #frames: readonly Uint8Array[];
  #route: Route | undefined;
  /** The listener knows how it ended. */
  #isOver = false;

  constructor({ terms, workerId, place, plaintext, withheldBytes }: StreamRequest, listener: StreamListener) {
    this.meter = new StreamMeter(withheldBytes);
    this.#terms = terms;
    this.#workerId = workerId;
    this.#place = place;
    this.#listener = listener;
    this.#frames = sealRequest(plaintext, place);
    this.#opener = new FrameOpener(place.down);
  }

  start(link: Link): void {
    const { reservationId, sessionId, streamId } = this.#terms;
    link.openRoute({ type: "open", reservationId, workerId: this.#workerId, sessionId, streamId }, this);
  }

  /** Stops the worker at its next token; the listener hears `failed` at once. What is on its way is still counted. */
  cancel(code: FailureCode): void {
    if (this.#isOver) return;
    this.#fail(new Failure(code));
    this.#route?.close("cancelled");
  }

  readonly opened = (route: Route): void => {
    this.#route = route;
    if (this.#isOver) return route.close("cancelled");
    const { enc } = this.#place;
    if (enc !== undefined) route.send(enc);
    this.#place.started();
    for (const frame of this.#frames) route.send(frame);
    this.meter.requestSent(this.#frames);
    this.#frames = [];
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
    const { hasBegun } = this.meter;
    this.#fail(hasBegun ? new Failure("truncated", `the gateway closed the route: ${failure.code}`) : failure);
  };

  #receive(frame: Uint8Array): void {
    const { type, data } = this.#opener.open(frame);
    this.meter.received(frame);
    this.#place.proven();
    switch (type) {
      case DATA:
        return this.#onEvent(parseSealedEvent(data));
      case FIN:
        return this.#onEnd(parseSealedEnd(data));
      case ABORT:
        this.meter.ended(undefined);
        this.#route?.forget();
        return this.#fail(new Failure(abortCode(data)));
    }
  }

  #onEvent(event: SealedEvent): void {
    this.meter.event(event);
    if (this.meter.tokenIds > this.#terms.maxTokens) {
      throw new Failure("bad_message", "the answer is longer than its declared length");
    }
    if (!this.#isOver) this.#listener.event(event);
  }

  #onEnd(end: SealedEnd): void {
    this.meter.ended(end);
    this.#route?.forget();
    const refusal = refusalOfEnd(end, this.#terms, this.meter.facts());
    if (refusal !== undefined) return this.#fail(new Failure("bad_receipt", refusal));
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listener.done(end);
  }

  #fail(failure: Failure): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#frames = [];
    this.#place.failed(failure.code);
    this.#listener.failed(failure);
  }
}

/** The request in the fewest frames: what a gateway lets through is measured by that (NETWORK §2). */
function sealRequest(plaintext: Uint8Array, place: StreamPlace): readonly Uint8Array[] {
  const sealer = new FrameSealer(place.up);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < plaintext.length; at += MAX_FRAME_DATA) {
    frames.push(sealer.seal(plaintext.subarray(at, at + MAX_FRAME_DATA)));
  }
  frames.push(sealer.seal(new Uint8Array(), FIN));
  return frames;
}

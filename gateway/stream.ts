import { createHash } from "node:crypto";
import { ABORT, codeOf, DATA, frameType, sealedBytes, type FailureCode, type FrameType } from "../protocol/index.ts";
import type { Link, RouteEnd } from "./link.ts";
import { frameCapacity, isEnc, tokensThatFit, type RelayedStream } from "./metering.ts";
import type { LiveOffer, OfferTerms } from "./pool.ts";
import type { Reservation } from "./reservations.ts";

/** How a stream's relaying ended, as the gateway sees it. */
export type StreamEnd =
  /** FIN or ABORT of the worker, or, told to stop, its receipt without one: now the receipt counts. */
  | { readonly type: "ended"; readonly by: RelayedStream["endedBy"] }
  /** The worker gave the code why there will be no receipt. */
  | { readonly type: "refused"; readonly code: FailureCode }
  | { readonly type: "worker-lost" }
  | { readonly type: "timed-out" }
  | { readonly type: "broken"; readonly code: FailureCode };

export interface StreamContext {
  readonly reservation: Reservation;
  readonly offer: LiveOffer;
  readonly terms: OfferTerms;
  readonly sessionId: string;
  readonly streamId: number;
  readonly client: Link;
  /** The number that was kept for this stream; undefined: a new one. */
  readonly clientRouteId: number | undefined;
  readonly worker: Link;
  readonly steadyMs: () => number;
  /** Called once: the worker has nothing more to send. */
  readonly ended: (stream: Stream, end: StreamEnd) => void;
  /** Called at most once after an end that is followed by a receipt: there will be none. */
  readonly unsigned: (stream: Stream, end: StreamEnd) => void;
}

/** A client that takes no more than this many bytes late is cut off (NETWORK §1). */
const MOST_BUFFERED = 256 * 1024;
const RESUME_BELOW = 64 * 1024;
export const STREAM_DEADLINE_MS = 600_000;
/** How long a worker may take to stop, and to sign its receipt. */
export const LAST_WORD_MS = 10_000;
const ROUTE_BYTES = 8;

/** One request and its answer on their way through: counts and hashes, never keeps. */
export class Stream {
  readonly context: StreamContext;
  readonly client: RouteEnd;
  readonly worker: RouteEnd;
  /** Steady ms by which the next thing must have happened. */
  deadline: number;
  readonly startedAt: number;
  endedAt: number | undefined;
  deliveredFrames = 0;
  wasCancelled = false;
  isRequestWhole = false;
  #end: StreamEnd | undefined;
  #isClientThere = true;
  #isPausing = false;
  #hasReceived = false;
  #requestBytes = 0;
  #requestCapacity = 0;
  #deliveredTokens = 0;
  readonly #requestHash = createHash("sha256");
  readonly #responseHash = createHash("sha256");

  constructor(context: StreamContext) {
    this.context = context;
    this.startedAt = context.steadyMs();
    this.deadline = this.startedAt + STREAM_DEADLINE_MS;
    this.worker = context.worker.openRoute({
      receive: (message) => this.#fromWorker(message),
      closed: (code) => this.#workerClosed(code),
      lost: () => this.#workerLost(),
      drained: () => this.#workerDrained(),
    });
    this.client = context.client.openRoute(
      {
        receive: (message) => this.#fromClient(message),
        closed: () => this.#cancelledByClient(),
        lost: () => this.#cutOff("cancelled"),
        drained: () => undefined,
      },
      context.clientRouteId,
    );
  }

  /** What a receipt is held against, once the worker's half has ended. Callable once. */
  relayed(endedBy: RelayedStream["endedBy"]): RelayedStream {
    const { reservation, terms, sessionId, streamId } = this.context;
    return {
      sessionId,
      streamId,
      manifestRoot: terms.manifestRoot,
      offerHash: terms.offerHash,
      maxPromptBytes: reservation.maxPromptBytes,
      maxCompletionTokens: reservation.maxCompletionTokens,
      requestHash: this.#requestHash.digest(),
      responseHash: this.#responseHash.digest(),
      requestCapacity: this.#requestCapacity,
      deliveredFrames: this.deliveredFrames,
      deliveredTokens: this.#deliveredTokens,
      endedBy,
      wasCancelled: this.wasCancelled,
    };
  }

  /** The deadline has passed. */
  expire(): void {
    if (this.#end !== undefined) return;
    this.#closeClient("truncated");
    this.worker.link.closeRoute(this.worker, "truncated");
    this.#finish({ type: "timed-out" });
  }

  /** The worker, told to stop, has signed without a last frame. */
  endByReceipt(): void {
    this.#closeClient("cancelled");
    this.#finish({ type: "ended", by: "close" });
  }

  /** Nothing more is expected over the worker's end. */
  release(): void {
    this.worker.link.closeRoute(this.worker);
  }

  #fromClient(message: Buffer): void {
    if (!this.#hasReceived) {
      this.#hasReceived = true;
      if (isEnc({ length: message.length - ROUTE_BYTES })) return this.worker.link.forward(this.worker, message);
    }
    const frame = message.subarray(ROUTE_BYTES);
    const type = this.#typeOf(frame);
    if (type === undefined) return this.#cutOff("bad_frame");
    if (this.isRequestWhole) return this.#cutOff("data_after_fin");
    this.#requestBytes += frame.length;
    if (this.#requestBytes > sealedBytes(this.context.reservation.maxPromptBytes)) {
      return this.#cutOff("reservation_exceeded");
    }
    this.#requestHash.update(frame);
    if (type === DATA) this.#requestCapacity += frameCapacity(frame.length);
    else this.isRequestWhole = true;
    if (type === ABORT) this.#cancelledByFrame();
    this.worker.link.forward(this.worker, message);
    this.#slowDownClient();
  }

  #fromWorker(message: Buffer): void {
    if (this.#end !== undefined) return;
    const frame = message.subarray(ROUTE_BYTES);
    const type = this.#typeOf(frame);
    if (type === undefined) return this.#breakOff("bad_frame");
    this.#responseHash.update(frame);
    if (this.#isClientThere) this.#deliver(message, frame, type);
    if (type === DATA) return;
    this.#closeClient();
    // The worker's end stays open for the receipt, or for the code that says why there will be none.
    this.#finish({ type: "ended", by: type === ABORT ? "abort" : "fin" });
  }

  #deliver(message: Buffer, frame: Buffer, type: FrameType): void {
    if (type === DATA) {
      this.deliveredFrames++;
      this.#deliveredTokens += tokensThatFit(frame.length);
    }
    this.client.link.forward(this.client, message);
    if (this.client.buffered > MOST_BUFFERED) this.#cutOff("client_too_slow");
  }

  /** An ABORT ends the request; the route stays, since the worker's own end comes over it. */
  #cancelledByFrame(): void {
    this.wasCancelled = true;
    this.deadline = Math.min(this.deadline, this.context.steadyMs() + LAST_WORD_MS);
  }

  /** It wants no more; what is under way still goes to it, since it is charged for that. */
  #cancelledByClient(): void {
    if (this.#end !== undefined || this.wasCancelled) return;
    this.wasCancelled = true;
    this.#tellWorker("cancelled");
  }

  /** The client gets no more: it is gone, too slow, or broke a rule. What was delivered until now is charged. */
  #cutOff(code: FailureCode): void {
    if (this.#end !== undefined || !this.#isClientThere) return;
    this.#closeClient(code);
    if (this.wasCancelled) return;
    this.wasCancelled = true;
    this.#tellWorker(code);
  }

  /** The route stays known on our side until the worker's last frame: its receipt covers that one too. */
  #tellWorker(code: FailureCode): void {
    this.worker.link.send({ type: "close", routeId: this.worker.routeId, code });
    this.deadline = this.context.steadyMs() + LAST_WORD_MS;
  }

  #workerClosed(code: FailureCode): void {
    if (this.#end !== undefined) return this.context.unsigned(this, { type: "refused", code });
    this.#closeClient(code);
    this.#finish({ type: "refused", code });
  }

  #workerLost(): void {
    if (this.#end !== undefined) return this.context.unsigned(this, { type: "worker-lost" });
    this.#closeClient("worker_crashed");
    this.#finish({ type: "worker-lost" });
  }

  #breakOff(code: FailureCode): void {
    this.#closeClient(code);
    this.worker.link.closeRoute(this.worker, code);
    this.#finish({ type: "broken", code });
  }

  #slowDownClient(): void {
    if (this.#isPausing || this.worker.buffered <= MOST_BUFFERED) return;
    this.#isPausing = true;
    this.client.link.pause();
  }

  #workerDrained(): void {
    if (this.#isPausing && this.worker.buffered < RESUME_BELOW) this.#stopPausing();
  }

  #stopPausing(): void {
    this.#isPausing = false;
    this.client.link.resume(this.context.steadyMs());
  }

  #closeClient(code?: FailureCode): void {
    this.#isClientThere = false;
    this.client.link.closeRoute(this.client, code);
  }

  #finish(end: StreamEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    if (this.#isPausing) this.#stopPausing();
    this.endedAt = this.context.steadyMs();
    this.deadline = this.endedAt + LAST_WORD_MS;
    this.context.ended(this, end);
  }

  #typeOf(frame: Buffer): FrameType | undefined {
    try {
      return frameType(frame);
    } catch (error) {
      if (codeOf(error) !== "bad_frame") throw error;
      return undefined;
    }
  }
}

import {
  codeOf,
  encodeReceipt,
  sealedBytes,
  TEMPLATE_TOKENS,
  type FailureCode,
  type FinishReason,
  type TokenUsage,
} from "../../protocol/index.ts";
import type { EngineEvent } from "../engine/messages.ts";
import { Answer } from "./answer.ts";
import type { Clock } from "./clock.ts";
import type { Engine, RunningJob } from "./engine.ts";
import { sealedEventOf } from "./events.ts";
import type { Gathering } from "./gathering.ts";
import { checkRequest, RequestReader, type RoutedTerms } from "./request.ts";
import type { SessionStream } from "./sessions.ts";

/** The gateway's side of one stream. */
export interface RoutePort {
  send(frame: Uint8Array): void;
  /** Tells the gateway, which cannot read an ABORT, why there will be no receipt. */
  close(code: FailureCode): void;
  isBackedUp(): boolean;
}

export interface StreamOptions {
  readonly terms: RoutedTerms;
  readonly session: SessionStream;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly gathering: Gathering;
  readonly port: RoutePort;
  readonly onEnd: (outcome: StreamOutcome) => void;
}

export type StreamOutcome =
  | {
      readonly type: "answered";
      readonly finish: FinishReason;
      readonly usage: TokenUsage;
      /** The bytes to be signed (ACN/1 §3.4). */
      readonly receipt: Uint8Array;
      /** From the whole request to the first frame of the answer; undefined when nothing was answered. */
      readonly ttftMs: number | undefined;
      readonly durationMs: number;
    }
  /** Nothing was generated, nothing is charged. */
  | { readonly type: "refused"; readonly code: FailureCode }
  /** The other side went before there was anything to answer. */
  | { readonly type: "abandoned" };

interface Answering {
  readonly answer: Answer;
  readonly requestHash: Uint8Array;
  readonly maxTokens: number;
  readonly submittedAt: number;
  running: RunningJob | undefined;
  counts: { readonly promptTokens: number; readonly cachedTokens: number } | undefined;
  producedIds: number;
  firstAt: number | undefined;
  /** The client is gone: the engine was told to stop, its last tokens are not delivered. */
  isStopping: boolean;
}

/** One request and its answer, from the first message of a route to the last. */
export class Stream {
  readonly openedAt: number;
  readonly #options: StreamOptions;
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #awaitsEnc: boolean;
  #reader: RequestReader | undefined;
  #answer: Answer | undefined;
  #answering: Answering | undefined;
  #ended = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#awaitsEnc = options.session.awaitsEnc;
    this.openedAt = options.clock.elapsed();
    if (!this.#awaitsEnc) void this.#prepare();
  }

  /** Whether the engine has the request. */
  get isAnswering(): boolean {
    return this.#answering !== undefined && !this.#ended;
  }

  /** One binary message of the route. */
  receive(bytes: Uint8Array): void {
    if (this.#ended) return;
    if (this.#awaitsEnc) {
      this.#awaitsEnc = false;
      void this.#prepare(bytes);
    } else if (this.#reader === undefined) {
      this.#keepEarly(bytes);
    } else {
      this.#read(this.#reader, bytes);
    }
  }

  /** The client is gone, or takes too long to read: stop at the next token, charge what was delivered. */
  cancel(): void {
    if (this.#ended) return;
    const answering = this.#answering;
    if (answering === undefined) {
      this.#abandon();
      return;
    }
    if (answering.isStopping) return;
    answering.isStopping = true;
    answering.answer.discard();
    answering.running?.cancel();
  }

  /** The link is gone and with it every way to end the answer: nothing more can be sent, signed or earned. */
  lose(): void {
    if (this.#ended) return;
    this.#answering?.answer.discard();
    this.#answering?.running?.cancel();
    this.#options.session.abandon();
    this.#end({ type: "abandoned" });
  }

  /** Ends with a code before or after generation has begun; delivered tokens are charged. */
  fail(code: FailureCode): void {
    if (this.#ended) return;
    const answering = this.#answering;
    answering?.running?.cancel();
    if (answering?.counts === undefined) {
      this.#refuse(code);
      return;
    }
    answering.answer.abort(code);
    this.#settle(answering, "failed", answering.answer.deliveredIds);
  }

  /** Keys can be derived once the session has its `enc`; frames that come meanwhile wait. */
  async #prepare(enc?: Uint8Array): Promise<void> {
    const { session, clock, gathering, port, terms } = this.#options;
    try {
      if (enc !== undefined) await session.complete(enc);
      const { opener, sealer } = await session.keys();
      if (this.#ended) return;
      this.#answer = new Answer({
        sealer,
        clock,
        gathering,
        send: (frame) => port.send(frame),
        isBackedUp: () => port.isBackedUp(),
        onTooSlow: () => this.cancel(),
      });
      const reader = new RequestReader(opener, terms.maxPromptBytes);
      this.#reader = reader;
      for (const frame of this.#early.splice(0)) this.#read(reader, frame);
    } catch (error) {
      this.#refuse(codeOf(error));
    }
  }

  #keepEarly(bytes: Uint8Array): void {
    this.#earlyBytes += bytes.length;
    if (this.#earlyBytes > sealedBytes(this.#options.terms.maxPromptBytes)) {
      this.#refuse("reservation_exceeded");
      return;
    }
    this.#early.push(bytes);
  }

  #read(reader: RequestReader, frame: Uint8Array): void {
    if (this.#ended) return;
    try {
      const plaintext = reader.read(frame);
      if (plaintext === "cancelled") this.#abandon();
      else if (plaintext !== undefined) this.#submit(plaintext, reader.digest());
    } catch (error) {
      this.fail(codeOf(error));
    }
  }

  #submit(plaintext: Uint8Array, requestHash: Uint8Array): void {
    const { session, engine, clock, terms } = this.#options;
    if (this.#answer === undefined) throw new RangeError("a request without keys");
    const { path, body, maxTokens } = checkRequest(plaintext, terms, session.manifestRoot);
    const answering: Answering = {
      answer: this.#answer,
      requestHash,
      maxTokens,
      submittedAt: clock.elapsed(),
      running: undefined,
      counts: undefined,
      producedIds: 0,
      firstAt: undefined,
      isStopping: false,
    };
    this.#answering = answering;
    const maxPromptTokens = terms.maxPromptBytes + TEMPLATE_TOKENS;
    answering.running = engine.start(
      { partition: session.sessionId, path, body, maxTokens, maxPromptTokens },
      (event) => {
        if (!this.#ended) this.#onEvent(answering, event);
      },
    );
  }

  #onEvent(answering: Answering, event: EngineEvent): void {
    switch (event.type) {
      case "started":
        answering.counts = { promptTokens: event.promptTokens, cachedTokens: event.cachedTokens };
        if (event.promptTokens > this.#options.terms.maxPromptBytes + TEMPLATE_TOKENS) {
          answering.running?.cancel();
          this.#refuse("reservation_exceeded");
        }
        return;
      case "delta":
      case "tool_call":
        this.#onTokens(answering, event);
        return;
      case "done":
        this.#onDone(answering, event.finishReason, event.usage);
        return;
      case "failed":
        if (answering.isStopping) this.#finish(answering, "cancelled");
        else this.fail(event.code);
        return;
    }
  }

  #onTokens(answering: Answering, event: Extract<EngineEvent, { type: "delta" | "tool_call" }>): void {
    answering.producedIds += event.tokenIds.length;
    answering.firstAt ??= this.#options.clock.elapsed();
    if (answering.isStopping) return;
    // More than was reserved is not delivered: nobody would pay for it, and the client refuses such an answer.
    if (answering.producedIds > answering.maxTokens) this.fail("worker_crashed");
    else answering.answer.add(sealedEventOf(event));
  }

  /** The engine counted and so did we; only what both say is signed (ENGINE §5). */
  #onDone(answering: Answering, reason: FinishReason, usage: TokenUsage): void {
    const { counts, isStopping } = answering;
    if (isStopping) {
      this.#finish(answering, "cancelled");
      return;
    }
    const completionTokens = answering.producedIds + endTokens(reason);
    const isAgreed =
      usage.promptTokens === counts?.promptTokens &&
      usage.cachedTokens === counts.cachedTokens &&
      usage.cachedTokens <= usage.promptTokens &&
      usage.completionTokens === completionTokens;
    if (!isAgreed || reason === "failed") {
      this.fail("worker_crashed");
      return;
    }
    this.#finish(answering, reason);
  }

  #finish(answering: Answering, reason: FinishReason): void {
    const { answer, counts } = answering;
    const { terms } = this.#options;
    if (counts === undefined) {
      this.#refuse("cancelled");
      return;
    }
    answer.deliverHeld();
    const completionTokens = answer.deliveredIds + endTokens(reason);
    answer.finish({
      finish_reason: reason,
      usage: { ...counts, completionTokens },
      manifestRoot: terms.manifestRoot,
      offerHash: terms.offerHash,
    });
    this.#settle(answering, reason, completionTokens);
  }

  #settle(answering: Answering, finish: FinishReason, completionTokens: number): void {
    const { terms, session, clock } = this.#options;
    if (answering.counts === undefined) throw new RangeError("a receipt without counts");
    const usage = { ...answering.counts, completionTokens };
    const receipt = encodeReceipt({
      sessionId: session.sessionId,
      streamId: session.streamId,
      requestHash: answering.requestHash,
      responseHash: answering.answer.digest(),
      manifestRoot: terms.manifestRoot,
      offerHash: terms.offerHash,
      usage,
      finish,
    });
    const { submittedAt, firstAt } = answering;
    const ttftMs = firstAt === undefined ? undefined : firstAt - submittedAt;
    this.#end({ type: "answered", finish, usage, receipt, ttftMs, durationMs: clock.elapsed() - submittedAt });
  }

  /** Nothing was asked yet: the gateway is told not to wait for a last word. */
  #abandon(): void {
    this.#options.port.close("cancelled");
    this.#options.session.abandon();
    this.#end({ type: "abandoned" });
  }

  #refuse(code: FailureCode): void {
    if (this.#ended) return;
    const { port, session } = this.#options;
    this.#answer?.discard();
    if (this.#answer?.ended === false) this.#answer.abort(code);
    port.close(code);
    session.abandon();
    this.#end({ type: "refused", code });
  }

  #end(outcome: StreamOutcome): void {
    this.#ended = true;
    this.#early = [];
    this.#options.onEnd(outcome);
  }
}

/** The end token is counted when the model stopped by itself, and never delivered (ACN/1 §3.4). */
function endTokens(reason: FinishReason): number {
  return reason === "stop" ? 1 : 0;
}

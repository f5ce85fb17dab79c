import { createHash } from "node:crypto";
import {
  encodeSealedEnd,
  FIN,
  type FailureCode,
  type FrameSealer,
  type SealedEnd,
  type SealedEvent,
} from "../../protocol/index.ts";
import type { Clock } from "./clock.ts";
import { encodeEvent, mergeEvents } from "./events.ts";
import { isFast, nextPace, NO_PACE, type Gathering, type Holder, type Pace } from "./gathering.ts";

export interface AnswerOptions {
  readonly sealer: FrameSealer;
  readonly clock: Clock;
  readonly gathering: Gathering;
  /** Sends one frame down the route. */
  readonly send: (frame: Uint8Array) => void;
  /** Whether the gateway reads slower than we write. */
  readonly isBackedUp: () => boolean;
  /** More is waiting than one route may keep. */
  readonly onTooSlow: () => void;
}

/** A merged event goes out before it gets long: the client should not wait for a page. */
const MAX_GATHERED_IDS = 64;
/** Kept for a route whose gateway doesn't read (NETWORK §1). */
const MAX_WAITING_CHARACTERS = 262_144;
const MAX_WAITING_IDS = 8192;

/** The response half of a stream: seals events in order, counts what it delivered, and hashes every frame it sent. */
export class Answer implements Holder {
  readonly #options: AnswerOptions;
  readonly #hash = createHash("sha256");
  #pace: Pace = NO_PACE;
  #held: SealedEvent | undefined;
  #deliveredIds = 0;

  constructor(options: AnswerOptions) {
    this.#options = options;
  }

  /** Token ids in frames that were sent. */
  get deliveredIds(): number {
    return this.#deliveredIds;
  }

  get ended(): boolean {
    return this.#options.sealer.ended;
  }

  /** The first event goes at once; a later one waits for company while they come fast or the gateway is slow. */
  add(event: SealedEvent): void {
    const { clock, gathering, isBackedUp, onTooSlow } = this.#options;
    const isFirst = this.#pace.at === undefined;
    this.#pace = nextPace(this.#pace, clock.elapsed());
    this.#join(event);
    const isSlow = isBackedUp();
    if (isSlow && this.#isOverflowing()) {
      onTooSlow();
      return;
    }
    const mayWait = !isFirst && (isSlow || (isFast(this.#pace) && !this.#isLong()));
    if (mayWait) gathering.hold(this);
    else this.#sendHeld();
  }

  /** The 50 ms are over. */
  flush(): void {
    const { gathering, isBackedUp } = this.#options;
    if (this.#held === undefined) return;
    if (isBackedUp()) gathering.hold(this);
    else this.#sendHeld();
  }

  /** What is still held is not delivered, not counted, gone. */
  discard(): void {
    this.#held = undefined;
    this.#options.gathering.release(this);
  }

  /** Sends what is held: before an end, so that everything produced is also delivered. */
  deliverHeld(): void {
    this.#sendHeld();
  }

  finish(end: SealedEnd): void {
    this.#sendHeld();
    this.#send(this.#options.sealer.seal(encodeSealedEnd(end), FIN));
  }

  abort(code: FailureCode): void {
    this.#sendHeld();
    this.#send(this.#options.sealer.abort(code));
  }

  /** H(response frames). Call once, after the end. */
  digest(): Uint8Array {
    return new Uint8Array(this.#hash.digest());
  }

  #join(event: SealedEvent): void {
    if (this.#held === undefined) {
      this.#held = event;
      return;
    }
    const merged = mergeEvents(this.#held, event);
    if (merged === undefined) this.#sendHeld();
    this.#held = merged ?? event;
  }

  #sendHeld(): void {
    const event = this.#held;
    if (event === undefined) return;
    this.#held = undefined;
    this.#options.gathering.release(this);
    for (const bytes of encodeEvent(event)) this.#send(this.#options.sealer.seal(bytes));
    this.#deliveredIds += event.tokenIds.length;
  }

  #send(frame: Uint8Array): void {
    this.#hash.update(frame);
    this.#options.send(frame);
  }

  #isLong(): boolean {
    return (this.#held?.tokenIds.length ?? 0) >= MAX_GATHERED_IDS;
  }

  #isOverflowing(): boolean {
    const held = this.#held;
    const characters = held?.t === "delta" ? held.text.length : (held?.arguments?.length ?? 0);
    return characters > MAX_WAITING_CHARACTERS || (held?.tokenIds.length ?? 0) > MAX_WAITING_IDS;
  }
}

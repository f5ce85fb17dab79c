import {
  answerHello,
  Failure,
  FrameOpener,
  FrameSealer,
  parseClientHello,
  SESSION_LIFETIME_SECONDS,
  STREAMS_PER_SESSION,
  toHex,
  type ClientHello,
  type PendingSession,
  type Session,
} from "../../protocol/index.ts";
import { unixSeconds, type Clock } from "./clock.ts";
import type { Identity } from "./identity.ts";

/** The worker's half of ACN/1 §3.3: greetings answered, sessions kept until they end. */
export interface Sessions {
  /**
   * The WorkerHello for a ClientHello that came for a live reservation.
   *
   * @throws {Failure} in this order: `rate_limited`, `bad_hello`, `reservation_unknown`, `unknown_worker`,
   *   `evidence_stale`, `model_unavailable`, `clock_skew`, `replay`, `busy`.
   */
  hello(gateway: string, isReservationLive: boolean, clientHello: Uint8Array): Promise<Uint8Array>;
  /** @throws {Failure} in this order: `session_unknown`, `session_expired`, `replay`, `frame_limit`. */
  openStream(gateway: string, sessionId: string, streamId: number): SessionStream;
  /** Ends what has expired or was never completed. Called every now and then. */
  sweep(): void;
  readonly size: number;
}

/** One stream's part of a session. */
export interface SessionStream {
  readonly sessionId: string;
  readonly streamId: number;
  /** Lowercase hex: the model the client greeted for. */
  readonly manifestRoot: string;
  /** Whether the first message of this stream is `enc`. */
  readonly awaitsEnc: boolean;
  /** Takes the `enc`; a session whose `enc` is bad has ended. @throws {Failure} `bad_frame`, `decrypt_failed`. */
  complete(enc: Uint8Array): Promise<void>;
  /** Resolves once the session is complete. @throws {Failure} `session_unknown` when it never will be. */
  keys(): Promise<{ readonly opener: FrameOpener; readonly sealer: FrameSealer }>;
  /** The route ended before its `enc`: nobody will ever complete this session. */
  abandon(): void;
}

export interface SessionsOptions {
  readonly identity: Identity;
  readonly clock: Clock;
  /** Fresh random bytes. */
  readonly random: (length: number) => Uint8Array;
  readonly isEvidenceKnown: (evidenceHash: string) => boolean;
  readonly isServed: (manifestRoot: string) => boolean;
  /** Whether new sessions are taken at all. */
  readonly isDraining: () => boolean;
  readonly onEnd: (sessionId: string, manifestRoot: string) => void;
}

const HANDSHAKES_PER_SECOND = 20;
const CLOCK_WINDOW_SECONDS = 120;
const NONCE_MEMORY_SECONDS = 300;
/** A session costs about 2 KB, its ephemeral key 2.4 KB more until `enc` comes. */
const MAX_SESSIONS = 4096;
const ENC_SECONDS = 60;

interface Entry {
  readonly gateway: string;
  readonly manifestRoot: string;
  readonly bornAt: number;
  readonly expiresAt: number;
  readonly completed: Promise<Session>;
  readonly pending: PendingSession;
  readonly resolve: (session: Session) => void;
  readonly reject: (failure: Failure) => void;
  isComplete: boolean;
  lastStreamId: number;
  streams: number;
}

export function createSessions(options: SessionsOptions): Sessions {
  return new WorkerSessions(options);
}

class WorkerSessions implements Sessions {
  readonly #options: SessionsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #nonces: NonceMemory = nonceMemory(NONCE_MEMORY_SECONDS);
  readonly #allowance: () => boolean;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#allowance = allowancePerSecond(HANDSHAKES_PER_SECOND, options.clock);
  }

  get size(): number {
    return this.#entries.size;
  }

  async hello(gateway: string, isReservationLive: boolean, clientHello: Uint8Array): Promise<Uint8Array> {
    const { identity, clock, random } = this.#options;
    const hello = this.#check(isReservationLive, clientHello);
    const now = unixSeconds(clock);
    const pending = await answerHello(clientHello, { sign: identity.sign, now, random });
    const { promise, resolve, reject } = Promise.withResolvers<Session>();
    promise.catch(() => undefined); // a session nobody waits for may end unseen
    this.#entries.set(pending.sessionId, {
      gateway,
      manifestRoot: hello.manifestRoot,
      bornAt: now,
      expiresAt: now + SESSION_LIFETIME_SECONDS,
      completed: promise,
      pending,
      resolve,
      reject,
      isComplete: false,
      lastStreamId: 0,
      streams: 0,
    });
    return pending.message;
  }

  openStream(gateway: string, sessionId: string, streamId: number): SessionStream {
    const entry = this.#entries.get(sessionId);
    if (entry?.gateway !== gateway) throw new Failure("session_unknown");
    if (entry.expiresAt <= unixSeconds(this.#options.clock)) throw new Failure("session_expired");
    if (streamId <= entry.lastStreamId) throw new Failure("replay", "stream ids rise strictly");
    if (entry.streams >= STREAMS_PER_SESSION) throw new Failure("frame_limit", "too many streams in one session");
    const awaitsEnc = entry.streams === 0;
    entry.lastStreamId = streamId;
    entry.streams++;
    return {
      sessionId,
      streamId,
      manifestRoot: entry.manifestRoot,
      awaitsEnc,
      complete: (enc) => this.#complete(sessionId, entry, enc),
      keys: async () => {
        const session = await entry.completed;
        const [up, down] = await Promise.all([session.streamKeys(0, streamId), session.streamKeys(1, streamId)]);
        return { opener: new FrameOpener(up), sealer: new FrameSealer(down) };
      },
      abandon: () => {
        if (awaitsEnc && !entry.isComplete) this.#end(sessionId, entry);
      },
    };
  }

  sweep(): void {
    const now = unixSeconds(this.#options.clock);
    for (const [sessionId, entry] of this.#entries) {
      const isNeverCompleted = !entry.isComplete && now - entry.bornAt > ENC_SECONDS;
      if (entry.expiresAt <= now || isNeverCompleted) this.#end(sessionId, entry);
    }
    this.#nonces.sweep(now);
  }

  /** The order of ACN/1 §3.6 "CH". */
  #check(isReservationLive: boolean, bytes: Uint8Array): ClientHello {
    const { identity, clock, isEvidenceKnown, isServed, isDraining } = this.#options;
    refuseUnless(this.#allowance(), "rate_limited");
    const hello = parseClientHello(bytes);
    const now = unixSeconds(clock);
    refuseUnless(isReservationLive, "reservation_unknown");
    refuseUnless(hello.workerId === identity.workerId, "unknown_worker");
    refuseUnless(isEvidenceKnown(hello.evidenceHash), "evidence_stale");
    refuseUnless(isServed(hello.manifestRoot), "model_unavailable");
    refuseUnless(Math.abs(hello.time - now) <= CLOCK_WINDOW_SECONDS, "clock_skew");
    refuseUnless(this.#nonces.isNew(toHex(hello.clientNonce), now), "replay");
    refuseUnless(!isDraining() && this.#entries.size < MAX_SESSIONS, "busy");
    return hello;
  }

  async #complete(sessionId: string, entry: Entry, enc: Uint8Array): Promise<void> {
    try {
      const session = await entry.pending.complete(enc);
      entry.isComplete = true;
      entry.resolve(session);
    } catch (error) {
      this.#end(sessionId, entry);
      throw error;
    }
  }

  #end(sessionId: string, entry: Entry): void {
    if (!this.#entries.delete(sessionId)) return;
    entry.reject(new Failure("session_unknown"));
    this.#options.onEnd(sessionId, entry.manifestRoot);
  }
}

function refuseUnless(holds: boolean, code: Failure["code"]): void {
  if (!holds) throw new Failure(code);
}

/** At most so many in any second, with as many at once after a quiet one. */
function allowancePerSecond(limit: number, clock: Clock): () => boolean {
  let tokens = limit;
  let filledAt = clock.elapsed();
  return () => {
    const now = clock.elapsed();
    tokens = Math.min(limit, tokens + ((now - filledAt) * limit) / 1000);
    filledAt = now;
    if (tokens < 1) return false;
    tokens--;
    return true;
  };
}

interface NonceMemory {
  /** Remembers it. Bounded by the rate limit in front: 20 a second for 300 seconds. */
  isNew(nonce: string, now: number): boolean;
  sweep(now: number): void;
}

function nonceMemory(seconds: number): NonceMemory {
  const seen = new Map<string, number>();
  const sweep = (now: number): void => {
    for (const [nonce, at] of seen) {
      if (now - at <= seconds) return; // oldest first: the rest is younger
      seen.delete(nonce);
    }
  };
  return {
    isNew(nonce, now) {
      sweep(now);
      if (seen.has(nonce)) return false;
      seen.set(nonce, now);
      return true;
    },
    sweep,
  };
}

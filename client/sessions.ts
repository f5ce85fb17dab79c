import {
  encodeClientHello,
  Failure,
  openSession,
  STREAMS_PER_SESSION,
  type FailureCode,
  type Session,
  type StreamKeys,
} from "../protocol/index.ts";
import type { Link, Route } from "./link.ts";
import type { Signatures } from "./signing.ts";
import type { VerifiedCandidate } from "./trust.ts";

/** Sessions kept warm, one a worker and model, so that most requests need no handshake. */
export interface Sessions {
  /** A place in a session with this worker. @throws {Failure} those of a handshake (ACN/1 §3.6 *CH*, *WH*). */
  take(candidate: VerifiedCandidate, reservationId: string): Promise<StreamPlace>;
}

/** One stream of one session. */
export interface StreamPlace {
  readonly session: Session;
  readonly streamId: number;
  readonly up: StreamKeys;
  readonly down: StreamKeys;
  /** To be sent alone before the first frame, on a session's first stream only. */
  readonly enc: Uint8Array | undefined;
  /** The enc has left: the streams that wait for it may follow. */
  started(): void;
  /** Bytes of the worker opened: it has the session. */
  proven(): void;
  /** The stream failed. A session that never worked, or that the worker has forgotten, is not used again. */
  failed(code: FailureCode): void;
}

export interface SessionsOptions {
  readonly link: Link;
  /** Unix ms. */
  readonly now: () => number;
  readonly random: (length: number) => Uint8Array;
  readonly verify: Signatures["verify"];
}

/** A session this close to its end is not used for new streams. */
const SPARE_SECONDS = 30;
const HELLO_TIMEOUT_MS = 10_000;

interface WarmSession {
  readonly session: Session;
  readonly enc: Uint8Array;
  /** Settles when enc was sent, or never will be. */
  readonly start: PromiseWithResolvers<undefined>;
  streams: number;
  isProven: boolean;
  /** Keys of the next stream, derived while nobody waits. */
  ahead: Promise<KeyPair> | undefined;
  /** Settles once every earlier stream has its keys: streams are opened in the order of their ids, or a worker refuses. */
  turn: Promise<unknown>;
}

interface KeyPair {
  readonly streamId: number;
  readonly up: StreamKeys;
  readonly down: StreamKeys;
}

export function createSessions({ link, now, random, verify }: SessionsOptions): Sessions {
  const sessions = new Map<string, Promise<WarmSession>>();

  async function greet(candidate: VerifiedCandidate, reservationId: string): Promise<WarmSession> {
    const { worker, offer } = candidate;
    if (worker.tier === "tpm") throw new Failure("policy_denied", "this build cannot challenge a TPM");
    const hello = encodeClientHello({
      clientNonce: random(32),
      workerId: worker.workerId,
      evidenceHash: worker.evidenceHash,
      manifestRoot: offer.manifestRoot,
      time: Math.floor(now() / 1000),
      tpmChallenge: new Uint8Array(),
    });
    const answer = await exchangeHello(link, { reservationId, workerId: worker.workerId }, hello);
    const { session, enc } = await openSession(worker, hello, answer, Math.floor(now() / 1000), verify);
    const start = Promise.withResolvers<undefined>();
    start.promise.catch(() => undefined); // nobody may be waiting for it
    return { session, enc, start, streams: 0, isProven: false, ahead: undefined, turn: Promise.resolve() };
  }

  function greetOnce(name: string, candidate: VerifiedCandidate, reservationId: string): Promise<WarmSession> {
    const greeting = greet(candidate, reservationId);
    sessions.set(name, greeting);
    greeting.catch(() => {
      if (sessions.get(name) === greeting) sessions.delete(name);
    });
    return greeting;
  }

  function isUsable(session: WarmSession): boolean {
    return session.streams < STREAMS_PER_SESSION && session.session.expiresAt - SPARE_SECONDS > now() / 1000;
  }

  return {
    async take(candidate, reservationId) {
      const { worker, offer } = candidate;
      const name = `${worker.workerId}/${worker.evidenceHash}/${offer.manifestRoot}`;
      let greeting = sessions.get(name) ?? greetOnce(name, candidate, reservationId);
      let session = await greeting;
      while (!isUsable(session)) {
        if (sessions.get(name) === greeting) sessions.delete(name);
        greeting = sessions.get(name) ?? greetOnce(name, candidate, reservationId);
        session = await greeting;
      }
      // From here on every stream takes the same steps, so that none overtakes one with a lower id.
      const isFirst = session.streams++ === 0;
      const streamId = session.streams;
      const inTurn = Promise.all([keysOf(session, streamId), session.turn]);
      session.turn = inTurn.catch(() => undefined);
      const [keys] = await inTurn;
      if (!isFirst) await session.start.promise;
      return {
        session: session.session,
        ...keys,
        enc: isFirst ? session.enc : undefined,
        started: () => session.start.resolve(undefined),
        proven() {
          session.isProven = true;
        },
        failed(code) {
          const isLost = code === "session_unknown" || code === "session_expired";
          if (session.isProven && !isLost) return;
          session.start.reject(new Failure("session_unknown"));
          if (sessions.get(name) === greeting) sessions.delete(name);
        },
      };
    },
  };
}

/** Derives this stream's keys, and the next one's before anybody asks. */
async function keysOf(warm: WarmSession, streamId: number): Promise<KeyPair> {
  const ahead = await warm.ahead;
  const keys = ahead?.streamId === streamId ? ahead : await deriveKeys(warm.session, streamId);
  warm.ahead = deriveKeys(warm.session, streamId + 1);
  warm.ahead.catch(() => undefined); // derived again, and reported, when it is needed
  return keys;
}

async function deriveKeys(session: Session, streamId: number): Promise<KeyPair> {
  const [up, down] = await Promise.all([session.streamKeys(0, streamId), session.streamKeys(1, streamId)]);
  return { streamId, up, down };
}

/** Sends a ClientHello over a route of its own; resolves with the one message that answers it. */
function exchangeHello(
  link: Link,
  to: { readonly reservationId: string; readonly workerId: string },
  hello: Uint8Array,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let route: Route | undefined;
    const timer = setTimeout(() => {
      route?.close("cancelled");
      end(() => reject(new Failure("no_worker", "the worker did not answer the greeting")));
    }, HELLO_TIMEOUT_MS);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      route?.forget();
      settle();
    };
    link.openRoute(
      { type: "hello", ...to },
      {
        opened(opened) {
          route = opened;
          opened.send(hello);
        },
        bytes: (bytes) => end(() => resolve(bytes.slice())),
        closed: (failure) => end(() => reject(failure)),
      },
    );
  });
}

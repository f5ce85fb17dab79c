import { randomBytes } from "node:crypto";
import assert from "node:assert/strict";
import {
  ABORT,
  abortCode,
  concat,
  DATA,
  DEMO_POLICY,
  encodeClientHello,
  encodeSealedRequest,
  FIN,
  FrameOpener,
  FrameSealer,
  MAX_FRAME_DATA,
  offerHashOf,
  openSession,
  parseEvidence,
  parseOffer,
  parseSealedEnd,
  parseSealedEvent,
  verifyEvidence,
  workerIdOf,
  type ClientHello,
  type FailureCode,
  type SealedEnd,
  type SealedEvent,
  type SealedRequest,
  type Session,
} from "../../protocol/index.ts";
import type { FakeGateway } from "./gateway.fake.ts";

/** A client behind a fake gateway: greets, seals and opens as a real one does, and can be told to misbehave. */
export interface FakeSession {
  readonly session: Session;
  readonly enc: Uint8Array;
  readonly manifestRoot: string;
  readonly offerHash: string;
  streams: number;
}

export interface Reply {
  readonly events: SealedEvent[];
  readonly text: string;
  readonly end: SealedEnd | undefined;
  readonly aborted: FailureCode | undefined;
  /** What the worker told the gateway, when it closed the route. */
  readonly closed: FailureCode | undefined;
  readonly frames: Uint8Array[];
}

export interface FakeStream {
  readonly routeId: number;
  readonly reservationId: string;
  readonly sealer: FrameSealer;
  /** Every request frame as sent. */
  readonly sent: Uint8Array[];
  sendFrame(frame: Uint8Array): void;
  sendRequest(request: Uint8Array): void;
  /** The next opened event, or the end. */
  reply(): Promise<Reply>;
  /** The next frame, opened; undefined when the worker closed the route. */
  next(): Promise<{ readonly type: number; readonly data: Uint8Array } | undefined>;
}

let lastReservation = 0;

export function newReservationId(): string {
  return `reservation-${++lastReservation}`;
}

/** What an honest client would send now. */
export async function clientHelloFor(gateway: FakeGateway, overrides: Partial<ClientHello> = {}): Promise<Uint8Array> {
  const offer = await gateway.heardOne("offer");
  const { ik, manifestRoot } = parseOffer(offer.offer);
  return encodeClientHello({
    clientNonce: randomBytes(32),
    workerId: workerIdOf(ik),
    evidenceHash: offer.evidenceHash,
    manifestRoot,
    time: Math.floor(Date.now() / 1000),
    tpmChallenge: new Uint8Array(),
    ...overrides,
  });
}

/** The WorkerHello, or the code it was refused with. */
export async function sendHello(gateway: FakeGateway, clientHello: Uint8Array): Promise<Uint8Array | FailureCode> {
  const routeId = gateway.newRouteId();
  gateway.send({ type: "route", kind: "hello", routeId, reservationId: newReservationId() });
  gateway.sendBytes(routeId, clientHello);
  const answer = await gateway.nextBytes(routeId);
  return answer instanceof Uint8Array ? answer : answer.code;
}

export async function greet(gateway: FakeGateway): Promise<FakeSession> {
  const offer = await gateway.heardOne("offer");
  const { ik, manifestRoot } = parseOffer(offer.offer);
  const now = Math.floor(Date.now() / 1000);
  const document = gateway.evidence.get(offer.evidenceHash);
  assert.ok(document, "the evidence was left before the offer");
  assert.equal(parseEvidence(document).claims.models[0]?.manifestRoot, manifestRoot);
  const worker = await verifyEvidence(document, DEMO_POLICY, {
    now,
    expected: { evidenceHash: offer.evidenceHash, workerId: workerIdOf(ik) },
    beacon: null,
  });
  const clientHello = await clientHelloFor(gateway);
  const message = await sendHello(gateway, clientHello);
  assert.ok(message instanceof Uint8Array, `refused: ${String(message)}`);
  const { enc, session } = await openSession(worker, clientHello, message, now);
  return { session, enc, manifestRoot, offerHash: offerHashOf(offer.offer), streams: 0 };
}

export interface StreamOverrides {
  readonly maxPromptBytes?: number;
  readonly maxCompletionTokens?: number;
  readonly streamId?: number;
  readonly reservationId?: string;
  readonly sessionId?: string;
  readonly offerHash?: string;
  readonly manifestRoot?: string;
}

/** Opens a stream; the first of a session sends `enc`. */
export async function openStream(
  gateway: FakeGateway,
  fake: FakeSession,
  overrides: StreamOverrides = {},
): Promise<FakeStream> {
  const routeId = gateway.newRouteId();
  const reservationId = overrides.reservationId ?? newReservationId();
  const isFirst = fake.streams === 0;
  const streamId = overrides.streamId ?? fake.streams + 1;
  fake.streams = Math.max(fake.streams, streamId);
  gateway.send({
    type: "route",
    kind: "stream",
    routeId,
    reservationId,
    sessionId: overrides.sessionId ?? fake.session.sessionId,
    streamId,
    manifestRoot: overrides.manifestRoot ?? fake.manifestRoot,
    offerHash: overrides.offerHash ?? fake.offerHash,
    maxPromptBytes: overrides.maxPromptBytes ?? 4096,
    maxCompletionTokens: overrides.maxCompletionTokens ?? 100,
  });
  if (isFirst) gateway.sendBytes(routeId, fake.enc);
  const sealer = new FrameSealer(await fake.session.streamKeys(0, streamId));
  const opener = new FrameOpener(await fake.session.streamKeys(1, streamId));
  const sent: Uint8Array[] = [];
  const frames: Uint8Array[] = [];
  let closed: FailureCode | undefined;
  const stream: FakeStream = {
    routeId,
    reservationId,
    sealer,
    sent,
    sendFrame(frame) {
      sent.push(frame);
      gateway.sendBytes(routeId, frame);
    },
    sendRequest(request) {
      for (let at = 0; at < request.length; at += MAX_FRAME_DATA) {
        stream.sendFrame(sealer.seal(request.subarray(at, at + MAX_FRAME_DATA), DATA));
      }
      stream.sendFrame(sealer.seal(new Uint8Array(), FIN));
    },
    async next() {
      const message = await gateway.nextBytes(routeId);
      if (!(message instanceof Uint8Array)) {
        closed = message.code;
        return undefined;
      }
      frames.push(message);
      return opener.open(message);
    },
    async reply() {
      const events: SealedEvent[] = [];
      let text = "";
      for (;;) {
        const frame = await stream.next();
        if (frame === undefined) return { events, text, end: undefined, aborted: undefined, closed, frames };
        if (frame.type === FIN) {
          return { events, text, end: parseSealedEnd(frame.data), aborted: undefined, closed, frames };
        }
        if (frame.type === ABORT) {
          return { events, text, end: undefined, aborted: abortCode(frame.data), closed, frames };
        }
        const event = parseSealedEvent(frame.data);
        events.push(event);
        if (event.t === "delta") text += event.text;
      }
    },
  };
  return stream;
}

export function requestFor(fake: FakeSession, stream: FakeStream, overrides: Partial<SealedRequest> = {}): Uint8Array {
  const request = {
    v: 1 as const,
    path: "/v1/chat/completions" as const,
    body: { model: "scripted", messages: [{ role: "user" as const, content: "Say something." }] },
    maxTokens: 50,
    reservationId: stream.reservationId,
    offerHash: fake.offerHash,
    ...overrides,
  };
  return encodeSealedRequest(request as SealedRequest);
}

/** One question and its whole answer. */
export async function ask(
  gateway: FakeGateway,
  fake: FakeSession,
  overrides: { readonly stream?: StreamOverrides; readonly request?: Partial<SealedRequest> } = {},
): Promise<Reply> {
  const stream = await openStream(gateway, fake, overrides.stream);
  stream.sendRequest(requestFor(fake, stream, overrides.request));
  return stream.reply();
}

export function joinFrames(frames: readonly Uint8Array[]): Uint8Array {
  return concat(...frames);
}

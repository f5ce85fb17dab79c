import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { codeOf, encodeClientHello, type ClientHello } from "../../protocol/index.ts";
import { fakeClock } from "./clock.fake.ts";
import { identityOf } from "./identity.ts";
import { createSessions } from "./sessions.ts";

const identity = identityOf(new Uint8Array(32).fill(6));
const HASH = "ab".repeat(32);

function serving() {
  const clock = fakeClock();
  const ended: string[] = [];
  let isDraining = false;
  const sessions = createSessions({
    identity,
    clock,
    random: randomBytes,
    isEvidenceKnown: () => true,
    isServed: () => true,
    isDraining: () => isDraining,
    onEnd: (sessionId) => ended.push(sessionId),
  });
  const hello = (overrides: Partial<ClientHello> = {}): Uint8Array =>
    encodeClientHello({
      clientNonce: randomBytes(32),
      workerId: identity.workerId,
      evidenceHash: HASH,
      manifestRoot: HASH,
      time: Math.floor(clock.now() / 1000),
      tpmChallenge: new Uint8Array(),
      ...overrides,
    });
  const greet = async (bytes = hello(), isLive = true): Promise<string> => {
    const message = await sessions.hello("gateway", isLive, bytes);
    return Buffer.from(message.subarray(37, 53)).toString("hex");
  };
  const drain = (): void => {
    isDraining = true;
  };
  return { clock, sessions, ended, hello, greet, drain };
}

test("a session whose enc never comes is ended after a minute, and the engine is told to forget it", async () => {
  const { clock, sessions, ended, greet } = serving();
  const sessionId = await greet();
  clock.advance(61_000);
  sessions.sweep();
  assert.deepEqual(ended, [sessionId]);
  assert.throws(() => sessions.openStream("gateway", sessionId, 1), { code: "session_unknown" });
});

test("a session expires after an hour", async () => {
  const { clock, sessions, greet } = serving();
  const sessionId = await greet();
  clock.advance(3_600_000);
  assert.throws(() => sessions.openStream("gateway", sessionId, 1), { code: "session_expired" });
});

test("a session belongs to the gateway it was opened through", async () => {
  const { sessions, greet } = serving();
  const sessionId = await greet();
  assert.throws(() => sessions.openStream("another gateway", sessionId, 1), { code: "session_unknown" });
});

test("stream ids rise strictly, and a session has at most 1024 streams", async () => {
  const { sessions, greet } = serving();
  const sessionId = await greet();
  for (let id = 1; id <= 1024; id++) sessions.openStream("gateway", sessionId, id * 2);
  assert.throws(() => sessions.openStream("gateway", sessionId, 2048), { code: "replay" });
  assert.throws(() => sessions.openStream("gateway", sessionId, 2049), { code: "frame_limit" });
});

test("a first stream that goes before its enc takes the session with it", async () => {
  const { sessions, ended, greet } = serving();
  const sessionId = await greet();
  const stream = sessions.openStream("gateway", sessionId, 1);
  const second = sessions.openStream("gateway", sessionId, 2);
  stream.abandon();
  await assert.rejects(second.keys(), { code: "session_unknown" });
  assert.deepEqual(ended, [sessionId]);
});

test("a nonce is remembered for as long as its greeting could be accepted again", async () => {
  const { clock, sessions, hello, greet } = serving();
  const bytes = hello({ time: Math.floor(clock.now() / 1000) + 120 });
  await greet(bytes);
  for (const seconds of [1, 119, 120]) {
    clock.advance(seconds * 1000);
    await assert.rejects(sessions.hello("gateway", true, bytes), { code: "replay" });
  }
  clock.advance(1000);
  await assert.rejects(sessions.hello("gateway", true, bytes), { code: "clock_skew" });
});

test("twenty greetings a second are answered, whatever comes on top", async () => {
  const { clock, sessions, hello } = serving();
  const knock = (): Promise<string> =>
    sessions.hello("gateway", true, hello({ time: 0 })).then(
      () => "answered",
      (error: unknown) => codeOf(error),
    );
  const count = async (): Promise<number> => {
    const codes = await Promise.all(Array.from({ length: 100 }, knock));
    return codes.filter((code) => code === "clock_skew").length;
  };
  assert.equal(await count(), 20);
  clock.advance(500);
  assert.equal(await count(), 10);
  clock.advance(60_000);
  assert.equal(await count(), 20);
});

test("a greeting is judged in the order of the specification", async () => {
  const { sessions, hello, drain } = serving();
  drain();
  const bytes = hello();
  const judged = async (isLive: boolean, change: Partial<ClientHello>): Promise<string> =>
    sessions.hello("gateway", isLive, hello(change)).then(
      () => "answered",
      (error: unknown) => codeOf(error),
    );
  assert.equal(await judged(false, { workerId: HASH }), "reservation_unknown");
  assert.equal(await judged(true, { workerId: HASH, time: 0 }), "unknown_worker");
  assert.equal(await judged(true, { time: 0 }), "clock_skew");
  await assert.rejects(sessions.hello("gateway", true, bytes), { code: "busy" });
  await assert.rejects(sessions.hello("gateway", true, bytes), { code: "replay" });
});

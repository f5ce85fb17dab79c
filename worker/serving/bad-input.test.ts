import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { afterEach, test } from "node:test";
import {
  concat,
  FIN,
  FrameSealer,
  parseReceipt,
  toHex,
  utf8,
  type FailureCode,
  type SealedRequest,
  type StreamKeys,
} from "../../protocol/index.ts";
import {
  ask,
  clientHelloFor,
  greet,
  openStream,
  requestFor,
  sendHello,
  type FakeSession,
  type FakeStream,
  type StreamOverrides,
} from "./client.fake.ts";
import { fakeEngine, sayWords, type FakeJob } from "./engine.fake.ts";
import { startPair, statusWhere, type TestServing } from "./serving.fake.ts";
import type { FakeGateway } from "./gateway.fake.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(overrides: Parameters<typeof startPair>[0] = {}): Promise<TestServing & { gateway: FakeGateway }> {
  const pair = await startPair(overrides);
  cleanups.push(() => pair.stop());
  return pair;
}

/** The job the engine gets next. */
function nextJob({ engine }: TestServing): Promise<FakeJob> {
  return new Promise((resolve) => {
    engine.onJob = resolve;
  });
}

// Greetings: each wrong thing has its code, in the order of ACN/1 §3.6.

const hash = toHex(new Uint8Array(32).fill(9));
const badHellos: {
  readonly name: string;
  readonly change: Parameters<typeof clientHelloFor>[1];
  readonly code: FailureCode;
}[] = [
  { name: "for another worker", change: { workerId: hash }, code: "unknown_worker" },
  { name: "with old evidence", change: { evidenceHash: hash }, code: "evidence_stale" },
  { name: "for a model that is not served", change: { manifestRoot: hash }, code: "model_unavailable" },
  { name: "with a clock ten minutes ahead", change: { time: Math.floor(Date.now() / 1000) + 600 }, code: "clock_skew" },
  {
    name: "with a clock ten minutes behind",
    change: { time: Math.floor(Date.now() / 1000) - 600 },
    code: "clock_skew",
  },
  { name: "wrong in every way", change: { workerId: hash, evidenceHash: hash, time: 0 }, code: "unknown_worker" },
];
for (const { name, change, code } of badHellos) {
  test(`a greeting ${name} is refused with ${code}`, async () => {
    const { gateway } = await start();
    assert.equal(await sendHello(gateway, await clientHelloFor(gateway, change)), code);
  });
}

test("a greeting that is none is refused with bad_hello, whatever its bytes", async () => {
  const { gateway } = await start();
  const hello = await clientHelloFor(gateway);
  for (const bytes of [new Uint8Array(), randomBytes(145), hello.subarray(0, 144), concat(hello, new Uint8Array(1))]) {
    assert.equal(await sendHello(gateway, bytes), "bad_hello");
  }
});

test("a replayed greeting is refused", async () => {
  const { gateway } = await start();
  const hello = await clientHelloFor(gateway);
  assert.ok((await sendHello(gateway, hello)) instanceof Uint8Array);
  assert.equal(await sendHello(gateway, hello), "replay");
});

test("more than twenty greetings in a second are refused with rate_limited", async () => {
  const { gateway } = await start();
  const hello = await clientHelloFor(gateway, { workerId: hash });
  const answers = await Promise.all(Array.from({ length: 40 }, () => sendHello(gateway, hello)));
  const limited = answers.filter((answer) => answer === "rate_limited").length;
  // A second refills all twenty; a busy test machine may take a good part of one.
  assert.ok(limited > 0 && limited <= 20, `${limited} of 40`);
});

test("a greeting for a reservation that had its stream is refused", async () => {
  const { gateway, engine } = await start();
  engine.onJob = sayWords("done");
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  stream.sendRequest(requestFor(session, stream));
  await stream.reply();
  const routeId = gateway.newRouteId();
  gateway.send({ type: "route", kind: "hello", routeId, reservationId: stream.reservationId });
  const answer = await gateway.nextBytes(routeId);
  assert.equal(answer instanceof Uint8Array ? "answered" : answer.code, "reservation_unknown");
});

// Streams

const badStreams: { readonly name: string; readonly change: StreamOverrides; readonly code: FailureCode }[] = [
  { name: "of an unknown session", change: { sessionId: "00".repeat(16) }, code: "session_unknown" },
  { name: "with a stream id that was used", change: { streamId: 1 }, code: "replay" },
  { name: "under an offer never made", change: { offerHash: hash }, code: "reservation_unknown" },
  { name: "for another model than the offer's", change: { manifestRoot: hash }, code: "reservation_unknown" },
];
for (const { name, change, code } of badStreams) {
  test(`a stream ${name} is refused with ${code}`, async () => {
    const { gateway, engine } = await start();
    engine.onJob = sayWords("fine");
    const session = await greet(gateway);
    assert.equal((await ask(gateway, session)).text, "fine");
    const stream = await openStream(gateway, session, change);
    assert.equal((await stream.reply()).closed, code);
    assert.equal((await ask(gateway, session)).text, "fine", "the session goes on");
  });
}

test("one reservation has one stream", async () => {
  const { gateway, engine } = await start();
  engine.onJob = sayWords("once");
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  stream.sendRequest(requestFor(session, stream));
  await stream.reply();
  const second = await openStream(gateway, session, { reservationId: stream.reservationId });
  assert.equal((await second.reply()).closed, "reservation_unknown");
});

test("an enc that opens nothing ends the session", async () => {
  const { gateway } = await start();
  const session = await greet(gateway);
  const broken: FakeSession = { ...session, enc: session.enc.map((byte) => byte ^ 1) };
  const stream = await openStream(gateway, broken);
  stream.sendRequest(requestFor(session, stream));
  const reply = await stream.reply().catch(() => undefined);
  // X-Wing rejects implicitly: the keys differ, so the first frame is what fails to open.
  assert.ok(reply?.closed === "decrypt_failed" || reply === undefined);
  const short = await greet(gateway);
  const cut = await openStream(gateway, { ...short, enc: short.enc.subarray(1) });
  assert.equal((await cut.reply()).closed, "bad_frame");
});

// Frames of a request: altered on the way, or by the client itself

type Tamper = (context: {
  stream: FakeStream;
  other: FakeStream;
  frames: Uint8Array[];
  down: StreamKeys;
}) => readonly Uint8Array[];

const tampered: { readonly name: string; readonly tamper: Tamper; readonly code: FailureCode }[] = [
  { name: "cut short", tamper: ({ frames }) => frames.map((frame) => frame.subarray(0, -1)), code: "bad_frame" },
  {
    name: "with a byte flipped",
    tamper: ({ frames }) => frames.map((frame) => flip(frame, 20)),
    code: "decrypt_failed",
  },
  {
    name: "with its type flipped",
    tamper: ({ frames }) => frames.map((frame) => flip(frame, 4)),
    code: "decrypt_failed",
  },
  { name: "of an unknown type", tamper: ({ frames }) => frames.map((frame) => flip(frame, 4, 8)), code: "bad_frame" },
  { name: "in another order", tamper: ({ frames }) => frames.toReversed(), code: "decrypt_failed" },
  { name: "sent twice", tamper: ({ frames }) => frames.flatMap((frame) => [frame, frame]), code: "decrypt_failed" },
  { name: "with one left out", tamper: ({ frames }) => frames.slice(1), code: "decrypt_failed" },
  { name: "of another stream", tamper: ({ other }) => [other.sealer.seal(utf8("{}"))], code: "decrypt_failed" },
  {
    name: "sealed for the other direction",
    tamper: ({ down }) => [new FrameSealer(down).seal(utf8("{}"))],
    code: "decrypt_failed",
  },
  { name: "that is empty", tamper: () => [new Uint8Array()], code: "bad_frame" },
  { name: "longer than any frame", tamper: () => [new Uint8Array(65_558)], code: "reservation_exceeded" },
  { name: "of random bytes", tamper: () => [randomBytes(81)], code: "bad_frame" },
  { name: "whose end carries data", tamper: ({ stream }) => [stream.sealer.seal(utf8("x"), FIN)], code: "bad_message" },
];
for (const { name, tamper, code } of tampered) {
  test(`a request frame ${name} is refused with ${code}, and nothing is generated`, async () => {
    const { gateway, engine } = await start();
    const session = await greet(gateway);
    const stream = await openStream(gateway, session);
    const other = await openStream(gateway, session);
    const down = await session.session.streamKeys(1, 1);
    const request = requestFor(session, stream);
    const half = Math.ceil(request.length / 2);
    const frames = [
      stream.sealer.seal(request.subarray(0, half)),
      stream.sealer.seal(request.subarray(half)),
      stream.sealer.seal(new Uint8Array(), FIN),
    ];
    const fresh = { ...stream, sealer: new FrameSealer(await session.session.streamKeys(0, 1)) };
    for (const frame of tamper({ stream: fresh, other, frames, down })) stream.sendFrame(frame);
    const reply = await stream.reply();
    assert.equal(reply.aborted, code);
    assert.equal(engine.jobs.length, 0);
    assert.equal(gateway.heard.filter(({ type }) => type === "receipt").length, 0, "and nothing is charged");
  });
}

test("a changed request never reaches an engine, and the session survives it", async () => {
  const { gateway, engine } = await start();
  const session = await greet(gateway);
  const random = seeded(42);
  const codes = new Set<string>();
  for (let round = 0; round < 25; round++) {
    const stream = await openStream(gateway, session);
    const frame = stream.sealer.seal(requestFor(session, stream));
    stream.sendFrame(mutated(frame, random));
    codes.add((await stream.reply()).aborted ?? "none");
  }
  for (const code of codes) assert.match(code, /^(bad_frame|decrypt_failed)$/);
  assert.equal(engine.jobs.length, 0);
  engine.onJob = sayWords("intact");
  assert.equal((await ask(gateway, session)).text, "intact");
});

test("a frame after the end of a request stops the answer; what was delivered is charged as failed", async () => {
  const serving = await start();
  const { gateway } = serving;
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  const playing = nextJob(serving);
  stream.sendRequest(requestFor(session, stream));
  const job = await playing;
  job.started(4);
  job.delta("some", 1);
  await stream.next();
  stream.sendFrame(randomBytes(81));
  assert.equal((await stream.reply()).aborted, "data_after_fin");
  assert.ok(job.isCancelled);
  const { receipt } = await gateway.heardOne("receipt");
  const { finish, usage } = parseReceipt(receipt);
  assert.deepEqual(
    { finish, usage },
    { finish: "failed", usage: { promptTokens: 4, cachedTokens: 0, completionTokens: 1 } },
  );
});

// Requests that open and are not what was reserved

const refusedRequests: {
  readonly name: string;
  readonly stream?: StreamOverrides;
  readonly request?: object;
  readonly code: FailureCode;
}[] = [
  { name: "is longer than reserved", stream: { maxPromptBytes: 100 }, code: "reservation_exceeded" },
  { name: "names another reservation", request: { reservationId: "another" }, code: "reservation_mismatch" },
  { name: "names another offer", request: { offerHash: hash }, code: "reservation_mismatch" },
  { name: "asks for more tokens than reserved", request: { maxTokens: 101 }, code: "reservation_exceeded" },
  { name: "has an unknown outer field", request: { surprise: 1 }, code: "bad_message" },
  {
    name: "has an unsupported field",
    request: { body: { model: "m", messages: [], logit_bias: {} } },
    code: "unsupported_field",
  },
  { name: "asks for another path", request: { path: "/v1/embeddings" }, code: "bad_message" },
  {
    name: "is wrong in body and reservation",
    request: { reservationId: "another", body: { logit_bias: {} } },
    code: "reservation_mismatch",
  },
];
for (const { name, stream: change = {}, request: overrides = {}, code } of refusedRequests) {
  test(`a request that ${name} is refused with ${code}: nothing generated, no receipt`, async () => {
    const { gateway, engine, serving } = await start();
    const session = await greet(gateway);
    const stream = await openStream(gateway, session, change);
    const request = JSON.parse(Buffer.from(requestFor(session, stream)).toString()) as Partial<SealedRequest>;
    stream.sendRequest(utf8(JSON.stringify({ ...request, ...overrides })));
    const reply = await stream.reply();
    assert.equal(reply.aborted, code);
    const closed = await gateway.nextBytes(stream.routeId);
    assert.equal(closed instanceof Uint8Array ? undefined : closed.code, code, "the gateway can't read the ABORT");
    assert.equal(engine.jobs.length, 0);
    assert.equal(serving.status().totals.refused, 1);
    assert.equal(gateway.heard.filter(({ type }) => type === "receipt").length, 0);
  });
}

for (const body of ["not JSON", '{"v":1,"v":1}', "[]", "\u{0}"]) {
  test(`a request of ${JSON.stringify(body)} is refused with bad_message`, async () => {
    const { gateway } = await start();
    const session = await greet(gateway);
    const stream = await openStream(gateway, session);
    stream.sendRequest(utf8(body));
    assert.equal((await stream.reply()).aborted, "bad_message");
  });
}

for (const code of ["busy", "context_overflow", "reservation_exceeded", "unsupported_field"] as const) {
  test(`what the engine refuses with ${code} before it starts is neither answered nor charged`, async () => {
    const { gateway, engine } = await start();
    engine.onJob = (job) => job.fail(code);
    assert.equal((await ask(gateway, await greet(gateway))).aborted, code);
    assert.equal(gateway.heard.filter(({ type }) => type === "receipt").length, 0);
  });
}

test("a prompt of more tokens than its bytes allow is refused although the engine took it", async () => {
  const { gateway, engine } = await start();
  engine.onJob = (job) => job.started(4096 + 513);
  assert.equal((await ask(gateway, await greet(gateway))).aborted, "reservation_exceeded");
  assert.ok(engine.jobs[0]?.isCancelled);
});

// Clients that go, engines that fail

test("a client that disappears stops the engine, and delivered tokens are in the receipt", async () => {
  const serving = await start();
  const { gateway } = serving;
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  const playing = nextJob(serving);
  stream.sendRequest(requestFor(session, stream));
  const job = await playing;
  job.started(4);
  job.delta("one ", 1);
  await stream.next();
  gateway.send({ type: "close", routeId: stream.routeId, code: "cancelled" });
  while (!job.isCancelled) await new Promise((resolve) => setImmediate(resolve));
  job.delta("never delivered", 2);
  job.done("cancelled");
  const reply = await stream.reply();
  const usage = { promptTokens: 4, cachedTokens: 0, completionTokens: 1 };
  assert.deepEqual([reply.end?.finish_reason, reply.end?.usage], ["cancelled", usage]);
  const { receipt } = await gateway.heardOne("receipt");
  assert.deepEqual([parseReceipt(receipt).finish, parseReceipt(receipt).usage], ["cancelled", usage]);
});

test("a client that disappears before it has asked costs nothing", async () => {
  const { gateway, serving } = await start();
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  gateway.send({ type: "close", routeId: stream.routeId, code: "cancelled" });
  assert.equal((await stream.reply()).closed, "cancelled", "the gateway needn't wait for a last word");
  assert.equal((await statusWhere(serving, (status) => status.openStreams === 0)).answering, 0);
});

test("an engine that crashes mid-answer ends the stream with worker_crashed and a receipt for what was delivered", async () => {
  const serving = await start();
  const { gateway } = serving;
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  const playing = nextJob(serving);
  stream.sendRequest(requestFor(session, stream));
  const job = await playing;
  job.started(4);
  job.delta("half ", 1, 2);
  job.fail("worker_crashed");
  const reply = await stream.reply();
  assert.deepEqual([reply.text, reply.aborted], ["half ", "worker_crashed"]);
  const { receipt } = await gateway.heardOne("receipt");
  const { finish, usage } = parseReceipt(receipt);
  assert.deepEqual(
    { finish, usage },
    { finish: "failed", usage: { promptTokens: 4, cachedTokens: 0, completionTokens: 2 } },
  );
});

for (const [name, claim] of [
  ["more completion tokens than it sent", { completionTokens: 9 }],
  ["fewer completion tokens than it sent", { completionTokens: 1 }],
  ["other prompt tokens than at the start", { promptTokens: 11 }],
  ["more cached than prompt tokens", { cachedTokens: 11 }],
] as const) {
  test(`an engine that counts ${name} gets nothing signed as complete`, async () => {
    const { gateway, engine } = await start();
    engine.onJob = (job) => {
      job.started(10);
      job.delta("a", 1);
      job.delta("b", 2);
      job.done("stop", claim);
    };
    assert.equal((await ask(gateway, await greet(gateway))).aborted, "worker_crashed");
    const { receipt } = await gateway.heardOne("receipt");
    const { finish, usage } = parseReceipt(receipt);
    assert.deepEqual(
      { finish, usage },
      { finish: "failed", usage: { promptTokens: 10, cachedTokens: 0, completionTokens: 2 } },
    );
  });
}

test("an engine that goes on beyond the token limit is stopped, and no token beyond it is delivered", async () => {
  const { gateway, engine } = await start();
  engine.onJob = (job) => {
    job.started(1);
    for (let id = 1; id <= 20; id++) job.delta("x", id);
  };
  const reply = await ask(gateway, await greet(gateway), { request: { maxTokens: 5 } });
  assert.equal(reply.text, "xxxxx");
  assert.equal(reply.aborted, "worker_crashed");
  assert.ok(engine.jobs[0]?.isCancelled);
});

test("more requests than slots are each answered or told busy at once", async () => {
  const engine = fakeEngine(2);
  const { gateway } = await start({ engine });
  let running = 0;
  engine.onJob = (job) => {
    if (++running > 2) job.fail("busy");
    else sayWords("mine")(job);
  };
  const session = await greet(gateway);
  const replies = await Promise.all(Array.from({ length: 20 }, () => ask(gateway, session)));
  assert.equal(replies.filter((reply) => reply.text === "mine" && reply.end !== undefined).length, 2);
  assert.equal(replies.filter((reply) => reply.aborted === "busy").length, 18);
});

test("a lost link stops what runs for it, and nothing is signed for what nobody received", async () => {
  const serving = await start();
  const { gateway } = serving;
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  const playing = nextJob(serving);
  stream.sendRequest(requestFor(session, stream));
  const job = await playing;
  job.started(4);
  const before = gateway.heard.length;
  gateway.cut();
  await gateway.heardOne("offer", before);
  assert.ok(job.isCancelled);
  job.done("cancelled");
  assert.equal(gateway.heard.slice(before).filter(({ type }) => type === "receipt").length, 0);
});

// Messages a gateway should never send

const nonsense = [
  "",
  "not JSON",
  "[]",
  '{"type":"surprise"}',
  '{"type":"heartbeat","extra":1}',
  '{"type":"close","routeId":-1}',
];
test("control messages that are none leave the link and everything on it as it was", async () => {
  const { gateway, engine } = await start();
  engine.onJob = sayWords("unmoved");
  const session = await greet(gateway);
  for (const text of [...nonsense, "x".repeat(200_000)]) gateway.sendText(text);
  gateway.sendBytes(9_999, randomBytes(100));
  gateway.send({ type: "close", routeId: 9_999, code: "internal" });
  assert.equal((await ask(gateway, session)).text, "unmoved");
  assert.equal(gateway.connections, 1);
});

test("no prompt and no completion is in what the worker says of itself", async () => {
  const { gateway, engine, serving } = await start();
  const marker = `marker-${toHex(randomBytes(8))}`;
  const told: string[] = [];
  serving.onStatus((status) => told.push(stringifyAll(status)));
  const body = { model: "m", messages: [{ role: "user" as const, content: marker }] };
  engine.onJob = sayWords(marker);
  const session = await greet(gateway);
  await ask(gateway, session, { request: { body } });
  engine.onJob = (job) => job.fail("context_overflow");
  await ask(gateway, session, { request: { body } });
  await ask(gateway, session, { request: { body: { ...body, [marker]: 1 } as never } });
  await statusWhere(serving, (status) => status.totals.refused === 2);
  told.push(stringifyAll(serving.status()), stringifyAll(gateway.heard));
  assert.equal(
    told.some((text) => text.includes(marker)),
    false,
  );
});

function stringifyAll(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? part.toString() : part));
}

function flip(frame: Uint8Array, at: number, bits = 1): Uint8Array {
  const copy = frame.slice();
  copy[at] = (copy[at] ?? 0) ^ bits;
  return copy;
}

function mutated(frame: Uint8Array, random: () => number): Uint8Array {
  const at = Math.floor(random() * frame.length);
  return flip(frame, at, 1 + Math.floor(random() * 255));
}

/** Mulberry32: the same changes in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

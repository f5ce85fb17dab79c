import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  chargeFor,
  hash,
  parseOffer,
  parseReceipt,
  verifySignature,
  type MessageOf,
  type WorkerToGateway,
} from "../../protocol/index.ts";
import { ask, greet, joinFrames, openStream, requestFor } from "./client.fake.ts";
import { FAKE_CAPABILITIES, sayWords } from "./engine.fake.ts";
import { startFakeGateway, type FakeGateway } from "./gateway.fake.ts";
import { serveAt, startPair, statusWhere, TEST_PRICE, TEST_ROOT } from "./serving.fake.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(overrides: Parameters<typeof startPair>[0] = {}) {
  const pair = await startPair(overrides);
  cleanups.push(() => pair.stop());
  return pair;
}

test("a worker logs in, leaves its evidence, offers, and answers a sealed request with a receipt over every frame", async () => {
  const { gateway, engine, serving } = await start();
  engine.onJob = sayWords("Once ", "upon ", "a ", "time.");

  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  stream.sendRequest(requestFor(session, stream));
  const reply = await stream.reply();

  assert.equal(reply.text, "Once upon a time.");
  const usage = { promptTokens: 10, cachedTokens: 0, completionTokens: 5 };
  assert.deepEqual(reply.end, { finish_reason: "stop", usage, manifestRoot: TEST_ROOT, offerHash: session.offerHash });
  const { receipt, signature, reservationId } = await gateway.heardOne("receipt");
  const login = await gateway.heardOne("login");
  assert.ok(verifySignature(signature, receipt, login.key));
  assert.equal(reservationId, stream.reservationId);
  const { requestHash, responseHash, ...said } = parseReceipt(receipt);
  assert.deepEqual(requestHash, hash(joinFrames(stream.sent)));
  assert.deepEqual(responseHash, hash(joinFrames(reply.frames)));
  assert.deepEqual(said, {
    sessionId: session.session.sessionId,
    streamId: 1,
    manifestRoot: TEST_ROOT,
    offerHash: session.offerHash,
    usage,
    finish: "stop",
  });
  assert.equal(serving.status().totals.earned, chargeFor(usage, TEST_PRICE, 0).earned);
});

test("a session serves one request after another, and several at once", async () => {
  const { gateway, engine } = await start();
  engine.onJob = sayWords("yes");
  const session = await greet(gateway);
  assert.equal((await ask(gateway, session)).text, "yes");
  const replies = await Promise.all([ask(gateway, session), ask(gateway, session), ask(gateway, session)]);
  assert.deepEqual(
    replies.map((reply) => reply.text),
    ["yes", "yes", "yes"],
  );
  assert.equal(new Set(engine.jobs.map(({ job }) => job.partition)).size, 1);
});

test("the offer names price, model and context, and a share of the slots for each gateway", async () => {
  const gateways = [await startFakeGateway(), await startFakeGateway(), await startFakeGateway()];
  cleanups.push(...gateways.map((gateway) => () => gateway.stop()));
  const { serving } = await serveAt(gateways);
  cleanups.push(() => serving.stop(0));
  for (const gateway of gateways) {
    const message = await gateway.heardOne("offer");
    const { gatewayKey, price, contextTokens, manifestRoot } = parseOffer(message.offer);
    assert.deepEqual(gatewayKey, gateway.key);
    assert.deepEqual(
      { price, contextTokens, manifestRoot },
      { price: TEST_PRICE, contextTokens: 2048, manifestRoot: TEST_ROOT },
    );
    assert.equal(message.slots, 2, "four slots at three gateways");
  }
});

test("answers come at once when they come slowly, and gathered when they come fast", async () => {
  const { gateway, engine } = await start();
  const words = Array.from({ length: 50 }, (_, at) => `word${at} `);
  engine.onJob = sayWords(...words);
  const reply = await ask(gateway, await greet(gateway));
  assert.equal(reply.text, words.join(""));
  assert.equal(reply.events[0]?.tokenIds.length, 1, "the first event waits for nobody");
  assert.ok(reply.events.length < 10, `${reply.events.length} events for 50 tokens of one moment`);
  assert.equal(reply.end?.usage.completionTokens, 51);
});

test("reasoning and tool calls stay apart from text", async () => {
  const { gateway, engine } = await start();
  engine.onJob = (job) => {
    job.started(5);
    job.emit({ type: "delta", jobId: 1, text: "hm", tokenIds: [1], reasoning: true });
    job.emit({ type: "delta", jobId: 1, text: "!", tokenIds: [2], reasoning: true });
    job.emit({ type: "delta", jobId: 1, text: "yes", tokenIds: [3], reasoning: false });
    job.emit({ type: "tool_call", jobId: 1, index: 0, id: "call-1", name: "f", arguments: "{", tokenIds: [4] });
    job.emit({ type: "tool_call", jobId: 1, index: 0, arguments: "}", tokenIds: [5] });
    job.done("tool_calls", { completionTokens: 5 });
  };
  const reply = await ask(gateway, await greet(gateway));
  assert.equal(reply.end?.finish_reason, "tool_calls");
  const merged = reply.events.map((event) =>
    event.t === "delta" ? [event.text, event.reasoning] : [event.name, event.arguments],
  );
  assert.deepEqual(merged.at(0), ["hm", true]);
  assert.equal(
    merged
      .flat()
      .filter((part) => typeof part === "string")
      .join(""),
    "hm!yesf{}",
  );
});

test("one piece of text longer than a frame is cut, and nothing of it is lost", async () => {
  const { gateway, engine } = await start();
  const text = 'a\u{1f600}\n"'.repeat(30_000);
  engine.onJob = sayWords(text);
  const reply = await ask(gateway, await greet(gateway));
  assert.equal(reply.text, text);
  assert.ok(reply.events.length > 1);
  assert.equal(reply.end?.usage.completionTokens, 2);
});

test("a lost link comes back within a second, offers again, and keeps its sessions", async () => {
  const { gateway, engine, serving } = await start();
  engine.onJob = sayWords("still here");
  const session = await greet(gateway);
  await ask(gateway, session);
  const before = gateway.heard.length;
  gateway.cut();
  await gateway.heardOne("login", before);
  await gateway.heardOne("offer", before);
  await statusWhere(serving, (status) => status.gateways[0]?.offered.length === 1);
  assert.equal(gateway.connections, 2);
  assert.equal((await ask(gateway, session)).text, "still here");
});

test("an engine that goes down is no longer offered, and offered again when it is back; the link stays", async () => {
  const { gateway, engine } = await start();
  await gateway.heardOne("offer");
  const before = gateway.heard.length;
  engine.become({ phase: "down", code: "worker_crashed", message: "SIGSEGV" });
  const { manifestRoot } = await gateway.heardOne("withdraw_offer", before);
  assert.equal(manifestRoot, TEST_ROOT);
  engine.become({ phase: "up", capabilities: FAKE_CAPABILITIES });
  await gateway.heardOne("offer", before);
  assert.equal(gateway.connections, 1);
});

test("a paused worker keeps its link and offers nothing", async () => {
  const { gateway, serving } = await start();
  await gateway.heardOne("offer");
  const before = gateway.heard.length;
  serving.setPaused(true);
  await gateway.heardOne("withdraw_offer", before);
  serving.setPaused(false);
  await gateway.heardOne("offer", before);
  assert.equal(gateway.connections, 1);
});

test("a gateway that shows another key than the configured one gets no signature", async () => {
  const gateway = await startFakeGateway();
  cleanups.push(() => gateway.stop());
  gateway.says.challenge = { gatewayKey: new Uint8Array(32).fill(7) };
  const { serving } = await serveAt([gateway]);
  cleanups.push(() => serving.stop(0));
  const { gateways } = await statusWhere(serving, (status) => status.gateways[0]?.link.phase === "waiting");
  assert.ok(gateways[0]?.link.phase === "waiting" && gateways[0].link.code === "bad_login");
  assert.deepEqual(gateway.heard, []);
});

const refusedLogins: {
  readonly name: string;
  readonly prepare: (gateway: FakeGateway) => void;
  readonly says: RegExp;
}[] = [
  {
    name: "another TON network",
    prepare: (gateway) => void (gateway.says.challenge = { networkId: -239 }),
    says: /another TON network/,
  },
  {
    name: "another protocol version",
    prepare: (gateway) => void (gateway.says.challenge = { protocol: { min: 2, max: 3 } }),
    says: /another version/,
  },
  {
    name: "a clock ten minutes off",
    prepare: (gateway) => {
      gateway.says.challenge = { time: Math.floor(Date.now() / 1000) + 600 };
      gateway.says.refusal = { type: "error", code: "clock_skew" };
    },
    says: /clock is 10 minutes behind; set it to automatic time/,
  },
];
for (const { name, prepare, says } of refusedLogins) {
  test(`a login that fails for ${name} is told to the owner in words`, async () => {
    const gateway = await startFakeGateway();
    cleanups.push(() => gateway.stop());
    prepare(gateway);
    const { serving } = await serveAt([gateway]);
    cleanups.push(() => serving.stop(0));
    const { gateways } = await statusWhere(serving, (status) => status.gateways[0]?.link.phase === "waiting");
    assert.match(gateways[0]?.link.phase === "waiting" ? gateways[0].link.message : "", says);
  });
}

test("an offer the gateway refuses is told to the owner and made again", async () => {
  const gateway = await startFakeGateway();
  cleanups.push(() => gateway.stop());
  gateway.says.acceptsOffers = false;
  const { serving } = await serveAt([gateway]);
  cleanups.push(() => serving.stop(0));
  const first = await gateway.heardOne("offer");
  const before = gateway.heard.length;
  gateway.evidence.clear();
  gateway.says.acceptsOffers = true;
  gateway.send({ type: "error", code: "evidence_stale", id: first.id });
  const again: MessageOf<WorkerToGateway, "offer"> = await gateway.heardOne("offer", before);
  assert.ok(gateway.evidence.has(again.evidenceHash), "the evidence was left once more");
});

test("a worker that stops lets running answers end, and takes nothing new", async () => {
  const { gateway, engine, serving } = await start();
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  const playing = new Promise<void>((resolve) => {
    engine.onJob = (job) => {
      job.started(3);
      job.delta("first ", 1);
      resolve();
    };
  });
  stream.sendRequest(requestFor(session, stream));
  await playing;
  const stopped = serving.stop(10_000);
  await gateway.heardOne("withdraw_offer");
  const refused = await ask(gateway, session);
  assert.equal(refused.closed ?? refused.aborted, "busy");
  const [job] = engine.jobs;
  job?.delta("last", 2);
  job?.done("stop");
  const reply = await stream.reply();
  await stopped;
  assert.equal(reply.text, "first last");
  assert.equal(reply.end?.finish_reason, "stop");
});

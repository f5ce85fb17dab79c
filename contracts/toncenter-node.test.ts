import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeChainClock, type FakeChainClock } from "./chain-clock.fake.ts";
import { ok, refused, scriptedNode, silence, type Reply, type ScriptedNode } from "./toncenter.fake.ts";
import { ToncenterNode, type NodeOptions, type Question } from "./toncenter-node.ts";

const ENDPOINT = "https://node.example/secret-in-path/api/v2/jsonRPC";
const KEY = "a-very-secret-key";
const READ: Question = { method: "read", params: { a: 1 }, isRepeatable: true };
const SEND: Question = { ...READ, isRepeatable: false };

interface Asked {
  readonly node: ToncenterNode;
  readonly script: ScriptedNode;
  readonly clock: FakeChainClock;
}

/** A node whose replies to `read` are these, asked without jitter. */
function nodeWith(replies: readonly Reply[], overrides: Partial<NodeOptions> = {}): Asked {
  const [script, clock] = [scriptedNode(), fakeChainClock()];
  script.on("read", ...replies);
  const options = { endpoint: ENDPOINT, fetch: script.fetch, clock, random: () => 0.5, requestsPerSecond: 1e9 };
  return { script, clock, node: new ToncenterNode({ ...options, ...overrides }) };
}

/** Pauses of a millisecond and more: those of the queue are shorter here. */
function pausesOf({ pauses }: FakeChainClock): readonly number[] {
  return pauses.filter((ms) => ms >= 1);
}

const connectionRefused = new TypeError("fetch failed", {
  cause: Object.assign(new Error(), { code: "ECONNREFUSED" }),
});
const connectionReset = new TypeError("fetch failed", { cause: Object.assign(new Error(), { code: "ECONNRESET" }) });

test("a question goes out as JSON-RPC, with the key in a header", async () => {
  const { node, script } = nodeWith([ok(1)], { apiKey: KEY });
  assert.deepEqual(await node.ask(READ), { type: "result", result: 1 });
  const [asked] = script.asked;
  assert.deepEqual([asked?.url, asked?.method, asked?.params], [ENDPOINT, "read", { a: 1 }]);
  assert.equal(asked?.headers["x-api-key"], KEY);
});

test("a node that is asked too often is asked again after growing pauses, and then answers", async () => {
  const { node, clock } = nodeWith([refused(429, ""), refused(429, ""), ok(1)]);
  assert.deepEqual(await node.ask(READ), { type: "result", result: 1 });
  assert.deepEqual(pausesOf(clock).map(Math.round), [1_000, 2_000]);
});

test("a node that says for how long it wants quiet gets it from everybody, up to a minute", async () => {
  const { node, script, clock } = nodeWith([refused(429, "", { "retry-after": "17" }), ok(1)]);
  script.on("other", ok(2));
  await Promise.all([node.ask(READ), node.ask({ ...READ, method: "other" })]);
  assert.deepEqual(pausesOf(clock).map(Math.round), [17_000]);
  const greedy = nodeWith([refused(429, "", { "retry-after": "86400" }), ok(1)]);
  await greedy.node.ask(READ);
  assert.deepEqual(pausesOf(greedy.clock).map(Math.round), [60_000]);
});

test("pauses are spread by chance, so that a node that comes back is not stormed", async () => {
  for (const [chance, pauses] of [
    [0, [500, 1_000, 2_000]],
    [0.999, [1_499, 2_998, 5_996]],
  ] as const) {
    const { node, clock } = nodeWith([refused(500, "")], { random: () => chance });
    await assert.rejects(node.ask(READ), { code: "chain_unreachable" });
    assert.deepEqual(pausesOf(clock), pauses);
  }
});

/** What a node can do to a question that may be asked again, how often it is asked then, and what it comes to. */
const TROUBLES: readonly (readonly [what: string, reply: Reply, code: string, times: number, says: RegExp])[] = [
  ["429 without end", refused(429, ""), "chain_rate_limited", 4, /too often/],
  ["429 inside of 200", Response.json({ ok: false, code: 429 }), "chain_rate_limited", 4, /too often/],
  ["500", refused(500, "adnl query timeout"), "chain_unreachable", 4, /adnl query timeout/],
  [
    "500 with a reason in an object",
    Response.json({ ok: false, error: { message: "m" } }, { status: 500 }),
    "chain_unreachable",
    4,
    /: m$/,
  ],
  ["502 of a proxy, in HTML", new Response("<html>", { status: 502 }), "chain_unreachable", 4, /HTTP 502/],
  ["a connection that is refused", connectionRefused, "chain_unreachable", 4, /ECONNREFUSED/],
  ["a connection that breaks", connectionReset, "chain_unreachable", 4, /ECONNRESET/],
  ["200 with HTML", new Response("<html>"), "chain_malformed", 1, /not the answer/],
  ["200 with nothing", new Response(""), "chain_malformed", 1, /not the answer/],
  ["JSON that is cut off", new Response('{"ok":true,"resu'), "chain_malformed", 1, /not the answer/],
  ["JSON that is no envelope", Response.json([1]), "chain_malformed", 1, /not the answer/],
  ["an envelope of wrong types", Response.json({ ok: "yes" }), "chain_malformed", 1, /not the answer/],
  ["bytes that are no text", new Response(new Uint8Array([0xff, 0xfe])), "chain_malformed", 1, /not the answer/],
  ["an address elsewhere", new Response(null, { status: 307 }), "chain_malformed", 1, /HTTP 307/],
  ["404", new Response("not here", { status: 404 }), "chain_malformed", 1, /HTTP 404/],
  ["422", refused(422, "Unknown method"), "chain_malformed", 1, /Unknown method/],
  ["401", refused(401, "no such key"), "bad_configuration", 1, /API key/],
  ["403", new Response("", { status: 403 }), "bad_configuration", 1, /API key/],
];

for (const [what, reply, code, times, says] of TROUBLES) {
  test(`${what} ends in ${code} after ${times} of 4 attempts`, async () => {
    const { node, script } = nodeWith([reply], { apiKey: KEY });
    await assert.rejects(node.ask(READ), (error: Error & { code?: string }) => {
      assert.equal(error.code, code);
      assert.match(error.message, says);
      assert.match(error.message, /node\.example/);
      assert.doesNotMatch(`${error.message} ${String(error.cause)}`, /secret/, "keys stay out of what is logged");
      return true;
    });
    assert.equal(script.asked.length, times);
  });
}

test("a stranger's reason is one short line", async () => {
  const { node } = nodeWith([refused(422, `a\n\u001b[31m${"x".repeat(5_000)}`)]);
  await assert.rejects(node.ask(READ), ({ message }: Error) => {
    assert.ok(message.length < 400);
    return /^[\x20-\x7e]+$/.test(message);
  });
});

test("a node that does not answer in time is asked again, and given up in the end", async () => {
  const clock = fakeChainClock();
  const hang: Reply = (question) => {
    setImmediate(() => clock.timeOut());
    return silence(question);
  };
  const { node, script } = nodeWith([hang], { clock });
  await assert.rejects(node.ask(READ), { code: "chain_unreachable", message: /no answer in time/ });
  assert.equal(script.asked.length, 4);
});

test("an answer without end is not read to its end", async () => {
  let sent = 0;
  const chunk = new Uint8Array(1_048_576);
  const endless = (): Response =>
    new Response(
      new ReadableStream({
        pull(controller) {
          sent++;
          controller.enqueue(chunk);
        },
      }),
    );
  const { node } = nodeWith([endless]);
  await assert.rejects(node.ask(READ), { code: "chain_malformed", message: /without end/ });
  assert.ok(sent < 12, `${sent} MiB read`);
});

test("what must not be done twice is repeated only when it was surely not done", async () => {
  for (const [reply, times] of [
    [refused(429, ""), 4],
    [connectionRefused, 4],
    [connectionReset, 1],
    [refused(500, ""), 1],
    [new Response("<html>", { status: 504 }), 1],
  ] as const) {
    const { node, script } = nodeWith([reply]);
    await assert.rejects(node.ask(SEND));
    assert.equal(script.asked.length, times);
  }
});

test("an error that answers the question is an answer", async () => {
  const { node, script } = nodeWith([refused(500, "LITE_SERVER: block not found")]);
  const isAnswer = (error: string): boolean => error.includes("not found");
  const answer = await node.ask({ ...READ, isAnswer });
  assert.deepEqual(answer, { type: "error", error: "LITE_SERVER: block not found" });
  assert.equal(script.asked.length, 1);
});

/** When the third of three questions starts, in milliseconds. */
const PACES: readonly (readonly [what: string, overrides: Partial<NodeOptions>, ms: number])[] = [
  ["without a key, one in 1.1 s", {}, 2_200],
  ["with a key, nine a second", { apiKey: KEY }, 222],
  ["as many as a person says", { requestsPerSecond: 2 }, 1_000],
  ["on this machine, as they come", { endpoint: "http://127.0.0.1:8081/api/v2" }, 0],
];

for (const [what, overrides, ms] of PACES) {
  test(`questions start in order and no faster than a node allows: ${what}`, async () => {
    const [script, clock] = [scriptedNode(), fakeChainClock()];
    const startedAt: number[] = [];
    script.on("read", () => {
      startedAt.push(clock.elapsed());
      return ok(0);
    });
    const options = { endpoint: ENDPOINT, fetch: script.fetch, clock, random: () => 0.5, ...overrides };
    const node = new ToncenterNode(options);
    await Promise.all([1, 2, 3].map((a) => node.ask({ ...READ, params: { a } })));
    assert.equal(Math.round(startedAt[2] ?? -1), ms);
    assert.deepEqual(
      script.asked.map(({ params }) => params.a),
      [1, 2, 3],
    );
  });
}

test("a queue that only grows is refused, not kept", async () => {
  const { node } = nodeWith([ok(1)], { requestsPerSecond: 1 });
  const questions = Array.from({ length: 300 }, () => node.ask(READ));
  const results = await Promise.allSettled(questions);
  const failed = results.filter((result) => result.status === "rejected");
  assert.equal(failed.length, 300 - 256);
  assert.ok(failed.every(({ reason }) => (reason as { code?: string }).code === "chain_rate_limited"));
});

test("whoever closes waits for nobody: not for an answer, not for a pause, not for a turn", async () => {
  const stop = new AbortController();
  const { node } = nodeWith([silence], { signal: stop.signal, requestsPerSecond: 0.001 });
  const questions = [node.ask(READ), node.ask(READ)];
  setImmediate(() => stop.abort());
  for (const question of questions) await assert.rejects(question, { code: "cancelled" });
  await assert.rejects(node.ask(READ), { code: "cancelled" });
});

test("a rate of nothing is no setting", () => {
  for (const requestsPerSecond of [0, -1, NaN]) {
    assert.throws(() => nodeWith([], { requestsPerSecond }), { code: "bad_configuration" });
  }
});

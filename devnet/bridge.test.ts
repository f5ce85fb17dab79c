import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBridge, type Bridge } from "./bridge.ts";

const APP = "a1".repeat(32);
const WALLET = "b2".repeat(32);

const bridges: Bridge[] = [];
after(() => Promise.all(bridges.map((bridge) => bridge.close())));

async function started(): Promise<Bridge> {
  const bridge = await startBridge({ heartbeatMs: 20 });
  bridges.push(bridge);
  return bridge;
}

async function post(bridge: Bridge, message: string, overrides: Record<string, string> = {}): Promise<number> {
  const query = new URLSearchParams({ client_id: WALLET, to: APP, ttl: "300", ...overrides });
  const { status } = await fetch(`${bridge.url}/message?${query.toString()}`, { method: "POST", body: message });
  return status;
}

/** What a reader gets until `isEnough`: ids and messages, heartbeats as they are. */
async function read(bridge: Bridge, isEnough: (got: readonly string[]) => boolean, query = ""): Promise<string[]> {
  const abort = new AbortController();
  const response = await fetch(`${bridge.url}/events?client_id=${APP}${query}`, { signal: abort.signal });
  const body: AsyncIterable<Uint8Array> = response.body ?? assert.fail();
  const got: string[] = [];
  let text = "";
  for await (const bytes of body) {
    text += Buffer.from(bytes).toString("utf8");
    const events = text.split("\r\n\r\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const [, id = "heartbeat"] = /^id: (\d+)$/m.exec(event) ?? [];
      const [, message] = /"message":"([^"]*)"/.exec(event) ?? [];
      got.push(message === undefined ? id : `${id} ${message}`);
    }
    if (isEnough(got)) break;
  }
  abort.abort();
  return got;
}

const messages = (got: readonly string[]): readonly string[] => got.filter((event) => event !== "heartbeat");

test("a message reaches a reader that listens, and one that comes later", async () => {
  const bridge = await started();
  const live = read(bridge, (got) => messages(got).length === 2);
  while (bridge.listening === 0) await new Promise(setImmediate);
  assert.equal(await post(bridge, "one"), 200);
  assert.equal(await post(bridge, "two"), 200);
  assert.deepEqual(messages(await live), ["1 one", "2 two"]);
  assert.deepEqual(messages(await read(bridge, (got) => messages(got).length === 1, "&last_event_id=1")), ["2 two"]);
});

test("a stream shows by heartbeats that it lives", async () => {
  const got = await read(await started(), (events) => events.length === 3);
  assert.deepEqual(got, ["heartbeat", "heartbeat", "heartbeat"]);
});

test("what no bridge takes is refused", async () => {
  const bridge = await started();
  assert.equal(await post(bridge, "x", { ttl: "301" }), 400);
  assert.equal(await post(bridge, "x", { ttl: "" }), 400);
  assert.equal(await post(bridge, "x", { to: "nobody" }), 400);
  assert.equal(await post(bridge, "x", { client_id: "" }), 400);
  assert.equal(await post(bridge, "x".repeat(65_537)), 413);
  assert.equal((await fetch(`${bridge.url}/events?client_id=nobody`)).status, 400);
  assert.equal((await fetch(`${bridge.url}/events?client_id=${APP}&last_event_id=x`)).status, 400);
  assert.equal((await fetch(`${bridge.url}/else`)).status, 404);
});

test("a bridge that is down keeps what it was given, and has its address again when it is back", async () => {
  const bridge = await started();
  const { url } = bridge;
  await post(bridge, "before");
  await bridge.goDown();
  await assert.rejects(post(bridge, "while down"));
  await bridge.comeBack();
  assert.equal(bridge.url, url);
  assert.deepEqual(messages(await read(bridge, (got) => messages(got).length === 1)), ["1 before"]);
});

test("its faults are those that are turned on", async () => {
  const bridge = await started();
  Object.assign(bridge.faults, { duplicates: true, reorders: true });
  const live = read(bridge, (got) => messages(got).length === 4);
  while (bridge.listening === 0) await new Promise(setImmediate);
  await post(bridge, "one");
  await post(bridge, "two");
  assert.deepEqual(messages(await live), ["2 two", "2 two", "1 one", "1 one"]);
  bridge.faults.refusesWith = 429;
  assert.equal(await post(bridge, "three"), 429);
  Object.assign(bridge.faults, { refusesWith: undefined, cutsAnswers: true });
  await assert.rejects(post(bridge, "four"));
  assert.deepEqual(messages(await read(bridge, (got) => messages(got).length === 1, "&last_event_id=2")), ["3 four"]);
});

test("an event that nothing overtakes is sent all the same", async () => {
  const bridge = await started();
  bridge.faults.reorders = true;
  const live = read(bridge, (got) => messages(got).length === 1);
  while (bridge.listening === 0) await new Promise(setImmediate);
  await post(bridge, "alone");
  assert.deepEqual(messages(await live), ["1 alone"]);
});

import assert from "node:assert/strict";
import test from "node:test";
import { createBridgeQueue, MAX_TTL_SECONDS, type BridgeMessage } from "./bridge-queue.ts";

const NOW = 1_790_000_000_000;

function message(overrides: Partial<BridgeMessage> = {}): BridgeMessage {
  return { from: "aa", to: "bb", message: "c2VhbGVk", ttlSeconds: 300, ...overrides };
}

test("a message waits for its reader, and is given again to one that comes back", () => {
  const queue = createBridgeQueue();
  const first = queue.add(message(), NOW);
  const second = queue.add(message({ message: "bW9yZQ==" }), NOW);
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual(queue.since(["bb"], 0, NOW), [first, second]);
  assert.deepEqual(queue.since(["bb"], first.id, NOW), [second]);
  assert.deepEqual(queue.since(["cc"], 0, NOW), []);
  assert.deepEqual(JSON.parse(first.data), { from: "aa", message: "c2VhbGVk" });
});

test("a message is forgotten when its life is over", () => {
  const queue = createBridgeQueue();
  queue.add(message({ ttlSeconds: 10 }), NOW);
  assert.equal(queue.since(["bb"], 0, NOW + 9_999).length, 1);
  assert.equal(queue.since(["bb"], 0, NOW + 10_000).length, 0);
});

test("no message lives longer than five minutes", () => {
  const queue = createBridgeQueue();
  for (const ttlSeconds of [0, -1, MAX_TTL_SECONDS + 1, Number.NaN])
    assert.equal(queue.add(message({ ttlSeconds }), NOW), undefined);
  assert.ok(queue.add(message({ ttlSeconds: MAX_TTL_SECONDS }), NOW));
});

test("a reader that is flooded loses its oldest messages, and only it does", () => {
  const queue = createBridgeQueue();
  queue.add(message({ to: "quiet" }), NOW);
  for (let at = 0; at < 200; at++) queue.add(message(), NOW);
  assert.deepEqual(
    queue.since(["bb"], 0, NOW).map(({ id }) => id),
    Array.from({ length: 64 }, (_, at) => 138 + at),
  );
  assert.equal(queue.since(["quiet"], 0, NOW).length, 1);
});

test("all readers together are given a bounded room", () => {
  const queue = createBridgeQueue();
  const readers = Array.from({ length: 2000 }, (_, at) => String(at));
  for (const to of readers) queue.add(message({ to }), NOW);
  assert.equal(queue.since(readers, 0, NOW).length, 1024);
});

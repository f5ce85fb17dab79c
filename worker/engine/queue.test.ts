import assert from "node:assert/strict";
import test from "node:test";
import { FairQueue } from "./queue.ts";

test("partitions take turns, and within one the first comes first", () => {
  const queue = new FairQueue<string>(10);
  for (const item of ["a1", "a2", "a3", "b1", "c1", "b2"]) assert.ok(queue.push(item.charAt(0), item));
  const order = Array.from({ length: 6 }, () => queue.shift());
  assert.deepEqual(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
  assert.equal(queue.shift(), undefined);
});

test("nothing waits beyond the limit", () => {
  const queue = new FairQueue<number>(2);
  assert.deepEqual([queue.push("a", 1), queue.push("b", 2), queue.push("c", 3)], [true, true, false]);
  queue.shift();
  assert.ok(queue.push("c", 3));
  assert.ok(!new FairQueue<number>(0).push("a", 1));
});

test("an item that is taken out leaves its place to others", () => {
  const queue = new FairQueue<number>(2);
  queue.push("a", 1);
  queue.push("a", 2);
  assert.equal(
    queue.remove((item) => item === 1),
    1,
  );
  assert.equal(
    queue.remove((item) => item === 1),
    undefined,
  );
  assert.equal(queue.length, 1);
  assert.ok(queue.push("b", 3));
  assert.deepEqual([queue.shift(), queue.shift(), queue.length], [2, 3, 0]);
});

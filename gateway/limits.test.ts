import assert from "node:assert/strict";
import { test } from "node:test";
import { RateLimit } from "./limits.ts";

function taken(limit: RateLimit, at: number, tries: number): number {
  let count = 0;
  for (let i = 0; i < tries; i++) if (limit.take(at)) count++;
  return count;
}

test("a rate limit lets one second's worth through at once and then no more", () => {
  assert.equal(taken(new RateLimit(50, 0), 0, 1000), 50);
});

test("a rate limit refills with time, never beyond one second's worth", () => {
  const limit = new RateLimit(50, 0);
  taken(limit, 0, 50);
  assert.equal(taken(limit, 100, 1000), 5);
  assert.equal(taken(limit, 100_000, 1000), 50);
});

test("a message that paid work needed costs nothing", () => {
  const limit = new RateLimit(1, 0);
  for (let i = 0; i < 100; i++) {
    assert.ok(limit.take(0));
    limit.giveBack();
  }
});

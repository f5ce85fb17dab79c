import assert from "node:assert/strict";
import { test } from "node:test";
import { geometricMean, median, percentile, rounded } from "./statistics.ts";

test("a median is the middle, or half way between the two in the middle", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([10, 1, 2, 3]), 2.5);
  assert.equal(median([7]), 7);
});

test("a percentile of numbers sorts them as numbers and lies between neighbours in proportion", () => {
  const sample = Array.from({ length: 101 }, (_, index) => 100 - index);
  assert.equal(percentile(sample, 0.99), 99);
  assert.equal(percentile([0, 10], 0.25), 2.5);
  assert.equal(percentile([9, 10, 100], 1), 100);
});

test("no sample has no median, rather than a good one", () => {
  assert.ok(Number.isNaN(median([])));
});

test("a geometric mean lets a half and a double cancel", () => {
  assert.ok(Math.abs(geometricMean([0.5, 2]) - 1) < 1e-12);
});

test("figures are rounded to three digits", () => {
  assert.deepEqual([rounded(123_456), rounded(0.012_345), rounded(0)], [123_000, 0.0123, 0]);
});

import assert from "node:assert/strict";
import test from "node:test";
import { formatTon, parseTon } from "./units.ts";

const AMOUNTS: readonly (readonly [bigint, string])[] = [
  [0n, "0"],
  [1n, "0.000000001"],
  [10n, "0.00000001"],
  [1_500_000_000n, "1.5"],
  [2_000_000_000n, "2"],
  [999_999_999n, "0.999999999"],
  [123_456_789_012_345_678_901n, "123456789012.345678901"],
];

test("an amount is shown exactly, without trailing zeros", () => {
  for (const [nanoton, text] of AMOUNTS) assert.equal(formatTon(nanoton), text);
  assert.equal(formatTon(-1_500_000_000n), "-1.5");
  assert.equal(formatTon(-1n), "-0.000000001");
});

test("what is shown can be typed back", () => {
  for (const [nanoton, text] of AMOUNTS) assert.equal(parseTon(text), nanoton);
});

test("a person may type a comma and spaces around", () => {
  assert.equal(parseTon(" 1,5 "), 1_500_000_000n);
});

test("what is not an amount of at most nine decimals is not guessed", () => {
  for (const text of ["", ".", "1.", ".5", "-1", "+1", "1e9", "0x10", "1.0000000001", "1.2.3", "1 000", "NaN", "٣"])
    assert.equal(parseTon(text), undefined, text);
  assert.equal(parseTon("1".repeat(13)), undefined);
});

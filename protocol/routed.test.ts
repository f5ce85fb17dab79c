import assert from "node:assert/strict";
import test from "node:test";
import { concat, toHex, u64, utf8 } from "./bytes.ts";
import { hasCode } from "./failure.fake.ts";
import { encodeRouted, parseRouted } from "./routed.ts";

test("a binary message is its route and the bytes", () => {
  const message = encodeRouted(258, utf8("x"));
  assert.equal(toHex(message), "000000000000010278");
  assert.deepEqual(parseRouted(message), { routeId: 258, bytes: utf8("x") });
  assert.deepEqual(parseRouted(encodeRouted(1, new Uint8Array())), { routeId: 1, bytes: new Uint8Array() });
});

test("the bytes are a view of the message, wherever it lies", () => {
  const buffer = concat(new Uint8Array(3), encodeRouted(7, utf8("abc")));
  const { bytes } = parseRouted(buffer.subarray(3));
  assert.equal(bytes.buffer, buffer.buffer);
  assert.deepEqual(bytes, utf8("abc"));
});

test("a message without a whole route, or with one beyond counting, is bad_frame", () => {
  for (let length = 0; length < 8; length++)
    assert.throws(() => parseRouted(new Uint8Array(length)), hasCode("bad_frame"));
  assert.throws(() => parseRouted(u64(2n ** 53n)), hasCode("bad_frame"));
  assert.throws(() => parseRouted(u64(2n ** 64n - 1n)), hasCode("bad_frame"));
});

import assert from "node:assert/strict";
import test from "node:test";
import { label, toHex, u32 } from "./bytes.ts";
import { codeOfAct, hasCode } from "./failure.fake.ts";
import { hash } from "./keys.ts";
import { seededRandom } from "./parties.fake.ts";
import { encodeReceipt, FINISH_REASONS, parseReceipt, RECEIPT_BYTES, receiptHashOf, type Receipt } from "./receipt.ts";

function receipt(overrides: Partial<Receipt> = {}): Receipt {
  return {
    sessionId: "c0".repeat(16),
    streamId: 1,
    requestHash: new Uint8Array(32).fill(1),
    responseHash: new Uint8Array(32).fill(2),
    manifestRoot: "60".repeat(32),
    offerHash: "bd".repeat(32),
    usage: { promptTokens: 24, cachedTokens: 8, completionTokens: 7 },
    finish: "stop",
    ...overrides,
  };
}

test("a receipt is 178 bytes after its label, and comes back as it was", () => {
  for (const finish of FINISH_REASONS) {
    const bytes = encodeReceipt(receipt({ finish }));
    assert.equal(bytes.length, RECEIPT_BYTES);
    assert.deepEqual(bytes.subarray(0, 13), label("receipt"));
    assert.deepEqual(parseReceipt(bytes), receipt({ finish }));
    assert.equal(toHex(receiptHashOf(bytes)), toHex(hash(bytes)));
  }
});

test("the six ends have fixed numbers", () => {
  assert.deepEqual(FINISH_REASONS, ["stop", "length", "tool_calls", "cancelled", "handed_over", "failed"]);
  assert.equal(encodeReceipt(receipt({ finish: "failed" }))[177], 5);
});

test("a receipt of another length, label or end is refused", () => {
  const bytes = encodeReceipt(receipt());
  for (let length = 0; length < RECEIPT_BYTES; length++)
    assert.equal(
      codeOfAct(() => parseReceipt(bytes.subarray(0, length))),
      "bad_receipt",
    );
  assert.throws(() => parseReceipt(new Uint8Array([...bytes, 0])), hasCode("bad_receipt"));
  for (let at = 0; at < 13; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => parseReceipt(changed), hasCode("bad_receipt"));
  }
  for (let finish = 6; finish < 256; finish++) {
    const changed = bytes.slice();
    changed[177] = finish;
    assert.throws(() => parseReceipt(changed), hasCode("bad_receipt"));
  }
});

test("more cached than prompt tokens, or a stream without number, is refused", () => {
  const bytes = encodeReceipt(receipt());
  bytes.set(u32(25), 169);
  assert.throws(() => parseReceipt(bytes), hasCode("bad_receipt"));
  assert.throws(() => parseReceipt(encodeReceipt(receipt({ streamId: 0 }))), hasCode("bad_receipt"));
  const huge = encodeReceipt(receipt());
  huge.fill(0xff, 29, 37);
  assert.throws(() => parseReceipt(huge), hasCode("bad_receipt"));
});

test("counts that do not fit are never cut to fit", () => {
  for (const completionTokens of [-1, 2 ** 32, 0.5])
    assert.throws(
      () => encodeReceipt(receipt({ usage: { promptTokens: 1, cachedTokens: 0, completionTokens } })),
      RangeError,
    );
  assert.throws(() => encodeReceipt(receipt({ requestHash: new Uint8Array(31) })), RangeError);
  assert.throws(() => encodeReceipt(receipt({ offerHash: "ab" })), RangeError);
});

test("every other byte belongs to the receipt: a changed one is another receipt", () => {
  const bytes = encodeReceipt(receipt());
  const random = seededRandom(8);
  for (let at = 13; at < RECEIPT_BYTES; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ (1 + ((random(1)[0] ?? 0) % 255));
    if (codeOfAct(() => parseReceipt(changed)) === "ok")
      assert.deepEqual(encodeReceipt(parseReceipt(changed)), changed);
    assert.notDeepEqual(receiptHashOf(changed), receiptHashOf(bytes));
  }
});

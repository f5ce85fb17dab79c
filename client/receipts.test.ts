import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY_CHAIN, hash, nextChargeChain, utf8, type ChargeVoucher, type Receipt } from "../protocol/index.ts";
import {
  chargeOwed,
  judgeReceipt,
  standingAfter,
  type Standing,
  type StreamFacts,
  type StreamRecord,
  type StreamTerms,
} from "./receipts.ts";

const ROOT = "11".repeat(32);
const OFFER = "22".repeat(32);
const REQUEST_HASH = hash(utf8("request"));
const RESPONSE_HASH = hash(utf8("response"));
const USAGE = { promptTokens: 100, cachedTokens: 40, completionTokens: 11 };

const terms: StreamTerms = {
  reservationId: "r1",
  sessionId: "00".repeat(16),
  streamId: 5,
  identityKey: new Uint8Array(32),
  manifestRoot: ROOT,
  offerHash: OFFER,
  price: { prompt: 1_000_000n, cached: 500_000n, completion: 2_000_000n },
  feeBps: 500,
  promptBytes: 300,
  maxTokens: 64,
};

const facts: StreamFacts = {
  requestHash: REQUEST_HASH,
  responseHash: RESPONSE_HASH,
  end: { finish_reason: "stop", usage: USAGE, manifestRoot: ROOT, offerHash: OFFER },
  tokenIds: 10,
  dataFrames: 4,
  bound: 40,
};

const receipt: Receipt = {
  sessionId: terms.sessionId,
  streamId: 5,
  requestHash: REQUEST_HASH,
  responseHash: RESPONSE_HASH,
  manifestRoot: ROOT,
  offerHash: OFFER,
  usage: USAGE,
  finish: "stop",
};

const record: StreamRecord = { terms, facts };

test("a receipt that is as this client counted is owed at the offer's price with the fee on top", () => {
  // 60 fresh, 40 cached, 11 completion: 60 + 20 + 22 = 102; 5 % more, rounded up, is 108.
  assert.deepEqual(judgeReceipt(receipt, record, true), {
    type: "owed",
    charge: { charge: 108n, earned: 102n, fee: 6n },
  });
});

const CONTRADICTIONS: readonly (readonly [what: string, changes: Partial<Receipt>])[] = [
  ["another session", { sessionId: "01".repeat(16) }],
  ["another stream", { streamId: 6 }],
  ["another model", { manifestRoot: OFFER }],
  ["another offer", { offerHash: ROOT }],
  ["another request", { requestHash: RESPONSE_HASH }],
  ["another response", { responseHash: REQUEST_HASH }],
  ["another end", { finish: "length" }],
  ["one completion token more", { usage: { ...USAGE, completionTokens: 12 } }],
  ["one completion token less", { usage: { ...USAGE, completionTokens: 10 } }],
  ["one prompt token more", { usage: { ...USAGE, promptTokens: 101 } }],
  ["fewer cached tokens", { usage: { ...USAGE, cachedTokens: 39 } }],
];

for (const [what, changes] of CONTRADICTIONS) {
  test(`a receipt for ${what} is disputed with the client's own counts`, () => {
    const verdict = judgeReceipt({ ...receipt, ...changes }, record, true);
    assert.ok(verdict.type === "disputed");
    assert.ok(verdict.counts.completionTokens <= 11);
    assert.ok(verdict.counts.promptTokens <= 101);
  });
}

test("a receipt that the worker did not sign is disputed", () => {
  assert.equal(judgeReceipt(receipt, record, false).type, "disputed");
});

test("a receipt for a stream nobody opened is disputed with nothing", () => {
  const verdict = judgeReceipt(receipt, undefined, true);
  assert.ok(verdict.type === "disputed");
  assert.deepEqual([verdict.counts, verdict.charge.charge], [{ promptTokens: 0, completionTokens: 0 }, 0n]);
});

test("more tokens than the delivered bytes allow are disputed down to those, but never under one a frame", () => {
  const usage = { ...USAGE, completionTokens: 51 };
  const inflated = {
    ...facts,
    tokenIds: 50,
    end: { finish_reason: "stop" as const, usage, manifestRoot: ROOT, offerHash: OFFER },
  };
  const counts = (changed: Partial<StreamFacts>) => {
    const verdict = judgeReceipt({ ...receipt, usage }, { terms, facts: { ...inflated, ...changed } }, true);
    return verdict.type === "disputed" ? verdict.counts.completionTokens : undefined;
  };
  assert.equal(counts({}), 40);
  assert.equal(counts({ bound: 9, dataFrames: 12 }), 12);
  assert.equal(counts({ bound: 51 }), undefined);
});

test("prompt tokens beyond the bytes and the template's own are disputed", () => {
  const at = (promptTokens: number) => {
    const usage = { ...USAGE, promptTokens };
    const end = { finish_reason: "stop" as const, usage, manifestRoot: ROOT, offerHash: OFFER };
    return judgeReceipt({ ...receipt, usage }, { terms, facts: { ...facts, end } }, true).type;
  };
  assert.equal(at(300 + 512), "owed");
  assert.equal(at(300 + 513), "disputed");
});

test("an answer that was cut is owed for what was delivered, and not a token more", () => {
  const cut = { ...facts, responseHash: undefined, end: undefined };
  const at = (completionTokens: number, finish: Receipt["finish"] = "cancelled") =>
    judgeReceipt({ ...receipt, finish, usage: { ...USAGE, completionTokens } }, { terms, facts: cut }, true);
  assert.equal(at(10).type, "owed");
  assert.equal(at(9).type, "owed");
  const more = at(11);
  assert.deepEqual(more.type === "disputed" && more.counts.completionTokens, 10);
});

test("an aborted answer is owed for its completion alone, and only as failed", () => {
  const aborted = { ...facts, end: undefined };
  const usage = { ...USAGE, completionTokens: 10 };
  const failed = judgeReceipt({ ...receipt, finish: "failed", usage }, { terms, facts: aborted }, true);
  assert.deepEqual(failed, { type: "owed", charge: { charge: 21n, earned: 20n, fee: 1n } });
  assert.equal(judgeReceipt({ ...receipt, usage }, { terms, facts: aborted }, true).type, "disputed");
});

test("after a crash the worker's signed word counts, within what was agreed", () => {
  const forgotten: StreamRecord = { terms, facts: undefined };
  assert.equal(judgeReceipt(receipt, forgotten, true).type, "owed");
  assert.equal(judgeReceipt(receipt, forgotten, false).type, "disputed");
  assert.equal(judgeReceipt({ ...receipt, usage: { ...USAGE, promptTokens: 900 } }, forgotten, true).type, "disputed");
  const greedy = judgeReceipt({ ...receipt, usage: { ...USAGE, completionTokens: 999_999 } }, forgotten, true);
  assert.deepEqual(greedy.charge, chargeOwed({ ...USAGE, completionTokens: 64 }, "stop", terms));
});

const before: Standing = { total: 1000n, chain: hash(utf8("before")) };
const RECEIPT_HASH = hash(utf8("receipt"));
const owed = [{ receiptHash: RECEIPT_HASH, charge: 108n }];
const voucher: ChargeVoucher = {
  type: "charge",
  networkId: -239,
  channel: `0:${"ab".repeat(32)}`,
  total: 1108n,
  receipt: nextChargeChain(before.chain, RECEIPT_HASH),
};

test("a voucher is signed for exactly the receipts that are owed", () => {
  assert.deepEqual(standingAfter(before, owed, voucher), { total: 1108n, chain: voucher.receipt });
});

test("a voucher that asks less than is owed is a gift", () => {
  assert.equal(standingAfter(before, owed, { ...voucher, total: 1000n }).total, 1000n);
});

for (const [what, changes] of [
  ["jumps by one nanoton", { total: 1109n }],
  ["falls", { total: 999n }],
  ["names another chain", { receipt: nextChargeChain(EMPTY_CHAIN, RECEIPT_HASH) }],
] as const) {
  test(`a voucher that ${what} is never signed`, () => {
    assert.throws(() => standingAfter(before, owed, { ...voucher, ...changes }), { code: "bad_receipt" });
  });
}

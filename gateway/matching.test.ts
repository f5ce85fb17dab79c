import assert from "node:assert/strict";
import { test } from "node:test";
import { askFits } from "../protocol/index.ts";
import { countedSlots, highestAsk, match, scoreOf, type OfferView, type Query, type Reason } from "./matching.ts";
import { afterOutcome, newRecord } from "./record.ts";

const NOW = { steadyMs: 1_000_000, unixSeconds: 1_790_000_000 };
const MEDIAN = 20;

function offer(overrides: Partial<OfferView> = {}): OfferView {
  return {
    workerId: "w",
    price: { prompt: 100n, cached: 50n, completion: 400n },
    contextTokens: 8192,
    tier: "software",
    evidenceNotAfter: NOW.unixSeconds + 600,
    slots: 4,
    running: 0,
    mostRunning: 4,
    isPaused: false,
    record: newRecord(NOW.steadyMs),
    ...overrides,
  };
}

function query(overrides: Partial<Query> = {}): Query {
  return {
    maxPromptBytes: 1000,
    maxCompletionTokens: 100,
    highestAsk: null,
    minTier: "software",
    candidates: 3,
    preferWorker: undefined,
    ...overrides,
  };
}

function matched(offers: readonly OfferView[], asked: Partial<Query> = {}) {
  const passedOver: Record<string, Reason> = {};
  const result = match(offers, query(asked), NOW, {
    speedOf: () => MEDIAN,
    passOver: (one, reason) => {
      passedOver[one.workerId] = reason;
    },
  });
  return { ...result, names: result.chosen.map((one) => one.workerId), passedOver };
}

const PASSED_OVER: readonly (readonly [string, Reason, Partial<OfferView>, Partial<Query>])[] = [
  ["of a lower tier than asked for", "reason_tier", {}, { minTier: "tpm" }],
  ["whose evidence has expired", "reason_evidence_expired", { evidenceNotAfter: NOW.unixSeconds }, {}],
  ["whose context is too small", "reason_context", { contextTokens: 224 }, {}],
  ["that has paused", "reason_paused", { isPaused: true }, {}],
  ["with all slots taken", "reason_slots_full", { running: 4 }, {}],
  [
    "that asks more than the client pays",
    "reason_price",
    {},
    { highestAsk: { prompt: 100n, cached: 50n, completion: 399n } },
  ],
];

for (const [which, reason, overrides, asked] of PASSED_OVER) {
  test(`a worker ${which} is passed over and told ${reason}`, () => {
    const { names, passedOver, refusal } = matched([offer(overrides)], asked);
    assert.deepEqual(names, []);
    assert.deepEqual(passedOver, { w: reason });
    assert.equal(refusal, reason);
  });
}

test("each of those fits as soon as its reason is gone", () => {
  assert.deepEqual(matched([offer({ contextTokens: 225 })]).names, ["w"]);
  assert.deepEqual(matched([offer({ running: 3 })]).names, ["w"]);
  assert.deepEqual(matched([offer()], { highestAsk: { prompt: 100n, cached: 50n, completion: 400n } }).names, ["w"]);
  assert.deepEqual(matched([offer({ tier: "tee" })], { minTier: "tpm" }).names, ["w"]);
});

test("a worker whose circuit is open is passed over until it closes", () => {
  const fail = (client: string) => ({ type: "failure", client, weight: 1 }) as const;
  const record = ["a", "b", "c"].reduce((one, client) => afterOutcome(one, fail(client), NOW.steadyMs), newRecord(0));
  assert.deepEqual(matched([offer({ record })]).passedOver, { w: "reason_circuit_open" });
});

test("the ask that just fits a highest price is the one askFits says, to the nanoton", () => {
  for (let i = 0; i < 2000; i++) {
    const price = { prompt: BigInt(i * 37), cached: BigInt(i * 11), completion: BigInt(i * 101) };
    const feeBps = (i * 7) % 1001;
    const most = highestAsk(price, feeBps);
    assert.ok(askFits(most, feeBps, price));
    assert.ok(!askFits({ ...most, completion: most.completion + 1n }, feeBps, price));
    assert.ok(!askFits({ ...most, prompt: most.prompt + 1n }, feeBps, price));
    assert.ok(!askFits({ ...most, cached: most.cached + 1n }, feeBps, price));
  }
});

test("of equal workers the cheaper is first, and of equal prices the less busy", () => {
  const dear = offer({ workerId: "dear", price: { prompt: 100n, cached: 50n, completion: 800n } });
  const busy = offer({ workerId: "busy", running: 2 });
  assert.deepEqual(matched([dear, busy, offer()]).names, ["w", "busy", "dear"]);
});

test("a worker that fails is behind one that is somewhat dearer", () => {
  let record = newRecord(NOW.steadyMs);
  for (let i = 0; i < 5; i++) {
    record = afterOutcome(record, { type: "success", secondsPerThousand: MEDIAN }, NOW.steadyMs);
    record = afterOutcome(record, { type: "failure", client: `c${i}`, weight: 1 }, NOW.steadyMs);
  }
  const dearer = offer({ workerId: "dearer", price: { prompt: 150n, cached: 75n, completion: 600n } });
  assert.deepEqual(matched([offer({ record }), dearer]).names, ["dearer", "w"]);
});

test("failing at once is not taken for speed", () => {
  const failing = afterOutcome(newRecord(NOW.steadyMs), { type: "failure", client: "c", weight: 1 }, NOW.steadyMs);
  assert.ok(scoreOf(offer({ record: failing }), query(), NOW, MEDIAN) > scoreOf(offer(), query(), NOW, MEDIAN));
});

test("a faster worker is before a slower one", () => {
  const ran = (secondsPerThousand: number) => {
    const outcome = { type: "success", secondsPerThousand } as const;
    return Array.from({ length: 10 }).reduce<ReturnType<typeof newRecord>>(
      (one) => afterOutcome(one, outcome, NOW.steadyMs),
      newRecord(NOW.steadyMs),
    );
  };
  const slow = offer({ workerId: "slow", record: ran(40) });
  const fast = offer({ workerId: "fast", record: ran(5) });
  assert.deepEqual(matched([slow, fast]).names, ["fast", "slow"]);
});

test("the score is the formula of NETWORK §2, to the digit", () => {
  const record = { ...newRecord(NOW.steadyMs), requests: 8, successes: 7, seconds: 70 };
  const score = scoreOf(offer({ record, running: 1 }), query(), NOW, MEDIAN);
  const cost = 250 * 100 + 100 * 400;
  const expected = (cost * 1.25 * Math.sqrt((70 + 20 + 40) / 10)) / ((7 + 2) / (8 + 2.2)) ** 4;
  assert.ok(Math.abs(score / expected - 1) < 1e-12);
});

test("a preferred worker wins up to 1.25 times the best score, not beyond", () => {
  const at = (completion: bigint) => offer({ workerId: "known", price: { prompt: 0n, cached: 0n, completion } });
  const best = offer({ workerId: "best", price: { prompt: 0n, cached: 0n, completion: 400n } });
  assert.deepEqual(matched([best, at(500n)], { preferWorker: "known" }).names, ["known", "best"]);
  assert.deepEqual(matched([best, at(501n)], { preferWorker: "known" }).names, ["best", "known"]);
});

test("slots are believed up to twice what was shown, 64 at most, one at least", () => {
  assert.equal(countedSlots({ slots: 1000, mostRunning: 0 }), 1);
  assert.equal(countedSlots({ slots: 1000, mostRunning: 3 }), 6);
  assert.equal(countedSlots({ slots: 4, mostRunning: 30 }), 4);
  assert.equal(countedSlots({ slots: 1000, mostRunning: 500 }), 64);
});

test("no more candidates are named than were asked for", () => {
  const offers = ["a", "b", "c", "d"].map((workerId) => offer({ workerId }));
  assert.equal(matched(offers, { candidates: 2 }).names.length, 2);
});

test("the number on offer is told by tier, whatever the refusal", () => {
  const offers = [offer(), offer({ tier: "tpm" }), offer({ tier: "tpm", isPaused: true })];
  const { tiersOffered, refusal } = matched(offers, { minTier: "tee" });
  assert.deepEqual(tiersOffered, { software: 1, tpm: 2, tee: 0 });
  assert.equal(refusal, "reason_tier");
});

test("the client is told the reason of the worker that came nearest, and the lowest ask", () => {
  const asked = { highestAsk: { prompt: 1n, cached: 1n, completion: 1n } };
  const cheap = offer({ workerId: "cheap", price: { prompt: 10n, cached: 5n, completion: 40n } });
  const { refusal, lowestPrice } = matched([offer({ isPaused: true }), offer(), cheap], asked);
  assert.equal(refusal, "reason_price");
  assert.deepEqual(lowestPrice, cheap.price);
});

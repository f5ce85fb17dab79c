import assert from "node:assert/strict";
import { test } from "node:test";
import type { Receipt } from "../protocol/index.ts";
import { Leases } from "./leases.ts";
import type { StreamTerms } from "./receipts.ts";

const SESSION = "00".repeat(16);
const OFFER = "22".repeat(32);

const terms = (changes: Partial<StreamTerms> = {}): StreamTerms => ({
  reservationId: "r1",
  sessionId: SESSION,
  streamId: 1,
  identityKey: new Uint8Array(32),
  manifestRoot: "11".repeat(32),
  offerHash: OFFER,
  price: { prompt: 1n, cached: 1n, completion: 1n },
  feeBps: 500,
  promptBytes: 300,
  maxTokens: 1000,
  ...changes,
});

const receipt = (streamId: number, changes: Partial<Receipt> = {}): Receipt => ({
  sessionId: SESSION,
  streamId,
  requestHash: new Uint8Array(32),
  responseHash: new Uint8Array(32),
  manifestRoot: "11".repeat(32),
  offerHash: OFFER,
  usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 1 },
  finish: "stop",
  ...changes,
});

function leased(): Leases {
  const leases = new Leases();
  const lease = leases.renewalFor(terms());
  assert.ok(lease !== undefined);
  leases.put(lease);
  return leases;
}

test("one lease covers the next streams of its session", () => {
  const leases = leased();
  assert.equal(leases.renewalFor(terms({ streamId: 64, promptBytes: 512, maxTokens: 1024 })), undefined);
  assert.equal(leases.renewalFor(terms({ streamId: 65 }))?.through, 128);
});

for (const [what, changes] of [
  ["a longer prompt", { promptBytes: 513 }],
  ["a longer answer", { maxTokens: 1025 }],
  ["another offer", { offerHash: "33".repeat(32) }],
  ["another fee", { feeBps: 501 }],
  ["another session", { sessionId: "01".repeat(16) }],
] as const) {
  test(`${what} needs a lease of its own`, () => {
    assert.notEqual(leased().renewalFor(terms(changes)), undefined);
  });
}

test("a renewed lease is never narrower than the one before", () => {
  const wider = leased().renewalFor(terms({ streamId: 2, promptBytes: 10, maxTokens: 5000 }));
  assert.deepEqual([wider?.promptBytes, wider?.maxTokens], [512, 8192]);
});

test("a forgotten stream has the terms of its lease until it is settled", () => {
  const leases = leased();
  assert.deepEqual(
    leases.termsFor(receipt(64), "r9"),
    terms({ reservationId: "r9", streamId: 64, promptBytes: 512, maxTokens: 1024 }),
  );
  leases.settle(SESSION, 64);
  assert.equal(leases.termsFor(receipt(64), "r9"), undefined);
});

test("beyond its lease, under another offer or in another session a stream has no terms", () => {
  const leases = leased();
  assert.equal(leases.termsFor(receipt(65), "r9"), undefined);
  assert.equal(leases.termsFor(receipt(1, { offerHash: "33".repeat(32) }), "r9"), undefined);
  assert.equal(leases.termsFor(receipt(1, { sessionId: "01".repeat(16) }), "r9"), undefined);
});

test("written down and read again, leases and what is settled are the same", () => {
  const leases = leased();
  leases.settle(SESSION, 7);
  const again = new Leases();
  for (const lease of leases.entries()) again.put(lease);
  assert.deepEqual(again.entries(), leases.entries());
  assert.equal(again.termsFor(receipt(7), "r9"), undefined);
});

test("the oldest leases are forgotten first", () => {
  const leases = leased();
  for (let i = 1; i <= 64; i++) {
    const lease = leases.renewalFor(terms({ sessionId: i.toString(16).padStart(32, "0") }));
    if (lease !== undefined) leases.put(lease);
  }
  assert.equal(leases.entries().length, 64);
  assert.equal(leases.termsFor(receipt(1), "r9"), undefined);
});

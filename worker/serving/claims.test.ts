import assert from "node:assert/strict";
import { test } from "node:test";
import { DEMO_POLICY, parseEvidence, verifyEvidence, verifyOffer } from "../../protocol/index.ts";
import { fakeClock } from "./clock.fake.ts";
import { createEvidenceIssuer, softwareAttester, type EvidenceFacts } from "./evidence.ts";
import { createVerifier, identityOf } from "./identity.ts";
import { createOfferBook, type OfferTerms } from "./offers.ts";

// What a worker claims about itself: evidence and offers, each renewed before it ends.

const identity = identityOf(new Uint8Array(32).fill(8));
const ROOT = "ab".repeat(32);
const FACTS: EvidenceFacts = {
  models: [{ id: "m", manifestRoot: ROOT, quant: "Q8_0", bytes: 5 }],
  engine: { name: "e", version: "1", backend: "cpu" },
  release: null,
};
const TERMS: OfferTerms = {
  gatewayKey: new Uint8Array(32).fill(9),
  manifestRoot: ROOT,
  price: { prompt: 3n, cached: 1n, completion: 9n },
  contextTokens: 2048,
};
const HOUR_MS = 3_600_000;

test("evidence passes a client's policy from two minutes before it was made until a day after", async () => {
  const clock = fakeClock();
  const {
    hash: evidenceHash,
    document,
    notAfter,
  } = await createEvidenceIssuer(identity, softwareAttester, clock).current(FACTS);
  const now = Math.floor(clock.now() / 1000);
  for (const [at, isGood] of [
    [now - 120, true],
    [now, true],
    [notAfter - 1, true],
    [notAfter, false],
  ] as const) {
    const expected = { evidenceHash, workerId: identity.workerId };
    const verified = verifyEvidence(document, DEMO_POLICY, { now: at, expected, beacon: null });
    if (isGood) assert.deepEqual((await verified).manifestRoots, [ROOT]);
    else await assert.rejects(verified, { code: "evidence_expired" });
  }
});

test("evidence stays the same while nothing changes, and is renewed before it ends; the last one is still known", async () => {
  const clock = fakeClock();
  const issuer = createEvidenceIssuer(identity, softwareAttester, clock);
  const first = await issuer.current(FACTS);
  clock.advance(17 * HOUR_MS);
  assert.equal((await issuer.current(FACTS)).hash, first.hash);
  clock.advance(2 * HOUR_MS);
  const second = await issuer.current(FACTS);
  assert.notEqual(second.hash, first.hash);
  assert.deepEqual([issuer.isKnown(first.hash), issuer.isKnown(second.hash)], [true, true]);
  clock.advance(6 * HOUR_MS);
  assert.deepEqual([issuer.isKnown(first.hash), issuer.isKnown(second.hash)], [false, true], "the first has ended");
});

test("another model or engine is another evidence, and the one before the last is forgotten", async () => {
  const issuer = createEvidenceIssuer(identity, softwareAttester, fakeClock());
  const hashes: string[] = [];
  for (const backend of ["cpu", "cuda", "upstream"]) {
    const { hash, document } = await issuer.current({ ...FACTS, engine: { ...FACTS.engine, backend } });
    assert.equal(parseEvidence(document).claims.engine.backend, backend);
    hashes.push(hash);
  }
  assert.deepEqual(
    hashes.map((hash) => issuer.isKnown(hash)),
    [false, true, true],
  );
});

test("two that ask for evidence at once get the same", async () => {
  const issuer = createEvidenceIssuer(identity, softwareAttester, fakeClock());
  const [first, second] = await Promise.all([issuer.current(FACTS), issuer.current(FACTS)]);
  assert.equal(first.hash, second.hash);
});

test("an offer is signed for one gateway and model, and stays the same until a third of its hour is left", () => {
  const clock = fakeClock();
  const book = createOfferBook(identity, clock);
  const offer = book.current(TERMS);
  const expected = {
    identityKey: identity.publicKey,
    gatewayKey: TERMS.gatewayKey,
    now: Math.floor(clock.now() / 1000),
  };
  assert.deepEqual(verifyOffer(offer.bytes, offer.signature, expected, createVerifier()).price, TERMS.price);
  clock.advance(39 * 60_000);
  assert.equal(book.current(TERMS).hash, offer.hash);
  clock.advance(60_000);
  const renewed = book.current(TERMS);
  assert.notEqual(renewed.hash, offer.hash);
  assert.equal(book.find(TERMS.gatewayKey, offer.hash)?.hash, offer.hash, "the first still stands");
  clock.advance(23 * 60_000);
  assert.equal(book.find(TERMS.gatewayKey, offer.hash), undefined, "and has ended");
});

test("an offer to one gateway is none to another", () => {
  const book = createOfferBook(identity, fakeClock());
  const offer = book.current(TERMS);
  assert.equal(book.find(new Uint8Array(32), offer.hash), undefined);
});

test("another price or context is another offer", () => {
  const book = createOfferBook(identity, fakeClock());
  const offers = [TERMS, { ...TERMS, price: { ...TERMS.price, completion: 10n } }, { ...TERMS, contextTokens: 4096 }];
  assert.equal(new Set(offers.map((terms) => book.current(terms).hash)).size, 3);
});

test("a price sheet that no client would accept is not signed", () => {
  const book = createOfferBook(identity, fakeClock());
  assert.throws(() => book.current({ ...TERMS, price: { prompt: 1n, cached: 2n, completion: 3n } }), {
    code: "bad_offer",
  });
});

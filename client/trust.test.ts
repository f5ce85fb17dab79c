import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DEMO_POLICY,
  evidenceHashOf,
  hash,
  keyPairFromSeed,
  offerMessage,
  parseEvidence,
  utf8,
  verifyEvidence,
  type Candidate,
  type Offer,
  type VerifiedWorker,
} from "../protocol/index.ts";
import { FAKE_PRICE, FAKE_ROOT, fakeWorker, now, type FakeWorker } from "./gateway.fake.ts";
import { verifyCandidate, type CandidateTerms, type OfferCache } from "./trust.ts";

const GATEWAY_KEY = keyPairFromSeed(hash(utf8("gateway"))).publicKey;
const OTHER_KEY = keyPairFromSeed(hash(utf8("other"))).publicKey;

const terms = (changes: Partial<CandidateTerms> = {}): CandidateTerms => ({
  gatewayKey: GATEWAY_KEY,
  manifestRoot: FAKE_ROOT,
  maxPrice: undefined,
  maxFeeBps: 1000,
  now: now(),
  ...changes,
});

function verified(worker: FakeWorker): Promise<VerifiedWorker> {
  const evidenceHash = evidenceHashOf(parseEvidence(worker.evidence).claimsBytes);
  const expected = { evidenceHash, workerId: worker.workerId };
  return verifyEvidence(worker.evidence, DEMO_POLICY, { now: now(), expected, beacon: null });
}

test("an offer of a verified worker to this gateway for this model is taken", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  const candidate = verifyCandidate(worker.candidate, await verified(worker), 500, terms(), new Map());
  assert.deepEqual(candidate.offer.price, FAKE_PRICE);
});

const OFFERS: readonly (readonly [what: string, offer: Partial<Offer>])[] = [
  ["to another gateway", { gatewayKey: OTHER_KEY }],
  ["for another model", { manifestRoot: "22".repeat(32) }],
  ["that has ended", { notAfter: 1 }],
  ["in another worker's name", { ik: OTHER_KEY }],
];

for (const [what, offer] of OFFERS) {
  test(`an offer ${what} is refused`, async () => {
    const worker = fakeWorker({ offer }, GATEWAY_KEY);
    const known = await verified(worker);
    assert.throws(() => verifyCandidate(worker.candidate, known, 500, terms(), new Map()), { code: "bad_offer" });
  });
}

const CANDIDATES: readonly (readonly [what: string, change: (worker: FakeWorker) => Partial<Candidate>])[] = [
  ["whose offer somebody else signed", ({ offerBytes }) => ({ offerSignature: otherSign(offerMessage(offerBytes)) })],
  [
    "whose offer was changed",
    ({ offerBytes }) => ({ offer: utf8(new TextDecoder().decode(offerBytes).replace("1000000", "1000001")) }),
  ],
  ["whose offer is not one", () => ({ offer: utf8("{}") })],
  ["with another worker's id", () => ({ workerId: "22".repeat(32) })],
  ["with other evidence than was verified", () => ({ evidenceHash: "22".repeat(32) })],
];

const otherSign = keyPairFromSeed(hash(utf8("other"))).sign;

for (const [what, change] of CANDIDATES) {
  test(`a candidate ${what} is refused`, async () => {
    const worker = fakeWorker({}, GATEWAY_KEY);
    const known = await verified(worker);
    const candidate = { ...worker.candidate, ...change(worker) };
    assert.throws(() => verifyCandidate(candidate, known, 500, terms(), new Map()), { code: "bad_offer" });
  });
}

test("a worker whose evidence does not name the model is refused", async () => {
  const worker = fakeWorker({ claims: { models: [] } }, GATEWAY_KEY);
  const known = await verified(worker);
  assert.throws(() => verifyCandidate(worker.candidate, known, 500, terms(), new Map()), { code: "bad_offer" });
});

test("a fee above the registry's highest is refused", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  const known = await verified(worker);
  assert.ok(verifyCandidate(worker.candidate, known, 1000, terms(), new Map()));
  assert.throws(() => verifyCandidate(worker.candidate, known, 1001, terms(), new Map()), { code: "bad_offer" });
});

test("the highest price holds for the ask with the fee on top", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  const known = await verified(worker);
  const at = (prompt: bigint) => {
    const maxPrice = { prompt, cached: 600_000n, completion: 2_100_000n };
    return verifyCandidate(worker.candidate, known, 500, terms({ maxPrice }), new Map());
  };
  assert.ok(at(1_050_000n));
  assert.throws(() => at(1_049_999n), { code: "bad_offer" });
});

test("an offer that was checked before is held against new terms all the same", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  const known = await verified(worker);
  const cache: OfferCache = new Map();
  verifyCandidate(worker.candidate, known, 500, terms(), cache);
  assert.equal(cache.size, 1);
  assert.ok(verifyCandidate(worker.candidate, known, 500, terms(), cache));
  for (const changes of [{ gatewayKey: OTHER_KEY }, { now: now() + 4000 }]) {
    assert.throws(() => verifyCandidate(worker.candidate, known, 500, terms(changes), cache), { code: "bad_offer" });
  }
});

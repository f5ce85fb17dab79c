import assert from "node:assert/strict";
import test from "node:test";
import { concat, fromUtf8, toHex, u8, utf8 } from "./bytes.ts";
import { hasCode } from "./failure.fake.ts";
import { hash, offerMessage, verifySignature } from "./keys.ts";
import { encodeOffer, offerHashOf, parseOffer, verifyOffer, type Offer, type OfferExpectation } from "./offer.ts";
import { client, gateway, MANIFEST_ROOT, NOW, worker } from "./parties.fake.ts";

const OFFER: Offer = {
  v: "acn1",
  ik: worker.publicKey,
  gatewayKey: gateway.publicKey,
  manifestRoot: MANIFEST_ROOT,
  price: { prompt: 100n, cached: 10n, completion: 400n },
  contextTokens: 4096,
  notAfter: NOW + 3600,
};

const EXPECTED: OfferExpectation = {
  identityKey: worker.publicKey,
  gatewayKey: gateway.publicKey,
  manifestRoot: MANIFEST_ROOT,
  now: NOW,
};

function verified(bytes: Uint8Array, expected: Partial<OfferExpectation> = {}, signature?: Uint8Array): Offer {
  return verifyOffer(
    bytes,
    signature ?? worker.sign(offerMessage(bytes)),
    { ...EXPECTED, ...expected },
    verifySignature,
  );
}

test("an offer comes back as it was, and its hash is of the exact bytes", () => {
  const bytes = encodeOffer(OFFER);
  assert.deepEqual(verified(bytes), OFFER);
  assert.equal(offerHashOf(bytes), toHex(hash(bytes)));
});

test("an offer spelled otherwise is another offer, though it says the same", () => {
  const bytes = encodeOffer(OFFER);
  const spaced = utf8(fromUtf8(bytes).replace(",", ", "));
  assert.deepEqual(parseOffer(spaced), OFFER);
  assert.notEqual(offerHashOf(spaced), offerHashOf(bytes));
  assert.throws(() => verified(spaced, {}, worker.sign(offerMessage(bytes))), hasCode("bad_offer"));
});

test("an offer of another worker, to another gateway, for another model or of yesterday is refused", () => {
  const bytes = encodeOffer(OFFER);
  for (const expected of [
    { identityKey: client.publicKey },
    { gatewayKey: client.publicKey },
    { manifestRoot: "00".repeat(32) },
    { now: OFFER.notAfter },
    { now: OFFER.notAfter + 1 },
  ])
    assert.throws(() => verified(bytes, expected), hasCode("bad_offer"));
  assert.deepEqual(verified(bytes, { now: OFFER.notAfter - 1 }), OFFER);
});

test("a client that asks for no model in particular takes the offer's", () => {
  const { manifestRoot: _, ...expected } = EXPECTED;
  const bytes = encodeOffer(OFFER);
  assert.deepEqual(verifyOffer(bytes, worker.sign(offerMessage(bytes)), expected, verifySignature), OFFER);
});

test("an offer that somebody else signed, or that was signed bare, is refused", () => {
  const bytes = encodeOffer(OFFER);
  for (const signature of [
    client.sign(offerMessage(bytes)),
    worker.sign(bytes),
    worker.sign(hash(bytes)),
    new Uint8Array(64),
    new Uint8Array(),
  ])
    assert.throws(() => verified(bytes, {}, signature), hasCode("bad_offer", /signature/));
});

test("an offer that is not exactly one is refused", () => {
  const text = fromUtf8(encodeOffer(OFFER));
  const wrong = [
    "",
    "{}",
    text.slice(1),
    text.replace("acn1", "acn2"),
    text.replace("{", '{"more":1,'),
    text.replace('"price":{', '"price":{"prompt":"1",'),
    text.replace('"contextTokens":4096,', ""),
    text.replace("4096", "-1"),
    text.replace("4096", "4096.5"),
    text.replace('"100"', "100"),
    text.replace('"100"', '"-100"'),
    text.replace('"10"', '"101"'),
    text.replace('"100"', `"${"9".repeat(40)}"`),
    text.replace(MANIFEST_ROOT, MANIFEST_ROOT.toUpperCase()),
  ];
  for (const offer of wrong) assert.throws(() => parseOffer(utf8(offer)), hasCode("bad_offer"), offer);
  assert.throws(() => parseOffer(concat(utf8(text), u8(0xff))), hasCode("bad_offer"));
});

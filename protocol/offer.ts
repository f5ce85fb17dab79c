import { z } from "./schema.ts";
import { equalBytes, toHex, utf8 } from "./bytes.ts";
import { Failure } from "./failure.ts";
import { hash, offerMessage, type Verify } from "./keys.ts";
import { count, hashHex, key32, parseStrictJson, priceSheet, stringify, unixSeconds } from "./strict-json.ts";
import type { PriceSheet } from "./usage.ts";

/** What a worker signs: this model, at these prices, at this gateway, until then (ACN/1 §3.2). */
export interface Offer {
  readonly v: "acn1";
  /** 32 bytes, the worker's identity key. */
  readonly ik: Uint8Array;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  readonly price: PriceSheet;
  readonly contextTokens: number;
  /** Unix seconds. */
  readonly notAfter: number;
}

const offerSchema = z.strictObject({
  v: z.literal("acn1"),
  ik: key32,
  gatewayKey: key32,
  manifestRoot: hashHex,
  price: priceSheet,
  contextTokens: count,
  notAfter: unixSeconds,
});

/** The exact bytes to sign and send; nobody serialises an offer a second time. */
export function encodeOffer(offer: Offer): Uint8Array {
  const { v, ik, gatewayKey, manifestRoot, price, contextTokens, notAfter } = offer;
  return utf8(stringify({ v, ik, gatewayKey, manifestRoot, price, contextTokens, notAfter }));
}

/** @throws {Failure} `bad_offer`. */
export function parseOffer(bytes: Uint8Array): Offer {
  return parseStrictJson(offerSchema, bytes, "bad_offer");
}

/** Lowercase hex of H(offer bytes). */
export function offerHashOf(bytes: Uint8Array): string {
  return toHex(hash(bytes));
}

export interface OfferExpectation {
  readonly identityKey: Uint8Array;
  readonly gatewayKey: Uint8Array;
  readonly manifestRoot?: string;
  /** Unix seconds. */
  readonly now: number;
}

/** The offer, if it is signed by this worker for this gateway and model and still stands. @throws {Failure} `bad_offer`. */
export function verifyOffer(
  bytes: Uint8Array,
  signature: Uint8Array,
  expected: OfferExpectation,
  verify: Verify,
): Offer {
  const offer = parseOffer(bytes);
  refuseUnless(equalBytes(offer.ik, expected.identityKey), "another worker's offer");
  refuseUnless(equalBytes(offer.gatewayKey, expected.gatewayKey), "an offer to another gateway");
  refuseUnless(expected.manifestRoot === undefined || offer.manifestRoot === expected.manifestRoot, "another model");
  refuseUnless(offer.notAfter > expected.now, "the offer has ended");
  refuseUnless(verify(signature, offerMessage(bytes), offer.ik), "bad signature");
  return offer;
}

function refuseUnless(holds: boolean, why: string): void {
  if (!holds) throw new Failure("bad_offer", why);
}

import {
  checkPriceSheet,
  encodeOffer,
  offerHashOf,
  offerMessage,
  toHex,
  type PriceSheet,
} from "../../protocol/index.ts";
import { unixSeconds, type Clock } from "./clock.ts";
import type { Identity } from "./identity.ts";

/** What a worker asks for one model at one gateway. */
export interface OfferTerms {
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  readonly price: PriceSheet;
  readonly contextTokens: number;
}

export interface SignedOffer extends OfferTerms {
  /** The exact bytes that were signed. */
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  /** Lowercase hex. */
  readonly hash: string;
  /** Unix seconds. */
  readonly notAfter: number;
}

/** Offers this worker has signed and still stands by. */
export interface OfferBook {
  /** The standing offer for these terms; signed anew when they changed or a third of its time is left. */
  current(terms: OfferTerms): SignedOffer;
  /** An offer made to this gateway that has not ended. */
  find(gatewayKey: Uint8Array, offerHash: string): SignedOffer | undefined;
}

const OFFER_SECONDS = 3600;
const RENEW_SECONDS = OFFER_SECONDS / 3;
/** A reservation made in the last moment of an offer is opened within 30 s, by a gateway whose clock is a little behind. */
const GRACE_SECONDS = 150;

export function createOfferBook(identity: Identity, clock: Clock): OfferBook {
  const standing = new Map<string, SignedOffer>();
  const signed = new Map<string, SignedOffer>();
  const forgetEnded = (now: number): void => {
    for (const [name, offer] of signed) if (offer.notAfter + GRACE_SECONDS <= now) signed.delete(name);
  };
  return {
    current(terms) {
      const now = unixSeconds(clock);
      const key = `${toHex(terms.gatewayKey)} ${terms.manifestRoot}`;
      const offer = standing.get(key);
      if (offer !== undefined && offer.notAfter - now > RENEW_SECONDS && isSame(offer, terms)) return offer;
      forgetEnded(now);
      const renewed = signOffer(identity, terms, now + OFFER_SECONDS);
      standing.set(key, renewed);
      signed.set(`${toHex(terms.gatewayKey)} ${renewed.hash}`, renewed);
      return renewed;
    },
    find(gatewayKey, offerHash) {
      const offer = signed.get(`${toHex(gatewayKey)} ${offerHash}`);
      return offer !== undefined && offer.notAfter + GRACE_SECONDS > unixSeconds(clock) ? offer : undefined;
    },
  };
}

/** @throws {Failure} `bad_offer` for a price sheet that cannot be one. */
function signOffer(identity: Identity, terms: OfferTerms, notAfter: number): SignedOffer {
  const { gatewayKey, manifestRoot, contextTokens } = terms;
  const price = checkPriceSheet(terms.price);
  const bytes = encodeOffer({
    v: "acn1",
    ik: identity.publicKey,
    gatewayKey,
    manifestRoot,
    price,
    contextTokens,
    notAfter,
  });
  return { ...terms, bytes, signature: identity.sign(offerMessage(bytes)), hash: offerHashOf(bytes), notAfter };
}

function isSame(offer: SignedOffer, terms: OfferTerms): boolean {
  return (
    offer.contextTokens === terms.contextTokens &&
    offer.price.prompt === terms.price.prompt &&
    offer.price.cached === terms.price.cached &&
    offer.price.completion === terms.price.completion
  );
}

import {
  askFits,
  equalBytes,
  Failure,
  offerHashOf,
  toBase64url,
  verifyOffer,
  verifySignature,
  type Candidate,
  type Offer,
  type PriceSheet,
  type VerifiedWorker,
} from "../protocol/index.ts";

const verified: unique symbol = Symbol("verified");

/** A worker and an offer that both passed: what a prompt may be sealed for. Only {@link verifyCandidate} makes one. */
export interface VerifiedCandidate {
  readonly [verified]: true;
  readonly worker: VerifiedWorker;
  readonly offer: Offer;
  /** Lowercase hex. */
  readonly offerHash: string;
  readonly feeBps: number;
}

/** What the client asked for; a gateway's candidate has to keep to it. */
export interface CandidateTerms {
  /** 32 bytes: the key of the gateway that was dialled. */
  readonly gatewayKey: Uint8Array;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  /** Highest price with the fee on top; undefined: any. */
  readonly maxPrice: PriceSheet | undefined;
  /** The registry's highest fee, in hundredths of a percent. */
  readonly maxFeeBps: number;
  /** Unix seconds. */
  readonly now: number;
}

/** The registry's default (NETWORK §2). */
export const DEFAULT_MAX_FEE_BPS = 1000;

/** Offers whose signature was checked; a worker renews its offer rarely and is named in every reservation. */
export type OfferCache = Map<string, Offer>;

/**
 * Holds a candidate of an untrusted gateway against evidence this client verified itself.
 *
 * @throws {Failure} `bad_offer`, with the first rule that refused.
 */
export function verifyCandidate(
  candidate: Candidate,
  worker: VerifiedWorker,
  feeBps: number,
  terms: CandidateTerms,
  cache: OfferCache,
): VerifiedCandidate {
  refuseUnless(
    candidate.workerId === worker.workerId && candidate.evidenceHash === worker.evidenceHash,
    "another worker",
  );
  refuseUnless(worker.manifestRoots.includes(terms.manifestRoot), "the evidence does not name this model");
  refuseUnless(feeBps <= terms.maxFeeBps, `a fee of ${feeBps} bps is more than ${terms.maxFeeBps}`);
  const offer = checkedOffer(candidate, worker, terms, cache);
  const { maxPrice } = terms;
  refuseUnless(maxPrice === undefined || askFits(offer.price, feeBps, maxPrice), "the ask is above the highest price");
  return { [verified]: true, worker, offer, offerHash: offerHashOf(candidate.offer), feeBps };
}

const MAX_CACHED_OFFERS = 1024;

/** A cached offer is held against the terms again: time passes, and models and gateways differ between requests. */
function checkedOffer(candidate: Candidate, worker: VerifiedWorker, terms: CandidateTerms, cache: OfferCache): Offer {
  const name = toBase64url(candidate.offer) + toBase64url(candidate.offerSignature);
  const { gatewayKey, manifestRoot, now } = terms;
  const known = cache.get(name);
  const stillHolds =
    known !== undefined &&
    known.notAfter > now &&
    known.manifestRoot === manifestRoot &&
    equalBytes(known.gatewayKey, gatewayKey) &&
    equalBytes(known.ik, worker.identityKey);
  if (stillHolds) return known;
  const expected = { identityKey: worker.identityKey, gatewayKey, manifestRoot, now };
  const offer = verifyOffer(candidate.offer, candidate.offerSignature, expected, verifySignature);
  if (cache.size >= MAX_CACHED_OFFERS) cache.clear();
  cache.set(name, offer);
  return offer;
}

function refuseUnless(holds: boolean, why: string): void {
  if (!holds) throw new Failure("bad_offer", why);
}

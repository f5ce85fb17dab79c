import {
  askFits,
  equalBytes,
  Failure,
  offerHashOf,
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

/** Offers whose signature was checked, by worker and model: a worker renews one rarely and is named in every reservation. */
export type OfferCache = Map<string, CheckedOffer>;

export interface CheckedOffer {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly offer: Offer;
  /** Lowercase hex. */
  readonly offerHash: string;
}

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
  const { offer, offerHash } = checkedOffer(candidate, worker, terms, cache);
  const { maxPrice } = terms;
  refuseUnless(maxPrice === undefined || askFits(offer.price, feeBps, maxPrice), "the ask is above the highest price");
  return { [verified]: true, worker, offer, offerHash, feeBps };
}

const MAX_CACHED_OFFERS = 1024;

/** A cached offer is held against the terms again: time passes, and models and gateways differ between requests. */
function checkedOffer(
  candidate: Candidate,
  worker: VerifiedWorker,
  terms: CandidateTerms,
  cache: OfferCache,
): CheckedOffer {
  const name = worker.workerId + terms.manifestRoot;
  const known = cache.get(name);
  if (known !== undefined && isSame(known, candidate) && stillHolds(known.offer, worker, terms)) return known;
  const { gatewayKey, manifestRoot, now } = terms;
  const { offer: bytes, offerSignature: signature } = candidate;
  const expected = { identityKey: worker.identityKey, gatewayKey, manifestRoot, now };
  const offer = verifyOffer(bytes, signature, expected, verifySignature);
  const checked = { bytes, signature, offer, offerHash: offerHashOf(bytes) };
  if (cache.size >= MAX_CACHED_OFFERS) cache.clear();
  cache.set(name, checked);
  return checked;
}

function isSame({ bytes, signature }: CheckedOffer, candidate: Candidate): boolean {
  return equalBytes(bytes, candidate.offer) && equalBytes(signature, candidate.offerSignature);
}

function stillHolds(offer: Offer, worker: VerifiedWorker, { gatewayKey, manifestRoot, now }: CandidateTerms): boolean {
  return (
    offer.notAfter > now &&
    offer.manifestRoot === manifestRoot &&
    equalBytes(offer.gatewayKey, gatewayKey) &&
    equalBytes(offer.ik, worker.identityKey)
  );
}

function refuseUnless(holds: boolean, why: string): void {
  if (!holds) throw new Failure("bad_offer", why);
}

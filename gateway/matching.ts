import { tierReaches, type Nanoton, type PriceSheet, type Tier, type TierCounts } from "../protocol/index.ts";
import { isCircuitOpen, type WorkerRecord } from "./record.ts";

/** Who gets a request. Pure (NETWORK §2). */

export const REASONS = [
  "reason_price",
  "reason_model_not_asked",
  "reason_tier",
  "reason_slots_full",
  "reason_paused",
  "reason_circuit_open",
  "reason_evidence_expired",
  "reason_context",
  "reason_no_demand",
] as const;
/** Why a worker was passed over; sent to it each minute. */
export type Reason = (typeof REASONS)[number];

/** A worker's offer with what the gateway knows of the worker now. */
export interface OfferView {
  readonly workerId: string;
  readonly price: PriceSheet;
  readonly contextTokens: number;
  /** As far as the evidence document supports the claim. */
  readonly tier: Tier;
  /** Unix seconds. */
  readonly evidenceNotAfter: number;
  /** As the worker offers them. */
  readonly slots: number;
  readonly running: number;
  /** Most streams at once in the last ten minutes. */
  readonly mostRunning: number;
  readonly isPaused: boolean;
  readonly record: WorkerRecord;
}

export interface Query {
  readonly maxPromptBytes: number;
  readonly maxCompletionTokens: number;
  /** Highest price of the client without the gateway's fee, from {@link highestAsk}; null: any. */
  readonly highestAsk: PriceSheet | null;
  readonly minTier: Tier;
  readonly candidates: number;
  readonly preferWorker: string | undefined;
}

export interface Now {
  readonly steadyMs: number;
  readonly unixSeconds: number;
}

export interface Matched<Offer extends OfferView> {
  /** Best first, at most as many as were asked for. */
  readonly chosen: readonly Offer[];
  readonly tiersOffered: TierCounts;
  /** The one reason to tell the client when nobody fits: of those passed over, the one that came nearest. */
  readonly refusal: Reason | undefined;
  /** The cheapest ask that failed by price alone. */
  readonly lowestPrice: PriceSheet | undefined;
}

/** Seconds per 1 000 tokens assumed of a (model, tier) nobody has served yet. */
export const UNKNOWN_SPEED = 20;
const MOST_SLOTS = 64;
const PREFERRED_FACTOR = 1.25;
/** Twice the usual bytes of a token: a wrong guess here would refuse what the worker, who counts, would take. */
const BYTES_PER_TOKEN_AT_MOST = 8;
const BPS = 10_000n;

/** The asks that, with the fee on top, are within `maxPrice`: those not above this in any kind. Same rule as askFits. */
export function highestAsk(maxPrice: PriceSheet, feeBps: number): PriceSheet {
  const withoutFee = (price: Nanoton): Nanoton => (price * BPS) / (BPS + BigInt(feeBps));
  return {
    prompt: withoutFee(maxPrice.prompt),
    cached: withoutFee(maxPrice.cached),
    completion: withoutFee(maxPrice.completion),
  };
}

/** `speedOf` is the median seconds per 1 000 tokens of a tier; `passOver` hears each worker's reason. */
export function match<Offer extends OfferView>(
  offers: Iterable<Offer>,
  query: Query,
  now: Now,
  rules: { readonly speedOf: (tier: Tier) => number; readonly passOver: (offer: Offer, reason: Reason) => void },
): Matched<Offer> {
  const tiersOffered = { software: 0, tpm: 0, tee: 0 };
  const fitting: { readonly offer: Offer; readonly score: number }[] = [];
  let nearest = -1;
  let cheapest: PriceSheet | undefined;
  for (const offer of offers) {
    tiersOffered[offer.tier]++;
    const reason = reasonAgainst(offer, query, now);
    if (reason === undefined) {
      fitting.push({ offer, score: scoreOf(offer, query, now, rules.speedOf(offer.tier)) });
      continue;
    }
    rules.passOver(offer, reason);
    nearest = Math.max(nearest, ORDER.indexOf(reason));
    if (reason === "reason_price") cheapest = cheaper(offer.price, cheapest);
  }
  return { chosen: choose(fitting, query), tiersOffered, refusal: ORDER[nearest], lowestPrice: cheapest };
}

/** Lower is better. */
export function scoreOf(offer: OfferView, query: Query, now: Now, median: number): number {
  const { record } = offer;
  const weight = Math.exp(-(now.steadyMs - record.at) / 600_000);
  const requests = record.requests * weight;
  const successes = record.successes * weight;
  const cost =
    (query.maxPromptBytes / 4) * Number(offer.price.prompt) +
    query.maxCompletionTokens * Number(offer.price.completion);
  const load = 1 + offer.running / countedSlots(offer);
  // A failure has no speed of its own; it counts as the median, so that failing is never fast.
  const seconds = record.seconds * weight + (requests - successes) * median;
  const speed = Math.sqrt((seconds + 2 * median) / (requests + 2));
  const reliability = (successes + 2) / (requests + 2.2);
  return (Math.max(cost, 1) * load * speed) / reliability ** 4;
}

/** Slots a worker is believed to have: what it offers, but not far beyond what it has shown. */
export function countedSlots(offer: Pick<OfferView, "slots" | "mostRunning">): number {
  return Math.max(1, Math.min(offer.slots, MOST_SLOTS, 2 * offer.mostRunning));
}

/** From a worker that could not serve at all to one that would have, but for its load: the last tells the client most. */
const ORDER: readonly Reason[] = [
  "reason_tier",
  "reason_evidence_expired",
  "reason_context",
  "reason_paused",
  "reason_circuit_open",
  "reason_price",
  "reason_slots_full",
];

function reasonAgainst(offer: OfferView, query: Query, now: Now): Reason | undefined {
  if (!tierReaches(offer.tier, query.minTier)) return "reason_tier";
  if (offer.evidenceNotAfter <= now.unixSeconds) return "reason_evidence_expired";
  const tokensAtLeast = query.maxPromptBytes / BYTES_PER_TOKEN_AT_MOST + query.maxCompletionTokens;
  if (tokensAtLeast > offer.contextTokens) return "reason_context";
  if (offer.isPaused) return "reason_paused";
  if (isCircuitOpen(offer.record, now.steadyMs)) return "reason_circuit_open";
  if (query.highestAsk !== null && !isWithin(offer.price, query.highestAsk)) return "reason_price";
  if (offer.running >= Math.min(offer.slots, MOST_SLOTS)) return "reason_slots_full";
  return undefined;
}

function isWithin(price: PriceSheet, highest: PriceSheet): boolean {
  return price.prompt <= highest.prompt && price.cached <= highest.cached && price.completion <= highest.completion;
}

function choose<Offer extends OfferView>(
  fitting: { readonly offer: Offer; readonly score: number }[],
  query: Query,
): readonly Offer[] {
  fitting.sort((a, b) => a.score - b.score);
  const best = fitting[0]?.score ?? 0;
  const preferred = fitting.findIndex(({ offer }) => offer.workerId === query.preferWorker);
  if (preferred > 0 && (fitting[preferred]?.score ?? Infinity) <= best * PREFERRED_FACTOR) {
    fitting.unshift(...fitting.splice(preferred, 1));
  }
  return fitting.slice(0, query.candidates).map(({ offer }) => offer);
}

function cheaper(price: PriceSheet, other: PriceSheet | undefined): PriceSheet {
  if (other === undefined) return price;
  return price.completion < other.completion || (price.completion === other.completion && price.prompt < other.prompt)
    ? price
    : other;
}

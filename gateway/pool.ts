import type { PriceSheet, Tier } from "../protocol/index.ts";
import { match, UNKNOWN_SPEED, type Matched, type OfferView, type Now, type Query, type Reason } from "./matching.ts";
import { afterOutcome, fade, isForgettable, newRecord, type Outcome, type WorkerRecord } from "./record.ts";

/** The worker behind an offer, as far as the pool asks. */
export interface OfferHolder {
  readonly workerId: string;
  /** Whether the owner must be named before it gets more work. */
  readonly isOverUnnamedLimit: boolean;
  passedOver(reason: Reason): void;
}

export interface OfferTerms {
  readonly manifestRoot: string;
  readonly price: PriceSheet;
  readonly contextTokens: number;
  /** Unix seconds. */
  readonly notAfter: number;
  readonly offerHash: string;
  /** The candidate as a client gets it, ready as JSON: many clients are told of it. */
  readonly candidateJson: string;
  readonly evidenceHash: string;
  readonly tier: Tier;
  /** Unix seconds. */
  readonly evidenceNotAfter: number;
  readonly slots: number;
}

const PEAK_MS = 60_000;
const PEAKS = 10;

/** One worker's offer of one model while it is linked; its terms are replaced when it offers the model again. */
export class LiveOffer implements OfferView {
  readonly holder: OfferHolder;
  terms: OfferTerms;
  running = 0;
  isWithdrawn = false;
  readonly #records: ReadonlyMap<string, WorkerRecord>;
  readonly #peaks: number[] = new Array<number>(PEAKS).fill(0);
  #minute = 0;

  constructor(holder: OfferHolder, terms: OfferTerms, records: ReadonlyMap<string, WorkerRecord>) {
    this.holder = holder;
    this.terms = terms;
    this.#records = records;
  }

  get workerId(): string {
    return this.holder.workerId;
  }
  get price(): PriceSheet {
    return this.terms.price;
  }
  get contextTokens(): number {
    return this.terms.contextTokens;
  }
  get tier(): Tier {
    return this.terms.tier;
  }
  get evidenceNotAfter(): number {
    return this.terms.evidenceNotAfter;
  }
  get slots(): number {
    return this.terms.slots;
  }
  get mostRunning(): number {
    return Math.max(...this.#peaks);
  }
  get isPaused(): boolean {
    return this.isWithdrawn || this.holder.isOverUnnamedLimit;
  }
  get record(): WorkerRecord {
    return this.#records.get(this.holder.workerId) ?? NO_RECORD;
  }

  streamStarted(now: number): void {
    this.running++;
    const minute = Math.floor(now / PEAK_MS);
    for (let passed = Math.min(minute - this.#minute, PEAKS); passed > 0; passed--) {
      this.#peaks[(minute - passed + 1) % PEAKS] = 0;
    }
    this.#minute = minute;
    this.#peaks[minute % PEAKS] = Math.max(this.#peaks[minute % PEAKS] ?? 0, this.running);
  }

  streamEnded(): void {
    this.running--;
  }
}

const NO_RECORD = newRecord(0);
const SPEED_MS = 10_000;
const PRUNE_MS = 60_000;

interface Model {
  readonly offers: Set<LiveOffer>;
  readonly speeds: Map<Tier, number>;
  speedsAt: number;
  asked: number;
}

/** All offers by model, and how each worker has done. */
export class Pool {
  readonly #models = new Map<string, Model>();
  readonly #records = new Map<string, WorkerRecord>();
  #asked = 0;
  #prunedAt = 0;

  /** Requests matched so far, of all models. */
  get asked(): number {
    return this.#asked;
  }

  askedFor(manifestRoot: string): number {
    return this.#models.get(manifestRoot)?.asked ?? 0;
  }

  offer(holder: OfferHolder, terms: OfferTerms): LiveOffer {
    const offer = new LiveOffer(holder, terms, this.#records);
    this.#model(terms.manifestRoot).offers.add(offer);
    return offer;
  }

  remove(offer: LiveOffer): void {
    const model = this.#models.get(offer.terms.manifestRoot);
    model?.offers.delete(offer);
    if (model?.offers.size === 0) this.#models.delete(offer.terms.manifestRoot);
  }

  match(manifestRoot: string, query: Query, now: Now): Matched<LiveOffer> {
    const model = this.#models.get(manifestRoot);
    this.#asked++;
    if (model === undefined) return NOBODY;
    model.asked++;
    if (now.steadyMs - model.speedsAt > SPEED_MS) refreshSpeeds(model, now.steadyMs);
    return match(model.offers, query, now, {
      speedOf: (tier) => model.speeds.get(tier) ?? UNKNOWN_SPEED,
      passOver: (offer, reason) => offer.holder.passedOver(reason),
    });
  }

  outcome(workerId: string, outcome: Outcome, now: number): void {
    this.#records.set(workerId, afterOutcome(this.#records.get(workerId) ?? newRecord(now), outcome, now));
  }

  /** Forgets records that would change nothing any more. */
  prune(now: number): void {
    if (now - this.#prunedAt < PRUNE_MS) return;
    this.#prunedAt = now;
    for (const [workerId, record] of this.#records) if (isForgettable(record, now)) this.#records.delete(workerId);
  }

  /** Workers by model and tier, without identities. */
  summary(): Record<string, Record<Tier, number>> {
    return Object.fromEntries(
      [...this.#models].map(([root, { offers }]) => {
        const tiers = { software: 0, tpm: 0, tee: 0 };
        for (const offer of offers) tiers[offer.tier]++;
        return [root, tiers];
      }),
    );
  }

  #model(manifestRoot: string): Model {
    const existing = this.#models.get(manifestRoot);
    if (existing !== undefined) return existing;
    const made = { offers: new Set<LiveOffer>(), speeds: new Map<Tier, number>(), speedsAt: -Infinity, asked: 0 };
    this.#models.set(manifestRoot, made);
    return made;
  }
}

const NOBODY: Matched<LiveOffer> = {
  chosen: [],
  tiersOffered: { software: 0, tpm: 0, tee: 0 },
  refusal: undefined,
  lowestPrice: undefined,
};

/** The median, over the workers of a tier, of their mean seconds per 1 000 tokens. */
function refreshSpeeds(model: Model, now: number): void {
  model.speedsAt = now;
  const byTier = new Map<Tier, number[]>();
  for (const offer of model.offers) {
    const { successes, seconds } = fade(offer.record, now);
    if (successes > 0.5) byTier.set(offer.tier, [...(byTier.get(offer.tier) ?? []), seconds / successes]);
  }
  model.speeds.clear();
  for (const [tier, means] of byTier) {
    means.sort((a, b) => a - b);
    model.speeds.set(tier, means[means.length >> 1] ?? UNKNOWN_SPEED);
  }
}

import { codeOf, Failure, type FailureCode, type PriceSheet } from "../../protocol/index.ts";
import type { CancelTimer, Clock } from "./clock.ts";
import type { Engine } from "./engine.ts";
import type { EvidenceFacts, EvidenceIssuer, IssuedEvidence, PutEvidence } from "./evidence.ts";
import type { Link } from "./link.ts";
import type { OfferBook } from "./offers.ts";

/** A model this worker serves. */
export interface ServedModel {
  /** Name for people and clients' catalogues. */
  readonly id: string;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  readonly bytes: number;
  readonly price: PriceSheet;
  readonly engine: Engine;
}

/** Brings one gateway's picture of this worker in line with what the worker can serve now. */
export interface Publisher {
  /** Evidence left, offers made, renewed or withdrawn, as needed; does nothing when nothing has changed. */
  publish(): void;
  accepted(id: string): void;
  refused(id: string, code: FailureCode, retryAfterMs: number | undefined): void;
  /** The link is gone: the gateway remembers no offer. */
  reset(): void;
  /** Manifest roots of accepted offers. */
  readonly offered: readonly string[];
}

export interface PublisherOptions {
  readonly link: Link;
  readonly models: readonly ServedModel[];
  /** How many gateways share this worker's slots. */
  readonly gateways: number;
  readonly isOffering: () => boolean;
  readonly facts: () => EvidenceFacts | undefined;
  readonly evidence: EvidenceIssuer;
  readonly putEvidence: PutEvidence;
  readonly offers: OfferBook;
  readonly clock: Clock;
  readonly onProblem: (code: FailureCode, message: string) => void;
  readonly onChange: () => void;
}

interface Made {
  readonly id: string;
  /** What was offered: another offer hash, evidence or number of slots is another offer. */
  readonly content: string;
  isAccepted: boolean;
}

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;

export function createPublisher(options: PublisherOptions): Publisher {
  return new LinkPublisher(options);
}

class LinkPublisher implements Publisher {
  readonly #options: PublisherOptions;
  readonly #made = new Map<string, Made>();
  #left: string | undefined;
  #connection = 0;
  #running = false;
  #again = false;
  #failures = 0;
  #lastId = 0;
  #cancelRetry: CancelTimer | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  get offered(): readonly string[] {
    return [...this.#made].filter(([, made]) => made.isAccepted).map(([root]) => root);
  }

  publish(): void {
    const { models, isOffering } = this.#options;
    // At once, whatever else is under way: a gateway must not send requests to an engine that is gone.
    for (const model of models) if (!isOffering() || !isUp(model)) this.#withdraw(model.manifestRoot);
    this.#again = true;
    if (!this.#running && this.#cancelRetry === undefined) void this.#run();
  }

  accepted(id: string): void {
    for (const made of this.#made.values()) if (made.id === id) made.isAccepted = true;
    this.#failures = 0;
    this.#options.onChange();
  }

  refused(id: string, code: FailureCode, retryAfterMs: number | undefined): void {
    const [root] = [...this.#made].find(([, made]) => made.id === id) ?? [];
    if (root === undefined) return;
    this.#made.delete(root);
    this.#left = undefined; // the gateway may have lost the evidence; leaving it twice costs nothing
    this.#options.onProblem(code, `the gateway did not accept the offer: ${code}`);
    this.#retryLater(retryAfterMs);
  }

  reset(): void {
    this.#connection++;
    this.#made.clear();
    this.#left = undefined;
    this.#failures = 0;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#options.onChange();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const connection = this.#connection;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#bringInLine();
      }
    } catch (error) {
      if (connection === this.#connection) {
        this.#options.onProblem(
          codeOf(error),
          error instanceof Failure ? error.message : "the offer could not be made",
        );
        this.#retryLater(undefined);
      }
    } finally {
      this.#running = false;
      if (connection !== this.#connection) this.publish();
    }
  }

  async #bringInLine(): Promise<void> {
    const { link, models, isOffering, facts, evidence } = this.#options;
    if (link.state().phase !== "ready") return;
    const connection = this.#connection;
    const claims = facts();
    if (claims === undefined || !isOffering() || !models.some(isUp)) return;
    const issued = await evidence.current(claims);
    await this.#leave(issued);
    // Both took time: what is offered is what is true now, on the link that is there now.
    if (connection !== this.#connection || !isOffering()) return;
    for (const model of models) if (isUp(model)) this.#offer(model, issued);
  }

  async #leave(issued: IssuedEvidence): Promise<void> {
    if (this.#left === issued.hash) return;
    const connection = this.#connection;
    await this.#options.putEvidence(this.#options.link.gateway, issued);
    if (connection === this.#connection) this.#left = issued.hash;
  }

  #offer(model: ServedModel, issued: IssuedEvidence): void {
    const { link, offers, gateways, onChange } = this.#options;
    const state = model.engine.state();
    if (state.phase !== "up") return;
    const { contextTokens, slots } = state.capabilities;
    const { manifestRoot, price } = model;
    const offer = offers.current({ gatewayKey: link.gateway.key, manifestRoot, price, contextTokens });
    const share = Math.min(Math.ceil(slots / gateways), MAX_OFFERED_SLOTS);
    const content = `${offer.hash} ${issued.hash} ${share}`;
    const before = this.#made.get(manifestRoot);
    if (before?.content === content) return;
    const id = `offer-${++this.#lastId}`;
    this.#made.set(manifestRoot, { id, content, isAccepted: before?.isAccepted ?? false });
    link.send({
      type: "offer",
      id,
      offer: offer.bytes,
      offerSignature: offer.signature,
      evidenceHash: issued.hash,
      slots: share,
    });
    onChange();
  }

  #withdraw(manifestRoot: string): void {
    if (!this.#made.delete(manifestRoot)) return;
    this.#options.link.send({ type: "withdraw_offer", manifestRoot });
    this.#options.onChange();
  }

  #retryLater(retryAfterMs: number | undefined): void {
    const delay = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS);
    this.#failures++;
    this.#cancelRetry?.();
    this.#cancelRetry = this.#options.clock.after(Math.max(delay, retryAfterMs ?? 0), () => {
      this.#cancelRetry = undefined;
      this.publish();
    });
  }
}

/** What the wire allows in one offer. */
const MAX_OFFERED_SLOTS = 1024;

function isUp(model: ServedModel): boolean {
  return model.engine.state().phase === "up";
}

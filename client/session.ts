import {
  badgeOf,
  Failure,
  FAILURES,
  tierReaches,
  type Candidate,
  type FinishReason,
  type GatewayToClient,
  type MessageOf,
  type Nanoton,
  type Policy,
  type PriceSheet,
  type SealedEnd,
  type SealedEvent,
  type Tier,
  type TokenUsage,
} from "../protocol/index.ts";
import type { Account } from "./account.ts";
import { defaultMaxTokens, findModel, type Catalogue, type CatalogueModel } from "./catalogue.ts";
import { ClientFailure, tierTooLow } from "./client-failure.ts";
import type { Conversations } from "./conversations.ts";
import type { EvidenceDesk } from "./evidence.ts";
import type { Link } from "./link.ts";
import { chargeOwed, type StreamTerms } from "./receipts.ts";
import { maxTokensOf, sealedBody, type ModelRequest, type SealedBody } from "./sealed-body.ts";
import type { Sessions, StreamPlace } from "./sessions.ts";
import { SealedStream, type StreamRequest } from "./stream.ts";
import { verifyCandidate, type OfferCache, type VerifiedCandidate } from "./trust.ts";

/** The worker that answers, as its evidence and offer were verified. */
export interface AnsweringWorker {
  /** Lowercase hex. */
  readonly workerId: string;
  /** What was proved, never what was claimed. */
  readonly tier: Tier;
  /** What the tier does and does not protect, in the fixed words. */
  readonly badge: string;
  /** The worker's ask, nanoton per million tokens; the fee comes on top. */
  readonly price: PriceSheet;
  readonly feeBps: number;
}

/** How an answer ended and what it cost by this client's own count. */
export interface AnswerEnd {
  readonly finishReason: FinishReason;
  readonly usage: TokenUsage & {
    /** Completion tokens that were reasoning. */
    readonly reasoningTokens: number;
  };
  /** What this client owes: `earnedNanoton` to the worker, `feeNanoton` to the gateway. */
  readonly chargedNanoton: Nanoton;
  readonly earnedNanoton: Nanoton;
  readonly feeNanoton: Nanoton;
  readonly tier: Tier;
  readonly workerId: string;
  /** From the call to the first event of the answer. */
  readonly ttftMs: number;
  /** Decode rate after the first event; 0 when there was no second. */
  readonly tokensPerSecond: number;
}

/** Called in this order: `worker`, any number of `event`s, `end`; or `failed` at any time, and nothing after it. */
export interface AnswerListener {
  readonly worker: (worker: AnsweringWorker) => void;
  readonly event: (event: SealedEvent) => void;
  readonly end: (end: AnswerEnd) => void;
  readonly failed: (failure: Failure) => void;
}

/** What one request may ask of its worker beyond the client's policy. */
export interface RequestTerms {
  /** Overrides the policy's least tier for this request, upwards or downwards. */
  readonly minTier?: Tier;
  /** Overrides the client's highest price, fee included. */
  readonly maxPrice?: PriceSheet;
}

export interface RequestPorts {
  readonly link: Link;
  readonly desk: EvidenceDesk;
  readonly sessions: Sessions;
  readonly account: Account;
  readonly conversations: Conversations;
  readonly offers: OfferCache;
  /** Context lengths that verified offers named, by manifest root. */
  readonly contexts: Map<string, number>;
  readonly catalogue: Catalogue;
  readonly policy: Policy;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  readonly maxPrice: PriceSheet | undefined;
  readonly maxFeeBps: number;
  /** Unix ms. */
  readonly now: () => number;
  /** Ms on a clock that never jumps. */
  readonly elapsed: () => number;
}

/** How many workers a reservation names: the second is for `busy`, the third for bad luck. */
const CANDIDATES = 3;
const DEADLINE_MS = 600_000;
/** A second reservation is for what a first could not know: renewed evidence, a forgotten session, a link that dropped. */
const MAX_RESERVATIONS = 3;
/** A request that names no limit is tried with less while the context is too short, down to this. */
const LEAST_DEFAULT_TOKENS = 64;

/** One request: reserve, verify, seal, open. Returns its cancel; the listener is not called before that. */
export function runRequest(
  ports: RequestPorts,
  request: ModelRequest,
  terms: RequestTerms,
  listener: AnswerListener,
): () => void {
  const run = new Request(ports, request, terms, listener);
  queueMicrotask(() => void run.start());
  return () => run.cancel("cancelled");
}

type Reserved = MessageOf<GatewayToClient, "reserved">;

class Request {
  readonly #ports: RequestPorts;
  readonly #request: ModelRequest;
  readonly #terms: RequestTerms;
  readonly #listener: AnswerListener;
  readonly #startedAt: number;
  readonly #deadline: ReturnType<typeof setTimeout>;
  /** Workers that were tried and are not asked again. */
  readonly #tried = new Set<string>();
  #running: SealedStream | undefined;
  #isOver = false;
  #mayRetry = true;
  /** Whether the reservation at hand ends by itself: a stream was asked for on it, or the gateway has forgotten it. */
  #isUsed = false;
  #firstEventAt: number | undefined;
  #reasoningTokens = 0;

  constructor(ports: RequestPorts, request: ModelRequest, terms: RequestTerms, listener: AnswerListener) {
    this.#ports = ports;
    this.#request = request;
    this.#terms = terms;
    this.#listener = listener;
    this.#startedAt = ports.elapsed();
    this.#deadline = setTimeout(() => this.cancel("truncated"), DEADLINE_MS);
  }

  async start(): Promise<void> {
    try {
      await this.#run();
    } catch (error) {
      this.#fail(error instanceof Failure ? error : new Failure("internal", undefined, { cause: error }));
    }
  }

  cancel(code: "cancelled" | "truncated"): void {
    if (this.#isOver) return;
    this.#fail(new Failure(code));
    this.#running?.cancel(code);
  }

  async #run(): Promise<void> {
    const { catalogue, conversations, contexts } = this.#ports;
    const model = findModel(catalogue, this.#request.body.model);
    const named = maxTokensOf(this.#request);
    const body = sealedBody(this.#request);
    const conversation = conversations.nameOf(this.#request);
    let maxTokens = named ?? defaultMaxTokens(model, contexts.get(model.manifestRoot));
    for (let round = 1; ; round++) {
      const failure = await this.#attempt({ model, body, maxTokens, conversation });
      if (failure === undefined || this.#hasEnded()) return;
      const mayShrink = named === undefined && maxTokens > LEAST_DEFAULT_TOKENS && failure.code === "context_overflow";
      if (mayShrink) maxTokens = Math.max(LEAST_DEFAULT_TOKENS, maxTokens >> 2);
      else if (round >= MAX_RESERVATIONS || !needsNewReservation(failure)) throw failure;
    }
  }

  /** One reservation and its candidates. */
  async #attempt(plan: Plan): Promise<Failure | undefined> {
    const reply = await this.#reserve(plan);
    if (reply instanceof Failure) return reply;
    this.#isUsed = false;
    try {
      return await this.#tryCandidates(reply, plan);
    } finally {
      this.#releaseUnused(reply.reservationId);
    }
  }

  #releaseUnused(reservationId: string): void {
    if (!this.#isUsed) this.#ports.link.send({ type: "release", reservationId });
  }

  async #reserve({ model, body, maxTokens, conversation }: Plan): Promise<Reserved | Failure> {
    const { link, policy, maxPrice, conversations } = this.#ports;
    const preferWorker = conversations.workerOf(conversation);
    const reply = await link.reserve({
      model: model.id,
      manifestRoot: model.manifestRoot,
      maxPromptBytes: body.maxBytes,
      maxCompletionTokens: maxTokens,
      maxPrice: this.#terms.maxPrice ?? maxPrice ?? null,
      minTier: this.#terms.minTier ?? policy.minTier,
      candidates: CANDIDATES,
      ...(preferWorker === undefined ? {} : { preferWorker }),
    });
    return reply.type === "reserved" ? reply : refusalOf(reply);
  }

  /** Undefined once one answered; else why the last did not. Each is verified like the first. */
  async #tryCandidates(reserved: Reserved, plan: Plan): Promise<Failure | undefined> {
    let asked = 0;
    let last: Failure | undefined;
    for (const candidate of reserved.candidates) {
      if (this.#hasEnded()) break;
      if (this.#tried.has(candidate.workerId)) continue;
      this.#tried.add(candidate.workerId);
      const verified = await this.#verify(candidate, reserved, plan.model);
      if (verified instanceof Failure) {
        last = verified;
        continue;
      }
      if (this.#hasEnded()) break;
      asked++;
      const failure = await this.#ask(verified, reserved, plan);
      if (failure === undefined || this.#hasEnded()) return undefined;
      last = failure;
      if (isSpent(failure)) this.#isUsed = true;
      if (failure.code === "context_overflow") return this.#again(candidate, failure);
      if (isSpent(failure) && asked > 1) return this.#again(candidate, failure);
      if (!this.#mayGoOn(failure)) throw failure;
      if (needsNewReservation(failure)) return this.#again(candidate, failure);
    }
    if (this.#hasEnded()) return undefined;
    return last ?? new Failure("no_worker", "every worker that was named has been tried");
  }

  /** This worker was not to blame: a new reservation may name it again. */
  #again({ workerId }: Candidate, failure: Failure): Failure {
    this.#tried.delete(workerId);
    return failure;
  }

  /** Nothing has left yet, so a refusal costs only the candidate. */
  async #verify(
    candidate: Candidate,
    { feeBps }: Reserved,
    model: CatalogueModel,
  ): Promise<VerifiedCandidate | Failure> {
    const { desk, policy, gatewayKey, maxPrice, maxFeeBps, now, offers } = this.#ports;
    const minTier = this.#terms.minTier ?? policy.minTier;
    try {
      const worker = await desk.verify(candidate, minTier);
      if (!tierReaches(worker.tier, minTier)) return new Failure("tier_too_low");
      const expected = {
        gatewayKey,
        manifestRoot: model.manifestRoot,
        maxPrice: this.#terms.maxPrice ?? maxPrice,
        maxFeeBps,
        now: Math.floor(now() / 1000),
      };
      const verified = verifyCandidate(candidate, worker, feeBps, expected, offers);
      this.#ports.contexts.set(model.manifestRoot, verified.offer.contextTokens);
      return verified;
    } catch (error) {
      if (error instanceof Failure) return error;
      throw error;
    }
  }

  async #ask(candidate: VerifiedCandidate, { reservationId }: Reserved, plan: Plan): Promise<Failure | undefined> {
    const { worker, offer, offerHash, feeBps } = candidate;
    const plaintext = plan.body.plaintext({ maxTokens: plan.maxTokens, reservationId, offerHash });
    let place: StreamPlace | undefined;
    try {
      place = await this.#ports.sessions.take(candidate, reservationId);
      if (this.#hasEnded()) throw new Failure("cancelled");
      const terms: StreamTerms = {
        reservationId,
        sessionId: place.session.sessionId,
        streamId: place.streamId,
        identityKey: worker.identityKey,
        manifestRoot: offer.manifestRoot,
        offerHash,
        price: offer.price,
        feeBps,
        promptBytes: plaintext.length,
        maxTokens: plan.maxTokens,
      };
      const { withheldBytes } = plan.body;
      return await this.#stream(candidate, plan, { terms, workerId: worker.workerId, plaintext, withheldBytes, place });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      place?.failed(error.code);
      return error;
    }
  }

  /** Undefined once it answered, or failed after it had begun to: no other worker can take over from there. */
  #stream(candidate: VerifiedCandidate, plan: Plan, stream: StreamRequest): Promise<Failure | undefined> {
    const { link, account } = this.#ports;
    return new Promise((resolve) => {
      let hasBegun = false;
      const begin = (): void => {
        if (hasBegun) return;
        hasBegun = true;
        this.#firstEventAt = this.#ports.elapsed();
        this.#listener.worker(answeringWorker(candidate));
      };
      const failed = (failure: Failure): void => {
        this.#running = undefined;
        if (hasBegun) this.#fail(failure);
        resolve(hasBegun ? undefined : failure);
      };
      const running = new SealedStream(stream, {
        event: (event) => {
          begin();
          if (event.t === "delta" && event.reasoning === true) this.#reasoningTokens += event.tokenIds.length;
          this.#listener.event(event);
        },
        done: (end) => {
          const unfinished = unfinishedBy(end.finish_reason);
          if (unfinished !== undefined) return failed(unfinished);
          begin();
          this.#ports.conversations.answered(plan.conversation, candidate.worker.workerId);
          this.#end(end, candidate, stream.terms);
          resolve(undefined);
        },
        failed,
      });
      account.opened(stream.terms, running.meter);
      this.#running = running;
      this.#isUsed = true;
      running.start(link);
    });
  }

  #end(end: SealedEnd, { worker }: VerifiedCandidate, terms: StreamTerms): void {
    const { charge, earned, fee } = chargeOwed(end.usage, end.finish_reason, terms);
    const now = this.#ports.elapsed();
    const firstEventAt = this.#firstEventAt ?? now;
    const decodeMs = now - firstEventAt;
    this.#over();
    this.#listener.end({
      finishReason: end.finish_reason,
      usage: { ...end.usage, reasoningTokens: this.#reasoningTokens },
      chargedNanoton: charge,
      earnedNanoton: earned,
      feeNanoton: fee,
      tier: worker.tier,
      workerId: worker.workerId,
      ttftMs: firstEventAt - this.#startedAt,
      tokensPerSecond: decodeMs > 0 ? ((end.usage.completionTokens - 1) * 1000) / decodeMs : 0,
    });
  }

  #fail(failure: Failure): void {
    if (this.#isOver) return;
    this.#over();
    this.#listener.failed(failure);
  }

  /** Asked after each wait: a cancel may have come meanwhile. */
  #hasEnded(): boolean {
    return this.#isOver;
  }

  #over(): void {
    this.#isOver = true;
    clearTimeout(this.#deadline);
  }

  /** `busy` is nobody's failure; any other is forgiven once, and only where the same request can work elsewhere. */
  #mayGoOn({ code }: Failure): boolean {
    if (code === "busy") return true;
    const mayGoOn = this.#mayRetry && FAILURES[code].retry;
    this.#mayRetry = false;
    return mayGoOn;
  }
}

interface Plan {
  readonly model: CatalogueModel;
  readonly body: SealedBody;
  readonly maxTokens: number;
  readonly conversation: string;
}

function refusalOf({ code, tiersOffered, lowestPrice }: MessageOf<GatewayToClient, "refused">): Failure {
  if (code === "tier_too_low") return tierTooLow(tiersOffered);
  return new ClientFailure(code, lowestPrice === undefined ? undefined : lowestNow(lowestPrice), { tiersOffered });
}

function lowestNow({ prompt, cached, completion }: PriceSheet): string {
  return `the lowest price now is ${prompt},${cached},${completion}`;
}

/** What a gateway says of a reservation that the worker before has used up. */
function isSpent({ code }: Failure): boolean {
  return code === "reservation_unknown" || code === "reservation_mismatch";
}

/** Failures that the next candidate of the same reservation would meet as well, or that are not the worker's. */
function needsNewReservation({ code }: Failure): boolean {
  switch (code) {
    case "reservation_unknown":
    case "reservation_mismatch":
    case "session_unknown":
    case "session_expired":
    case "evidence_stale":
    case "gateway_unreachable":
    case "truncated":
      return true;
    default:
      return false;
  }
}

/** Why an answer with this end is not a whole one. */
function unfinishedBy(finish: FinishReason): Failure | undefined {
  switch (finish) {
    case "stop":
    case "length":
    case "tool_calls":
      return undefined;
    case "cancelled":
      return new Failure("cancelled", "the worker stopped before the answer was whole");
    case "handed_over":
      return new Failure("truncated", "the worker handed over and nobody went on");
    case "failed":
      return new Failure("bad_message", "a failed answer that ends as a whole one");
  }
}

function answeringWorker({ worker, offer, feeBps }: VerifiedCandidate): AnsweringWorker {
  const { workerId, tier, backend } = worker;
  return { workerId, tier, badge: badgeOf(tier, backend), price: offer.price, feeBps };
}

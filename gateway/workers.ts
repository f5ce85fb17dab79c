import {
  chargeFor,
  Failure,
  FAILURES,
  NO_USAGE,
  offerHashOf,
  parseReceipt,
  stringify,
  verifyOffer,
  type FinishReason,
  type MessageOf,
  type OwnerProof,
  type RawAddress,
  type WorkerToGateway,
} from "../protocol/index.ts";
import type { Charging } from "./charging.ts";
import { unixSeconds, type Clock } from "./clock.ts";
import type { Documents } from "./documents.ts";
import type { Journal } from "./journal.ts";
import { hasProved, isSignable, type Position } from "./books.ts";
import { failureOf, type Link } from "./link.ts";
import { RateLimit, UNNAMED_LIMIT, type Limits } from "./limits.ts";
import type { WorkerLogin } from "./login.ts";
import type { Reason } from "./matching.ts";
import { meter, type RelayedStream } from "./metering.ts";
import type { LiveOffer, OfferHolder, Pool } from "./pool.ts";
import type { Reservations } from "./reservations.ts";
import { isSignedBy, verifyByOpenSsl, type PublicKey, type Signer } from "./signatures.ts";
import type { Stream, StreamEnd } from "./stream.ts";

/** Checks a wallet's ton_proof that names the owner of a worker. @throws {Failure} when it does not hold. */
export type OwnerProofVerifier = (
  proof: OwnerProof,
  expected: { readonly identityKey: Uint8Array; readonly networkId: number; readonly now: number },
) => RawAddress;

export interface WorkersOptions {
  readonly journal: Journal;
  readonly charging: Charging;
  readonly pool: Pool;
  readonly documents: Documents;
  readonly reservations: Reservations;
  readonly signer: Signer;
  readonly networkId: number;
  readonly feeBps: number;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly verifyOwnerProof: OwnerProofVerifier | undefined;
}

const REASONS_MS = 60_000;
const PROBE_MS = 400;

/** A stream whose frames are through and whose receipt is not. */
interface Awaited {
  readonly stream: Stream;
  readonly relayed: RelayedStream;
}

/** A worker that has logged in. */
export class WorkerPeer implements OfferHolder {
  readonly link: Link;
  readonly workerId: string;
  readonly key: PublicKey;
  readonly owner: RawAddress | undefined;
  readonly handshakes: RateLimit;
  readonly offers = new Map<string, LiveOffer>();
  /** By reservation id: being relayed. */
  readonly streams = new Map<string, Stream>();
  /** By reservation id: waiting for the worker's receipt. */
  readonly awaited = new Map<string, Awaited>();
  nextReasonsAt: number;
  askedBefore = 0;
  askedOwnBefore = 0;
  readonly #journal: Journal;
  #reasons = new Map<Reason, number>();

  constructor(
    facts: { link: Link; workerId: string; key: PublicKey; owner: RawAddress | undefined },
    journal: Journal,
    limits: Limits,
    now: number,
  ) {
    this.link = facts.link;
    this.workerId = facts.workerId;
    this.key = facts.key;
    this.owner = facts.owner;
    this.#journal = journal;
    this.handshakes = new RateLimit(limits.handshakesPerSecond, now);
    this.nextReasonsAt = now + REASONS_MS;
  }

  get isOverUnnamedLimit(): boolean {
    if (this.owner !== undefined) return false;
    return (this.#journal.ledger.unnamed.get(this.workerId)?.owed ?? 0n) >= UNNAMED_LIMIT;
  }

  passedOver(reason: Reason): void {
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
  }

  /** The counts since the last call, with what was asked of others. */
  takeReasons(pool: Pool): Record<string, number> {
    const asked = pool.asked - this.askedBefore;
    const own = [...this.offers.keys()].reduce((sum, root) => sum + pool.askedFor(root), 0);
    const ownAsked = Math.min(asked, Math.max(0, own - this.askedOwnBefore));
    this.askedBefore = pool.asked;
    this.askedOwnBefore = own;
    const counts = new Map<Reason, number>(this.#reasons);
    this.#reasons = new Map();
    if (asked === 0) counts.set("reason_no_demand", 1);
    else if (asked > ownAsked) counts.set("reason_model_not_asked", asked - ownAsked);
    return Object.fromEntries(counts);
  }
}

/**
 * An owner's vouchers are at least this far apart: each is a signature here, and a check and a flush of the disk at every
 * worker of the owner. A later one covers the earlier ones.
 */
const VOUCHER_PACE_MS = 200;

/** The workers' side of the gateway: logins, offers, receipts, vouchers. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #byId = new Map<string, WorkerPeer>();
  readonly #byOwner = new Map<RawAddress, Set<WorkerPeer>>();
  /** Promises as they are written. */
  readonly #promised: Map<RawAddress, Position>;
  /** Owners that are here and were not told of their newest promise. */
  readonly #untold = new Set<RawAddress>();
  /** Steady ms of the last voucher to an owner that is here. */
  readonly #toldAt = new Map<RawAddress, number>();

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#promised = new Map([...options.journal.ledger.owners].filter(([, book]) => isSignable(book)));
  }

  get size(): number {
    return this.#byId.size;
  }

  get(workerId: string): WorkerPeer | undefined {
    return this.#byId.get(workerId);
  }

  /** @throws {Failure} `bad_login` for a second link of a worker that is there, or a false proof; `rate_limited`. */
  async login(link: Link, login: WorkerLogin, key: PublicKey, workerId: string): Promise<WorkerPeer> {
    const owner = this.#ownerOf(login, workerId);
    await this.#makeWay(workerId);
    if (!link.isOpen) throw new Failure("bad_login", "gone before it was let in");
    const siblings = owner === undefined ? 0 : (this.#byOwner.get(owner)?.size ?? 0);
    if (siblings >= this.#options.limits.workersPerOwner)
      throw new Failure("rate_limited", "too many workers of one owner");
    const { journal, limits, clock } = this.#options;
    const peer = new WorkerPeer({ link, workerId, key, owner }, journal, limits, clock.steadyMs());
    peer.askedBefore = this.#options.pool.asked;
    this.#add(peer);
    this.#name(peer);
    return peer;
  }

  welcome(peer: WorkerPeer): void {
    const { owner } = peer;
    const position = owner === undefined ? undefined : this.#promised.get(owner);
    peer.link.send({
      type: "welcome",
      feeBps: this.#options.feeBps,
      ownerNamed: owner !== undefined,
      voucher:
        owner === undefined || position === undefined ? null : this.#options.charging.payoutVoucher(owner, position),
    });
  }

  remove(peer: WorkerPeer): void {
    if (this.#byId.get(peer.workerId) === peer) this.#byId.delete(peer.workerId);
    for (const offer of peer.offers.values()) this.#dropOffer(offer);
    peer.offers.clear();
    if (peer.owner === undefined) return;
    const siblings = this.#byOwner.get(peer.owner);
    siblings?.delete(peer);
    if (siblings?.size !== 0) return;
    this.#byOwner.delete(peer.owner);
    this.#untold.delete(peer.owner); // its next welcome tells
    this.#toldAt.delete(peer.owner);
  }

  handle(peer: WorkerPeer, message: WorkerToGateway): void {
    switch (message.type) {
      case "offer":
        return this.#offer(peer, message);
      case "withdraw_offer":
        return this.#withdraw(peer, message.manifestRoot);
      case "receipt":
        return this.#receipt(peer, message);
      case "close":
        return peer.link.routeClosed(message.routeId, message.code);
      case "voucher_ack":
        return peer.link.budget.giveBack();
      case "redeem_request":
        // A gateway that settles on chain may deduct the cost of a redeem; this one does not settle.
        return peer.link.error("unsupported_field", { id: message.id });
      case "login":
        return peer.link.error("replay");
      case "heartbeat":
        return;
    }
  }

  /** A stream's frames are through, one way or another. */
  streamEnded(peer: WorkerPeer, stream: Stream, end: StreamEnd): void {
    const { reservation, offer } = stream.context;
    peer.streams.delete(reservation.id);
    offer.streamEnded();
    if (end.type === "ended") {
      peer.awaited.set(reservation.id, { stream, relayed: stream.relayed(end.by) });
      return;
    }
    this.#endWithout(peer, stream, end);
  }

  /** After its last frame the worker said that no receipt will follow, or was lost. */
  unsigned(peer: WorkerPeer, stream: Stream, end: StreamEnd): void {
    if (peer.awaited.delete(stream.context.reservation.id)) this.#endWithout(peer, stream, end);
  }

  failed(workerId: string, client: string, weight: 0.5 | 1): void {
    const isTrial = client.startsWith("trial ");
    this.#options.pool.outcome(
      workerId,
      { type: "failure", client, weight: isTrial ? 0.5 : weight },
      this.#options.clock.steadyMs(),
    );
  }

  /** Vouchers for what has been written, now or when the owner's pace allows. */
  promised(positions: ReadonlyMap<RawAddress, Position>): void {
    for (const [owner, position] of positions) {
      this.#promised.set(owner, position);
      if (this.#byOwner.has(owner)) this.#untold.add(owner);
    }
    this.#tell();
  }

  #tell(): void {
    const now = this.#options.clock.steadyMs();
    for (const owner of this.#untold) {
      if (now - (this.#toldAt.get(owner) ?? -Infinity) < VOUCHER_PACE_MS) continue;
      this.#untold.delete(owner);
      const position = this.#promised.get(owner);
      if (position === undefined) continue;
      this.#toldAt.set(owner, now);
      const text = stringify({ type: "voucher", ...this.#options.charging.payoutVoucher(owner, position) });
      for (const peer of this.#byOwner.get(owner) ?? []) peer.link.sendText(text);
    }
  }

  /** The promise to an owner as it is written. */
  positionOf(owner: RawAddress): Position | undefined {
    return this.#promised.get(owner);
  }

  tick(): void {
    const { clock, pool } = this.#options;
    const now = clock.steadyMs();
    const seconds = unixSeconds(clock);
    this.#tell();
    for (const peer of this.#byId.values()) {
      for (const stream of peer.streams.values()) if (stream.deadline <= now) stream.expire();
      for (const awaited of peer.awaited.values())
        if (awaited.stream.deadline <= now) this.unsigned(peer, awaited.stream, { type: "timed-out" });
      for (const [root, offer] of peer.offers) {
        if (offer.terms.notAfter > seconds) continue;
        this.#dropOffer(offer);
        peer.offers.delete(root);
      }
      if (peer.nextReasonsAt > now) continue;
      peer.nextReasonsAt = now + REASONS_MS;
      peer.link.send({ type: "reasons", counts: peer.takeReasons(pool) });
    }
  }

  /** The owner a login names, when it is or was proved; undefined: not yet named. */
  #ownerOf(login: WorkerLogin, workerId: string): RawAddress | undefined {
    const { address, ownerProof } = login;
    if (address === "") return undefined;
    if (hasProved(this.#options.journal.ledger, workerId, address)) return address;
    if (ownerProof === undefined || this.#options.verifyOwnerProof === undefined) return undefined;
    const { networkId, clock } = this.#options;
    const proved = this.#provedBy(ownerProof, { identityKey: login.key, networkId, now: unixSeconds(clock) });
    if (proved !== address) throw new Failure("bad_login", "the proof is not the owner's");
    return address;
  }

  #provedBy(proof: OwnerProof, expected: Parameters<OwnerProofVerifier>[1]): RawAddress | undefined {
    try {
      return this.#options.verifyOwnerProof?.(proof, expected);
    } catch (cause) {
      throw new Failure("bad_login", "the owner's proof does not hold", { cause });
    }
  }

  /** An identity has one link: the older stays if it still answers. */
  async #makeWay(workerId: string): Promise<void> {
    const old = this.#byId.get(workerId);
    if (old === undefined) return;
    if (await old.link.probe(PROBE_MS)) throw new Failure("bad_login", "this worker is linked already");
    old.link.destroy();
    if (this.#byId.has(workerId)) throw new Failure("bad_login", "another link was faster");
  }

  #add(peer: WorkerPeer): void {
    this.#byId.set(peer.workerId, peer);
    if (peer.owner === undefined) return;
    const siblings = this.#byOwner.get(peer.owner);
    if (siblings === undefined) this.#byOwner.set(peer.owner, new Set([peer]));
    else siblings.add(peer);
  }

  /** Writes a new owner down, and moves to it what was earned without one. */
  #name({ owner, workerId }: WorkerPeer): void {
    const { journal, clock } = this.#options;
    if (owner === undefined) return;
    if (journal.ledger.owned.get(workerId) === owner && !journal.ledger.unnamed.has(workerId)) return;
    journal.append([{ type: "name", at: clock.unixMs(), workerId, owner }]);
  }

  #offer(peer: WorkerPeer, message: MessageOf<WorkerToGateway, "offer">): void {
    try {
      this.#accept(peer, message);
      peer.link.send({ type: "offer_accepted", id: message.id });
    } catch (error) {
      peer.link.error(failureOf(error).code, { id: message.id });
    }
  }

  /** @throws {Failure} `bad_offer`; `evidence_stale`, `evidence_binding`, `evidence_expired`; `model_unavailable`. */
  #accept(peer: WorkerPeer, message: MessageOf<WorkerToGateway, "offer">): void {
    const { signer, clock, documents, pool } = this.#options;
    const now = unixSeconds(clock);
    const expected = { identityKey: peer.key.bytes, gatewayKey: signer.publicKey, now };
    const offer = verifyOffer(message.offer, message.offerSignature, expected, verifyByOpenSsl);
    const { manifestRoot, price, contextTokens, notAfter } = offer;
    const { evidenceHash, slots, offerSignature } = message;
    const facts = documents.facts(evidenceHash);
    if (facts === undefined) throw new Failure("evidence_stale", "not put here");
    if (facts.workerId !== peer.workerId) throw new Failure("evidence_binding");
    if (facts.notAfter <= now) throw new Failure("evidence_expired");
    if (!facts.manifestRoots.includes(manifestRoot)) throw new Failure("model_unavailable", "not in the evidence");
    const { workerId } = peer;
    const terms = {
      manifestRoot,
      price,
      contextTokens,
      notAfter,
      offerHash: offerHashOf(message.offer),
      candidateJson: stringify({ workerId, evidenceHash, offer: message.offer, offerSignature }),
      evidenceHash,
      tier: facts.tier,
      evidenceNotAfter: facts.notAfter,
      slots,
    };
    documents.hold(evidenceHash);
    const live = peer.offers.get(manifestRoot);
    if (live === undefined) {
      peer.offers.set(manifestRoot, pool.offer(peer, terms));
      return;
    }
    documents.release(live.terms.evidenceHash);
    live.terms = terms;
    live.isWithdrawn = false;
  }
  #withdraw(peer: WorkerPeer, manifestRoot: string): void {
    const offer = peer.offers.get(manifestRoot);
    if (offer !== undefined) offer.isWithdrawn = true;
  }

  #dropOffer(offer: LiveOffer): void {
    this.#options.pool.remove(offer);
    this.#options.documents.release(offer.terms.evidenceHash);
  }

  #receipt(peer: WorkerPeer, message: MessageOf<WorkerToGateway, "receipt">): void {
    const { reservationId } = message;
    // A worker that was told to stop may sign without a last frame.
    const running = peer.streams.get(reservationId);
    if (running?.wasCancelled === true) running.endByReceipt();
    const awaited = peer.awaited.get(reservationId);
    if (awaited === undefined) return peer.link.error("reservation_unknown");
    peer.awaited.delete(reservationId);
    awaited.stream.release();
    peer.link.budget.giveBack();
    try {
      this.#settleReceipt(peer, awaited, message);
    } catch (error) {
      peer.link.error(failureOf(error).code);
      this.failed(peer.workerId, awaited.stream.context.reservation.account.key, 1);
      this.#release(awaited.stream);
    }
  }

  /** @throws {Failure} `bad_receipt`: then nothing is charged. */
  #settleReceipt(peer: WorkerPeer, awaited: Awaited, message: MessageOf<WorkerToGateway, "receipt">): void {
    const { stream, relayed } = awaited;
    const { reservation, terms } = stream.context;
    if (!isSignedBy(peer.key, message.receipt, message.signature)) throw new Failure("bad_receipt", "bad signature");
    const receipt = parseReceipt(message.receipt);
    const isRefusal = receipt.finish === "failed" && relayed.deliveredFrames === 0;
    // Its request hash covers what had arrived when the worker refused, which we cannot know; nothing was delivered.
    const { usage, isClipped } = isRefusal ? NOTHING_METERED : meter(receipt, relayed);
    this.#judge(stream, { finish: receipt.finish, tokens: usage.completionTokens, isClipped });
    const amounts = chargeFor(usage, terms.price, this.#options.feeBps);
    if (amounts.charge === 0n) return this.#release(stream);
    const { payer } = reservation.account;
    this.#options.charging.book(
      {
        type: "charge",
        at: this.#options.clock.unixMs(),
        payer,
        workerId: peer.workerId,
        owner: peer.owner ?? null,
        reservationId: reservation.id,
        receipt: message.receipt,
        signature: message.signature,
        usage,
        price: terms.price,
        feeBps: this.#options.feeBps,
        deliveredFrames: relayed.deliveredFrames,
        ...("trial" in payer ? { charge: amounts.earned, earned: amounts.earned, fee: 0n } : amounts),
      },
      reservation.link,
    );
    this.#options.reservations.end(reservation);
  }

  #judge(stream: Stream, facts: { finish: FinishReason; tokens: number; isClipped: boolean }): void {
    const { offer, reservation } = stream.context;
    const { clock, pool } = this.#options;
    if (facts.finish === "cancelled" || facts.finish === "handed_over") return;
    if (facts.finish === "failed" || facts.isClipped) {
      // What an ABORT before the first token says is sealed: the fault may be the client's.
      const isOpenQuestion = !facts.isClipped && stream.deliveredFrames === 0;
      return this.failed(offer.workerId, reservation.account.key, isOpenQuestion ? 0.5 : 1);
    }
    const seconds = ((stream.endedAt ?? stream.startedAt) - stream.startedAt) / 1000;
    const secondsPerThousand = (seconds * 1000) / Math.max(1, facts.tokens);
    pool.outcome(offer.workerId, { type: "success", secondsPerThousand }, clock.steadyMs());
  }

  /** No receipt: nothing is charged. */
  #endWithout(peer: WorkerPeer, stream: Stream, end: StreamEnd): void {
    if (isWorkersFault(end, stream)) this.failed(peer.workerId, stream.context.reservation.account.key, 1);
    this.#release(stream);
  }

  /** Frees the hold, or lets the client try the next candidate once, when it had not got a token. */
  #release(stream: Stream): void {
    const { reservations, clock } = this.#options;
    const { reservation } = stream.context;
    stream.release();
    const mayRetry = stream.deliveredFrames === 0 && !stream.wasCancelled && reservation.link.isOpen;
    if (mayRetry && reservations.retry(reservation, clock.steadyMs())) return;
    reservations.end(reservation);
  }
}

const NOTHING_METERED = { usage: NO_USAGE, isClipped: false };

/** Whether the gateway itself saw the worker fail; a code that blames the client, `busy` and cancellations are no failure. */
function isWorkersFault(end: StreamEnd, stream: Stream): boolean {
  if (stream.wasCancelled) return false;
  switch (end.type) {
    case "ended":
      return false;
    case "refused":
      return end.code !== "busy" && end.code !== "cancelled" && FAILURES[end.code].blame !== "client";
    case "timed-out":
      return stream.isRequestWhole;
    case "worker-lost":
    case "broken":
      return true;
  }
}

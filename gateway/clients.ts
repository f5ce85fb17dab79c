import {
  equalBytes,
  FAILURES,
  holdFor,
  stringify,
  toHex,
  type ClientToGateway,
  type FailureCode,
  type GatewayToClient,
  type MessageOf,
  type Nanoton,
  type PriceSheet,
  type RawAddress,
} from "../protocol/index.ts";
import type { Channels, ClientChannelView } from "./channels.ts";
import type { Charging } from "./charging.ts";
import { unixSeconds, type Clock } from "./clock.ts";
import type { ClientPayer } from "./entries.ts";
import { addressBlock, refusalByCredit, refusalByTrial, trialLeft } from "./exposure.ts";
import { Hello, type HelloEnd } from "./hello.ts";
import type { Journal } from "./journal.ts";
import { dayOf, emptyBook, openDisputes, uncountersignedTotal } from "./books.ts";
import type { Limits } from "./limits.ts";
import type { Link } from "./link.ts";
import { highestAsk, type Matched, type Reason } from "./matching.ts";
import type { LiveOffer, OfferTerms, Pool } from "./pool.ts";
import {
  refusalFor,
  RESERVATION_MS,
  takesRoute,
  type Account,
  type Reservation,
  type Reservations,
} from "./reservations.ts";
import type { PublicKey } from "./signatures.ts";
import { Stream } from "./stream.ts";
import type { WorkerPeer, Workers } from "./workers.ts";

export interface ClientsOptions {
  readonly journal: Journal;
  readonly charging: Charging;
  readonly pool: Pool;
  readonly workers: Workers;
  readonly reservations: Reservations;
  readonly channels: Channels;
  readonly feeBps: number;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly random: (length: number) => Uint8Array;
  /** The price a trial request is held to, by model; undefined: any. */
  readonly referencePrice: (manifestRoot: string) => PriceSheet | undefined;
  /** Whether the gateway takes nothing new. */
  readonly isDraining: () => boolean;
}

/** A client that has logged in. */
export interface ClientPeer {
  readonly link: Link;
  readonly key: PublicKey;
  /** Its channel, or empty on trial. */
  readonly channel: RawAddress;
  readonly payer: ClientPayer;
}

type Reserve = MessageOf<ClientToGateway, "reserve">;
type Opening = MessageOf<ClientToGateway, "hello" | "open">;

const DAY_MS = 86_400_000;
const BPS = 10_000n;
const MOST_SLOTS = 64;

/** The clients' side of the gateway: reservations, handshakes, streams, signatures. */
export class Clients {
  readonly #options: ClientsOptions;
  readonly #peers = new Set<ClientPeer>();
  readonly #hellos = new Set<Hello>();
  /** Trial keys by address block, of one Unix day. */
  #trialKeys = { day: 0, byBlock: new Map<string, Set<string>>() };

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#peers.size;
  }

  login(link: Link, key: PublicKey, channel: RawAddress): ClientPeer {
    const payer = channel === "" ? { trial: toHex(key.bytes) } : { channel };
    const peer = { link, key, channel, payer };
    this.#peers.add(peer);
    return peer;
  }

  welcome(peer: ClientPeer): void {
    const { charging, journal, feeBps } = this.#options;
    const isHolder = this.#channelOf(peer) !== undefined;
    const countersigned = isHolder ? charging.countersigned(peer.channel) : null;
    const trial = "trial" in peer.payer ? { trial: trialLeft(journal.ledger.trials.get(peer.payer.trial)) } : {};
    peer.link.send({ type: "welcome", feeBps, countersigned, ...trial });
    if (isHolder) charging.linkUp(peer.channel, peer.link);
  }

  remove(peer: ClientPeer): void {
    this.#peers.delete(peer);
    this.#options.reservations.linkGone(peer.link);
    if (peer.channel !== "") this.#options.charging.linkDown(peer.channel, peer.link);
  }

  handle(peer: ClientPeer, message: ClientToGateway): void {
    switch (message.type) {
      case "reserve":
        return this.#reserve(peer, message);
      case "release":
        return this.#release(peer, message.reservationId);
      case "hello":
        return this.#hello(peer, message);
      case "open":
        return this.#open(peer, message);
      case "countersign":
      case "dispute":
        return this.#answer(peer, message);
      case "close":
        return peer.link.routeClosed(message.routeId, message.code);
      case "login":
        return peer.link.error("replay");
      case "heartbeat":
        return;
    }
  }

  tick(): void {
    const now = this.#options.clock.steadyMs();
    this.#options.reservations.expire(now);
    for (const hello of this.#hellos) if (hello.deadline <= now) hello.expire();
  }

  #reserve(peer: ClientPeer, message: Reserve): void {
    const { reservations, journal, limits } = this.#options;
    const account = reservations.account(peer.payer);
    if (this.#options.isDraining()) return this.#refuse(peer, message, "busy");
    // What could not be written could not be charged either.
    if (journal.trouble !== undefined) return this.#refuse(peer, message, "internal");
    const most = "trial" in peer.payer ? limits.openTrialReservations : limits.openReservations;
    if (account.waiting >= most) return this.#refuse(peer, message, "rate_limited");
    const matched = this.#match(peer, message);
    if (matched.chosen.length === 0) return this.#refuse(peer, message, codeFor(matched), matched);
    const hold = this.#holdOver(message, matched.chosen);
    const refusal = this.#refusalByMoney(peer, account, { hold, maxCompletionTokens: message.maxCompletionTokens });
    if (refusal !== undefined) return this.#refuse(peer, message, refusal, matched);
    this.#grant(peer, message, { account, hold, chosen: matched.chosen });
  }

  #match(peer: ClientPeer, message: Reserve): Matched<LiveOffer> {
    const { pool, clock, feeBps, referencePrice } = this.#options;
    const { maxPrice, manifestRoot, preferWorker, ...rest } = message;
    const asked = maxPrice === null ? null : highestAsk(maxPrice, feeBps);
    const trial = "trial" in peer.payer ? referencePrice(manifestRoot) : undefined;
    const query = { ...rest, preferWorker, highestAsk: trial === undefined ? asked : lower(asked, trial) };
    return pool.match(manifestRoot, query, { steadyMs: clock.steadyMs(), unixSeconds: unixSeconds(clock) });
  }

  #holdOver(message: Reserve, chosen: readonly LiveOffer[]): Nanoton {
    const { maxPromptBytes, maxCompletionTokens } = message;
    let most = 0n;
    for (const { price } of chosen) {
      const hold = holdFor(maxPromptBytes, maxCompletionTokens, price, this.#options.feeBps);
      if (hold > most) most = hold;
    }
    return most;
  }

  #refusalByMoney(
    peer: ClientPeer,
    account: Account,
    worst: { readonly hold: Nanoton; readonly maxCompletionTokens: number },
  ): FailureCode | undefined {
    const { journal, reservations, clock } = this.#options;
    const { ledger } = journal;
    const now = clock.unixMs();
    if ("channel" in peer.payer) {
      const book = ledger.clients.get(peer.payer.channel) ?? NO_BOOK;
      return refusalByCredit({
        channel: this.#channelOf(peer),
        hold: worst.hold,
        openHolds: account.openHolds,
        countersigned: book.countersigned?.total ?? 0n,
        uncountersigned: uncountersignedTotal(book),
        openDisputes: openDisputes(book, now - DAY_MS),
      });
    }
    const { trial } = peer.payer;
    const used = ledger.trials.get(trial);
    const today = dayOf(now);
    const refusal = refusalByTrial({
      ...worst,
      keyPaid: (used?.paid ?? 0n) + account.openHolds,
      keyTokens: (used?.completionTokens ?? 0) + account.heldTokens,
      dayPaid: (ledger.trialDay.day === today ? ledger.trialDay.paid : 0n) + reservations.trialHolds,
      otherKeysOfBlock: this.#otherTrialKeys(peer.link.address, trial, today),
    });
    if (refusal === undefined) this.#noteTrialKey(peer.link.address, trial);
    return refusal;
  }

  #otherTrialKeys(address: string, key: string, day: number): number {
    if (this.#trialKeys.day !== day) this.#trialKeys = { day, byBlock: new Map() };
    const keys = this.#trialKeys.byBlock.get(addressBlock(address));
    return keys === undefined ? 0 : keys.size - (keys.has(key) ? 1 : 0);
  }

  #noteTrialKey(address: string, key: string): void {
    const block = addressBlock(address);
    const keys = this.#trialKeys.byBlock.get(block);
    if (keys === undefined) this.#trialKeys.byBlock.set(block, new Set([key]));
    else keys.add(key);
  }

  #grant(
    peer: ClientPeer,
    message: Reserve,
    granted: { readonly account: Account; readonly hold: Nanoton; readonly chosen: readonly LiveOffer[] },
  ): void {
    const { clock, random, reservations, feeBps } = this.#options;
    const now = clock.steadyMs();
    const routeId = peer.link.nextRouteId();
    const reservation: Reservation = {
      id: toHex(random(16)),
      account: granted.account,
      link: peer.link,
      hold: granted.hold,
      routeId,
      manifestRoot: message.manifestRoot,
      maxPromptBytes: message.maxPromptBytes,
      maxCompletionTokens: message.maxCompletionTokens,
      candidates: new Map<string, OfferTerms>(granted.chosen.map((offer) => [offer.workerId, offer.terms])),
      boundTo: undefined,
      phase: "waiting",
      expiresAt: now + RESERVATION_MS,
      isRetried: false,
    };
    reservations.add(reservation);
    peer.link.budget.giveBack();
    const head: Omit<MessageOf<GatewayToClient, "reserved">, "candidates"> = {
      type: "reserved",
      id: message.id,
      reservationId: reservation.id,
      feeBps,
      holdNanoton: granted.hold,
      expiresAt: Math.floor((clock.unixMs() + RESERVATION_MS) / 1000),
      routeId,
    };
    const candidates = granted.chosen.map((offer) => offer.terms.candidateJson).join(",");
    peer.link.sendText(`${stringify(head).slice(0, -1)},"candidates":[${candidates}]}`);
  }

  #refuse(peer: ClientPeer, message: Reserve, code: FailureCode, matched?: Matched<LiveOffer>): void {
    const lowest = code === "price_too_low" ? matched?.lowestPrice : undefined;
    peer.link.send({
      type: "refused",
      id: message.id,
      code,
      tiersOffered: matched?.tiersOffered ?? { software: 0, tpm: 0, tee: 0 },
      ...(lowest === undefined ? {} : { lowestPrice: withFee(lowest, this.#options.feeBps) }),
    });
  }

  #release(peer: ClientPeer, reservationId: string): void {
    const reservation = this.#options.reservations.get(reservationId);
    if (reservation?.account.key !== this.#accountKey(peer)) return peer.link.error("reservation_unknown");
    if (reservation.phase === "waiting") this.#options.reservations.end(reservation);
  }

  #hello(peer: ClientPeer, message: MessageOf<ClientToGateway, "hello">): void {
    const found = this.#covered(peer, message);
    if (found === undefined) return;
    const { reservation, worker } = found;
    const { clock } = this.#options;
    const now = clock.steadyMs();
    if (!worker.handshakes.take(now)) return peer.link.error("rate_limited", { id: message.id });
    reservation.boundTo = worker.workerId;
    const ended = (hello: Hello, end: HelloEnd): void => {
      this.#hellos.delete(hello);
      this.#helloEnded(reservation, worker, end);
    };
    const hello = new Hello(peer.link, worker.link, { now, ended });
    this.#hellos.add(hello);
    peer.link.budget.giveBack();
    worker.link.send({ type: "route", kind: "hello", routeId: hello.worker.routeId, reservationId: reservation.id });
    peer.link.send({ type: "route", id: message.id, routeId: hello.client.routeId });
  }

  #helloEnded(reservation: Reservation, worker: WorkerPeer, end: HelloEnd): void {
    if (end.type === "answered") return;
    reservation.boundTo = undefined;
    const isFault =
      end.type === "timed-out" ||
      end.type === "worker-lost" ||
      (end.type === "refused" && end.code !== "busy" && FAILURES[end.code].blame === "worker");
    if (isFault) this.#options.workers.failed(worker.workerId, reservation.account.key, 1);
  }

  #open(peer: ClientPeer, message: MessageOf<ClientToGateway, "open">): void {
    const found = this.#covered(peer, message);
    if (found === undefined) return;
    const { reservation, worker, terms } = found;
    if (!takesRoute(reservation, message.routeId, peer.link)) {
      return peer.link.error("reservation_mismatch", { id: message.id });
    }
    const offer = worker.offers.get(reservation.manifestRoot);
    if (offer === undefined) return peer.link.error("no_worker", { id: message.id });
    if (offer.running >= Math.min(offer.slots, MOST_SLOTS)) {
      // Nobody's fault: the client moves on to its next candidate, under the same reservation.
      peer.link.budget.giveBack();
      reservation.boundTo = undefined;
      return peer.link.error("busy", { id: message.id });
    }
    const { clock, reservations, workers } = this.#options;
    const { sessionId, streamId } = message;
    reservation.boundTo = worker.workerId;
    reservations.streams(reservation);
    offer.streamStarted(clock.steadyMs());
    const stream = new Stream({
      reservation,
      offer,
      terms,
      sessionId,
      streamId,
      client: peer.link,
      clientRouteId: message.routeId,
      worker: worker.link,
      steadyMs: () => clock.steadyMs(),
      ended: (ended, end) => workers.streamEnded(worker, ended, end),
      unsigned: (ended, end) => workers.unsigned(worker, ended, end),
    });
    worker.streams.set(reservation.id, stream);
    peer.link.budget.giveBack();
    worker.link.send({
      type: "route",
      kind: "stream",
      routeId: stream.worker.routeId,
      reservationId: reservation.id,
      sessionId,
      streamId,
      manifestRoot: terms.manifestRoot,
      offerHash: terms.offerHash,
      maxPromptBytes: reservation.maxPromptBytes,
      maxCompletionTokens: reservation.maxCompletionTokens,
    });
    // Who named the route knows it, and its frames are here already.
    if (message.routeId !== undefined) return;
    peer.link.send({ type: "route", id: message.id, routeId: stream.client.routeId });
  }

  /** The reservation and the linked worker of a hello or open; otherwise the client is told why not. */
  #covered(
    peer: ClientPeer,
    message: Opening,
  ): { readonly reservation: Reservation; readonly worker: WorkerPeer; readonly terms: OfferTerms } | undefined {
    const { reservations, workers, clock } = this.#options;
    const { id, workerId, reservationId } = message;
    const reservation = reservations.get(reservationId);
    const isOwn = reservation?.account.key === this.#accountKey(peer);
    const refusal = refusalFor(isOwn ? reservation : undefined, workerId, clock.steadyMs());
    const worker = workers.get(workerId);
    const terms = reservation?.candidates.get(workerId);
    if (refusal === undefined && reservation !== undefined && terms !== undefined && worker !== undefined) {
      return { reservation, worker, terms };
    }
    peer.link.error(refusal ?? "no_worker", { id });
    return undefined;
  }

  #answer(peer: ClientPeer, message: MessageOf<ClientToGateway, "countersign" | "dispute">): void {
    const { charging } = this.#options;
    if (this.#channelOf(peer) === undefined) return peer.link.error("payment_required");
    const refusal =
      message.type === "countersign"
        ? charging.countersign(peer.channel, peer.key, message)
        : charging.dispute(peer.channel, peer.key, message);
    if (refusal === undefined) peer.link.budget.giveBack();
    else peer.link.error(refusal);
  }

  /** The channel, if it is seen open and the peer's key is the one that signs for it. */
  #channelOf(peer: ClientPeer): ClientChannelView | undefined {
    if (peer.channel === "") return undefined;
    const channel = this.#options.channels.clientChannel(peer.channel);
    return channel !== undefined && equalBytes(channel.paymentKey, peer.key.bytes) ? channel : undefined;
  }

  #accountKey(peer: ClientPeer): string {
    return this.#options.reservations.account(peer.payer).key;
  }
}

/** Of a channel that was never charged: asking must not make it known. */
const NO_BOOK = emptyBook();

/** What a client is told when nobody fits. */
function codeFor(matched: Matched<LiveOffer>): FailureCode {
  if (matched.refusal === undefined) return "model_unavailable";
  return CODES[matched.refusal];
}

const CODES: Record<Reason, FailureCode> = {
  reason_price: "price_too_low",
  reason_tier: "tier_too_low",
  reason_slots_full: "busy",
  reason_context: "context_overflow",
  reason_paused: "no_worker",
  reason_circuit_open: "no_worker",
  reason_evidence_expired: "no_worker",
  reason_model_not_asked: "no_worker",
  reason_no_demand: "no_worker",
};

/** The sheet a client would have to accept for this ask. */
function withFee(ask: PriceSheet, feeBps: number): PriceSheet {
  const up = (price: Nanoton): Nanoton => (price * (BPS + BigInt(feeBps)) + BPS - 1n) / BPS;
  return { prompt: up(ask.prompt), cached: up(ask.cached), completion: up(ask.completion) };
}

function lower(a: PriceSheet | null, b: PriceSheet): PriceSheet {
  if (a === null) return b;
  const least = (x: Nanoton, y: Nanoton): Nanoton => (x < y ? x : y);
  return {
    prompt: least(a.prompt, b.prompt),
    cached: least(a.cached, b.cached),
    completion: least(a.completion, b.completion),
  };
}

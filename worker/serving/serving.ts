import {
  chargeFor,
  codeOf,
  Failure,
  type EvidenceClaims,
  type FailureCode,
  type GatewayToWorker,
  type MessageOf,
  type Nanoton,
  type SignedVoucher,
  type Verify,
} from "../../protocol/index.ts";
import type { EngineCapabilities } from "../engine/messages.ts";
import type { CancelTimer, Clock } from "./clock.ts";
import { holdOf, type Hold } from "./debt.ts";
import type { Disk } from "./disk.ts";
import type { EarningsBook } from "./earnings.ts";
import {
  createEvidenceIssuer,
  type Attester,
  type EvidenceFacts,
  type EvidenceIssuer,
  type PutEvidence,
} from "./evidence.ts";
import type { GatewayAddress } from "./gateway-address.ts";
import type { Identity } from "./identity.ts";
import { createJobs, type Jobs } from "./jobs.ts";
import { createLink, type Link, type LinkMessage, type Owner } from "./link.ts";
import { createOfferBook, type OfferBook, type SignedOffer } from "./offers.ts";
import { createGatewayOwners, type GatewayOwners } from "./owners.ts";
import { createPublisher, type Publisher, type ServedModel } from "./publisher.ts";
import { createRedeemRequests, type Redeeming, type RedeemRequests } from "./redeem-requests.ts";
import { createSessions, type Sessions } from "./sessions.ts";
import type { Dial } from "./socket.ts";
import { addOutcome, addRefusal, NO_TOTALS, type GatewayStatus, type Problem, type ServingStatus } from "./status.ts";
import type { StreamOutcome } from "./stream.ts";
import { openVoucherKeeper, type VoucherKeeper } from "./vouchers.ts";

export interface ServingOptions {
  readonly identity: Identity;
  readonly gateways: readonly GatewayAddress[];
  readonly models: readonly ServedModel[];
  readonly networkId: number;
  readonly owner: Owner | undefined;
  /** Who it earned for before: their vouchers stay theirs. */
  readonly formerOwners: readonly string[];
  /** An owner's WorkerChannel at a gateway, where it can be computed. */
  readonly channelAt: ChannelAt;
  /** What a gateway may owe, promised or not, before nothing new is done for it. */
  readonly debtLimit: Nanoton;
  readonly earnings: EarningsBook;
  readonly attester: Attester;
  readonly release: EvidenceClaims["release"];
  readonly clock: Clock;
  readonly randomBytes: (length: number) => Uint8Array;
  /** In [0, 1). */
  readonly random: () => number;
  readonly dial: Dial;
  readonly putEvidence: PutEvidence;
  readonly disk: Disk;
  readonly verify: Verify;
}

export type ChannelAt = (gateway: GatewayAddress, owner: string) => Promise<string | undefined> | string | undefined;

/** The network's side of a worker: links, sessions, streams, receipts, vouchers. Engines may come and go under it. */
export interface Serving {
  status(): ServingStatus;
  /** Calls back, at most ten times a second, after something has changed. */
  onStatus(listener: (status: ServingStatus) => void): () => void;
  /** While paused nothing is offered and nothing new is taken; links, and what runs, stay. */
  setPaused(isPaused: boolean): void;
  /**
   * Earns for another owner from now on: each link logs in again when nothing runs over it, and what was earned without
   * an owner becomes this one's. Resolves when nothing more can fail.
   *
   * @param keep writes the owner down; what it throws leaves everything as it was.
   * @throws {Failure} those of reading kept vouchers.
   */
  setOwner(owner: Owner, keep: () => Promise<void>): Promise<void>;
  /** The newest voucher of each gateway for each owner this worker has earned for. */
  vouchers(): readonly OwnedVoucher[];
  /** Each gateway's standing with each owner, the present one first. */
  accounts(): readonly Account[];
  /** What the chain has paid an owner at a gateway in all, once that is certain. */
  setPaid(account: Account, total: Nanoton): Promise<void>;
  setDebtLimit(limit: Nanoton): void;
  /** Does nothing new for a gateway for as long as there is a reason. */
  setDistrust(gateway: GatewayAddress, reason: Distrust | undefined): void;
  /** A gateway's contract has become known: every channel is computed again. */
  learnChannels(): Promise<void>;
  /**
   * Has a gateway pay the fees of a redeem for the present owner.
   *
   * @throws {Failure} as {@link RedeemRequests.ask}.
   */
  requestRedeem(gateway: GatewayAddress, maxDeduction: Nanoton): Promise<Redeeming>;
  /** Takes nothing new, lets what runs end within `graceMs`, then leaves. */
  stop(graceMs: number): Promise<void>;
}

/** What one gateway has promised one owner. */
export interface OwnedVoucher {
  readonly gateway: GatewayAddress;
  /** `0:hex`. */
  readonly owner: string;
  readonly voucher: SignedVoucher;
}

/** One gateway and one owner. */
export interface Account {
  readonly gateway: GatewayAddress;
  readonly vouchers: VoucherKeeper;
  /** Whether this worker earns for this owner now. */
  readonly isPresent: boolean;
}

/** Why a gateway cannot be believed. */
export interface Distrust {
  readonly code: FailureCode;
  readonly message: string;
}

/** @throws {Failure} `bad_configuration` for an address that cannot be a gateway's; those of reading kept vouchers. */
export async function startServing(options: ServingOptions): Promise<Serving> {
  const { gateways, owner, formerOwners, earnings } = options;
  // A crash may have come between the naming and the moving of what was earned before it.
  if (owner !== undefined) for (const gateway of gateways) earnings.name(gateway, owner.address);
  const openAll = (address: string): Promise<readonly VoucherKeeper[]> =>
    Promise.all(gateways.map((gateway) => openKeeper(gateway, address, options)));
  const [keepers = [], ...former] = await Promise.all([owner?.address ?? "", ...formerOwners].map(openAll));
  const serving = new WorkerServing(options, keepers, former);
  serving.open();
  return serving;
}

async function openKeeper(
  gateway: GatewayAddress,
  owner: string,
  { networkId, channelAt, disk, verify, earnings }: ServingOptions,
): Promise<VoucherKeeper> {
  return openVoucherKeeper({
    gatewayKey: gateway.key,
    owner,
    networkId,
    channel: owner === "" ? undefined : await channelAt(gateway, owner),
    counted: earnings.counted(gateway, owner),
    disk,
    verify,
  });
}

const SWEEP_MS = 5000;
const STATUS_MS = 100;
const DRAIN_CHECK_MS = 20;
/** After everything was cancelled, what may still take its time: an engine in the middle of a long prompt. */
const CANCEL_GRACE_MS = 2000;
const NEXT_OWNER_CHECK_MS = 250;

interface Counterparty {
  readonly link: Link;
  readonly publisher: Publisher;
  readonly owners: GatewayOwners;
  readonly redeems: RedeemRequests;
  /** It showed less than it promised, and has not shown that again. */
  hasFallen: boolean;
  distrust: Distrust | undefined;
  /** As it was published last. */
  isHeld: boolean;
  reasons: Readonly<Record<string, number>>;
  problem: Problem | undefined;
}

class WorkerServing implements Serving {
  readonly #options: ServingOptions;
  readonly #counterparties: readonly Counterparty[];
  readonly #evidence: EvidenceIssuer;
  readonly #offers: OfferBook;
  readonly #sessions: Sessions;
  readonly #jobs: Jobs;
  readonly #listeners = new Set<(status: ServingStatus) => void>();
  readonly #unsubscribe: readonly (() => void)[];
  readonly #capabilities = new Map<ServedModel, EngineCapabilities>();
  #totals = NO_TOTALS;
  #refusals: ServingStatus["refusals"] = [];
  #owner: string | undefined;
  #debtLimit: Nanoton;
  #isPaused = false;
  #isStopping = false;
  #cancelSweep: CancelTimer | undefined;
  #cancelNextOwners: CancelTimer | undefined;
  #cancelTelling: CancelTimer | undefined;

  constructor(
    options: ServingOptions,
    keepers: readonly VoucherKeeper[],
    former: readonly (readonly VoucherKeeper[])[],
  ) {
    const { identity, clock, attester, models } = options;
    this.#options = options;
    this.#owner = options.owner?.address;
    this.#debtLimit = options.debtLimit;
    this.#evidence = createEvidenceIssuer(identity, attester, clock);
    this.#offers = createOfferBook(identity, clock);
    this.#sessions = this.#createSessions();
    this.#jobs = this.#createJobs();
    this.#counterparties = keepers.map((keeper, at) =>
      this.#createCounterparty(
        keeper,
        at,
        former.flatMap((ofOwner) => ofOwner[at] ?? []),
      ),
    );
    this.#unsubscribe = models.map((model) => model.engine.onState(() => this.#onEngine()));
  }

  open(): void {
    this.#onEngine();
    for (const { link } of this.#counterparties) link.open();
    this.#scheduleSweep();
  }

  status(): ServingStatus {
    return {
      workerId: this.#options.identity.workerId,
      owner: this.#owner,
      tier: this.#evidence.tier,
      gateways: this.#counterparties.map((counterparty) => this.#gatewayStatus(counterparty)),
      models: this.#options.models.map(({ id, manifestRoot, price, engine }) => ({
        id,
        manifestRoot,
        price,
        engine: engine.state(),
      })),
      sessions: this.#sessions.size,
      answering: this.#jobs.answering,
      openStreams: this.#jobs.openStreams,
      totals: this.#totals,
      refusals: this.#refusals,
    };
  }

  onStatus(listener: (status: ServingStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#publish();
    this.#changed();
  }

  async setOwner(owner: Owner, keep: () => Promise<void>): Promise<void> {
    const keepers = await Promise.all(this.#counterparties.map(({ owners }) => owners.keeperOf(owner.address)));
    await keep();
    for (const [at, { link, owners }] of this.#counterparties.entries()) {
      const vouchers = keepers[at];
      if (link.isNamed(owner.address) && !owners.isChanging) link.setOwner(owner);
      else if (vouchers !== undefined) owners.expect(owner, vouchers);
    }
    this.#owner = owner.address;
    this.#publish();
    this.#awaitNextOwners();
    this.#changed();
  }

  vouchers(): readonly OwnedVoucher[] {
    return this.#counterparties.flatMap(({ link, owners }) =>
      owners.keepers.flatMap((keeper) => {
        const voucher = keeper.newest();
        return voucher === undefined ? [] : [{ gateway: link.gateway, owner: keeper.owner, voucher }];
      }),
    );
  }

  accounts(): readonly Account[] {
    return this.#counterparties.flatMap(({ link: { gateway }, owners }) =>
      owners.keepers.map((vouchers) => ({ gateway, vouchers, isPresent: vouchers === owners.vouchers })),
    );
  }

  async setPaid({ vouchers }: Account, total: Nanoton): Promise<void> {
    await vouchers.setPaid(total);
    this.#reviewAll();
  }

  setDebtLimit(limit: Nanoton): void {
    this.#debtLimit = limit;
    this.#reviewAll();
  }

  setDistrust(gateway: GatewayAddress, reason: Distrust | undefined): void {
    const counterparty = this.#counterparties.find(({ link }) => link.gateway === gateway);
    if (counterparty !== undefined) counterparty.distrust = reason;
    this.#reviewAll();
  }

  async learnChannels(): Promise<void> {
    const { channelAt } = this.#options;
    for (const { gateway, vouchers } of this.accounts()) {
      const channel = vouchers.owner === "" ? undefined : await channelAt(gateway, vouchers.owner);
      if (channel !== undefined) vouchers.setChannel(channel);
    }
    this.#reviewAll();
  }

  async requestRedeem(gateway: GatewayAddress, maxDeduction: Nanoton): Promise<Redeeming> {
    const counterparty = this.#counterparties.find(({ link }) => link.gateway === gateway);
    const total = counterparty?.owners.vouchers.payout()?.total;
    if (counterparty === undefined || total === undefined) throw new Failure("nothing_to_withdraw");
    const { networkId } = this.#options;
    const { owner } = counterparty.owners.vouchers;
    return counterparty.redeems.ask({ gatewayKey: gateway.key, networkId, owner, total, maxDeduction });
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#publish();
    await this.#untilIdle(graceMs);
    this.#jobs.cancelAll();
    await this.#untilIdle(CANCEL_GRACE_MS);
    this.#cancelSweep?.();
    this.#cancelNextOwners?.();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const { link } of this.#counterparties) link.close();
    await Promise.all(this.#counterparties.map(({ owners }) => owners.vouchers.save()));
    this.#tell();
    this.#listeners.clear();
  }

  #createSessions(): Sessions {
    const { identity, clock, randomBytes } = this.#options;
    return createSessions({
      identity,
      clock,
      random: randomBytes,
      isEvidenceKnown: (hash) => this.#evidence.isKnown(hash),
      isServed: (root) => this.#model(root)?.engine.state().phase === "up" && !this.#isPaused,
      isDraining: () => this.#isStopping,
      onEnd: (sessionId, root) => this.#model(root)?.engine.forget(sessionId),
    });
  }

  #createJobs(): Jobs {
    return createJobs({
      clock: this.#options.clock,
      sessions: this.#sessions,
      offers: this.#offers,
      engineFor: (root) => this.#model(root)?.engine,
      isDraining: () => this.#isStopping || this.#isPaused,
      isHeld: (link) => this.#counterparties.some((one) => one.link === link && this.#holdOn(one) !== undefined),
      onOutcome: (link, reservationId, offer, outcome) => this.#onOutcome(link, reservationId, offer, outcome),
      onRefusal: (code) => this.#onRefusal(code),
    });
  }

  #createCounterparty(present: VoucherKeeper, at: number, former: readonly VoucherKeeper[]): Counterparty {
    const { identity, owner, networkId, clock, random, dial, gateways, models, putEvidence } = this.#options;
    const gateway = gateways[at];
    if (gateway === undefined) throw new RangeError("a keeper without a gateway");
    const owners = createGatewayOwners({
      present,
      former,
      open: (owner) => openKeeper(gateway, owner, this.#options),
      clock,
      onNamed: (owner) => this.#options.earnings.name(gateway, owner),
      onSaveFailed: (error) => tellProblem(codeOf(error), "what this worker counted itself could not be kept"),
    });
    const tellProblem = (code: FailureCode, message: string): void => this.#onProblem(counterparty, code, message);
    const link = createLink(
      { gateway, identity, owner, networkId, newestVoucher: () => owners.vouchers.newest(), clock, random, dial },
      {
        onMessage: (message) => this.#onMessage(counterparty, message),
        onReady: () => publisher.publish(),
        onBytes: (routeId, bytes) => this.#jobs.bytes(link, routeId, bytes),
        onDown: () => {
          this.#jobs.lost(link);
          publisher.reset();
          redeems.lost();
        },
        onChange: () => this.#changed(),
      },
    );
    const publisher = createPublisher({
      link,
      models,
      gateways: gateways.length,
      isOffering: () => !this.#isPaused && !this.#isStopping && !owners.isChanging && !counterparty.isHeld,
      facts: () => this.#facts(),
      evidence: this.#evidence,
      putEvidence,
      offers: this.#offers,
      clock,
      onProblem: tellProblem,
      onChange: () => this.#changed(),
    });
    const redeems = createRedeemRequests({ sign: identity.sign, send: (message) => link.send(message) });
    const counterparty: Counterparty = {
      link,
      publisher,
      owners,
      redeems,
      hasFallen: false,
      distrust: undefined,
      isHeld: false,
      reasons: {},
      problem: undefined,
    };
    counterparty.isHeld = this.#holdOn(counterparty) !== undefined;
    return counterparty;
  }

  #onMessage(from: Counterparty, message: LinkMessage): void {
    const { link, publisher } = from;
    switch (message.type) {
      case "welcome":
        this.#onWelcome(from, message.voucher);
        break;
      case "route":
        this.#jobs.route(link, message);
        break;
      case "close":
        this.#jobs.closed(link, message);
        break;
      case "voucher":
        this.#onVoucher(from, message);
        break;
      case "offer_accepted":
        from.problem = undefined;
        publisher.accepted(message.id);
        break;
      case "error":
        if (message.id === undefined) this.#onProblem(from, message.code, `the gateway says: ${message.code}`);
        else if (!from.redeems.refused(message.id, message.code))
          publisher.refused(message.id, message.code, message.retryAfterMs);
        break;
      case "reasons":
        from.reasons = message.counts;
        this.#changed();
        break;
      case "drain":
        this.#onProblem(
          from,
          "gateway_unreachable",
          "the gateway is about to restart; this worker reconnects by itself",
        );
        break;
      case "redeeming":
        this.#onRedeeming(from, message);
        break;
      case "possession":
        // Nobody answers for weights here yet; an honest "no" costs less standing than silence.
        link.send({ type: "close", routeId: message.routeId, code: "model_unavailable" });
        break;
    }
  }

  #onWelcome(from: Counterparty, voucher: SignedVoucher | null): void {
    from.problem = undefined;
    this.#review(from);
    if (voucher !== null) {
      this.#onVoucher(from, voucher);
      return;
    }
    if (from.owners.vouchers.newest() === undefined) return;
    this.#onFall(from, "the gateway has forgotten a voucher that this worker still holds");
  }

  #onVoucher(from: Counterparty, { boc, signature }: SignedVoucher): void {
    from.owners.vouchers.take({ boc, signature }).then(
      (total) => {
        if (total === undefined) return;
        from.link.send({ type: "voucher_ack", total });
        from.hasFallen = false;
        this.#review(from);
        this.#changed();
      },
      (error: unknown) => {
        const why = error instanceof Error ? error.message : "internal";
        if (codeOf(error) === "promise_fell") this.#onFall(from, why);
        else this.#onProblem(from, codeOf(error), `a voucher was not accepted: ${why}`);
      },
    );
  }

  #onFall(from: Counterparty, message: string): void {
    from.hasFallen = true;
    this.#review(from);
    this.#onProblem(from, "promise_fell", message);
  }

  #onRedeeming(from: Counterparty, message: MessageOf<GatewayToWorker, "redeeming">): void {
    const deduction = from.redeems.done(message);
    if (deduction === undefined) return;
    from.owners.vouchers.deduct(deduction);
    if (message.deduction > deduction)
      this.#onProblem(from, "bad_message", "the gateway kept more for a redeem than it may");
    this.#review(from);
    this.#changed();
  }

  /** Why nothing new is done for a gateway; undefined while it is served. */
  #holdOn({ link, owners, hasFallen, distrust }: Counterparty): Hold | undefined {
    const state = link.state();
    const isOwnerNamed = owners.vouchers.owner !== "" && (state.phase !== "ready" || state.ownerNamed);
    const { debt, behind } = owners.vouchers.report();
    return holdOf({
      debt: isOwnerNamed ? debt : behind,
      limit: this.#debtLimit,
      isOwnerNamed,
      hasFallen,
      hasOtherChannel: owners.vouchers.hasOtherChannel(),
      distrust,
    });
  }

  /** Offers follow at once when a gateway comes to be held, or is no longer. */
  #review(counterparty: Counterparty): void {
    const isHeld = this.#holdOn(counterparty) !== undefined;
    if (isHeld === counterparty.isHeld) return;
    counterparty.isHeld = isHeld;
    counterparty.publisher.publish();
    this.#changed();
  }

  #reviewAll(): void {
    for (const counterparty of this.#counterparties) this.#review(counterparty);
  }

  #onOutcome(link: Link, reservationId: string, offer: SignedOffer, outcome: StreamOutcome): void {
    if (outcome.type === "refused")
      this.#refusals = addRefusal(this.#refusals, { code: outcome.code, at: this.#options.clock.now() });
    const earned = earnedBy(outcome, offer);
    this.#totals = addOutcome(this.#totals, outcome, earned);
    if (outcome.type === "answered") {
      this.#earn(link, offer, outcome, earned);
      const signature = this.#options.identity.sign(outcome.receipt);
      link.send({ type: "receipt", reservationId, receipt: outcome.receipt, signature });
    }
    this.#changed();
  }

  #earn(link: Link, offer: SignedOffer, { usage, finish }: Answered, earned: Nanoton): void {
    const counterparty = this.#counterparties.find((one) => one.link === link);
    if (counterparty === undefined) return;
    const { vouchers } = counterparty.owners;
    vouchers.earn(earned);
    const { manifestRoot, price } = offer;
    const model = { id: this.#model(manifestRoot)?.id ?? "", manifestRoot };
    const at = this.#options.clock.now();
    this.#options.earnings.add({
      at,
      gateway: link.gateway,
      owner: vouchers.owner,
      model,
      finish,
      usage,
      price,
      earned,
    });
    this.#review(counterparty);
  }

  #awaitNextOwners(): void {
    this.#cancelNextOwners?.();
    for (const { owners, link } of this.#counterparties) {
      const isIdle = this.#jobs.isIdle(link) && link.bufferedBytes() === 0;
      const owner = owners.take({ isReady: link.state().phase === "ready", isIdle });
      if (owner !== undefined) link.setOwner(owner);
    }
    this.#reviewAll();
    if (this.#counterparties.every(({ owners }) => !owners.isChanging)) return;
    this.#cancelNextOwners = this.#options.clock.after(NEXT_OWNER_CHECK_MS, () => this.#awaitNextOwners());
  }

  #onRefusal(code: FailureCode): void {
    this.#refusals = addRefusal(this.#refusals, { code, at: this.#options.clock.now() });
    this.#totals = { ...this.#totals, refused: this.#totals.refused + 1 };
    this.#changed();
  }

  #onProblem(from: Counterparty, code: FailureCode, message: string): void {
    from.problem = { code, message, at: this.#options.clock.now() };
    this.#changed();
  }

  #onEngine(): void {
    for (const model of this.#options.models) {
      const state = model.engine.state();
      if (state.phase === "up") this.#capabilities.set(model, state.capabilities);
    }
    this.#publish();
    this.#changed();
  }

  /** Undefined until an engine has said what it is. An engine that is down keeps its place: evidence need not change. */
  #facts(): EvidenceFacts | undefined {
    const engines = [...this.#capabilities.values()];
    // Of several, the one that shows the prompt to most: an upstream's operator reads along.
    const engine = engines.find(({ backend }) => backend === "upstream") ?? engines[0];
    if (engine === undefined) return undefined;
    return {
      models: this.#options.models.map((model) => ({
        id: model.id,
        manifestRoot: model.manifestRoot,
        quant: this.#capabilities.get(model)?.quantisation ?? "unknown",
        bytes: model.bytes,
      })),
      engine: { name: engine.engineName, version: engine.engineVersion, backend: engine.backend },
      release: this.#options.release,
    };
  }

  #model(manifestRoot: string): ServedModel | undefined {
    return this.#options.models.find((model) => model.manifestRoot === manifestRoot);
  }

  #publish(): void {
    for (const { publisher } of this.#counterparties) publisher.publish();
  }

  #scheduleSweep(): void {
    this.#cancelSweep = this.#options.clock.after(SWEEP_MS, () => {
      this.#sessions.sweep();
      this.#jobs.sweep();
      this.#publish();
      this.#scheduleSweep();
    });
  }

  #untilIdle(limitMs: number): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.elapsed() + limitMs;
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.#jobs.openStreams === 0 || clock.elapsed() >= deadline) resolve();
        else clock.after(DRAIN_CHECK_MS, check);
      };
      check();
    });
  }

  #gatewayStatus(counterparty: Counterparty): GatewayStatus {
    const { link, publisher, owners, reasons, problem } = counterparty;
    return {
      url: link.gateway.url,
      link: link.state(),
      clockAheadMs: link.clockAheadMs(),
      offered: publisher.offered,
      vouchers: owners.vouchers.report(),
      hold: this.#holdOn(counterparty),
      reasons,
      problem,
    };
  }

  #changed(): void {
    if (this.#listeners.size === 0 || this.#cancelTelling !== undefined) return;
    this.#cancelTelling = this.#options.clock.after(STATUS_MS, () => this.#tell());
  }

  #tell(): void {
    this.#cancelTelling?.();
    this.#cancelTelling = undefined;
    const status = this.status();
    for (const listener of this.#listeners) listener(status);
  }
}

type Answered = Extract<StreamOutcome, { type: "answered" }>;

/** What a gateway owes for one answer: prompt tokens only for one that was brought to its end (NETWORK §4.6). */
function earnedBy(outcome: StreamOutcome, offer: SignedOffer): Nanoton {
  if (outcome.type !== "answered") return 0n;
  const isBrokenOff = outcome.finish === "failed" || outcome.finish === "handed_over";
  const { completionTokens } = outcome.usage;
  const usage = isBrokenOff ? { promptTokens: 0, cachedTokens: 0, completionTokens } : outcome.usage;
  return chargeFor(usage, offer.price, 0).earned;
}

import {
  disputeMessage,
  equalBytes,
  Failure,
  parseReceipt,
  payloadHash,
  receiptHashOf,
  toHex,
  verifySignature,
  type ChargeVoucher,
  type ClientToGateway,
  type CountersignedVoucher,
  type GatewayToClient,
  type MessageOf,
  type Nanoton,
  type Receipt,
  type SignedReceipt,
  type SignedVoucher,
} from "../protocol/index.ts";
import { Book } from "./book.ts";
import type { Journal, SignedEntry } from "./journal.ts";
import { RecentCharges } from "./recent-charges.ts";
import {
  judgeReceipt,
  parseChargeVoucher,
  standingAfter,
  totalAfter,
  type ChannelId,
  type OwedReceipt,
  type StreamTerms,
  type Verdict,
} from "./receipts.ts";
import { OpenStreams, worstOf, type Meter } from "./open-streams.ts";
import type { PaymentKey, Signatures } from "./signing.ts";
import { checkCap, dayOf, fitsCap, type SpendingCap } from "./spending.ts";
import { trialAfter, type TrialLeft } from "./trial.ts";

/** The client's side of its channel: remembers streams, answers charges, never signs what it does not owe. */
export interface Account {
  /**
   * Before the first byte of a stream leaves. The meter is read when its receipt comes, however early or late.
   *
   * @throws {Failure} `spending_cap`; `disk_full`, `storage_failed`.
   */
  opened(terms: StreamTerms, meter: Meter): void;
  /** What a gateway is shown at each login, in case it has lost its own copy. */
  countersigned(): CountersignedVoucher | undefined;
  /** Takes up what the gateway says was countersigned last. @throws {Failure} `bad_receipt` when it was not, by both keys. */
  welcome(welcome: MessageOf<GatewayToClient, "welcome">): void;
  /** Answers to one charge, in order; empty when there is nothing to sign. Never rejects. */
  answer(charge: ChargeMessage): Promise<readonly ClientToGateway[]>;
  summary(): AccountSummary;
  /** Resolves when no charge is being answered; from now on none waits for others. */
  settle(): Promise<void>;
  close(): void;
}

type ChargeMessage = MessageOf<GatewayToClient, "charge">;

/** What a channel has signed so far. */
export interface AccountSummary {
  /** Nanoton countersigned, cumulative; 0 on trial. */
  readonly total: Nanoton;
  /** The newest countersigned voucher: its cell as a bag of cells, and this client's signature. */
  readonly countersigned: SignedVoucher | undefined;
  /** Streams whose receipt has not come. */
  readonly openStreams: number;
  /** What they may cost at most. */
  readonly openNanoton: Nanoton;
  /** What an answer cost lately, on average, rounded up; undefined before the first. */
  readonly recentCharge: Nanoton | undefined;
  /** What is left of the gateway's trial; undefined with a channel, or before the gateway has said so. */
  readonly trial: TrialLeft | undefined;
  /** Why the last charge was not countersigned; undefined when it was. */
  readonly refusal: string | undefined;
}

export interface AccountOptions {
  readonly key: PaymentKey;
  readonly verify: Signatures["verify"];
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** Undefined on trial: there is nothing to sign. */
  readonly channel: PaidChannel | undefined;
  readonly cap: SpendingCap;
  readonly journal: Journal;
  /** Unix ms. */
  readonly now: () => number;
  /** Ms on a clock that never jumps. */
  readonly elapsed: () => number;
  readonly log: (line: string) => void;
}

/** A channel that this client pays from. */
export interface PaidChannel extends ChannelId {
  /**
   * What the chain has charged it. A voucher up to here is paid, whichever key countersigned it: a channel that was
   * opened again with another key goes on from there. Default 0.
   */
  readonly chargedOnChain?: Nanoton;
}

/**
 * The gateway sends the next charge when this one is answered, with all receipts that came meanwhile: waiting a little
 * under load makes one signature and one write serve many answers.
 */
const PACE_MS = 100;
/** A charge with as many receipts shows that the pace is too slow. */
const FULL_CHARGE = 64;
/**
 * A check of a signature takes a tenth of a millisecond: receipts are checked one at a time, or a few under load, with
 * pauses between, so that no answer under way waits for dozens of them.
 */
const FULL_SLICE = 32;
const SLICE_MS = 1;
/** @throws {Failure} `storage_failed` for a journal that cannot be read or belongs to another channel. */
export function createAccount(options: AccountOptions): Account {
  return new ChannelAccount(options);
}

interface NamedReceipt {
  readonly signed: SignedReceipt;
  /** 32 bytes. */
  readonly hash: Uint8Array;
  /** The same in hex. */
  readonly receiptHash: string;
}

interface JudgedReceipt extends NamedReceipt {
  readonly receipt: Receipt;
  readonly verdict: Verdict;
}

class ChannelAccount implements Account {
  readonly #options: AccountOptions;
  readonly #book: Book | undefined;
  readonly #streams = new OpenStreams();
  readonly #recent = new RecentCharges();
  #trial: TrialLeft | undefined;
  /** A countersignature of a former key, which the gateway would not take for the channel's any more. */
  #former: SignedEntry | undefined;
  #refusal: string | undefined;
  #answeredAt = -PACE_MS;
  #isHurried = false;
  #hurry: () => void = () => undefined;
  /** Charges are answered one after the other: each starts from the standing the last one left. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: AccountOptions) {
    this.#options = options;
    const { channel, journal, key } = options;
    this.#book = channel === undefined ? undefined : new Book(journal, channel);
    const signed = this.#book?.signed;
    if (channel === undefined || signed === undefined) return;
    const hash = payloadHash(parseChargeVoucher(signed.boc, channel));
    if (!verifySignature(signed.signature, hash, key.publicKey)) this.#former = signed;
  }

  opened(terms: StreamTerms, meter: Meter): void {
    if (this.#book !== undefined) this.#checkCap(this.#book, worstOf(terms));
    this.#book?.opened(terms);
    this.#streams.add(terms, meter, this.#options.elapsed());
  }

  countersigned(): CountersignedVoucher | undefined {
    const signed = this.#book?.signed;
    if (signed?.gatewaySignature === undefined || signed === this.#former) return undefined;
    const { boc, signature, gatewaySignature } = signed;
    return { boc, signature, gatewaySignature };
  }

  welcome({ countersigned, trial }: MessageOf<GatewayToClient, "welcome">): void {
    this.#trial = trial;
    const { channel, key, gatewayKey } = this.#options;
    const book = this.#book;
    if (channel === undefined || book === undefined || countersigned === null) return;
    if (book.signed !== undefined && equalBytes(book.signed.boc, countersigned.boc)) return;
    const voucher = parseChargeVoucher(countersigned.boc, channel);
    const hash = payloadHash(voucher);
    const isOwn = verifySignature(countersigned.signature, hash, key.publicKey);
    if (!isOwn && voucher.total > (channel.chargedOnChain ?? 0n)) {
      throw new Failure("bad_receipt", "the gateway shows a countersignature that this key never made");
    }
    if (!verifySignature(countersigned.gatewaySignature, hash, gatewayKey)) {
      throw new Failure("bad_receipt", "the gateway shows a voucher that it never signed");
    }
    if (voucher.total <= book.standing.total) return;
    book.countersigned(voucher, countersigned, []);
    this.#former = isOwn ? undefined : book.signed;
  }

  answer(charge: ChargeMessage): Promise<readonly ClientToGateway[]> {
    const answered = this.#turn.then(() => this.#answerInTurn(charge));
    this.#turn = answered;
    return answered;
  }

  summary(): AccountSummary {
    const signed = this.#book?.signed;
    return {
      total: signed?.total ?? 0n,
      countersigned: signed === undefined ? undefined : { boc: signed.boc, signature: signed.signature },
      openStreams: this.#streams.size,
      openNanoton: this.#streams.atMost(this.#options.elapsed()),
      recentCharge: this.#recent.average,
      trial: this.#trial,
      refusal: this.#refusal,
    };
  }

  async settle(): Promise<void> {
    this.#isHurried = true;
    this.#hurry();
    await this.#turn;
  }

  close(): void {
    this.#options.journal.close();
  }

  /** Every stream is looked at only when the cap is near: before most requests a sum is enough. */
  #checkCap(book: Book, worst: Nanoton): void {
    const { cap, now, elapsed } = this.#options;
    const { total } = book.standing;
    const dayStart = cap.perDay === undefined ? total : book.dayStart(dayOf(now()));
    if (fitsCap(cap, { total, dayStart, open: this.#streams.worst }, worst)) return;
    checkCap(cap, { total, dayStart, open: this.#streams.atMost(elapsed()) }, worst);
  }

  async #answerInTurn(charge: ChargeMessage): Promise<readonly ClientToGateway[]> {
    await this.#pace(charge.receipts.length);
    this.#answeredAt = this.#options.elapsed();
    try {
      return await this.#answer(charge);
    } catch (error) {
      this.#refusal = error instanceof Error ? error.message : String(error);
      this.#options.log(`did not countersign: ${this.#refusal}`);
      return [];
    }
  }

  async #pace(receipts: number): Promise<void> {
    const waitMs = this.#answeredAt + PACE_MS - this.#options.elapsed();
    if (this.#isHurried || waitMs <= 0 || receipts >= FULL_CHARGE) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #answer({ receipts, voucher }: ChargeMessage): Promise<readonly ClientToGateway[]> {
    const book = this.#book;
    if (book === undefined) return this.#answerOnTrial(receipts);
    if (voucher === null) throw new Failure("bad_receipt", "a charge without a voucher");
    const { signed } = book;
    if (signed !== undefined && equalBytes(voucher.boc, signed.boc)) {
      return [{ type: "countersign", total: signed.total, signature: signed.signature }];
    }
    // What was signed before may be named again, when our answer was lost: it is in the chain already.
    const fresh = receipts.map(named).filter(({ receiptHash }) => !book.isSettled(receiptHash));
    return this.#answerTo(book, voucher, await this.#judgeAll(fresh));
  }

  async #answerOnTrial(receipts: readonly SignedReceipt[]): Promise<readonly ClientToGateway[]> {
    const judged = await this.#judgeAll(receipts.map(named));
    for (const { reservationId } of receipts) this.#streams.forget(reservationId);
    for (const { receipt, verdict } of judged) {
      const { completionTokens } = receipt.usage;
      if (this.#trial !== undefined) this.#trial = trialAfter(this.#trial, completionTokens, verdict.charge.earned);
    }
    return this.#dispute(judged);
  }

  /** A dispute is repeated until the voucher leaves out what was disputed; then everything is signed. */
  async #answerTo(
    book: Book,
    voucher: SignedVoucher,
    judged: readonly JudgedReceipt[],
  ): Promise<readonly ClientToGateway[]> {
    const { channel } = this.#options;
    if (channel === undefined) throw new RangeError("a book without a channel");
    const owed = judged.map(({ hash, verdict }) => ({ receiptHash: hash, charge: verdict.charge.charge }));
    const payload = parseChargeVoucher(voucher.boc, channel);
    const disputed = judged.filter(({ verdict }) => verdict.type === "disputed");
    const wereSaid = disputed.every(({ receiptHash }) => book.disputeOf(receiptHash) !== undefined);
    const wereHeard = wereSaid && payload.total <= totalAfter(book.standing, owed);
    return disputed.length > 0 && !wereHeard
      ? this.#dispute(disputed)
      : [await this.#countersign(book, { payload, voucher, judged, owed })];
  }

  async #judgeAll(receipts: readonly NamedReceipt[]): Promise<readonly JudgedReceipt[]> {
    const judged: JudgedReceipt[] = [];
    const most = receipts.length >= FULL_CHARGE ? FULL_SLICE : 1;
    for (let at = 0; at < receipts.length; at += most) {
      if (at > 0 && !this.#isHurried) await new Promise((resolve) => setTimeout(resolve, SLICE_MS));
      for (const receipt of receipts.slice(at, at + most)) judged.push(await this.#judge(receipt));
    }
    return judged;
  }

  async #judge(one: NamedReceipt): Promise<JudgedReceipt> {
    const { signed, receiptHash } = one;
    const { reservationId, signature } = signed;
    const receipt = parseReceipt(signed.receipt);
    const stream = this.#streams.get(reservationId);
    const terms = stream?.terms ?? this.#book?.inheritedTerms(receipt, reservationId);
    const isGenuine = terms !== undefined && (await this.#options.verify(signature, signed.receipt, terms.identityKey));
    const before = this.#book?.disputeOf(receiptHash);
    const record = terms === undefined ? undefined : { terms, facts: stream?.meter.facts() };
    const verdict = before === undefined ? judgeReceipt(receipt, record, isGenuine) : disputedBefore(before);
    return { ...one, receipt, verdict };
  }

  #dispute(judged: readonly JudgedReceipt[]): Promise<readonly ClientToGateway[]> {
    const { key, log } = this.#options;
    const disputes = judged.map(async ({ hash, receiptHash, verdict }) => {
      if (verdict.type === "owed") return undefined;
      const { counts, why, charge } = verdict;
      this.#book?.disputed({ t: "disputed", receiptHash, ...counts, charge: charge.charge });
      this.#refusal = why;
      log(`disputed receipt ${receiptHash.slice(0, 16)}: ${why}`);
      const signature = await key.sign(disputeMessage(hash, counts));
      return { type: "dispute", receiptHash, ...counts, signature } as const;
    });
    return Promise.all(disputes).then((made) => made.filter((one) => one !== undefined));
  }

  /** Signed once, kept, and only then said. */
  async #countersign(
    book: Book,
    { payload, voucher, judged, owed }: CountersignableCharge,
  ): Promise<MessageOf<ClientToGateway, "countersign">> {
    const { key, verify, gatewayKey } = this.#options;
    standingAfter(book.standing, owed, payload);
    const hash = payloadHash(payload);
    const isGenuine = await verify(voucher.signature, hash, gatewayKey);
    if (!isGenuine) throw new Failure("bad_receipt", "a voucher that the gateway did not sign");
    const signature = await key.sign(hash);
    const receipts = judged.map(({ receiptHash, receipt: { sessionId, streamId } }) => ({
      receiptHash,
      sessionId,
      streamId,
    }));
    book.countersigned(payload, { boc: voucher.boc, signature, gatewaySignature: voucher.signature }, receipts);
    this.#refusal = undefined;
    for (const { signed } of judged) this.#streams.forget(signed.reservationId);
    this.#recent.add(judged.map(({ verdict }) => verdict.charge.charge));
    return { type: "countersign", total: payload.total, signature };
  }
}

interface CountersignableCharge {
  readonly payload: ChargeVoucher;
  readonly voucher: SignedVoucher;
  readonly judged: readonly JudgedReceipt[];
  readonly owed: readonly OwedReceipt[];
}

function named(signed: SignedReceipt): NamedReceipt {
  const hash = receiptHashOf(signed.receipt);
  return { signed, hash, receiptHash: toHex(hash) };
}

function disputedBefore({
  promptTokens,
  completionTokens,
  charge,
}: NonNullable<ReturnType<Book["disputeOf"]>>): Verdict {
  const amounts = { charge, earned: 0n, fee: 0n };
  return { type: "disputed", counts: { promptTokens, completionTokens }, charge: amounts, why: "disputed before" };
}

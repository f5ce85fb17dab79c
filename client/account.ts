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
import type { Journal } from "./journal.ts";
import {
  judgeReceipt,
  parseChargeVoucher,
  standingAfter,
  totalAfter,
  type ChannelId,
  type OwedReceipt,
  type StreamFacts,
  type StreamTerms,
  type Verdict,
} from "./receipts.ts";
import type { PaymentKey, Signatures } from "./signing.ts";

/** The client's side of its channel: remembers streams, answers charges, never signs what it does not owe. */
export interface Account {
  /**
   * Before the first byte of a stream leaves. The meter is read when its receipt comes, however early or late.
   *
   * @throws {Failure} `disk_full`, `storage_failed`.
   */
  opened(terms: StreamTerms, meter: Meter): void;
  /** What a gateway is shown at each login, in case it has lost its own copy. */
  countersigned(): CountersignedVoucher | undefined;
  /** Takes up what the gateway says was countersigned last. @throws {Failure} `bad_receipt` when it was not, by both keys. */
  welcome(countersigned: CountersignedVoucher | null): void;
  /** Answers to one charge, in order; empty when there is nothing to sign. Never rejects. */
  answer(charge: ChargeMessage): Promise<readonly ClientToGateway[]>;
  summary(): AccountSummary;
  /** Resolves when no charge is being answered; from now on none waits for others. */
  settle(): Promise<void>;
  close(): void;
}

/** What this client has counted of one stream so far. */
export interface Meter {
  facts(): StreamFacts;
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
  /** Why the last charge was not countersigned; undefined when it was. */
  readonly refusal: string | undefined;
}

export interface AccountOptions {
  readonly key: PaymentKey;
  readonly verify: Signatures["verify"];
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** Undefined on trial: there is nothing to sign. */
  readonly channel: ChannelId | undefined;
  readonly journal: Journal;
  /** Ms on a clock that never jumps. */
  readonly elapsed: () => number;
  readonly log: (line: string) => void;
}

/** Receipts come within seconds of the end; what is older was never charged. */
const MAX_STREAMS = 8192;
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
const FULL_SLICE = 8;
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

interface KnownStream {
  readonly terms: StreamTerms;
  readonly meter: Meter;
}

class ChannelAccount implements Account {
  readonly #options: AccountOptions;
  readonly #book: Book | undefined;
  readonly #streams = new Map<string, KnownStream>();
  #refusal: string | undefined;
  #answeredAt = -PACE_MS;
  #isHurried = false;
  #hurry: () => void = () => undefined;
  /** Charges are answered one after the other: each starts from the standing the last one left. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: AccountOptions) {
    this.#options = options;
    const { channel, journal } = options;
    this.#book = channel === undefined ? undefined : new Book(journal, channel);
  }

  opened(terms: StreamTerms, meter: Meter): void {
    this.#book?.opened(terms);
    this.#streams.set(terms.reservationId, { terms, meter });
    const [oldest] = this.#streams.size > MAX_STREAMS ? this.#streams.keys() : [];
    if (oldest !== undefined) this.#streams.delete(oldest);
  }

  countersigned(): CountersignedVoucher | undefined {
    const signed = this.#book?.signed;
    if (signed?.gatewaySignature === undefined) return undefined;
    const { boc, signature, gatewaySignature } = signed;
    return { boc, signature, gatewaySignature };
  }

  welcome(countersigned: CountersignedVoucher | null): void {
    const { channel, key, gatewayKey } = this.#options;
    const book = this.#book;
    if (channel === undefined || book === undefined || countersigned === null) return;
    const voucher = parseChargeVoucher(countersigned.boc, channel);
    const hash = payloadHash(voucher);
    if (!verifySignature(countersigned.signature, hash, key.publicKey)) {
      throw new Failure("bad_receipt", "the gateway shows a countersignature that this key never made");
    }
    if (!verifySignature(countersigned.gatewaySignature, hash, gatewayKey)) {
      throw new Failure("bad_receipt", "the gateway shows a voucher that it never signed");
    }
    if (voucher.total > book.standing.total) book.countersigned(voucher, countersigned, []);
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
    for (const { reservationId } of receipts) this.#streams.delete(reservationId);
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
    for (const { signed } of judged) this.#streams.delete(signed.reservationId);
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

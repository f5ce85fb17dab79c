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
  type MessageOf,
  type GatewayToClient,
  type Nanoton,
  type SignedReceipt,
  type SignedVoucher,
} from "../protocol/index.ts";
import { encodeEntry, readJournal, type DisputedEntry, type Entry, type Journal, type SignedEntry } from "./journal.ts";
import {
  judgeReceipt,
  NOTHING_CHARGED,
  parseChargeVoucher,
  standingAfter,
  totalAfter,
  type ChannelId,
  type OwedReceipt,
  type Standing,
  type StreamFacts,
  type StreamRecord,
  type StreamTerms,
  type Verdict,
} from "./receipts.ts";
import type { PaymentKey, VerifyLater } from "./signing.ts";

/** The client's side of its channel: remembers streams, answers charges, never signs what it does not owe. */
export interface Account {
  /**
   * Before the first byte of a stream leaves. `facts` are asked for when its receipt comes, however early or late.
   *
   * @throws {Failure} `disk_full`, `storage_failed`.
   */
  opened(terms: StreamTerms, facts: () => StreamFacts): void;
  /** Takes up what the gateway says was countersigned last. @throws {Failure} `bad_receipt` when it was not by this key. */
  welcome(countersigned: SignedVoucher | null): void;
  /** Answers to one charge, in order; empty when there is nothing to sign. Never rejects. */
  answer(charge: ChargeMessage): Promise<readonly ClientToGateway[]>;
  summary(): AccountSummary;
  /** After the charge that is being answered. */
  close(): Promise<void>;
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
  readonly verify: VerifyLater;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** Undefined on trial: there is nothing to sign. */
  readonly channel: ChannelId | undefined;
  readonly journal: Journal;
  readonly log: (line: string) => void;
}

/** Receipts come within seconds of the end; what is older was never charged. */
const MAX_STREAMS = 8192;
/** Lines after which the journal is written anew, so that it stays small for ever. */
const COMPACT_AFTER_LINES = 20_000;

/** @throws {Failure} `storage_failed` for a journal that cannot be read or belongs to another channel. */
export function createAccount(options: AccountOptions): Account {
  return new ChannelAccount(options);
}

interface JudgedReceipt {
  readonly reservationId: string;
  /** 32 bytes. */
  readonly receiptHash: Uint8Array;
  readonly verdict: Verdict;
}

interface KnownStream {
  readonly terms: StreamTerms;
  readonly facts: (() => StreamFacts) | undefined;
}

class ChannelAccount implements Account {
  readonly #options: AccountOptions;
  readonly #streams = new Map<string, KnownStream>();
  /** Disputes sent and not settled, by receipt hash in hex. */
  readonly #disputes = new Map<string, DisputedEntry>();
  #standing: Standing = NOTHING_CHARGED;
  #signed: SignedEntry | undefined;
  #refusal: string | undefined;
  #lines = 0;
  /** Charges are answered one after the other: each starts from the standing the last one left. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: AccountOptions) {
    this.#options = options;
    if (options.channel !== undefined) this.#load(options.channel);
  }

  opened(terms: StreamTerms, facts: () => StreamFacts): void {
    if (this.#options.channel !== undefined) this.#append({ t: "opened", ...terms });
    if (this.#streams.size >= MAX_STREAMS) this.#forgetOldest();
    this.#streams.set(terms.reservationId, { terms, facts });
  }

  welcome(countersigned: SignedVoucher | null): void {
    const { channel, key } = this.#options;
    if (channel === undefined || countersigned === null) return;
    const voucher = parseChargeVoucher(countersigned.boc, channel);
    if (!verifySignature(countersigned.signature, payloadHash(voucher), key.publicKey)) {
      throw new Failure("bad_receipt", "the gateway shows a countersignature that this key never made");
    }
    if (voucher.total > this.#standing.total) this.#settle(voucher, countersigned, []);
  }

  answer(charge: ChargeMessage): Promise<readonly ClientToGateway[]> {
    const answered = this.#turn.then(() => this.#answer(charge)).catch((error: unknown) => this.#refuse(error));
    this.#turn = answered;
    return answered;
  }

  summary(): AccountSummary {
    const { boc, signature } = this.#signed ?? {};
    return {
      total: this.#standing.total,
      countersigned: boc === undefined || signature === undefined ? undefined : { boc, signature },
      openStreams: this.#streams.size,
      refusal: this.#refusal,
    };
  }

  async close(): Promise<void> {
    await this.#turn;
    this.#options.journal.close();
  }

  async #answer({ receipts, voucher }: ChargeMessage): Promise<readonly ClientToGateway[]> {
    const repeated = this.#repeated(voucher);
    if (repeated !== undefined) return [repeated];
    const judged = await Promise.all(receipts.map((receipt) => this.#judge(receipt)));
    const owed = judged.map(({ receiptHash, verdict }) => ({ receiptHash, charge: verdict.charge.charge }));
    const disputed = judged.filter(({ verdict }) => verdict.type === "disputed");
    const isSettled = disputed.every(({ receiptHash }) => this.#disputes.has(toHex(receiptHash)));
    const { channel } = this.#options;
    if (channel === undefined) {
      for (const { reservationId } of receipts) this.#streams.delete(reservationId);
      return Promise.all(disputed.map((one) => this.#dispute(one)));
    }
    if (voucher === null) throw new Failure("bad_receipt", "a charge without a voucher");
    const payload = parseChargeVoucher(voucher.boc, channel);
    const isCharged = isSettled && payload.total <= totalAfter(this.#standing, owed);
    if (disputed.length > 0 && !isCharged) return Promise.all(disputed.map((one) => this.#dispute(one)));
    return [await this.#countersign(payload, voucher, judged, owed)];
  }

  /** A charge that was answered before, sent again because the answer was lost: the same answer. */
  #repeated(voucher: SignedVoucher | null): ClientToGateway | undefined {
    const signed = this.#signed;
    if (voucher === null || signed === undefined || !equalBytes(voucher.boc, signed.boc)) return undefined;
    return { type: "countersign", total: signed.total, signature: signed.signature };
  }

  async #judge({ reservationId, receipt, signature }: SignedReceipt): Promise<JudgedReceipt> {
    const parsed = parseReceipt(receipt);
    const receiptHash = receiptHashOf(receipt);
    const stream = this.#streams.get(reservationId);
    const isGenuine =
      stream !== undefined && (await this.#options.verify(signature, receipt, stream.terms.identityKey));
    const before = this.#disputes.get(toHex(receiptHash));
    const verdict = before === undefined ? judgeReceipt(parsed, recordOf(stream), isGenuine) : disputedBefore(before);
    return { reservationId, receiptHash, verdict };
  }

  async #dispute({ receiptHash, verdict }: JudgedReceipt): Promise<ClientToGateway> {
    const { key, channel, log } = this.#options;
    if (verdict.type !== "disputed") throw new RangeError("a dispute of nothing");
    const { counts, why, charge } = verdict;
    const name = toHex(receiptHash);
    const entry: DisputedEntry = { t: "disputed", receiptHash: name, ...counts, charge: charge.charge };
    if (channel !== undefined && !this.#disputes.has(name)) this.#append(entry);
    this.#disputes.set(name, entry);
    this.#refusal = why;
    log(`disputed receipt ${name.slice(0, 16)}: ${why}`);
    return {
      type: "dispute",
      receiptHash: name,
      ...counts,
      signature: await key.sign(disputeMessage(receiptHash, counts)),
    };
  }

  /** Signed once, kept, and only then said. */
  async #countersign(
    payload: ChargeVoucher,
    voucher: SignedVoucher,
    judged: readonly JudgedReceipt[],
    owed: readonly OwedReceipt[],
  ): Promise<ClientToGateway> {
    const { key, verify, gatewayKey } = this.#options;
    standingAfter(this.#standing, owed, payload);
    const hash = payloadHash(payload);
    const [isGenuine, signature] = await Promise.all([verify(voucher.signature, hash, gatewayKey), key.sign(hash)]);
    if (!isGenuine) throw new Failure("bad_receipt", "a voucher that the gateway did not sign");
    this.#settle(payload, { boc: voucher.boc, signature }, judged);
    return { type: "countersign", total: payload.total, signature };
  }

  #settle(voucher: ChargeVoucher, countersigned: SignedVoucher, judged: readonly JudgedReceipt[]): void {
    const { total, receipt: chain, networkId, channel } = voucher;
    const settled = judged.map(({ reservationId }) => reservationId);
    const names = judged.map(({ receiptHash }) => toHex(receiptHash));
    const disputed = names.filter((name) => this.#disputes.has(name));
    const signed: SignedEntry = { t: "signed", networkId, channel, total, chain, ...countersigned, settled, disputed };
    this.#append(signed);
    this.#signed = signed;
    this.#standing = { total, chain };
    this.#refusal = undefined;
    for (const reservationId of settled) this.#streams.delete(reservationId);
    for (const name of disputed) this.#disputes.delete(name);
  }

  #refuse(error: unknown): readonly ClientToGateway[] {
    this.#refusal = error instanceof Error ? error.message : String(error);
    this.#options.log(`did not countersign: ${this.#refusal}`);
    return [];
  }

  #load(channel: ChannelId): void {
    const lines = this.#options.journal.lines();
    const { signed, open, disputed } = readJournal(lines);
    if (signed !== undefined && (signed.networkId !== channel.networkId || signed.channel !== channel.address)) {
      throw new Failure("storage_failed", "the state belongs to another channel");
    }
    this.#signed = signed;
    if (signed !== undefined) this.#standing = { total: signed.total, chain: signed.chain };
    for (const [reservationId, terms] of open) this.#streams.set(reservationId, { terms, facts: undefined });
    for (const [receiptHash, entry] of disputed) this.#disputes.set(receiptHash, entry);
    this.#compact();
  }

  #append(entry: Entry): void {
    this.#options.journal.append(encodeEntry(entry));
    this.#lines++;
    if (this.#lines >= COMPACT_AFTER_LINES) this.#compact();
  }

  #compact(): void {
    const opened = [...this.#streams.values()].map(({ terms }): Entry => ({ t: "opened", ...terms }));
    const entries = [...(this.#signed === undefined ? [] : [this.#signed]), ...opened, ...this.#disputes.values()];
    this.#options.journal.replace(entries.map(encodeEntry));
    this.#lines = entries.length;
  }

  #forgetOldest(): void {
    for (const reservationId of this.#streams.keys()) {
      this.#streams.delete(reservationId);
      return;
    }
  }
}

function recordOf(stream: KnownStream | undefined): StreamRecord | undefined {
  return stream === undefined ? undefined : { terms: stream.terms, facts: stream.facts?.() };
}

function disputedBefore({ promptTokens, completionTokens, charge }: DisputedEntry): Verdict {
  const nothing = { earned: 0n, fee: 0n };
  const counts = { promptTokens, completionTokens };
  return { type: "disputed", counts, charge: { charge, ...nothing }, why: "disputed before" };
}

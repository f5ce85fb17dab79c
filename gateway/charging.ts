import {
  chargeFor,
  disputeMessage,
  encodePayload,
  fromHex,
  payloadHash,
  type ChargeVoucher,
  type FailureCode,
  type MessageOf,
  type ClientToGateway,
  type CountersignedVoucher,
  type Nanoton,
  type PayoutVoucher,
  type RawAddress,
  type SignedReceipt,
  type SignedVoucher,
} from "../protocol/index.ts";
import { coveredBy, isCountersignable, isDisputable, isTakenBack } from "./agreements.ts";
import type { Channels } from "./channels.ts";
import type { Clock } from "./clock.ts";
import type { AdoptChargeEntry, ChargeEntry, ClientPayer, Entry } from "./entries.ts";
import type { Journal } from "./journal.ts";
import { clientBook, NOTHING, type ChargeRecord, type ClientBook, type Position } from "./books.ts";
import type { Link } from "./link.ts";
import { disputedUsage } from "./metering.ts";
import { isSignedBy, type PublicKey, type Signer } from "./signatures.ts";
import { Sponsoring, type Sponsorship } from "./sponsoring.ts";

/**
 * From a metered receipt to the client's signature and the worker's voucher. What is sent follows from what is written;
 * an earning is promised once the client has countersigned, disputed, or been silent for half a minute.
 */

export interface ChargingOptions {
  readonly journal: Journal;
  readonly signer: Signer;
  readonly networkId: number;
  readonly channels: Channels;
  readonly clock: Clock;
}

/** How long a client has to answer a charge before the next is sent and the earning is promised (NETWORK §4.3). */
const ANSWER_MS = 30_000;
/** As many receipts as a `charge` carries. */
const RECEIPTS_A_CHARGE = 128;
/** Vouchers whose answer may still come late. */
const REMEMBERED_VOUCHERS = 16;

interface SentVoucher {
  readonly total: Nanoton;
  /** Row of the last charge in it. */
  readonly through: number;
  readonly hash: Uint8Array;
  readonly sentAt: number;
  readonly link: Link;
}

/** What one channel's client has been told. */
interface Telling {
  readonly channel: RawAddress;
  readonly links: Set<Link>;
  /** Where its newest reservation was made. */
  origin: Link | undefined;
  outstanding: SentVoucher | undefined;
  /** Vouchers that were not answered, and those behind them. */
  sent: SentVoucher[];
  signedTotal: Nanoton;
  /** Charges up to this row are written. */
  writtenRow: number;
  /** Charges up to this row were told to a link that lives. */
  toldRow: number;
  /** Changes being written (a dispute, one taken back, an adoption) that move totals: until then nobody may see those. */
  movesUnderWay: number;
  /** The chain has seen vouchers up to here that this ledger does not know: nothing is signed at or under it. */
  chainFloor: Nanoton;
}

export class Charging {
  readonly #options: ChargingOptions;
  readonly #tellings = new Map<RawAddress, Telling>();
  readonly #dirty = new Set<Telling>();
  readonly #trialCharges = new Map<Link, SignedReceipt[]>();
  /** Unsettled charges by the time they were written. */
  #silent: { readonly record: ChargeRecord; readonly at: number }[] = [];
  readonly #sponsoring: Sponsoring;

  constructor(options: ChargingOptions) {
    this.#options = options;
    const { journal, signer, networkId } = options;
    this.#sponsoring = new Sponsoring({ ledger: journal.ledger, gatewayKey: signer.publicKey, networkId });
    for (const [channel, book] of options.journal.ledger.clients) {
      if (book.uncountersigned.length === 0) continue;
      const telling = this.#telling(channel);
      telling.signedTotal = book.total;
      telling.writtenRow = options.journal.ledger.rows;
    }
    const now = options.clock.steadyMs();
    for (const record of options.journal.ledger.open.values())
      if (!record.isSettled) this.#silent.push({ record, at: now });
  }

  /** Books a metered receipt; the client hears of it when it is written. */
  book(entry: ChargeEntry & { readonly payer: ClientPayer }, origin: Link): void {
    const { journal } = this.#options;
    if ("trial" in entry.payer) {
      // Nobody will sign for it: the earning is promised at once.
      const settle: Entry = { type: "settle", at: entry.at, rows: [journal.ledger.rows + 1] };
      journal.append([entry, settle], () => this.#trialWritten(entry, origin));
      return;
    }
    const { channel } = entry.payer;
    const [applied] = journal.append([entry], () => {
      if (applied?.record !== undefined) this.#chargeWritten(channel, applied.record, origin);
    });
  }

  linkUp(channel: RawAddress, link: Link): void {
    const telling = this.#telling(channel);
    telling.links.add(link);
    if (telling.outstanding === undefined) telling.toldRow = 0;
    this.#sendNext(telling);
  }

  /** What it had not answered is told again, to the client's other link or its next: it may never have read it. */
  linkDown(channel: RawAddress, link: Link): void {
    const telling = this.#tellings.get(channel);
    telling?.links.delete(link);
    if (telling?.outstanding?.link !== link) return;
    telling.outstanding = undefined;
    telling.toldRow = 0;
    this.#sendNext(telling);
  }

  /** @returns the code of a refusal. */
  countersign(
    channel: RawAddress,
    key: PublicKey,
    message: MessageOf<ClientToGateway, "countersign">,
  ): FailureCode | undefined {
    const telling = this.#telling(channel);
    const book = this.#book(channel);
    const { total, signature } = message;
    if (total === book.countersigned?.total) return undefined; // said twice
    const voucher = telling.sent.find((sent) => sent.total === total);
    if (voucher === undefined || !isSignedBy(key, voucher.hash, signature)) return "bad_message";
    if (!isCountersignable(book, voucher)) return "bad_message";
    this.agreed(channel, { total, through: voucher.through, signature });
    return undefined;
  }

  /** The client signed the total that stands after the charge in row `through`; its signature was checked. */
  agreed(
    channel: RawAddress,
    agreed: { readonly total: Nanoton; readonly through: number; readonly signature: Uint8Array },
  ): void {
    const telling = this.#telling(channel);
    const { total, through, signature } = agreed;
    const at = this.#options.clock.unixMs();
    const covered = coveredBy(this.#book(channel), through);
    const entry: Entry = { type: "countersign", at, channel, total, through, signature };
    if (covered.some((record) => isTakenBack(record, total))) this.#move(telling, covered, entry);
    else this.#settle(covered, [entry]);
    telling.sent = telling.sent.filter((sent) => sent.total > total);
    if (telling.outstanding !== undefined && telling.outstanding.total <= total) telling.outstanding = undefined;
    this.#sendNext(telling);
  }

  /** The client had agreed to a total that this ledger lost: everything goes on from there. */
  adopted(adopted: Omit<AdoptChargeEntry, "type" | "at" | "signedTotal">): void {
    const { channel, through } = adopted;
    const telling = this.#telling(channel);
    const { signedTotal } = telling;
    const at = this.#options.clock.unixMs();
    const covered = through === 0 ? [] : coveredBy(this.#book(channel), through);
    this.#move(telling, covered, { type: "adopt_charge", at, signedTotal, ...adopted });
    telling.sent = [];
    telling.outstanding = undefined;
    telling.toldRow = 0;
  }

  /** What is signed for a total of a client's channel. */
  hashOf(channel: RawAddress, position: Position): Uint8Array {
    return payloadHash(this.#chargeVoucher(channel, position));
  }

  /** The owner's next earnings pay for a redeem, if the worker allowed it. @returns the code of a refusal. */
  sponsor(sponsorship: Sponsorship): FailureCode | undefined {
    return this.#sponsoring.add(sponsorship);
  }

  /** @returns the code of a refusal. */
  dispute(
    channel: RawAddress,
    key: PublicKey,
    message: MessageOf<ClientToGateway, "dispute">,
  ): FailureCode | undefined {
    const book = this.#book(channel);
    const record = book.uncountersigned.find((one) => one.receiptHash === message.receiptHash);
    if (record === undefined || !isDisputable(book, record)) return "bad_receipt";
    if (!isSignedBy(key, disputeMessage(fromHex(message.receiptHash), message), message.signature))
      return "bad_message";
    const { price, feeBps, deliveredFrames } = record.entry;
    const usage = disputedUsage(record.usage, message, deliveredFrames);
    const telling = this.#telling(channel);
    const at = this.#options.clock.unixMs();
    const { row } = record;
    const { signature } = message;
    const amounts = chargeFor(usage, price, feeBps);
    telling.movesUnderWay++;
    this.#options.journal.append(
      [
        { type: "dispute", at, channel, row, signature, usage, signedTotal: telling.signedTotal, ...amounts },
        { type: "settle", at, rows: [row] },
      ],
      () => {
        telling.movesUnderWay--;
        telling.outstanding = undefined;
        this.#dirty.add(telling);
      },
    );
    return undefined;
  }

  /** After a commit: one message a channel for all that it wrote. */
  committed(): void {
    for (const [link, receipts] of this.#trialCharges) {
      for (let at = 0; at < receipts.length; at += RECEIPTS_A_CHARGE) {
        link.send({ type: "charge", receipts: receipts.slice(at, at + RECEIPTS_A_CHARGE), voucher: null });
      }
    }
    this.#trialCharges.clear();
    for (const telling of this.#dirty) this.#sendNext(telling);
    this.#dirty.clear();
  }

  tick(): void {
    const now = this.#options.clock.steadyMs();
    for (const telling of this.#tellings.values()) {
      if (telling.outstanding === undefined || now - telling.outstanding.sentAt < ANSWER_MS) continue;
      telling.outstanding = undefined;
      this.#sendNext(telling);
    }
    this.#settleSilent(now);
  }

  /** The newest voucher under the client's own signature. */
  countersigned(channel: RawAddress): CountersignedVoucher | null {
    const { journal, signer } = this.#options;
    const book = journal.ledger.clients.get(channel);
    if (book?.countersigned === undefined) return null;
    const voucher = this.#chargeVoucher(channel, book.countersigned);
    const { signature } = book.countersigned;
    return { boc: encodePayload(voucher), signature, gatewaySignature: signer.sign(payloadHash(voucher)) };
  }

  /** The owner's promise at a written position. */
  payoutVoucher(owner: RawAddress, position: Position): SignedVoucher {
    const { channels, networkId, signer } = this.#options;
    const channel = channels.workerChannel(owner);
    const voucher: PayoutVoucher = {
      type: "payout",
      networkId,
      channel,
      total: position.total,
      receipt: position.chain,
    };
    return { boc: encodePayload(voucher), signature: signer.sign(payloadHash(voucher)) };
  }

  #chargeWritten(channel: RawAddress, record: ChargeRecord, origin: Link): void {
    const telling = this.#telling(channel);
    telling.writtenRow = record.row;
    telling.origin = origin;
    this.#silent.push({ record, at: this.#options.clock.steadyMs() });
    this.#dirty.add(telling);
  }

  #trialWritten(entry: ChargeEntry, origin: Link): void {
    const { reservationId, receipt, signature } = entry;
    this.#trialCharges.set(origin, [...(this.#trialCharges.get(origin) ?? []), { reservationId, receipt, signature }]);
  }

  #settleSilent(now: number): void {
    const due = this.#silent.findIndex(({ at }) => now - at < ANSWER_MS);
    const waited = due === -1 ? this.#silent.splice(0) : this.#silent.splice(0, due);
    if (waited.length > 0) this.#settle(waited.map(({ record }) => record));
  }

  /** Settles with an entry that moves the channel's totals: the next charge rests on it, and waits until it is written. */
  #move(telling: Telling, records: readonly ChargeRecord[], entry: Entry): void {
    telling.movesUnderWay++;
    this.#settle(records, [entry], () => {
      telling.movesUnderWay--;
      this.#dirty.add(telling);
    });
  }

  /** Promises what these charges earned, unless it is promised already. */
  #settle(records: readonly ChargeRecord[], first: readonly Entry[] = [], written: () => void = () => undefined): void {
    const { journal, clock } = this.#options;
    const unsettled = records.filter((record) => !record.isSettled);
    const settlements = this.#sponsoring.settlements(unsettled, clock.unixMs());
    const entries = [...first, ...settlements.map(({ entry }) => entry)];
    if (entries.length === 0) return;
    const applied = journal.append(entries, () => {
      written();
      settlements.forEach(({ sponsorship }, at) => {
        const position = applied[first.length + at]?.promised.get(sponsorship?.owner ?? "");
        if (position !== undefined) sponsorship?.ready(this.payoutVoucher(sponsorship.owner, position));
      });
    });
  }

  /**
   * The next charge, when the last was answered or is overdue: every receipt above the countersigned total, so that a
   * client can follow the chain from what it signed.
   */
  #sendNext(telling: Telling): void {
    if (telling.outstanding !== undefined || telling.movesUnderWay > 0) return;
    const book = this.#book(telling.channel);
    const link = telling.origin?.isOpen === true ? telling.origin : [...telling.links].at(-1);
    const batch = writtenCharges(book, telling.writtenRow);
    const last = batch.at(-1);
    if (link === undefined || last === undefined || last.row <= telling.toldRow) return;
    const total = totalAfter(book, batch);
    this.#lookAtChain(telling, book);
    if (total <= book.signedFloor || total <= telling.chainFloor) return;
    const voucher = this.#chargeVoucher(telling.channel, { total, chain: last.chain });
    const hash = payloadHash(voucher);
    telling.outstanding = { total, through: last.row, hash, sentAt: this.#options.clock.steadyMs(), link };
    telling.toldRow = last.row;
    telling.sent = [...telling.sent.filter((sent) => sent.total !== total), telling.outstanding].slice(
      -REMEMBERED_VOUCHERS,
    );
    if (total > telling.signedTotal) telling.signedTotal = total;
    link.send({
      type: "charge",
      receipts: batch.map((record) => receiptOf(record.entry)),
      voucher: { boc: encodePayload(voucher), signature: this.#options.signer.sign(hash) },
    });
  }

  /**
   * What the chain was shown and this ledger knows no signature for was signed by a life of this gateway that is lost. The
   * charges booked meanwhile say nothing of that: they may have reached the same total.
   */
  #lookAtChain(telling: Telling, book: ClientBook): void {
    const view = this.#options.channels.clientChannel(telling.channel);
    if (view === undefined) return;
    const seen = view.charged > view.acked ? view.charged : view.acked;
    const confirmed = book.countersigned?.total ?? 0n;
    const signed = telling.signedTotal > confirmed ? telling.signedTotal : confirmed;
    if (seen > signed) telling.chainFloor = seen;
  }

  #chargeVoucher(channel: RawAddress, position: Position): ChargeVoucher {
    const { networkId } = this.#options;
    return { type: "charge", networkId, channel, total: position.total, receipt: position.chain };
  }

  #book(channel: RawAddress): ClientBook {
    return clientBook(this.#options.journal.ledger, channel);
  }

  #telling(channel: RawAddress): Telling {
    const existing = this.#tellings.get(channel);
    if (existing !== undefined) return existing;
    const made: Telling = {
      channel,
      links: new Set(),
      origin: undefined,
      outstanding: undefined,
      sent: [],
      signedTotal: 0n,
      writtenRow: 0,
      toldRow: 0,
      movesUnderWay: 0,
      chainFloor: 0n,
    };
    this.#tellings.set(channel, made);
    return made;
  }
}

/** The oldest charges that are written and not countersigned, as many as one message holds. */
function writtenCharges(book: ClientBook, writtenRow: number): readonly ChargeRecord[] {
  const most = book.uncountersigned.slice(0, RECEIPTS_A_CHARGE);
  const unwritten = most.findIndex((record) => record.row > writtenRow);
  return unwritten === -1 ? most : most.slice(0, unwritten);
}

function totalAfter(book: ClientBook, batch: readonly ChargeRecord[]): Nanoton {
  return batch.reduce((total, record) => total + record.amounts.charge, book.countersigned?.total ?? NOTHING.total);
}

function receiptOf(entry: ChargeEntry): SignedReceipt {
  const { reservationId, receipt, signature } = entry;
  return { reservationId, receipt, signature };
}

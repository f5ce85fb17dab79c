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
  type Nanoton,
  type PayoutVoucher,
  type RawAddress,
  type SignedReceipt,
  type SignedVoucher,
} from "../protocol/index.ts";
import type { Channels } from "./channels.ts";
import type { Clock } from "./clock.ts";
import type { ChargeEntry, Entry } from "./entries.ts";
import type { Journal } from "./journal.ts";
import {
  clientBook,
  isCountersignable,
  isDisputable,
  NOTHING,
  type ChargeRecord,
  type ClientBook,
  type Position,
} from "./ledger.ts";
import type { Link } from "./link.ts";
import { disputedUsage } from "./metering.ts";
import { isSignedBy, type PublicKey, type Signer } from "./signatures.ts";

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
}

interface Unsent {
  readonly record: ChargeRecord;
  /** Where its reservation was made. */
  readonly origin: Link | undefined;
}

/** What one channel's client has been told. */
interface Telling {
  readonly channel: RawAddress;
  readonly links: Set<Link>;
  unsent: Unsent[];
  outstanding: SentVoucher | undefined;
  sent: SentVoucher[];
  signedTotal: Nanoton;
  /** Charges up to this row are written. */
  writtenRow: number;
  /** Disputes being written: until then nobody may see totals that rest on them. */
  disputesUnderWay: number;
}

export class Charging {
  readonly #options: ChargingOptions;
  readonly #tellings = new Map<RawAddress, Telling>();
  readonly #dirty = new Set<Telling>();
  readonly #trialCharges = new Map<Link, SignedReceipt[]>();
  /** Unsettled charges by the time they were written. */
  #silent: { readonly record: ChargeRecord; readonly at: number }[] = [];

  constructor(options: ChargingOptions) {
    this.#options = options;
    for (const [channel, book] of options.journal.ledger.clients) {
      if (book.uncountersigned.length === 0) continue;
      const telling = this.#telling(channel);
      telling.unsent = book.uncountersigned.map((record) => ({ record, origin: undefined }));
      telling.signedTotal = book.total;
      telling.writtenRow = options.journal.ledger.rows;
    }
    const now = options.clock.steadyMs();
    for (const record of options.journal.ledger.open.values())
      if (!record.isSettled) this.#silent.push({ record, at: now });
  }

  /** Books a metered receipt; the client hears of it when it is written. */
  book(entry: ChargeEntry, origin: Link): void {
    const { journal } = this.#options;
    if ("trial" in entry.payer) {
      // Nobody will sign for it: the earning is promised at once.
      const settle: Entry = { type: "settle", at: entry.at, rows: [journal.ledger.rows + 1] };
      journal.append([entry, settle], () => this.#trialWritten(entry, origin));
      return;
    }
    const { channel } = entry.payer;
    const [applied] = journal.append([entry], () => {
      if (applied?.record !== undefined) this.#chargeWritten(channel, { record: applied.record, origin });
    });
  }

  linkUp(channel: RawAddress, link: Link): void {
    const telling = this.#telling(channel);
    telling.links.add(link);
    this.#sendNext(telling);
  }

  /** What it had not signed is told again, to the client's next link: it may never have read it. */
  linkDown(channel: RawAddress, link: Link): void {
    const telling = this.#telling(channel);
    telling.links.delete(link);
    telling.outstanding = undefined;
    telling.unsent = this.#book(channel)
      .uncountersigned.filter((record) => record.row <= telling.writtenRow)
      .map((record) => ({ record, origin: undefined }));
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
    const covered = book.uncountersigned.slice(
      0,
      1 + book.uncountersigned.findIndex((one) => one.row === voucher.through),
    );
    const at = this.#options.clock.unixMs();
    const rows = covered.filter((record) => !record.isSettled).map((record) => record.row);
    const entries: Entry[] = [{ type: "countersign", at, channel, total, through: voucher.through, signature }];
    if (rows.length > 0) entries.push({ type: "settle", at, rows });
    this.#options.journal.append(entries);
    telling.sent = telling.sent.filter((sent) => sent.total > total);
    if (telling.outstanding !== undefined && telling.outstanding.total <= total) telling.outstanding = undefined;
    this.#sendNext(telling);
    return undefined;
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
    telling.disputesUnderWay++;
    this.#options.journal.append(
      [
        { type: "dispute", at, channel, row, signature, usage, signedTotal: telling.signedTotal, ...amounts },
        { type: "settle", at, rows: [row] },
      ],
      () => {
        telling.disputesUnderWay--;
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
  countersigned(channel: RawAddress): SignedVoucher | null {
    const book = this.#options.journal.ledger.clients.get(channel);
    if (book?.countersigned === undefined) return null;
    return {
      boc: encodePayload(this.#chargeVoucher(channel, book.countersigned)),
      signature: book.countersigned.signature,
    };
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

  #chargeWritten(channel: RawAddress, unsent: Unsent): void {
    const telling = this.#telling(channel);
    telling.unsent.push(unsent);
    telling.writtenRow = unsent.record.row;
    this.#silent.push({ record: unsent.record, at: this.#options.clock.steadyMs() });
    this.#dirty.add(telling);
  }

  #trialWritten(entry: ChargeEntry, origin: Link): void {
    const { reservationId, receipt, signature } = entry;
    this.#trialCharges.set(origin, [...(this.#trialCharges.get(origin) ?? []), { reservationId, receipt, signature }]);
  }

  #settleSilent(now: number): void {
    const due = this.#silent.findIndex(({ at }) => now - at < ANSWER_MS);
    const waited = due === -1 ? this.#silent.splice(0) : this.#silent.splice(0, due);
    const rows = waited.filter(({ record }) => !record.isSettled).map(({ record }) => record.row);
    if (rows.length > 0) this.#options.journal.append([{ type: "settle", at: this.#options.clock.unixMs(), rows }]);
  }

  /** The next charge, when the last was answered and there is a new total to sign. */
  #sendNext(telling: Telling): void {
    const { unsent, outstanding, disputesUnderWay, links } = telling;
    const [first] = unsent;
    if (first === undefined || outstanding !== undefined || disputesUnderWay > 0) return;
    const link = first.origin?.isOpen === true ? first.origin : [...links].at(-1);
    if (link === undefined) return;
    const batch = this.#nextBatch(telling);
    const last = batch.at(-1)?.record;
    if (last === undefined) return;
    const total = totalThrough(this.#book(telling.channel), last);
    const voucher = this.#chargeVoucher(telling.channel, { total, chain: last.chain });
    const hash = payloadHash(voucher);
    telling.unsent = unsent.slice(batch.length);
    telling.outstanding = { total, through: last.row, hash, sentAt: this.#options.clock.steadyMs() };
    telling.sent = [...telling.sent.filter((sent) => sent.total !== total), telling.outstanding].slice(
      -REMEMBERED_VOUCHERS,
    );
    if (total > telling.signedTotal) telling.signedTotal = total;
    link.send({
      type: "charge",
      receipts: batch.map(({ record }) => receiptOf(record.entry)),
      voucher: { boc: encodePayload(voucher), signature: this.#options.signer.sign(hash) },
    });
  }

  /** Receipts of one link, unless only more of them make a total that may be signed. Empty: nothing may be. */
  #nextBatch(telling: Telling): readonly Unsent[] {
    const book = this.#book(telling.channel);
    const most = telling.unsent.slice(0, RECEIPTS_A_CHARGE);
    const origin = most[0]?.origin;
    const change = most.findIndex((unsent) => unsent.origin !== origin);
    const ofOneLink = change === -1 ? most : most.slice(0, change);
    return [ofOneLink, most].find((batch) => maySign(book, batch.at(-1)?.record)) ?? [];
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
      unsent: [],
      outstanding: undefined,
      sent: [],
      signedTotal: 0n,
      writtenRow: 0,
      disputesUnderWay: 0,
    };
    this.#tellings.set(channel, made);
    return made;
  }
}

/** Positions of one chain grow strictly, but where a dispute lowered them: there only what exceeds every signature is new. */
function maySign(book: ClientBook, last: ChargeRecord | undefined): boolean {
  return last !== undefined && totalThrough(book, last) > book.signedFloor;
}

function totalThrough(book: ClientBook, last: ChargeRecord): Nanoton {
  let total = book.countersigned?.total ?? NOTHING.total;
  for (const record of book.uncountersigned) {
    if (record.row > last.row) break;
    total += record.amounts.charge;
  }
  return total;
}

function receiptOf(entry: ChargeEntry): SignedReceipt {
  const { reservationId, receipt, signature } = entry;
  return { reservationId, receipt, signature };
}

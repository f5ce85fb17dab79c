import {
  Failure,
  type ChargeVoucher,
  type CountersignedVoucher,
  type Nanoton,
  type Receipt,
} from "../protocol/index.ts";
import {
  encodeEntry,
  readJournal,
  type DayEntry,
  type DisputedEntry,
  type Entry,
  type Journal,
  type SignedEntry,
} from "./journal.ts";
import { Leases } from "./leases.ts";
import { NOTHING_CHARGED, type ChannelId, type Standing, type StreamTerms } from "./receipts.ts";

/** A receipt that a voucher was signed for. */
export interface SettledReceipt {
  /** Lowercase hex. */
  readonly receiptHash: string;
  /** Lowercase hex, 16 bytes. */
  readonly sessionId: string;
  readonly streamId: number;
}

/** Receipts of this many charges back are known to be settled; a gateway repeats no more than the last few. */
const MAX_SETTLED = 4096;
/** Written anew at this size, so that it stays small for ever. */
const COMPACT_AFTER_CHARACTERS = 4_194_304;

/** What a client with a channel keeps of it: everything is in the journal before it is said. */
export class Book {
  readonly #journal: Journal;
  readonly #leases = new Leases();
  /** Those of the process before this one, whose streams are not known any more. */
  readonly #inherited = new Leases();
  readonly #disputes = new Map<string, DisputedEntry>();
  readonly #settled = new Set<string>();
  #signed: SignedEntry | undefined;
  #day: DayEntry | undefined;
  #written = 0;

  /** @throws {Failure} `storage_failed` for a journal that cannot be read or belongs to another channel. */
  constructor(journal: Journal, channel: ChannelId) {
    this.#journal = journal;
    const { signed, leases, disputed, day } = readJournal(journal.lines());
    if (signed !== undefined && (signed.networkId !== channel.networkId || signed.channel !== channel.address)) {
      throw new Failure("storage_failed", "the state belongs to another channel");
    }
    this.#signed = signed;
    this.#day = day;
    this.#rememberSettled(signed?.receipts ?? []);
    for (const lease of leases) this.#inherited.put(lease);
    for (const [receiptHash, entry] of disputed) this.#disputes.set(receiptHash, entry);
    this.#compact();
  }

  get standing(): Standing {
    return this.#signed === undefined ? NOTHING_CHARGED : { total: this.#signed.total, chain: this.#signed.chain };
  }

  get signed(): SignedEntry | undefined {
    return this.#signed;
  }

  /** @throws {Failure} `disk_full`, `storage_failed`. */
  opened(terms: StreamTerms): void {
    const lease = this.#leases.renewalFor(terms);
    if (lease === undefined) return;
    this.#append(lease);
    this.#leases.put(lease);
  }

  /** The total with which a day began. @throws {Failure} `disk_full`, `storage_failed` on the first request of a day. */
  dayStart(day: number): Nanoton {
    if (this.#day?.day !== day) {
      const entry: DayEntry = { t: "day", day, total: this.standing.total };
      this.#append(entry);
      this.#day = entry;
    }
    return this.#day.total;
  }

  /** What was agreed for a stream that a process before this one opened. */
  inheritedTerms(receipt: Receipt, reservationId: string): StreamTerms | undefined {
    return this.#inherited.termsFor(receipt, reservationId);
  }

  disputeOf(receiptHash: string): DisputedEntry | undefined {
    return this.#disputes.get(receiptHash);
  }

  disputed(entry: DisputedEntry): void {
    if (this.#disputes.has(entry.receiptHash)) return;
    this.#append(entry);
    this.#disputes.set(entry.receiptHash, entry);
  }

  isSettled(receiptHash: string): boolean {
    return this.#settled.has(receiptHash);
  }

  countersigned(voucher: ChargeVoucher, signed: CountersignedVoucher, receipts: readonly SettledReceipt[]): void {
    const { total, receipt: chain, networkId, channel } = voucher;
    const entry: SignedEntry = { t: "signed", networkId, channel, total, chain, ...signed, receipts: [...receipts] };
    this.#append(entry);
    this.#signed = entry;
    this.#rememberSettled(receipts);
  }

  close(): void {
    this.#journal.close();
  }

  #rememberSettled(receipts: readonly SettledReceipt[]): void {
    for (const { receiptHash, sessionId, streamId } of receipts) {
      this.#settled.add(receiptHash);
      this.#disputes.delete(receiptHash);
      this.#leases.settle(sessionId, streamId);
      this.#inherited.settle(sessionId, streamId);
    }
    for (const oldest of this.#settled) {
      if (this.#settled.size <= MAX_SETTLED) return;
      this.#settled.delete(oldest);
    }
  }

  #append(entry: Entry): void {
    const line = encodeEntry(entry);
    this.#journal.append(line);
    this.#written += line.length;
    if (this.#written > COMPACT_AFTER_CHARACTERS) this.#compact();
  }

  #compact(): void {
    const signed = this.#signed === undefined ? [] : [this.#signed];
    const day = this.#day === undefined ? [] : [this.#day];
    const entries = [
      ...signed,
      ...day,
      ...this.#inherited.entries(),
      ...this.#leases.entries(),
      ...this.#disputes.values(),
    ];
    this.#journal.replace(entries.map(encodeEntry));
    this.#written = 0;
  }
}

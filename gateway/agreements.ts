import {
  EMPTY_CHAIN,
  fromHex,
  nextChargeChain,
  type Charge,
  type Nanoton,
  type RawAddress,
} from "../protocol/index.ts";
import {
  addToSums,
  clientBook,
  forgetIfDone,
  payeeOf,
  promise,
  refuseUnless,
  sum,
  unnamedBook,
  type Applied,
  type ChargeRecord,
  type ClientBook,
  type Ledger,
  type OwnerBook,
} from "./books.ts";
import type { AdoptChargeEntry, CountersignEntry, DisputeEntry } from "./entries.ts";

/** What a client agrees to, and what not: the rules of its channel's book. */

/** A charge may be disputed once, until it is countersigned or its earning is promised. */
export function isDisputable(book: ClientBook, record: ChargeRecord): boolean {
  return !record.isSettled && record.dispute === undefined && book.uncountersigned.includes(record);
}

/** Whether a total stands after the charge in row `through`, so that a client's signature of it closes all up to there. */
export function isCountersignable(
  book: ClientBook,
  signed: { readonly total: Nanoton; readonly through: number },
): boolean {
  const covered = coveredBy(book, signed.through);
  const charged = sum(covered, (record) =>
    isTakenBack(record, signed.total) ? record.entry.charge : record.amounts.charge,
  );
  return covered.length > 0 && (book.countersigned?.total ?? 0n) + charged === signed.total;
}

/** The charges a countersignature through this row closes; none when no open charge has that row. */
export function coveredBy(book: ClientBook, through: number): readonly ChargeRecord[] {
  return book.uncountersigned.slice(0, book.uncountersigned.findIndex((record) => record.row === through) + 1);
}

/**
 * Closes every charge up to `through`. A client that signs a total after all which it had disputed takes the disputes
 * made against that voucher back.
 */
export function applyCountersign(ledger: Ledger, entry: CountersignEntry): Applied {
  const book = clientBook(ledger, entry.channel);
  refuseUnless(isCountersignable(book, entry), "another total was countersigned");
  const covered = coveredBy(book, entry.through);
  const promised = new Map<RawAddress, OwnerBook>();
  for (const record of covered) if (isTakenBack(record, entry.total)) restore(ledger, book, record, promised);
  const { total, signature } = entry;
  const chain = covered.at(-1)?.chain ?? EMPTY_CHAIN;
  close(ledger, book, covered, { total, chain, signature });
  return { promised };
}

export function applyDispute(ledger: Ledger, entry: DisputeEntry): Applied {
  const record = ledger.open.get(entry.row);
  const book = clientBook(ledger, entry.channel);
  refuseUnless(record !== undefined && isDisputable(book, record), "nothing to dispute");
  const { charge, earned, fee } = entry;
  const less = difference(record.amounts, { charge, earned, fee });
  refuseUnless(less.charge >= 0n && less.earned >= 0n, "a dispute only lowers");
  addToSums(ledger, { charge: -less.charge, earned: -less.earned, fee: -less.fee });
  book.total -= less.charge;
  raiseFloor(book, entry.signedTotal);
  if (payeeOf(ledger, record) === undefined) unnamedBook(ledger, record.entry.workerId).owed -= less.earned;
  record.amounts = { charge, earned, fee };
  record.usage = entry.usage;
  record.dispute = { at: entry.at, signedTotal: entry.signedTotal };
  return { record, promised: NONE };
}

/**
 * The client agreed to a total that this ledger has lost. Its charges up to `through` are part of that; later ones are
 * chained on top of it. What it owes more than the charges that are known here is the gateway's, until the workers show
 * what they were promised of it; what it owes less, since it disputed what was lost, the gateway has paid.
 */
export function applyAdoptCharge(ledger: Ledger, entry: AdoptChargeEntry): Applied {
  const { total, chain, signature, through, signedTotal } = entry;
  const book = clientBook(ledger, entry.channel);
  const before = book.countersigned?.total ?? 0n;
  const covered = coveredBy(book, through);
  refuseUnless(total > before, "nothing is adopted");
  refuseUnless(through === 0 || covered.length > 0, "a charge is adopted that is not open");
  const more = total - before - sum(covered, (record) => record.amounts.charge);
  if (more >= 0n) addToSums(ledger, { charge: more, fee: more });
  else addToSums(ledger, { charge: more, paid: { reason: "adopted", amount: -more } });
  book.total += more;
  raiseFloor(book, signedTotal);
  close(ledger, book, covered, { total, chain, signature });
  book.chain = chain;
  for (const record of book.uncountersigned) {
    book.chain = nextChargeChain(book.chain, fromHex(record.receiptHash));
    record.chain = book.chain;
  }
  return { promised: NONE };
}

function close(
  ledger: Ledger,
  book: ClientBook,
  covered: readonly ChargeRecord[],
  countersigned: NonNullable<ClientBook["countersigned"]>,
): void {
  book.countersigned = countersigned;
  raiseFloor(book, countersigned.total);
  book.uncountersigned.splice(0, covered.length);
  for (const record of covered) forgetIfDone(ledger, record);
}

function raiseFloor(book: ClientBook, signed: Nanoton): void {
  if (signed > book.signedFloor) book.signedFloor = signed;
}

/** A dispute made against the very voucher that is now signed. */
export function isTakenBack(record: ChargeRecord, total: Nanoton): boolean {
  return record.dispute?.signedTotal === total;
}

function restore(ledger: Ledger, book: ClientBook, record: ChargeRecord, promised: Map<RawAddress, OwnerBook>): void {
  const { charge, earned, fee } = record.entry;
  const back = difference({ charge, earned, fee }, record.amounts);
  addToSums(ledger, back);
  book.total += back.charge;
  record.amounts = { charge, earned, fee };
  record.usage = record.entry.usage;
  const payee = payeeOf(ledger, record);
  if (payee === undefined) unnamedBook(ledger, record.entry.workerId).owed += back.earned;
  else if (record.isSettled) promise(ledger, payee, { earned: back.earned, receiptHash: undefined }, promised);
}

function difference(more: Charge, less: Charge): Charge {
  return { charge: more.charge - less.charge, earned: more.earned - less.earned, fee: more.fee - less.fee };
}

const NONE: ReadonlyMap<RawAddress, OwnerBook> = new Map();

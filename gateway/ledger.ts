import {
  EMPTY_CHAIN,
  Failure,
  nextChargeChain,
  nextPayoutChain,
  receiptHashOf,
  toHex,
  type Charge,
  type Nanoton,
  type RawAddress,
  type TokenUsage,
} from "../protocol/index.ts";
import type { ChargeEntry, CountersignEntry, DisputeEntry, Entry, NameEntry } from "./entries.ts";

/** A cumulative promise: the total and the chain over the receipts in it. */
export interface Position {
  readonly total: Nanoton;
  /** 32 bytes. */
  readonly chain: Uint8Array;
}

export const NOTHING: Position = { total: 0n, chain: EMPTY_CHAIN };

/** A charge as it stands now; a dispute lowers it. Forgotten once countersigned and settled. */
export interface ChargeRecord {
  /** 1-based number of its row. */
  readonly row: number;
  readonly entry: ChargeEntry;
  /** Lowercase hex of H(receipt). */
  readonly receiptHash: string;
  /** The channel's charge chain after it; empty on trial. */
  readonly chain: Uint8Array;
  amounts: Charge;
  usage: TokenUsage;
  isSettled: boolean;
  dispute: { readonly at: number; readonly signedTotal: Nanoton } | undefined;
}

/** What one client's channel owes this gateway. */
export interface ClientBook {
  total: Nanoton;
  chain: Uint8Array;
  /** The newest total under the client's own signature. */
  countersigned: (Position & { readonly signature: Uint8Array }) | undefined;
  /** Charges above it, in the order of the chain. */
  readonly uncountersigned: ChargeRecord[];
  /** No voucher is signed at or under it, since a dispute lowered the total after one was. */
  signedFloor: Nanoton;
}

/** What was earned by a worker whose owner is not named. */
export interface UnnamedBook {
  /** Settled and not settled. */
  owed: Nanoton;
  readonly settled: { readonly receiptHash: Uint8Array; readonly earned: Nanoton }[];
}

export interface LedgerSums {
  readonly charges: Nanoton;
  readonly gatewayPaid: Nanoton;
  readonly earnings: Nanoton;
  readonly fees: Nanoton;
}

/**
 * The money of one gateway: a fold over its entries and nothing else. One holder owns a ledger; {@link applyEntry} moves
 * it forward in place, without clock, randomness or effects, and throws before it changes anything.
 */
export interface Ledger {
  rows: number;
  sums: LedgerSums;
  readonly clients: Map<RawAddress, ClientBook>;
  readonly owners: Map<RawAddress, Position>;
  readonly unnamed: Map<string, UnnamedBook>;
  /** The owner each worker id named last. */
  readonly owned: Map<string, RawAddress>;
  /** Every (worker id, owner) that was ever proved. */
  readonly proved: Set<string>;
  readonly trials: Map<string, { completionTokens: number; paid: Nanoton }>;
  /** Trial money of the newest Unix day that had any. */
  trialDay: { readonly day: number; readonly paid: Nanoton };
  /** Charges that a dispute, a countersignature or a settlement may still name. */
  readonly open: Map<number, ChargeRecord>;
}

/** What an entry changed that somebody must hear of once it is written. */
export interface Applied {
  readonly record?: ChargeRecord;
  /** Owners whose promise grew, and to what. */
  readonly promised: ReadonlyMap<RawAddress, Position>;
}

export function emptyLedger(): Ledger {
  return {
    rows: 0,
    sums: { charges: 0n, gatewayPaid: 0n, earnings: 0n, fees: 0n },
    clients: new Map(),
    owners: new Map(),
    unnamed: new Map(),
    owned: new Map(),
    proved: new Set(),
    trials: new Map(),
    trialDay: { day: 0, paid: 0n },
    open: new Map(),
  };
}

/** @throws {Failure} `storage_failed` when the entry does not follow from the ledger: then nothing has changed. */
export function applyEntry(ledger: Ledger, entry: Entry): Applied {
  const row = ledger.rows + 1;
  const applied = applyOne(ledger, entry, row);
  ledger.rows = row;
  return applied;
}

function applyOne(ledger: Ledger, entry: Entry, row: number): Applied {
  switch (entry.type) {
    case "charge":
      return applyCharge(ledger, entry, row);
    case "countersign":
      return applyCountersign(ledger, entry);
    case "dispute":
      return applyDispute(ledger, entry);
    case "settle":
      return applySettle(ledger, entry.rows);
    case "name":
      return applyName(ledger, entry);
  }
}

export function clientBook(ledger: Ledger, channel: RawAddress): ClientBook {
  return found(ledger.clients, channel, emptyBook);
}

export function emptyBook(): ClientBook {
  return { total: 0n, chain: EMPTY_CHAIN, countersigned: undefined, uncountersigned: [], signedFloor: 0n };
}

/** Charged to a channel above its newest countersignature. */
export function uncountersignedTotal(book: ClientBook): Nanoton {
  return book.total - (book.countersigned?.total ?? 0n);
}

/** Disputes since `after` (Unix ms) that no countersignature has closed. */
export function openDisputes(book: ClientBook, after: number): number {
  return book.uncountersigned.filter((record) => record.dispute !== undefined && record.dispute.at >= after).length;
}

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

export function hasProved(ledger: Ledger, workerId: string, owner: RawAddress): boolean {
  return ledger.proved.has(`${workerId} ${owner}`);
}

/**
 * The books against each other: client totals make up the charges; promised, owed and unsettled make up the earnings.
 *
 * @throws {Failure} `storage_failed`.
 */
export function checkConservation(ledger: Ledger): void {
  const charges = sum(ledger.clients.values(), (book) => book.total);
  const promised = sum(ledger.owners.values(), (position) => position.total);
  const owed = sum(ledger.unnamed.values(), (book) => book.owed);
  const unsettled = sum(ledger.open.values(), (record) =>
    !record.isSettled && payeeOf(ledger, record) !== undefined ? record.amounts.earned : 0n,
  );
  refuseUnless(charges === ledger.sums.charges, "client totals are not the charges");
  refuseUnless(promised + owed + unsettled === ledger.sums.earnings, "what is owed to workers is not the earnings");
}

const DAY_MS = 86_400_000;

/** The Unix day trial money is counted by. */
export function dayOf(unixMs: number): number {
  return Math.floor(unixMs / DAY_MS);
}

function applyCharge(ledger: Ledger, entry: ChargeEntry, row: number): Applied {
  const amounts = { charge: entry.charge, earned: entry.earned, fee: entry.fee };
  const receiptHash = receiptHashOf(entry.receipt);
  const isTrial = "trial" in entry.payer;
  addToSums(ledger, isTrial ? { ...amounts, charge: 0n, gatewayPaid: entry.charge } : { ...amounts, gatewayPaid: 0n });
  const record: ChargeRecord = {
    row,
    entry,
    receiptHash: toHex(receiptHash),
    chain:
      "trial" in entry.payer ? EMPTY_CHAIN : bookCharge(clientBook(ledger, entry.payer.channel), amounts, receiptHash),
    amounts,
    usage: entry.usage,
    isSettled: false,
    dispute: undefined,
  };
  if ("trial" in entry.payer) bookTrial(ledger, entry.payer.trial, entry);
  else clientBook(ledger, entry.payer.channel).uncountersigned.push(record);
  if (payeeOf(ledger, record) === undefined) unnamedBook(ledger, entry.workerId).owed += amounts.earned;
  ledger.open.set(row, record);
  return { record, promised: NONE };
}

function bookCharge(book: ClientBook, amounts: Charge, receiptHash: Uint8Array): Uint8Array {
  book.total += amounts.charge;
  book.chain = nextChargeChain(book.chain, receiptHash);
  return book.chain;
}

function bookTrial(ledger: Ledger, key: string, entry: ChargeEntry): void {
  const trial = found(ledger.trials, key, () => ({ completionTokens: 0, paid: 0n }));
  trial.completionTokens += entry.usage.completionTokens;
  trial.paid += entry.charge;
  const day = dayOf(entry.at);
  const before = ledger.trialDay.day === day ? ledger.trialDay.paid : 0n;
  if (day >= ledger.trialDay.day) ledger.trialDay = { day, paid: before + entry.charge };
}

/**
 * Closes every charge up to `through`. A client that signs a total after all which it had disputed takes the disputes
 * made against that voucher back.
 */
function applyCountersign(ledger: Ledger, entry: CountersignEntry): Applied {
  const book = clientBook(ledger, entry.channel);
  refuseUnless(isCountersignable(book, entry), "another total was countersigned");
  const covered = coveredBy(book, entry.through);
  const promised = new Map<RawAddress, Position>();
  for (const record of covered) if (isTakenBack(record, entry.total)) restore(ledger, book, record, promised);
  const { total, signature } = entry;
  book.countersigned = { total, chain: covered.at(-1)?.chain ?? EMPTY_CHAIN, signature };
  book.signedFloor = total > book.signedFloor ? total : book.signedFloor;
  book.uncountersigned.splice(0, covered.length);
  for (const record of covered) forgetIfDone(ledger, record, book);
  return { promised };
}

function coveredBy(book: ClientBook, through: number): readonly ChargeRecord[] {
  return book.uncountersigned.slice(0, book.uncountersigned.findIndex((record) => record.row === through) + 1);
}

/** A dispute made against the very voucher that is now signed. */
function isTakenBack(record: ChargeRecord, total: Nanoton): boolean {
  return record.dispute?.signedTotal === total;
}

function restore(ledger: Ledger, book: ClientBook, record: ChargeRecord, promised: Map<RawAddress, Position>): void {
  const { charge, earned, fee } = record.entry;
  const back = difference({ charge, earned, fee }, record.amounts);
  addToSums(ledger, { ...back, gatewayPaid: 0n });
  book.total += back.charge;
  record.amounts = { charge, earned, fee };
  record.usage = record.entry.usage;
  const payee = payeeOf(ledger, record);
  if (payee === undefined) unnamedBook(ledger, record.entry.workerId).owed += back.earned;
  else if (record.isSettled) promise(ledger, payee, { earned: back.earned, receiptHash: undefined }, promised);
}

function applyDispute(ledger: Ledger, entry: DisputeEntry): Applied {
  const record = ledger.open.get(entry.row);
  const book = clientBook(ledger, entry.channel);
  refuseUnless(record !== undefined && isDisputable(book, record), "nothing to dispute");
  const { charge, earned, fee } = entry;
  const less = difference(record.amounts, { charge, earned, fee });
  refuseUnless(less.charge >= 0n && less.earned >= 0n, "a dispute only lowers");
  addToSums(ledger, { charge: -less.charge, earned: -less.earned, fee: -less.fee, gatewayPaid: 0n });
  book.total -= less.charge;
  if (entry.signedTotal > book.signedFloor) book.signedFloor = entry.signedTotal;
  if (payeeOf(ledger, record) === undefined) unnamedBook(ledger, record.entry.workerId).owed -= less.earned;
  record.amounts = { charge, earned, fee };
  record.usage = entry.usage;
  record.dispute = { at: entry.at, signedTotal: entry.signedTotal };
  return { record, promised: NONE };
}

function applySettle(ledger: Ledger, rows: readonly number[]): Applied {
  const records = rows.map((row) => ledger.open.get(row));
  refuseUnless(
    records.every((record) => record !== undefined && !record.isSettled) && new Set(rows).size === rows.length,
    "settled twice",
  );
  const promised = new Map<RawAddress, Position>();
  for (const record of records) if (record !== undefined) settleOne(ledger, record, promised);
  return { promised };
}

function settleOne(ledger: Ledger, record: ChargeRecord, promised: Map<RawAddress, Position>): void {
  record.isSettled = true;
  const receiptHash = receiptHashOf(record.entry.receipt);
  const payee = payeeOf(ledger, record);
  const { earned } = record.amounts;
  if (payee === undefined) unnamedBook(ledger, record.entry.workerId).settled.push({ receiptHash, earned });
  else promise(ledger, payee, { earned, receiptHash }, promised);
  const { payer } = record.entry;
  forgetIfDone(ledger, record, "trial" in payer ? undefined : clientBook(ledger, payer.channel));
}

/** A receipt that earned nothing stays out of the chain: the same total must never stand over two chains. */
function promise(
  ledger: Ledger,
  owner: RawAddress,
  paid: { readonly earned: Nanoton; readonly receiptHash: Uint8Array | undefined },
  promised: Map<RawAddress, Position>,
): void {
  if (paid.earned === 0n) return;
  const before = ledger.owners.get(owner) ?? NOTHING;
  const chain = paid.receiptHash === undefined ? before.chain : nextPayoutChain(before.chain, paid.receiptHash);
  const position = { total: before.total + paid.earned, chain };
  ledger.owners.set(owner, position);
  promised.set(owner, position);
}

function applyName(ledger: Ledger, entry: NameEntry): Applied {
  const promised = new Map<RawAddress, Position>();
  const book = ledger.unnamed.get(entry.workerId);
  for (const paid of book?.settled ?? []) promise(ledger, entry.owner, paid, promised);
  const settledTotal = sum(book?.settled ?? [], (paid) => paid.earned);
  const unsettled = sum(ledger.open.values(), (record) =>
    isOwedTo(record, entry.workerId) && !record.isSettled ? record.amounts.earned : 0n,
  );
  // Restored disputes of settled charges are owed without a receipt of their own.
  const rest = (book?.owed ?? 0n) - settledTotal - unsettled;
  promise(ledger, entry.owner, { earned: rest, receiptHash: undefined }, promised);
  ledger.unnamed.delete(entry.workerId);
  ledger.owned.set(entry.workerId, entry.owner);
  ledger.proved.add(`${entry.workerId} ${entry.owner}`);
  return { promised };
}

const NONE: ReadonlyMap<RawAddress, Position> = new Map();

function payeeOf(ledger: Ledger, record: ChargeRecord): RawAddress | undefined {
  return record.entry.owner ?? ledger.owned.get(record.entry.workerId);
}

function isOwedTo(record: ChargeRecord, workerId: string): boolean {
  return record.entry.owner === null && record.entry.workerId === workerId;
}

function forgetIfDone(ledger: Ledger, record: ChargeRecord, book: ClientBook | undefined): void {
  const isCountersigned = !book?.uncountersigned.includes(record);
  if (isCountersigned && record.isSettled) ledger.open.delete(record.row);
}

function unnamedBook(ledger: Ledger, workerId: string): UnnamedBook {
  return found(ledger.unnamed, workerId, () => ({ owed: 0n, settled: [] }));
}

type Movement = Charge & { readonly gatewayPaid: Nanoton };

/** The one place where the four sums move: what comes in is what goes out. */
function addToSums(ledger: Ledger, move: Movement): void {
  const { charges, gatewayPaid, earnings, fees } = ledger.sums;
  const sums = {
    charges: charges + move.charge,
    gatewayPaid: gatewayPaid + move.gatewayPaid,
    earnings: earnings + move.earned,
    fees: fees + move.fee,
  };
  refuseUnless(
    sums.charges + sums.gatewayPaid === sums.earnings + sums.fees,
    "charges + gatewayPaid ≠ earnings + fees",
  );
  ledger.sums = sums;
}

function difference(more: Charge, less: Charge): Charge {
  return { charge: more.charge - less.charge, earned: more.earned - less.earned, fee: more.fee - less.fee };
}

function found<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const existing = map.get(key);
  if (existing !== undefined) return existing;
  const made = make();
  map.set(key, made);
  return made;
}

function sum<Item>(items: Iterable<Item>, amount: (item: Item) => Nanoton): Nanoton {
  let total = 0n;
  for (const item of items) total += amount(item);
  return total;
}

function refuseUnless(holds: boolean, why: string): asserts holds {
  if (!holds) throw new Failure("storage_failed", `the ledger does not add up: ${why}`);
}

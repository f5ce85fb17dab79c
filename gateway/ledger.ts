import { EMPTY_CHAIN, nextChargeChain, receiptHashOf, toHex, type RawAddress } from "../protocol/index.ts";
import { applyAdoptCharge, applyCountersign, applyDispute } from "./agreements.ts";
import {
  addToSums,
  clientBook,
  ownerBook,
  payeeOf,
  promise,
  refuseUnless,
  settleOne,
  sum,
  dayOf,
  unnamedBook,
  type Applied,
  type ChargeRecord,
  type Ledger,
  type Movement,
  type OwnerBook,
  type UnnamedBook,
} from "./books.ts";
import type { AdoptPayoutEntry, ChargeEntry, CommitEntry, Entry, NameEntry, RedeemEntry } from "./entries.ts";

/** The next state of the ledger. @throws {Failure} `storage_failed` when the entry does not follow from it: then nothing has changed. */
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
    case "redeem":
      return applyRedeem(ledger, entry);
    case "adopt_payout":
      return applyAdoptPayout(ledger, entry);
    case "adopt_charge":
      return applyAdoptCharge(ledger, entry);
    case "commit":
      return applyCommit(ledger, entry);
  }
}

function applyCharge(ledger: Ledger, entry: ChargeEntry, row: number): Applied {
  const { payer, charge, earned, fee } = entry;
  addToSums(ledger, movementOf(entry));
  const receiptHash = receiptHashOf(entry.receipt);
  const record: ChargeRecord = {
    row,
    entry,
    receiptHash: toHex(receiptHash),
    chain: EMPTY_CHAIN,
    amounts: { charge, earned, fee },
    usage: entry.usage,
    isSettled: false,
    dispute: undefined,
  };
  if ("channel" in payer) bookCharge(ledger, payer.channel, record, receiptHash);
  if ("trial" in payer) bookTrial(ledger, payer.trial, entry);
  if (payeeOf(ledger, record) === undefined) unnamedBook(ledger, entry.workerId).owed += earned;
  ledger.open.set(row, record);
  return { record, promised: NONE };
}

function movementOf({ payer, charge, earned, fee }: ChargeEntry): Movement {
  if ("channel" in payer) return { charge, earned, fee };
  return { earned, fee, paid: { reason: "trial" in payer ? "trial" : "canary", amount: charge } };
}

function bookCharge(ledger: Ledger, channel: RawAddress, record: ChargeRecord, receiptHash: Uint8Array): void {
  const book = clientBook(ledger, channel);
  book.total += record.amounts.charge;
  book.chain = nextChargeChain(book.chain, receiptHash);
  record.chain = book.chain;
  book.uncountersigned.push(record);
}

function bookTrial(ledger: Ledger, key: string, entry: ChargeEntry): void {
  const { completionTokens, paid } = ledger.trials.get(key) ?? { completionTokens: 0, paid: 0n };
  const tokens = completionTokens + entry.usage.completionTokens;
  ledger.trials.set(key, { completionTokens: tokens, paid: paid + entry.charge });
  const day = dayOf(entry.at);
  const before = ledger.trialDay.day === day ? ledger.trialDay.paid : 0n;
  if (day >= ledger.trialDay.day) ledger.trialDay = { day, paid: before + entry.charge };
}

function applySettle(ledger: Ledger, rows: readonly number[]): Applied {
  const promised = new Map<RawAddress, OwnerBook>();
  for (const record of unsettled(ledger, rows)) settleOne(ledger, record, promised);
  return { promised };
}

function unsettled(ledger: Ledger, rows: readonly number[]): readonly ChargeRecord[] {
  const records = rows.map((row) => ledger.open.get(row)).filter((record) => record?.isSettled === false);
  refuseUnless(records.length === rows.length && new Set(rows).size === rows.length, "settled twice");
  return records.filter((record) => record !== undefined);
}

function applyRedeem(ledger: Ledger, { owner, rows, deduction, request }: RedeemEntry): Applied {
  const records = unsettled(ledger, rows);
  const before = ownerBook(ledger, owner);
  refuseUnless(
    records.every((record) => payeeOf(ledger, record) === owner),
    "an owner pays for another's redeem",
  );
  refuseUnless(deduction > 0n && deduction <= request.maxDeduction, "more is deducted than the worker allowed");
  // What it had been told by then can only grow: the deduction comes out of what is new.
  refuseUnless(deduction < sum(records, (record) => record.amounts.earned), "a deduction makes a promise fall");
  const isFresh = request.total >= before.redeemedAt && request.total <= before.total;
  refuseUnless(isFresh, "a leave to deduct is used twice");
  addToSums(ledger, { earned: -deduction, fee: deduction });
  for (const record of records) settleOne(ledger, record, new Map());
  const grown = ownerBook(ledger, owner);
  const total = grown.total - deduction;
  const book = { ...grown, total, redeemedAt: total };
  ledger.owners.set(owner, book);
  return { promised: new Map([[owner, book]]) };
}

function applyName(ledger: Ledger, entry: NameEntry): Applied {
  const promised = new Map<RawAddress, OwnerBook>();
  const book = ledger.unnamed.get(entry.workerId);
  // A worker that had an owner before is owed nothing by its id: what is not settled goes to the new one when it is.
  if (book !== undefined) moveOwed(ledger, book, entry, promised);
  ledger.unnamed.delete(entry.workerId);
  ledger.owned.set(entry.workerId, entry.owner);
  ledger.proved.add(`${entry.workerId} ${entry.owner}`);
  return { promised };
}

function moveOwed(
  ledger: Ledger,
  book: UnnamedBook,
  { workerId, owner }: NameEntry,
  promised: Map<RawAddress, OwnerBook>,
): void {
  for (const paid of book.settled) promise(ledger, owner, paid, promised);
  const settledTotal = sum(book.settled, (paid) => paid.earned);
  const unsettledTotal = sum(ledger.open.values(), (record) =>
    isOwedTo(record, workerId) && !record.isSettled ? record.amounts.earned : 0n,
  );
  // Restored disputes of settled charges are owed without a receipt of their own.
  promise(ledger, owner, { earned: book.owed - settledTotal - unsettledTotal, receiptHash: undefined }, promised);
}

function isOwedTo(record: ChargeRecord, workerId: string): boolean {
  return record.entry.owner === null && record.entry.workerId === workerId;
}

/** The gateway keeps its word, and bears what it cost to have forgotten it. */
function applyAdoptPayout(ledger: Ledger, { owner, total, kept, voucher }: AdoptPayoutEntry): Applied {
  const before = ownerBook(ledger, owner);
  const after = total + kept;
  const isOtherChain = voucher !== null && kept === 0n && !sameBytes(voucher.chain, before.chain);
  refuseUnless(kept <= before.total, "more is kept of a promise than there was");
  refuseUnless(after > before.total || (after === before.total && isOtherChain), "nothing is adopted");
  const loss = after - before.total;
  addToSums(ledger, { earned: loss, paid: { reason: "adopted", amount: loss } });
  const chain = voucher?.chain ?? before.chain;
  const floor = voucher === null && total > before.floor ? total : before.floor;
  const book = { ...before, total: after, chain, floor };
  ledger.owners.set(owner, book);
  return { promised: after > floor ? new Map([[owner, book]]) : NONE };
}

function applyCommit(ledger: Ledger, { seqno, rows, stateHash }: CommitEntry): Applied {
  refuseUnless(seqno > (ledger.committed?.seqno ?? 0), "a number on chain is used twice");
  refuseUnless(rows <= ledger.rows && rows >= (ledger.committed?.rows ?? 0), "a state of other rows is committed");
  ledger.committed = { seqno, rows, stateHash };
  return { promised: NONE };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return toHex(a) === toHex(b);
}

const NONE: ReadonlyMap<RawAddress, OwnerBook> = new Map();

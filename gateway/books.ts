import {
  EMPTY_CHAIN,
  Failure,
  fromHex,
  nextPayoutChain,
  type Charge,
  type Nanoton,
  type RawAddress,
  type TokenUsage,
} from "../protocol/index.ts";
import type { ChargeEntry } from "./entries.ts";

/** What the ledger's rows add up to, and the few movements that its rules are made of. */

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
  /** The channel's charge chain after it; empty when the gateway pays. */
  chain: Uint8Array;
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
  uncountersigned: ChargeRecord[];
  /** No voucher is signed at or under it, since other receipts were signed there before. */
  signedFloor: Nanoton;
}

/** What one owner is promised. */
export interface OwnerBook extends Position {
  /** No voucher is signed at or under it: the chain has paid that much for receipts this ledger does not know. */
  readonly floor: Nanoton;
  /** The total after the last redeem the gateway paid for; a request that names a lower one was used up by it. */
  readonly redeemedAt: Nanoton;
}

const NO_OWNER: OwnerBook = { ...NOTHING, floor: 0n, redeemedAt: 0n };

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

/** What the gateway pays for by itself (NETWORK §4.9). */
export type PaidReason = "trial" | "canary" | "adopted";

/**
 * The money of one gateway: a fold over its entries and nothing else. One holder owns a ledger; `applyEntry` moves it
 * forward in place, without clock, randomness or effects, and throws before it changes anything.
 */
export interface Ledger {
  rows: number;
  sums: LedgerSums;
  /** What `gatewayPaid` is made of. */
  paid: Readonly<Record<PaidReason, Nanoton>>;
  readonly clients: Map<RawAddress, ClientBook>;
  readonly owners: Map<RawAddress, OwnerBook>;
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
  /** The newest state that was to be committed on chain. */
  committed: Commitment | undefined;
}

/** A state of this ledger under its number on chain. */
export interface Commitment {
  readonly seqno: number;
  readonly rows: number;
  /** 32 bytes. */
  readonly stateHash: Uint8Array;
}

/** What an entry changed that somebody must hear of once it is written. */
export interface Applied {
  readonly record?: ChargeRecord;
  /** Owners whose promise grew, and to what. */
  readonly promised: ReadonlyMap<RawAddress, OwnerBook>;
}

export function emptyLedger(): Ledger {
  return {
    rows: 0,
    sums: { charges: 0n, gatewayPaid: 0n, earnings: 0n, fees: 0n },
    paid: { trial: 0n, canary: 0n, adopted: 0n },
    clients: new Map(),
    owners: new Map(),
    unnamed: new Map(),
    owned: new Map(),
    proved: new Set(),
    trials: new Map(),
    trialDay: { day: 0, paid: 0n },
    open: new Map(),
    committed: undefined,
  };
}

export function clientBook(ledger: Ledger, channel: RawAddress): ClientBook {
  return found(ledger.clients, channel, emptyBook);
}

export function emptyBook(): ClientBook {
  return { total: 0n, chain: EMPTY_CHAIN, countersigned: undefined, uncountersigned: [], signedFloor: 0n };
}

export function ownerBook(ledger: Ledger, owner: RawAddress): OwnerBook {
  return ledger.owners.get(owner) ?? NO_OWNER;
}

/** Whether there is a voucher of this promise: none before the first, and none where the chain went ahead. */
export function isSignable({ total, floor }: OwnerBook): boolean {
  return total > floor;
}

export function unnamedBook(ledger: Ledger, workerId: string): UnnamedBook {
  return found(ledger.unnamed, workerId, () => ({ owed: 0n, settled: [] }));
}

/** Charged to a channel above its newest countersignature. */
export function uncountersignedTotal(book: ClientBook): Nanoton {
  return book.total - (book.countersigned?.total ?? 0n);
}

/** Disputes since `after` (Unix ms) that no countersignature has closed. */
export function openDisputes(book: ClientBook, after: number): number {
  return book.uncountersigned.filter((record) => record.dispute !== undefined && record.dispute.at >= after).length;
}

export function hasProved(ledger: Ledger, workerId: string, owner: RawAddress): boolean {
  return ledger.proved.has(`${workerId} ${owner}`);
}

const DAY_MS = 86_400_000;

/** The Unix day trial money is counted by. */
export function dayOf(unixMs: number): number {
  return Math.floor(unixMs / DAY_MS);
}

/** Undefined while it is owed to the worker id. */
export function payeeOf(ledger: Ledger, record: ChargeRecord): RawAddress | undefined {
  return record.entry.owner ?? ledger.owned.get(record.entry.workerId);
}

/** A receipt that earned nothing stays out of the chain: the same total must never stand over two chains. */
export function promise(
  ledger: Ledger,
  owner: RawAddress,
  paid: { readonly earned: Nanoton; readonly receiptHash: Uint8Array | undefined },
  promised: Map<RawAddress, OwnerBook>,
): void {
  if (paid.earned === 0n) return;
  const before = ownerBook(ledger, owner);
  const chain = paid.receiptHash === undefined ? before.chain : nextPayoutChain(before.chain, paid.receiptHash);
  const book = { ...before, total: before.total + paid.earned, chain };
  ledger.owners.set(owner, book);
  promised.set(owner, book);
}

/** What was earned with this charge is promised to its owner, or owed to its worker for good. */
export function settleOne(ledger: Ledger, record: ChargeRecord, promised: Map<RawAddress, OwnerBook>): void {
  record.isSettled = true;
  const receiptHash = fromHex(record.receiptHash);
  const payee = payeeOf(ledger, record);
  const { earned } = record.amounts;
  if (payee === undefined) unnamedBook(ledger, record.entry.workerId).settled.push({ receiptHash, earned });
  else promise(ledger, payee, { earned, receiptHash }, promised);
  forgetIfDone(ledger, record);
}

export function forgetIfDone(ledger: Ledger, record: ChargeRecord): void {
  const { payer } = record.entry;
  const book = "channel" in payer ? clientBook(ledger, payer.channel) : undefined;
  const isCountersigned = !book?.uncountersigned.includes(record);
  if (isCountersigned && record.isSettled) ledger.open.delete(record.row);
}

/** How the four sums change. */
export interface Movement {
  readonly charge?: Nanoton;
  readonly earned?: Nanoton;
  readonly fee?: Nanoton;
  readonly paid?: { readonly reason: PaidReason; readonly amount: Nanoton };
}

/** The one place where the sums move: what comes in is what goes out. @throws {Failure} `storage_failed`. */
export function addToSums(ledger: Ledger, { charge = 0n, earned = 0n, fee = 0n, paid }: Movement): void {
  const { charges, gatewayPaid, earnings, fees } = ledger.sums;
  const sums = {
    charges: charges + charge,
    gatewayPaid: gatewayPaid + (paid?.amount ?? 0n),
    earnings: earnings + earned,
    fees: fees + fee,
  };
  refuseUnless(isBalanced(sums), "charges + gatewayPaid ≠ earnings + fees");
  ledger.sums = sums;
  if (paid !== undefined) ledger.paid = { ...ledger.paid, [paid.reason]: ledger.paid[paid.reason] + paid.amount };
}

/**
 * The books against each other: client totals make up the charges; promised, owed and unsettled make up the earnings.
 *
 * @throws {Failure} `storage_failed`.
 */
export function checkConservation(ledger: Ledger): void {
  const charges = sum(ledger.clients.values(), (book) => book.total);
  const promised = sum(ledger.owners.values(), (book) => book.total);
  const owed = sum(ledger.unnamed.values(), (book) => book.owed);
  const unsettled = sum(ledger.open.values(), (record) =>
    !record.isSettled && payeeOf(ledger, record) !== undefined ? record.amounts.earned : 0n,
  );
  const { trial, canary, adopted } = ledger.paid;
  refuseUnless(isBalanced(ledger.sums), "charges + gatewayPaid ≠ earnings + fees");
  refuseUnless(trial + canary + adopted === ledger.sums.gatewayPaid, "its reasons do not make up gatewayPaid");
  refuseUnless(charges === ledger.sums.charges, "client totals are not the charges");
  refuseUnless(promised + owed + unsettled === ledger.sums.earnings, "what is owed to workers is not the earnings");
}

export function sum<Item>(items: Iterable<Item>, amount: (item: Item) => Nanoton): Nanoton {
  let total = 0n;
  for (const item of items) total += amount(item);
  return total;
}

export function refuseUnless(holds: boolean, why: string): asserts holds {
  if (!holds) throw new Failure("storage_failed", `the ledger does not add up: ${why}`);
}

function isBalanced({ charges, gatewayPaid, earnings, fees }: LedgerSums): boolean {
  return charges + gatewayPaid === earnings + fees;
}

function found<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const existing = map.get(key);
  if (existing !== undefined) return existing;
  const made = make();
  map.set(key, made);
  return made;
}

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  chargeFor,
  EMPTY_CHAIN,
  nextChargeChain,
  nextPayoutChain,
  receiptHashOf,
  type Nanoton,
  type TokenUsage,
} from "../protocol/index.ts";
import { encodeEntry, parseEntry, type ChargeEntry, type DisputeEntry, type Entry } from "./entries.ts";
import {
  applyEntry,
  checkConservation,
  clientBook,
  emptyLedger,
  hasProved,
  isDisputable,
  openDisputes,
  uncountersignedTotal,
  type Ledger,
} from "./ledger.ts";

const CHANNEL = `0:${"c1".repeat(32)}`;
const OWNER = `0:${"0a".repeat(32)}`;
const WORKER = "77".repeat(32);
const PRICE = { prompt: 1_000_000n, cached: 1_000_000n, completion: 1_000_000n };
const SIGNATURE = new Uint8Array(64);

/** A charge of so many completion tokens at 1 nanoton each, fee 10 %. */
function charge(tokens: number, overrides: Partial<ChargeEntry> = {}): ChargeEntry {
  const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: tokens };
  return {
    type: "charge",
    at: 0,
    payer: { channel: CHANNEL },
    workerId: WORKER,
    owner: OWNER,
    reservationId: "r",
    receipt: receiptBytes(tokens),
    signature: SIGNATURE,
    usage,
    price: PRICE,
    feeBps: 1000,
    deliveredFrames: 1,
    ...chargeFor(usage, PRICE, 1000),
    ...overrides,
  };
}

/** Any 178 bytes: the ledger only hashes them. */
function receiptBytes(name: number): Uint8Array {
  const bytes = new Uint8Array(178);
  bytes.set(createHash("sha256").update(String(name)).digest());
  return bytes;
}

function dispute(
  row: number,
  tokens: number,
  signedTotal: Nanoton,
  overrides: Partial<DisputeEntry> = {},
): DisputeEntry {
  const usage: TokenUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: tokens };
  const base = { type: "dispute" as const, at: 0, channel: CHANNEL, row, signature: SIGNATURE, usage, signedTotal };
  return { ...base, ...chargeFor(usage, PRICE, 1000), ...overrides };
}

function settle(...rows: number[]): Entry {
  return { type: "settle", at: 0, rows };
}

function countersign(total: Nanoton, through: number): Entry {
  return { type: "countersign", at: 0, channel: CHANNEL, total, through, signature: SIGNATURE };
}

const NAME: Entry = { type: "name", at: 0, workerId: WORKER, owner: OWNER };

function ledgerOf(...entries: readonly Entry[]): Ledger {
  const ledger = emptyLedger();
  for (const entry of entries) {
    applyEntry(ledger, entry);
    checkConservation(ledger);
  }
  return ledger;
}

test("a charge raises the client's total at once, and the owner's promise only when it is settled", () => {
  const ledger = ledgerOf(charge(100));
  assert.deepEqual(ledger.sums, { charges: 110n, gatewayPaid: 0n, earnings: 100n, fees: 10n });
  assert.equal(clientBook(ledger, CHANNEL).total, 110n);
  assert.equal(ledger.owners.get(OWNER), undefined);
  assert.equal(applyEntry(ledger, settle(1)).promised.get(OWNER)?.total, 100n);
  checkConservation(ledger);
});

test("both chains follow their own order: charges as they came, payouts as they were settled", () => {
  const [first, second] = [charge(100), charge(200)];
  const ledger = ledgerOf(first, second, settle(2), settle(1));
  const [a, b] = [receiptHashOf(first.receipt), receiptHashOf(second.receipt)];
  assert.deepEqual(clientBook(ledger, CHANNEL).chain, nextChargeChain(nextChargeChain(EMPTY_CHAIN, a), b));
  assert.deepEqual(ledger.owners.get(OWNER)?.chain, nextPayoutChain(nextPayoutChain(EMPTY_CHAIN, b), a));
});

test("a countersignature closes every charge up to its total", () => {
  const ledger = ledgerOf(charge(100), charge(200), charge(300), countersign(330n, 2));
  const book = clientBook(ledger, CHANNEL);
  assert.equal(book.countersigned?.total, 330n);
  assert.equal(uncountersignedTotal(book), 330n);
  assert.deepEqual(
    book.uncountersigned.map(({ row }) => row),
    [3],
  );
});

test("a countersignature of a total that never stood there is refused and changes nothing", () => {
  const ledger = ledgerOf(charge(100), charge(200));
  for (const wrong of [countersign(331n, 2), countersign(329n, 2), countersign(330n, 1), countersign(0n, 7)]) {
    assert.throws(() => applyEntry(ledger, wrong), { code: "storage_failed" });
  }
  assert.equal(ledger.rows, 2);
  assert.equal(clientBook(ledger, CHANNEL).countersigned, undefined);
});

test("a dispute lowers the charge, the earning and the fee together", () => {
  const ledger = ledgerOf(charge(100), dispute(1, 40, 110n), settle(1));
  assert.deepEqual(ledger.sums, { charges: 44n, gatewayPaid: 0n, earnings: 40n, fees: 4n });
  assert.equal(ledger.owners.get(OWNER)?.total, 40n);
});

test("after a dispute nothing may be signed at or under what was signed before", () => {
  assert.equal(clientBook(ledgerOf(charge(100), dispute(1, 40, 110n)), CHANNEL).signedFloor, 110n);
});

test("a charge is disputed once, before its earning is promised, and never upwards", () => {
  const disputed = ledgerOf(charge(100), dispute(1, 40, 110n));
  assert.throws(() => applyEntry(disputed, dispute(1, 30, 110n)), { code: "storage_failed" });
  const settled = ledgerOf(charge(100), settle(1));
  assert.throws(() => applyEntry(settled, dispute(1, 40, 110n)), { code: "storage_failed" });
  const signed = ledgerOf(charge(100), countersign(110n, 1));
  assert.throws(() => applyEntry(signed, dispute(1, 40, 110n)), { code: "storage_failed" });
  assert.throws(() => applyEntry(ledgerOf(charge(100)), dispute(1, 101, 110n)), { code: "storage_failed" });
  const [record] = clientBook(disputed, CHANNEL).uncountersigned;
  assert.ok(record !== undefined && !isDisputable(clientBook(disputed, CHANNEL), record));
});

test("a client that signs the very total it had disputed takes the dispute back", () => {
  const ledger = ledgerOf(charge(100), dispute(1, 40, 110n), settle(1), countersign(110n, 1));
  assert.deepEqual(ledger.sums, { charges: 110n, gatewayPaid: 0n, earnings: 100n, fees: 10n });
  assert.equal(ledger.owners.get(OWNER)?.total, 100n);
  checkConservation(ledger);
});

test("a later countersignature accepts the disputed counts", () => {
  const ledger = ledgerOf(charge(100), dispute(1, 40, 110n), charge(200), countersign(264n, 3));
  assert.equal(ledger.sums.charges, 264n);
  assert.equal(openDisputes(clientBook(ledger, CHANNEL), 0), 0);
});

test("only disputes of the asked time count as open", () => {
  const ledger = ledgerOf(charge(100), dispute(1, 40, 110n, { at: 500 }));
  assert.equal(openDisputes(clientBook(ledger, CHANNEL), 500), 1);
  assert.equal(openDisputes(clientBook(ledger, CHANNEL), 501), 0);
});

test("nothing is settled twice", () => {
  const ledger = ledgerOf(charge(100), charge(200), settle(1));
  assert.throws(() => applyEntry(ledger, settle(1)), { code: "storage_failed" });
  assert.throws(() => applyEntry(ledger, settle(2, 2)), { code: "storage_failed" });
  assert.throws(() => applyEntry(ledger, settle(9)), { code: "storage_failed" });
});

test("a receipt that earned nothing stays out of the payout chain", () => {
  const nothing = charge(1, { charge: 1n, earned: 0n, fee: 1n });
  const ledger = ledgerOf(charge(100), settle(1));
  const before = ledger.owners.get(OWNER);
  applyEntry(ledger, nothing);
  assert.equal(applyEntry(ledger, settle(3)).promised.size, 0);
  assert.deepEqual(ledger.owners.get(OWNER), before);
});

test("an entry that does not add up is refused and changes nothing", () => {
  const ledger = ledgerOf(charge(100));
  assert.throws(() => applyEntry(ledger, charge(100, { fee: 9n })), { code: "storage_failed" });
  assert.equal(ledger.rows, 1);
  assert.equal(clientBook(ledger, CHANNEL).total, 110n);
});

test("books in which a client owes other than what was charged are not loaded", () => {
  const ledger = ledgerOf(charge(100));
  clientBook(ledger, CHANNEL).total += 1n;
  assert.throws(() => checkConservation(ledger), { code: "storage_failed" });
});

test("books that promise an owner more than was earned are not loaded", () => {
  const ledger = ledgerOf(charge(100), settle(1));
  const position = ledger.owners.get(OWNER);
  assert.ok(position !== undefined);
  ledger.owners.set(OWNER, { ...position, total: position.total + 1n });
  assert.throws(() => checkConservation(ledger), { code: "storage_failed" });
});

test("trial answers are the gateway's expense, and the worker earns them as any other", () => {
  const trial = charge(100, { payer: { trial: "ee".repeat(32) }, charge: 100n, fee: 0n });
  const ledger = ledgerOf(trial, settle(1));
  assert.deepEqual(ledger.sums, { charges: 0n, gatewayPaid: 100n, earnings: 100n, fees: 0n });
  assert.equal(ledger.owners.get(OWNER)?.total, 100n);
  assert.deepEqual(ledger.trials.get("ee".repeat(32)), { completionTokens: 100, paid: 100n });
  assert.equal(ledger.open.size, 0);
});

test("trial money is counted by the day", () => {
  const on = (at: number) => charge(100, { payer: { trial: "ee".repeat(32) }, charge: 100n, fee: 0n, at });
  assert.equal(ledgerOf(on(0), on(1000)).trialDay.paid, 200n);
  assert.equal(ledgerOf(on(0), on(86_400_000)).trialDay.paid, 100n);
});

test("earnings without a named owner are owed to the worker id", () => {
  const ledger = ledgerOf(charge(100, { owner: null }), settle(1));
  assert.equal(ledger.unnamed.get(WORKER)?.owed, 100n);
  assert.equal(ledger.owners.size, 0);
});

test("naming the owner moves all of it, in one entry, into that owner's channel", () => {
  const ledger = ledgerOf(charge(100, { owner: null }), charge(200, { owner: null }), settle(1, 2));
  const promised = applyEntry(ledger, NAME).promised.get(OWNER);
  assert.equal(promised?.total, 300n);
  const [a, b] = [receiptHashOf(receiptBytes(100)), receiptHashOf(receiptBytes(200))];
  assert.deepEqual(promised.chain, nextPayoutChain(nextPayoutChain(EMPTY_CHAIN, a), b));
  assert.equal(ledger.unnamed.size, 0);
  assert.ok(hasProved(ledger, WORKER, OWNER));
  checkConservation(ledger);
});

test("an earning that was under way when the owner was named goes to the owner when it is settled", () => {
  const ledger = ledgerOf(charge(100, { owner: null }), settle(1), charge(200, { owner: null }), NAME);
  assert.equal(ledger.owners.get(OWNER)?.total, 100n);
  applyEntry(ledger, settle(3));
  assert.equal(ledger.owners.get(OWNER)?.total, 300n);
  checkConservation(ledger);
});

test("a dispute taken back after naming reaches the owner too", () => {
  const ledger = ledgerOf(charge(100, { owner: null }), dispute(1, 40, 110n), settle(1), countersign(110n, 1));
  assert.equal(ledger.unnamed.get(WORKER)?.owed, 100n);
  applyEntry(ledger, NAME);
  assert.equal(ledger.owners.get(OWNER)?.total, 100n);
  checkConservation(ledger);
});

test("a charge that is countersigned and settled is forgotten, so memory does not grow with history", () => {
  const ledger = ledgerOf(charge(100), settle(1), countersign(110n, 1), charge(200), countersign(330n, 4), settle(4));
  assert.equal(ledger.open.size, 0);
});

test("every kind of entry is read back from its row as it was written", () => {
  for (const entry of [charge(100), dispute(1, 40, 110n), settle(1, 2), countersign(110n, 1), NAME]) {
    assert.deepEqual(parseEntry(encodeEntry(entry)), entry);
  }
});

test("a row that is not one of ours is refused", () => {
  for (const text of ["", "{}", "null", '{"type":"gift","at":0}', encodeEntry(settle(1)).replace("[1]", "[]")]) {
    assert.throws(() => parseEntry(text), { code: "storage_failed" });
  }
});

test("a thousand random entries conserve every nanoton", () => {
  const ledger = emptyLedger();
  let state = 7;
  const random = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state % below;
  };
  for (let i = 0; i < 1000; i++) {
    const open = [...ledger.open.values()];
    const book = clientBook(ledger, CHANNEL);
    const one = open[random(Math.max(1, open.length))];
    const choice = random(5);
    if (choice === 0 && one !== undefined && !one.isSettled) applyEntry(ledger, settle(one.row));
    else if (choice === 1 && one !== undefined && isDisputable(book, one)) {
      applyEntry(ledger, dispute(one.row, random(one.usage.completionTokens + 1), book.total));
    } else if (choice === 2 && book.uncountersigned.length > 0) {
      const through = book.uncountersigned[random(book.uncountersigned.length)];
      const covered = book.uncountersigned.filter((record) => record.row <= (through?.row ?? 0));
      const total = covered.reduce((sum, record) => sum + record.amounts.charge, book.countersigned?.total ?? 0n);
      const isAmbiguous = covered.some((record) => record.dispute?.signedTotal === total);
      if (!isAmbiguous) applyEntry(ledger, countersign(total, through?.row ?? 0));
    } else applyEntry(ledger, charge(1 + random(1000), random(2) === 0 ? { owner: null } : {}));
    checkConservation(ledger);
  }
  assert.ok(ledger.rows > 800);
});

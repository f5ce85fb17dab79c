import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY_CHAIN, nextChargeChain, nextPayoutChain, receiptHashOf } from "../protocol/index.ts";
import { isDisputable } from "./agreements.ts";
import {
  checkConservation,
  clientBook,
  emptyLedger,
  hasProved,
  openDisputes,
  ownerBook,
  uncountersignedTotal,
  type Ledger,
} from "./books.ts";
import {
  CHANNEL,
  charge,
  countersign,
  dispute,
  NAME,
  OWNER,
  RandomEntries,
  receiptBytes,
  settle,
  SIGNATURE,
  someChain,
  WORKER,
} from "./entries.fake.ts";
import type { Entry } from "./entries.ts";
import { applyEntry } from "./ledger.ts";

const OTHER_OWNER = `0:${"0b".repeat(32)}`;

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

test("a check of the gateway's own is its expense, apart from trials", () => {
  const canary = charge(100, { payer: { canary: "ee".repeat(32) }, charge: 100n, fee: 0n });
  const ledger = ledgerOf(canary, settle(1));
  assert.deepEqual(ledger.sums, { charges: 0n, gatewayPaid: 100n, earnings: 100n, fees: 0n });
  assert.deepEqual(ledger.paid, { trial: 0n, canary: 100n, adopted: 0n });
  assert.equal(ledger.trials.size, 0);
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

test("an earning under way when the worker takes another owner goes to that one, and nothing is taken from it", () => {
  const other: Entry = { type: "name", at: 0, workerId: WORKER, owner: OTHER_OWNER };
  const ledger = ledgerOf(charge(50, { owner: OTHER_OWNER }), settle(1), charge(100, { owner: null }), NAME, other);
  assert.equal(ownerBook(ledger, OTHER_OWNER).total, 50n);
  applyEntry(ledger, settle(3));
  assert.equal(ownerBook(ledger, OTHER_OWNER).total, 150n);
  checkConservation(ledger);
});

test("a dispute taken back after naming reaches the owner too", () => {
  const ledger = ledgerOf(charge(100, { owner: null }), dispute(1, 40, 110n), settle(1), countersign(110n, 1));
  assert.equal(ledger.unnamed.get(WORKER)?.owed, 100n);
  applyEntry(ledger, NAME);
  assert.equal(ledger.owners.get(OWNER)?.total, 100n);
  checkConservation(ledger);
});

// Redeems that the gateway pays for (NETWORK §4.9)

function redeem(overrides: Partial<Extract<Entry, { type: "redeem" }>> = {}, total = 0n): Entry {
  const request = { identityKey: new Uint8Array(32), total, maxDeduction: 30n, signature: SIGNATURE };
  return { type: "redeem", at: 0, owner: OWNER, rows: [1], deduction: 30n, request, ...overrides };
}

test("a redeem is deducted from what its owner newly earned: earnings down, fees up, in one entry", () => {
  const ledger = ledgerOf(charge(100), redeem());
  assert.deepEqual(ledger.sums, { charges: 110n, gatewayPaid: 0n, earnings: 70n, fees: 40n });
  assert.equal(ownerBook(ledger, OWNER).total, 70n);
});

test("a redeem adds its receipts to the chain, and the owner hears of one total only", () => {
  const ledger = ledgerOf(charge(100), charge(200));
  const { promised } = applyEntry(ledger, redeem({ rows: [1, 2] }));
  const [a, b] = [receiptHashOf(receiptBytes(100)), receiptHashOf(receiptBytes(200))];
  assert.deepEqual([...promised.values()], [ownerBook(ledger, OWNER)]);
  assert.deepEqual(ownerBook(ledger, OWNER).chain, nextPayoutChain(nextPayoutChain(EMPTY_CHAIN, a), b));
  assert.equal(ownerBook(ledger, OWNER).total, 270n);
});

const BAD_REDEEMS: readonly (readonly [string, Entry])[] = [
  ["deducts more than the worker allowed", redeem({ deduction: 31n })],
  ["deducts nothing", redeem({ deduction: 0n })],
  ["takes all of what is new, so that the total would stand still", redeem({ rows: [2], deduction: 20n })],
  ["settles the earnings of another owner", redeem({ rows: [1, 3] })],
  ["settles a charge twice", redeem({ rows: [1, 1] })],
  ["settles a charge that is not there", redeem({ rows: [9] })],
  ["has a leave for a total that was never promised", redeem({}, 1n)],
];
for (const [what, entry] of BAD_REDEEMS) {
  test(`a redeem that ${what} is refused and changes nothing`, () => {
    const entries = [charge(100), charge(20), charge(300, { owner: OTHER_OWNER })];
    const ledger = ledgerOf(...entries);
    assert.throws(() => applyEntry(ledger, entry), { code: "storage_failed" });
    assert.deepEqual(ledger, ledgerOf(...entries));
  });
}

test("a worker's leave to deduct counts once", () => {
  const ledger = ledgerOf(charge(100), redeem(), charge(200), charge(300));
  assert.throws(() => applyEntry(ledger, redeem({ rows: [3] })), { code: "storage_failed" });
  applyEntry(ledger, redeem({ rows: [3] }, 70n));
  assert.equal(ownerBook(ledger, OWNER).total, 240n);
});

// Adoption (NETWORK §7)

function adoptPayout(total: bigint, overrides: Partial<Extract<Entry, { type: "adopt_payout" }>> = {}): Entry {
  const voucher = { chain: someChain("lost"), signature: SIGNATURE };
  return { type: "adopt_payout", at: 0, owner: OWNER, total, kept: 0n, voucher, ...overrides };
}

test("a higher voucher of the gateway's own is adopted: the owner is promised it, the gateway pays the difference", () => {
  const ledger = ledgerOf(charge(100), settle(1), adoptPayout(250n));
  assert.deepEqual(ledger.sums, { charges: 110n, gatewayPaid: 150n, earnings: 250n, fees: 10n });
  assert.deepEqual(ledger.paid, { trial: 0n, canary: 0n, adopted: 150n });
  const { total, chain } = ownerBook(ledger, OWNER);
  assert.deepEqual([total, chain], [250n, someChain("lost")]);
});

test("what was promised since the ledgers parted stays on top of what is adopted", () => {
  const ledger = ledgerOf(charge(100), settle(1), charge(50), settle(3), adoptPayout(250n, { kept: 50n }));
  assert.equal(ownerBook(ledger, OWNER).total, 300n);
  assert.equal(ledger.paid.adopted, 150n);
});

test("the same total over other receipts is adopted at no cost, so that it is not signed over a third set", () => {
  const ledger = ledgerOf(charge(100), settle(1), adoptPayout(100n));
  assert.deepEqual(ownerBook(ledger, OWNER).chain, someChain("lost"));
  assert.equal(ledger.paid.adopted, 0n);
});

test("what the chain paid without this ledger knowing is adopted, and no voucher of it is signed again", () => {
  const ledger = ledgerOf(charge(100), settle(1));
  assert.equal(applyEntry(ledger, adoptPayout(250n, { voucher: null })).promised.size, 0);
  assert.equal(ownerBook(ledger, OWNER).floor, 250n);
  applyEntry(ledger, charge(50));
  assert.equal(applyEntry(ledger, settle(4)).promised.get(OWNER)?.total, 300n);
  checkConservation(ledger);
});

test("an adoption that is none, or that would lower a promise, is refused", () => {
  const ledger = ledgerOf(charge(100), settle(1));
  const same = { chain: ownerBook(ledger, OWNER).chain, signature: SIGNATURE };
  const wrong = [adoptPayout(99n), adoptPayout(100n, { voucher: same }), adoptPayout(100n, { voucher: null })];
  for (const entry of [...wrong, adoptPayout(50n, { kept: 50n }), adoptPayout(250n, { kept: 101n })])
    assert.throws(() => applyEntry(ledger, entry), { code: "storage_failed" });
});

function adoptCharge(total: bigint, overrides: Partial<Extract<Entry, { type: "adopt_charge" }>> = {}): Entry {
  const signatures = { signature: SIGNATURE, gatewaySignature: SIGNATURE };
  const base = { type: "adopt_charge" as const, at: 0, channel: CHANNEL, total, chain: someChain("lost") };
  return { ...base, ...signatures, through: 0, signedTotal: 0n, ...overrides };
}

test("a client that agreed to more than the ledger knows owes it, and what it was for is the gateway's until shown", () => {
  const ledger = ledgerOf(charge(100), settle(1), adoptCharge(500n, { through: 1 }));
  assert.deepEqual(ledger.sums, { charges: 500n, gatewayPaid: 0n, earnings: 100n, fees: 400n });
  assert.equal(clientBook(ledger, CHANNEL).countersigned?.total, 500n);
  assert.equal(uncountersignedTotal(clientBook(ledger, CHANNEL)), 0n);
  assert.equal(ledger.open.size, 0);
});

test("charges made since are chained on top of what is adopted, and nothing signed before is signed again", () => {
  const since = charge(200);
  const ledger = ledgerOf(charge(100), since, adoptCharge(500n, { through: 1, signedTotal: 330n }));
  const book = clientBook(ledger, CHANNEL);
  const chain = nextChargeChain(someChain("lost"), receiptHashOf(since.receipt));
  assert.deepEqual([book.total, book.chain, book.signedFloor], [720n, chain, 500n]);
  applyEntry(ledger, countersign(720n, 2));
  assert.deepEqual(book.countersigned?.chain, chain);
});

test("where the lost ledger had a dispute, the client's lower total stands and the gateway pays the difference", () => {
  const ledger = ledgerOf(charge(100), adoptCharge(44n, { through: 1 }), settle(1));
  assert.deepEqual(ledger.sums, { charges: 44n, gatewayPaid: 66n, earnings: 100n, fees: 10n });
  assert.equal(ledger.paid.adopted, 66n);
});

test("an agreement that is no newer, or covers a charge that is not open, is refused", () => {
  const ledger = ledgerOf(charge(100), countersign(110n, 1));
  for (const entry of [adoptCharge(110n), adoptCharge(109n), adoptCharge(500n, { through: 1 })])
    assert.throws(() => applyEntry(ledger, entry), { code: "storage_failed" });
});

test("a number on chain is used for one state, and a later one for no earlier state", () => {
  const commit = (seqno: number, rows: number): Entry => {
    return { type: "commit", at: 0, seqno, rows, stateHash: someChain(`${rows}`) };
  };
  const ledger = ledgerOf(charge(100), settle(1), commit(4, 2));
  assert.deepEqual(ledger.committed, { seqno: 4, rows: 2, stateHash: someChain("2") });
  for (const entry of [commit(4, 3), commit(3, 3), commit(5, 1), commit(5, 4)])
    assert.throws(() => applyEntry(ledger, entry), { code: "storage_failed" });
});

test("a charge that is countersigned and settled is forgotten, so memory does not grow with history", () => {
  const ledger = ledgerOf(charge(100), settle(1), countersign(110n, 1), charge(200), countersign(330n, 4), settle(4));
  assert.equal(ledger.open.size, 0);
});

/** Different instants, by the environment: LEDGER_SEED=7 LEDGER_ENTRIES=100000. */
const SEED = Number(process.env.LEDGER_SEED ?? 1);
const ENTRIES = Number(process.env.LEDGER_ENTRIES ?? 4000);

test(`${ENTRIES} random entries of every kind conserve every nanoton after each (seed ${SEED})`, (t) => {
  const ledger = emptyLedger();
  const random = new RandomEntries(SEED);
  const counts: Record<string, number> = {};
  const floors = new Map<string, bigint>();
  const chains = new Map<string, Uint8Array>();
  for (let i = 0; i < ENTRIES; i++) {
    const entry = random.next(ledger);
    counts[entry.type] = (counts[entry.type] ?? 0) + 1;
    applyEntry(ledger, entry);
    checkConservation(ledger);
    for (const [owner, { total, chain }] of ledger.owners) {
      assert.ok(total >= (floors.get(owner) ?? 0n), `${entry.type} made a promise fall`);
      floors.set(owner, total);
      const known = chains.get(`${owner} ${total}`) ?? chain;
      assert.deepEqual(chain, known, `${entry.type} put one total over two chains`);
      chains.set(`${owner} ${total}`, chain);
    }
  }
  t.diagnostic(JSON.stringify(counts));
  const { trial, canary, adopted } = ledger.paid;
  assert.ok(trial > 0n && canary > 0n && adopted > 0n);
  for (const type of KINDS) assert.ok((counts[type] ?? 0) >= 10, `only ${counts[type] ?? 0} of ${type}`);
});

const KINDS: readonly Entry["type"][] = [
  "charge",
  "countersign",
  "dispute",
  "settle",
  "name",
  "redeem",
  "adopt_payout",
  "adopt_charge",
  "commit",
];

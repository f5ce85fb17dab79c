import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromHex, toHex } from "../protocol/index.ts";
import { emptyLedger } from "./books.ts";
import { charge, countersign, dispute, NAME, RandomEntries, settle, SIGNATURE, someChain } from "./entries.fake.ts";
import { encodeEntry, parseEntry, type Entry } from "./entries.ts";
import { applyEntry } from "./ledger.ts";

/** One of each kind, and of each shape a kind has. */
const ENTRIES: Readonly<Record<string, Entry>> = {
  charge: charge(100),
  "charge of an unnamed owner": charge(2 ** 32 - 1, { owner: null, at: Number.MAX_SAFE_INTEGER, reservationId: "é" }),
  "charge on trial": charge(0, { payer: { trial: "ab".repeat(32) }, charge: 2n ** 120n - 1n }),
  "charge of a canary": charge(1, { payer: { canary: "ab".repeat(32) } }),
  dispute: dispute(1, 40, 110n),
  settle: settle(1, 2, 2 ** 40),
  countersign: countersign(255n, 1),
  name: NAME,
  redeem: {
    type: "redeem",
    at: 1,
    owner: `0:${"0a".repeat(32)}`,
    rows: [7],
    deduction: 256n,
    request: { identityKey: someChain("key"), total: 0n, maxDeduction: 65_536n, signature: SIGNATURE },
  },
  "adopt_payout by a voucher": {
    type: "adopt_payout",
    at: 1,
    owner: `0:${"0a".repeat(32)}`,
    total: 1000n,
    kept: 1n,
    voucher: { chain: someChain("chain"), signature: SIGNATURE },
  },
  "adopt_payout by the chain": {
    type: "adopt_payout",
    at: 1,
    owner: `0:${"0a".repeat(32)}`,
    total: 1000n,
    kept: 0n,
    voucher: null,
  },
  adopt_charge: {
    type: "adopt_charge",
    at: 1,
    channel: `0:${"c1".repeat(32)}`,
    total: 1000n,
    chain: someChain("chain"),
    signature: SIGNATURE,
    gatewaySignature: SIGNATURE,
    through: 3,
    signedTotal: 4n,
  },
  commit: { type: "commit", at: 1, seqno: 9, rows: 3, stateHash: someChain("state") },
};

test("every kind of entry is read back from its row as it was written", () => {
  for (const [name, entry] of Object.entries(ENTRIES)) assert.deepEqual(parseEntry(encodeEntry(entry)), entry, name);
});

const VECTORS = new URL("../tests/vectors/ledger-rows.json", import.meta.url);

test("rows are the bytes they were when the format was written down", () => {
  const rows = JSON.parse(readFileSync(VECTORS, "utf8")) as Record<string, string>;
  assert.deepEqual(Object.keys(rows), Object.keys(ENTRIES));
  for (const [name, entry] of Object.entries(ENTRIES)) {
    assert.equal(toHex(encodeEntry(entry)), rows[name], name);
    assert.deepEqual(parseEntry(fromHex(rows[name] ?? "")), entry, name);
  }
});

test("a row that is cut short anywhere, or goes on, is refused", () => {
  for (const entry of Object.values(ENTRIES)) {
    const row = encodeEntry(entry);
    for (let length = 0; length < row.length; length++)
      assert.throws(() => parseEntry(row.subarray(0, length)), { code: "storage_failed" });
    assert.throws(() => parseEntry(new Uint8Array([...row, 0])), { code: "storage_failed" });
  }
});

test("a row with a changed byte is refused or says something else: nothing has two spellings", () => {
  for (const entry of Object.values(ENTRIES)) {
    const row = encodeEntry(entry);
    for (let at = 0; at < row.length; at++) {
      const changed = row.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      const read = readOrUndefined(changed);
      if (read !== undefined) assert.deepEqual(encodeEntry(read), changed, `${entry.type} at ${at}`);
    }
  }
});

function readOrUndefined(row: Uint8Array): Entry | undefined {
  try {
    return parseEntry(row);
  } catch (error) {
    assert.equal(Reflect.get(Object(error), "code"), "storage_failed");
    return undefined;
  }
}

test("a row of a kind from the future is refused as such", () => {
  assert.throws(() => parseEntry(fromHex("ff00")), { code: "storage_failed", message: /kind that this version/ });
});

test("what no row can hold is a bug, not a row", () => {
  const bad: readonly Entry[] = [
    charge(1, { at: -1 }),
    charge(1, { at: 0.5 }),
    charge(1, { charge: -1n }),
    charge(1, { charge: 2n ** 120n }),
    charge(1, { payer: { channel: `-1:${"c1".repeat(32)}` } }),
    charge(1, { workerId: "AB".repeat(32) }),
    charge(1, { workerId: "ab" }),
    charge(1, { receipt: new Uint8Array(177) }),
    charge(1, { feeBps: 2 ** 32 }),
    charge(1, { reservationId: "x".repeat(256) }),
    charge(1, { reservationId: "\ud800" }),
    settle(),
  ];
  for (const entry of bad) assert.throws(() => encodeEntry(entry), RangeError);
});

test("two thousand random entries come back as they were", () => {
  const ledger = emptyLedger();
  const random = new RandomEntries(3);
  for (let i = 0; i < 2000; i++) {
    const entry = random.next(ledger);
    applyEntry(ledger, entry);
    assert.deepEqual(parseEntry(encodeEntry(entry)), entry);
  }
});

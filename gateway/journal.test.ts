import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { chargeFor, type FailureCode, type RawAddress } from "../protocol/index.ts";
import { encodeEntry, type ChargeEntry, type Entry } from "./entries.ts";
import { openJournal, type Journal } from "./journal.ts";
import type { Position } from "./books.ts";
import { fakeStore, type FakeStore } from "./store.fake.ts";

const OWNER = `0:${"0a".repeat(32)}`;
const USAGE = { promptTokens: 0, cachedTokens: 0, completionTokens: 1_000_000 };
const PRICE = { prompt: 0n, cached: 0n, completion: 100n };

const CHARGE: ChargeEntry = {
  type: "charge",
  at: 0,
  payer: { channel: `0:${"c1".repeat(32)}` },
  workerId: "77".repeat(32),
  owner: OWNER,
  reservationId: "r",
  receipt: new Uint8Array(178),
  signature: new Uint8Array(64),
  usage: USAGE,
  price: PRICE,
  feeBps: 500,
  deliveredFrames: 1,
  ...chargeFor(USAGE, PRICE, 500),
};

function settle(row: number): Entry {
  return { type: "settle", at: 0, rows: [row] };
}

interface Desk {
  readonly journal: Journal;
  readonly store: FakeStore;
  readonly commits: ReadonlyMap<RawAddress, Position>[];
  readonly troubles: (FailureCode | undefined)[];
  readonly bugs: readonly unknown[];
}

async function desk(t: TestContext, store = fakeStore()): Promise<Desk> {
  const commits: ReadonlyMap<RawAddress, Position>[] = [];
  const troubles: (FailureCode | undefined)[] = [];
  const bugs: unknown[] = [];
  const journal = await openJournal(store, {
    committed: (promised) => commits.push(promised),
    trouble: (code) => troubles.push(code),
    bug: (error) => bugs.push(error),
  });
  t.after(() => journal.close());
  return { journal, store, commits, troubles, bugs };
}

test("an entry counts at once and is spoken of only after the commit", async (t) => {
  const { journal, store, commits } = await desk(t);
  store.hold();
  const told: string[] = [];
  journal.append([CHARGE], () => told.push("charge"));
  const flushed = journal.flushed();
  assert.equal(journal.ledger.sums.charges, 105n);
  assert.deepEqual([told, commits.length], [[], 0]);
  store.commit();
  await flushed;
  assert.deepEqual([told, commits.length], [["charge"], 1]);
});

test("entries that come together are written together, and told in order", async (t) => {
  const { journal, store } = await desk(t);
  const told: number[] = [];
  for (let i = 0; i < 100; i++) journal.append([CHARGE], () => told.push(i));
  await journal.flushed();
  assert.equal(store.appends, 1);
  assert.deepEqual(
    told,
    Array.from({ length: 100 }, (_, i) => i),
  );
});

test("an owner's promise is told once a commit, at its newest position", async (t) => {
  const { journal, commits } = await desk(t);
  journal.append([CHARGE, settle(1)]);
  journal.append([CHARGE, settle(3)]);
  await journal.flushed();
  assert.deepEqual(
    commits.map((promised) => promised.get(OWNER)?.total),
    [200n],
  );
});

test("while the disk is full nothing is told; when there is room everything is written, in order, once", async (t) => {
  const { journal, store, commits, troubles } = await desk(t);
  store.failWith("disk_full");
  const told: string[] = [];
  journal.append([CHARGE], () => told.push("first"));
  while (journal.trouble === undefined) await new Promise((resolve) => setImmediate(resolve));
  journal.append([settle(1)], () => told.push("second"));
  assert.deepEqual([journal.trouble, told, commits.length], ["disk_full", [], 0]);
  store.failWith(undefined);
  await journal.flushed();
  assert.equal(journal.trouble, undefined);
  assert.deepEqual(troubles, ["disk_full", undefined]);
  assert.deepEqual(told, ["first", "second"]);
  assert.deepEqual(store.rows, [CHARGE, settle(1)].map(encodeEntry));
});

test("a journal can be closed while the disk is full, and what was not told is gone", async (t) => {
  const { journal, store } = await desk(t);
  store.failWith("disk_full");
  const told: string[] = [];
  journal.append([CHARGE], () => told.push("never"));
  while (journal.trouble === undefined) await new Promise((resolve) => setImmediate(resolve));
  await journal.close();
  assert.deepEqual([store.rows, told], [[], []]);
});

test("a bug after a commit is told and stops nothing", async (t) => {
  const { journal, store, bugs } = await desk(t);
  const told: string[] = [];
  const bug = new RangeError("a bug");
  journal.append([CHARGE], () => {
    throw bug;
  });
  journal.append([CHARGE], () => told.push("second"));
  await journal.flushed();
  assert.deepEqual([bugs, told, store.rows.length], [[bug], ["second"], 2]);
});

test("the ledger is what its rows say when it is opened again", async (t) => {
  const { journal, store } = await desk(t);
  journal.append([CHARGE, settle(1), CHARGE]);
  await journal.flushed();
  const again = await desk(t, fakeStore([...store.rows]));
  assert.deepEqual(again.journal.ledger, journal.ledger);
});

test("a stored row that does not follow from those before is refused at the start", async () => {
  const events = { committed: () => undefined, trouble: () => undefined, bug: () => undefined };
  const rows = [encodeEntry(CHARGE), encodeEntry(settle(2))];
  await assert.rejects(openJournal(fakeStore(rows), events), { code: "storage_failed" });
  const unbalanced = encodeEntry({ ...CHARGE, fee: 6n });
  await assert.rejects(openJournal(fakeStore([unbalanced]), events), { code: "storage_failed" });
});

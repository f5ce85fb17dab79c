import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, test } from "node:test";
import { fromHex } from "../../protocol/index.ts";
import type { Earning } from "../serving/earnings.ts";
import { earningsCsv } from "./earnings-csv.ts";
import type { AccountName, EarningsRecord } from "./earnings-record.ts";
import { openEarningsRecord } from "./earnings.ts";

const KEY = "ab".repeat(32);
const OWNER = `0:${"11".repeat(32)}`;
const GATEWAY = { url: "https://gateway.example", key: fromHex(KEY) };
const ACCOUNT: AccountName = { gatewayKey: KEY, url: GATEWAY.url, owner: OWNER };
const NOW = 1_800_000_000_000;
const DAY = Math.floor(NOW / 86_400_000);

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function path(): string {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-earnings-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "earnings.db");
}

function open(at: string = path(), networkId = -3): EarningsRecord {
  const record = openEarningsRecord({ path: at, networkId });
  cleanups.push(() => record.close());
  return record;
}

function earning(earned: bigint, overrides: Partial<Earning> = {}): Earning {
  return {
    at: NOW,
    gateway: GATEWAY,
    owner: OWNER,
    model: { id: "small", manifestRoot: "cd".repeat(32) },
    finish: "stop",
    usage: { promptTokens: 10, cachedTokens: 2, completionTokens: 5 },
    price: { prompt: 20_000_000n, cached: 10_000_000n, completion: 60_000_000n },
    earned,
    ...overrides,
  };
}

test("an earning is there again after the record was left without a word", () => {
  const at = path();
  open(at).add(earning(700n));
  // As after a kill: nobody has closed the first.
  const [row] = open(at).page({ limit: 10 });
  assert.deepEqual(row, {
    id: 1,
    at: NOW,
    account: ACCOUNT,
    model: { id: "small", manifestRoot: "cd".repeat(32) },
    finish: "stop",
    usage: { promptTokens: 10, cachedTokens: 2, completionTokens: 5 },
    price: { prompt: 20_000_000n, cached: 10_000_000n, completion: 60_000_000n },
    earned: 700n,
    state: "owed",
    voucheredAt: undefined,
    claimableAt: undefined,
    paidAt: undefined,
  });
});

test("each earning has the state that its account has reached, and when it was reached first", () => {
  const record = open();
  for (const earned of [100n, 100n, 100n, 100n]) record.add(earning(earned));
  record.mark(ACCOUNT, { vouchered: 100n, claimable: 100n, paid: 0n }, NOW + 1);
  record.mark(ACCOUNT, { vouchered: 300n, claimable: 250n, paid: 100n }, NOW + 2);
  const rows = record
    .page({ limit: 10 })
    .map(({ state, voucheredAt, claimableAt, paidAt }) => [state, voucheredAt, claimableAt, paidAt]);
  assert.deepEqual(rows, [
    ["owed", undefined, undefined, undefined],
    ["vouchered", NOW + 2, undefined, undefined],
    ["claimable", NOW + 2, NOW + 2, undefined],
    ["paid", NOW + 1, NOW + 1, NOW + 2],
  ]);
  assert.deepEqual(record.totals(), { earned: 400n, vouchered: 300n, claimable: 250n, paid: 100n });
});

test("what is vouchered or paid does not fall again, and what is no longer covered is an event", () => {
  const record = open();
  record.add(earning(500n));
  record.mark(ACCOUNT, { vouchered: 500n, claimable: 500n, paid: 200n }, NOW);
  record.mark(ACCOUNT, { vouchered: 400n, claimable: 300n, paid: 100n }, NOW + 1);
  assert.deepEqual(record.totals(), { earned: 500n, vouchered: 500n, claimable: 300n, paid: 200n });
  assert.deepEqual(
    record.events(5).map(({ type, amount, at }) => [type, amount, at]),
    [["uncovered", 200n, NOW + 1]],
  );
});

test("pages follow each other without a gap, and rows keep the order in which they happened when the clock jumps", () => {
  const record = open();
  const times = [NOW, NOW + 10_000, NOW - 86_400_000 * 400, 0, 8_640_000_000_000_000, NOW + 20_000];
  for (const at of times) record.add(earning(1n, { at }));
  const first = record.page({ limit: 4 });
  const rest = record.page({ limit: 4, before: first.at(-1)?.id ?? 0 });
  assert.deepEqual(
    [...first, ...rest].map(({ at }) => at),
    times.toReversed(),
  );
});

test("what was earned before there was an owner becomes the owner's, behind what the owner has earned already", () => {
  const record = open();
  record.add(earning(100n));
  record.add(earning(30n, { owner: "" }));
  record.mark(ACCOUNT, { vouchered: 100n, claimable: 0n, paid: 0n }, NOW);
  record.name(GATEWAY, OWNER);
  record.name(GATEWAY, OWNER); // at every start
  assert.deepEqual([record.counted(GATEWAY, OWNER), record.counted(GATEWAY, "")], [130n, 0n]);
  assert.deepEqual(
    record.page({ limit: 5 }).map(({ account, state }) => [account.owner, state]),
    [
      [OWNER, "owed"],
      [OWNER, "vouchered"],
    ],
  );
  assert.deepEqual(
    record.days(DAY, DAY).map(({ account, answers, earned }) => [account.owner, answers, earned]),
    [[OWNER, 2, 130n]],
  );
});

test("days add up by gateway and model, and the networks are kept apart", () => {
  const at = path();
  const record = open(at);
  record.add(earning(100n));
  record.add(earning(50n, { model: { id: "large", manifestRoot: "ef".repeat(32) } }));
  record.add(earning(7n, { at: NOW + 86_400_000 }));
  open(at, 7).add(earning(9_000n));
  assert.deepEqual(
    record.days(DAY, DAY + 1).map(({ day, model, earned }) => [day - DAY, model.id, earned]),
    [
      [0, "small", 100n],
      [0, "large", 50n],
      [1, "small", 7n],
    ],
  );
  assert.equal(record.totals().earned, 157n);
});

test("a payout counts once, however often it is read from the chain", () => {
  const record = open();
  const payout = { at: NOW, lt: 44n, value: 1_000n, hash: new Uint8Array(32).fill(3) };
  assert.equal(record.payout(ACCOUNT, payout), true);
  assert.equal(record.payout(ACCOUNT, payout), false);
  assert.equal(record.payout(ACCOUNT, { ...payout, lt: 40n }), false);
  assert.equal(record.newestPayout(ACCOUNT), 44n);
  assert.deepEqual(record.events(5), [
    { type: "paid-out", at: NOW, account: ACCOUNT, amount: 1_000n, detail: "03".repeat(32) },
  ]);
});

test("earnings wait while they cannot be written, and are written in their order once they can", () => {
  const at = path();
  const record = open(at);
  const other = new DatabaseSync(at);
  cleanups.push(() => other.close());
  other.exec("BEGIN EXCLUSIVE");
  record.add(earning(1n));
  record.add(earning(2n));
  assert.equal(record.problem()?.code, "storage_failed");
  assert.equal(record.counted(GATEWAY, OWNER), 0n);
  other.exec("ROLLBACK");
  record.add(earning(3n));
  assert.equal(record.problem(), undefined);
  assert.deepEqual(
    record.page({ limit: 5 }).map(({ earned }) => earned),
    [3n, 2n, 1n],
  );
});

test("an amount that no chain has is a problem that is told, and stops nothing", () => {
  const record = open();
  record.mark(ACCOUNT, { vouchered: 2n ** 64n, claimable: 0n, paid: 0n }, NOW);
  assert.equal(record.problem()?.code, "storage_failed");
  record.add(earning(5n));
  assert.equal(record.totals().earned, 5n);
});

for (const [name, content] of [
  ["no database", "these are not the earnings you are looking for".repeat(100)],
  ["of another version", undefined],
] as const) {
  test(`a record that is ${name} is put aside and begun anew, and says so`, () => {
    const at = path();
    if (content === undefined) {
      const newer = new DatabaseSync(at);
      newer.exec("PRAGMA user_version = 9");
      newer.close();
    } else writeFileSync(at, content);
    const record = open(at);
    assert.match(record.problem()?.message ?? "", /put aside/);
    assert.ok(existsSync(`${at}.damaged`));
    record.add(earning(5n));
    assert.equal(record.totals().earned, 5n);
  });
}

test("a hundred thousand earnings answer a page, a year of days and the sums without a pause that anybody notices", () => {
  const at = path();
  open(at).add(earning(1n));
  const writer = new DatabaseSync(at);
  writer.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT INTO earning (at, account, model, finish, prompt, cached, completion, ask_prompt, ask_cached, ask_completion, earned, through)
    SELECT ${NOW} + i * 300000, 1, 1, 'stop', 10, 0, 5, 1, 1, 1, 1, i + 1 FROM n;
    INSERT INTO mark (at, account, state, through) SELECT ${NOW} + id, 1, 'vouchered', id * 5 FROM earning WHERE id <= 20000;
    INSERT INTO mark (at, account, state, through) SELECT ${NOW} + id, 1, 'paid', id * 50 FROM earning WHERE id <= 2000;
    INSERT INTO day SELECT ${DAY} + id, 1, 1, 300, 1, 1, 1, 1 FROM earning WHERE id <= 365;
    UPDATE account SET counted = 100001, vouchered = 100000, paid = 90000`);
  writer.close();
  const record = open(at);
  const asks: readonly (readonly [string, () => unknown])[] = [
    ["a page of the newest", () => record.page({ limit: 100 })],
    ["a page from the middle", () => record.page({ limit: 100, before: 50_000 })],
    ["a year of days", () => record.days(DAY, DAY + 365)],
    ["the sums", () => record.totals()],
    ["one more earning", () => record.add(earning(1n))],
  ];
  for (const [what, ask] of asks) {
    ask(); // what is read for the first time comes from the disk
    const start = performance.now();
    ask();
    const took = performance.now() - start;
    assert.ok(took < 50, `${what} took ${took.toFixed(1)} ms`);
  }
  assert.equal(record.page({ limit: 100, before: 90_001 })[0]?.state, "paid");
});

test("a table for a spreadsheet holds every earning and runs nothing", async () => {
  const record = open();
  record.add(earning(1_500_000_000n));
  record.mark(ACCOUNT, { vouchered: 1_500_000_000n, claimable: 0n, paid: 0n }, NOW);
  record.add(earning(2n, { model: { id: '=HYPERLINK("evil")', manifestRoot: "00" }, at: Number.MAX_SAFE_INTEGER }));
  for (let at = 0; at < 1_000; at++) record.add(earning(1n));
  let table = "";
  for await (const part of earningsCsv(record)) table += part;
  const lines = table.split("\r\n");
  assert.equal(lines.length, 1 + 1_002 + 1);
  assert.equal(
    lines[1],
    `2027-01-15T08:00:00.000Z,https://gateway.example,${OWNER},small,stop,10,2,5,20000000,10000000,60000000,1500000000,1.5,vouchered,2027-01-15T08:00:00.000Z,`,
  );
  assert.match(lines[2] ?? "", /^,https:[^"]*,"'=HYPERLINK\(""evil""\)",/);
});

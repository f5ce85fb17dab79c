import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { openSqliteStore, type SqliteStore } from "./store.ts";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "store-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function open(t: TestContext, path: string, maxBytes?: number): Promise<SqliteStore> {
  const store = await openSqliteStore({ path, ...(maxBytes === undefined ? {} : { maxBytes }) });
  t.after(() => store.close());
  return store;
}

async function all(store: SqliteStore): Promise<string[]> {
  const rows: string[] = [];
  await store.load((row) => rows.push(Buffer.from(row).toString()));
  return rows;
}

function rowsOf(...texts: readonly string[]): Uint8Array[] {
  return texts.map((text) => new Uint8Array(Buffer.from(text)));
}

test("rows come back in order after the file is opened again", async (t) => {
  const path = join(folder(t), "ledger.sqlite");
  const store = await open(t, path);
  await store.append(rowsOf("a", "b"));
  await store.append(rowsOf("c"));
  await store.close();
  assert.deepEqual(await all(await open(t, path)), ["a", "b", "c"]);
});

test("more rows than one page holds come back, each once", async (t) => {
  const store = await open(t, join(folder(t), "ledger.sqlite"));
  const rows = Array.from({ length: 9000 }, (_, i) => `row ${i}`);
  await store.append(rowsOf(...rows));
  assert.deepEqual(await all(store), rows);
});

test("a full disk is disk_full, leaves nothing of the batch behind, and is forgotten once there is room", async (t) => {
  const store = await open(t, join(folder(t), "ledger.sqlite"), 64 * 1024);
  await store.append(rowsOf("first"));
  const big = rowsOf(...Array.from({ length: 100 }, (_, i) => `${i}${"x".repeat(1000)}`));
  await assert.rejects(store.append(big), { code: "disk_full" });
  assert.deepEqual(await all(store), ["first"]);
  await store.limit(10 * 1024 * 1024);
  await store.append(big);
  assert.equal((await all(store)).length, 101);
});

test("a file that is not a database is storage_failed, not a crash", async (t) => {
  const path = join(folder(t), "ledger.sqlite");
  writeFileSync(path, "this is a text of some length, and no database at all".repeat(100));
  await assert.rejects(openSqliteStore({ path }), { code: "storage_failed" });
});

test("a ledger that another gateway holds open is storage_failed", async (t) => {
  const path = join(folder(t), "ledger.sqlite");
  const store = await open(t, path);
  await store.append(rowsOf("mine"));
  await assert.rejects(openSqliteStore({ path }), { code: "storage_failed" });
});

test("a closed store refuses", async (t) => {
  const store = await open(t, join(folder(t), "ledger.sqlite"));
  await store.close();
  await assert.rejects(store.append(rowsOf("late")), { code: "storage_failed" });
});

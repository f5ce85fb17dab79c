import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import type { FailureCode } from "../protocol/index.ts";
import type { SqliteStoreOptions, StoreAnswer, StoreRequest } from "./store.ts";

/** The thread behind `store.ts`: owns the file, answers one request at a time. */

const PAGE_ROWS = 4096;
const SQLITE_FULL = 13;

const { path, maxBytes } = workerData as SqliteStoreOptions;
const database = new DatabaseSync(path);
// FULL, so that a commit that returned survives a power cut as well as a kill.
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE");
database.exec("CREATE TABLE IF NOT EXISTS rows (row INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT");
if (maxBytes !== undefined) limit(maxBytes);
const insert = database.prepare("INSERT INTO rows (body) VALUES (?)");
const select = database.prepare("SELECT body FROM rows WHERE row > ? ORDER BY row LIMIT ?");

parentPort?.on("message", (request: StoreRequest) => {
  parentPort?.postMessage(answerTo(request));
});

function answerTo(request: StoreRequest): StoreAnswer {
  try {
    return { id: request.id, ok: true, rows: perform(request) };
  } catch (error) {
    return {
      id: request.id,
      ok: false,
      code: codeFor(error),
      message: error instanceof Error ? error.message : "unknown",
    };
  }
}

function perform(request: StoreRequest): readonly Uint8Array[] {
  switch (request.type) {
    case "load":
      return select.all(request.after, PAGE_ROWS).map((row) => row.body as Uint8Array);
    case "append":
      append(request.rows);
      return [];
    case "limit":
      limit(request.maxBytes);
      return [];
    case "close":
      database.close();
      return [];
  }
}

function append(rows: readonly Uint8Array[]): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    for (const body of rows) insert.run(body);
    database.exec("COMMIT");
  } catch (error) {
    // SQLite itself rolls back after some errors; then there is nothing left to undo.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

function limit(bytes: number): void {
  const pageSize = Number(database.prepare("PRAGMA page_size").get()?.page_size);
  database.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(bytes / pageSize))}`);
}

function codeFor(error: unknown): FailureCode {
  const errcode: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "errcode") : undefined;
  return errcode === SQLITE_FULL ? "disk_full" : "storage_failed";
}

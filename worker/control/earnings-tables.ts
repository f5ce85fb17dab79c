import { DatabaseSync } from "node:sqlite";
import { Failure } from "../../protocol/index.ts";

const VERSION = 1;

/**
 * Amounts are nanoton in 64 bits: no voucher tells of more. `through` counts an account's earnings from the first one on,
 * so a state that holds through n holds for every earning that ends at or below n.
 */
const TABLES = `
  CREATE TABLE account (
    id INTEGER PRIMARY KEY, network INTEGER NOT NULL, gateway BLOB NOT NULL, url TEXT NOT NULL, owner TEXT NOT NULL,
    counted INTEGER NOT NULL DEFAULT 0, vouchered INTEGER NOT NULL DEFAULT 0,
    claimable INTEGER NOT NULL DEFAULT 0, claimable_ever INTEGER NOT NULL DEFAULT 0, paid INTEGER NOT NULL DEFAULT 0,
    UNIQUE (network, gateway, owner)
  ) STRICT;
  CREATE TABLE model (id INTEGER PRIMARY KEY, root TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (root, name)) STRICT;
  CREATE TABLE earning (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, account INTEGER NOT NULL, model INTEGER NOT NULL, finish TEXT NOT NULL,
    prompt INTEGER NOT NULL, cached INTEGER NOT NULL, completion INTEGER NOT NULL,
    ask_prompt INTEGER NOT NULL, ask_cached INTEGER NOT NULL, ask_completion INTEGER NOT NULL,
    earned INTEGER NOT NULL, through INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE mark (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, account INTEGER NOT NULL, state TEXT NOT NULL, through INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX mark_of ON mark (account, state, through);
  CREATE TABLE event (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, account INTEGER NOT NULL, type TEXT NOT NULL,
    amount INTEGER NOT NULL, lt INTEGER NOT NULL, detail TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX payout_once ON event (account, lt) WHERE lt > 0;
  CREATE TABLE day (
    day INTEGER NOT NULL, account INTEGER NOT NULL, model INTEGER NOT NULL, answers INTEGER NOT NULL,
    prompt INTEGER NOT NULL, cached INTEGER NOT NULL, completion INTEGER NOT NULL, earned INTEGER NOT NULL,
    PRIMARY KEY (day, account, model)
  ) STRICT, WITHOUT ROWID;
`;

/**
 * NORMAL: a kill costs nothing that was added, since the system holds what was written; a power cut may cost the last
 * seconds of history and never a voucher, which has a file of its own. The flush that a full log needs takes
 * milliseconds, so it waits for a quiet moment (`tidy`), or for a log of 32 MiB.
 */
const SETTINGS = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA wal_autocheckpoint = 8192;
`;

/** @throws {Failure} `storage_failed` when it is no record of ours, or of a newer version. */
export function openTables(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    database.exec(SETTINGS);
    const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
    if (version === 0) database.exec(`BEGIN; ${TABLES} PRAGMA user_version = ${VERSION}; COMMIT`);
    else if (version !== VERSION)
      throw new Failure("storage_failed", `the record of earnings is of version ${version}`);
    return database;
  } catch (cause) {
    database?.close();
    if (cause instanceof Failure) throw cause;
    throw new Failure("storage_failed", "the record of earnings cannot be opened", { cause });
  }
}

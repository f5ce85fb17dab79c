import { Worker } from "node:worker_threads";
import { Failure, isFailureCode } from "../protocol/index.ts";

/** Rows that are only added, each kept before its promise resolves. The port the journal needs. */
export interface Store {
  /** Calls `row` for every stored row in order, then resolves. @throws {Failure} `storage_failed`. */
  load(row: (bytes: Uint8Array) => void): Promise<void>;
  /** All of the rows or none. @throws {Failure} `disk_full` or `storage_failed`; the same rows may be tried again. */
  append(rows: readonly Uint8Array[]): Promise<void>;
  close(): Promise<void>;
}

export interface SqliteStoreOptions {
  /** The database file; made when absent. */
  readonly path: string;
  /** Most bytes the file may take; above it, `disk_full`. Absent: as the disk allows. */
  readonly maxBytes?: number;
}

/** What crosses to the store's thread and back. */
export type StoreRequest =
  | { readonly id: number; readonly type: "load"; readonly after: number }
  | { readonly id: number; readonly type: "append"; readonly rows: readonly Uint8Array[] }
  | { readonly id: number; readonly type: "limit"; readonly maxBytes: number }
  | { readonly id: number; readonly type: "close" };

export type StoreAnswer =
  | { readonly id: number; readonly ok: true; readonly rows: readonly Uint8Array[] }
  | { readonly id: number; readonly ok: false; readonly code: string; readonly message: string };

export interface SqliteStore extends Store {
  /** Gives the file more room, or less. */
  limit(maxBytes: number): Promise<void>;
}

/**
 * An append-only table in SQLite on a thread of its own: an fsync takes milliseconds and must not stop the frames.
 *
 * @throws {Failure} `storage_failed` when the file cannot be opened.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const thread = new Worker(new URL("./store-thread.ts", import.meta.url), { workerData: options });
  const waiting = new Map<number, (answer: StoreAnswer) => void>();
  let ids = 0;
  let isGone = false;
  const ask = (request: StoreRequestBody): Promise<readonly Uint8Array[]> =>
    new Promise((resolve, reject) => {
      if (isGone) return reject(new Failure("storage_failed", "the store is closed"));
      const id = ++ids;
      waiting.set(id, (answer) => {
        if (answer.ok) resolve(answer.rows);
        else reject(new Failure(isFailureCode(answer.code) ? answer.code : "storage_failed", answer.message));
      });
      thread.postMessage({ id, ...request });
    });
  thread.on("message", (answer: StoreAnswer) => {
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  const end = (message: string): void => {
    isGone = true;
    for (const [id, settle] of waiting) settle({ id, ok: false, code: "storage_failed", message });
    waiting.clear();
  };
  thread.on("error", (error: unknown) => end(error instanceof Error ? error.message : "the store's thread failed"));
  thread.on("exit", () => end("the store's thread ended"));
  await ask({ type: "load", after: Number.MAX_SAFE_INTEGER }); // an empty page: opening has failed or not
  return {
    async load(row) {
      let loaded = 0;
      for (;;) {
        const page = await ask({ type: "load", after: loaded });
        for (const bytes of page) row(bytes);
        loaded += page.length;
        if (page.length === 0) return;
      }
    },
    async append(rows) {
      await ask({ type: "append", rows });
    },
    async limit(maxBytes) {
      await ask({ type: "limit", maxBytes });
    },
    async close() {
      if (!isGone) await ask({ type: "close" });
      await thread.terminate();
    },
  };
}

type StoreRequestBody = StoreRequest extends infer Request
  ? Request extends StoreRequest
    ? Omit<Request, "id">
    : never
  : never;

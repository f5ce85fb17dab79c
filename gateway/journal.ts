import { codeOf, type FailureCode, type RawAddress } from "../protocol/index.ts";
import { encodeEntry, parseEntry, type Entry } from "./entries.ts";
import { checkConservation, emptyLedger, type Applied, type Ledger, type OwnerBook } from "./books.ts";
import { applyEntry } from "./ledger.ts";
import type { Store } from "./store.ts";

/** The ledger and its store as one: an entry counts at once, and is spoken of only when it is written. */
export interface Journal {
  readonly ledger: Ledger;
  /** How many rows there were when it was opened. */
  readonly openedRows: number;
  /** Why nothing can be written at the moment; undefined while all is well. */
  readonly trouble: FailureCode | undefined;
  /**
   * Adds entries that are written together or not at all. `written` is called after the commit, in the order of appends.
   *
   * @throws {Failure} `storage_failed` when an entry does not follow from the ledger; entries before it stay.
   * @throws {RangeError} for an entry that no row can hold: then nothing has changed.
   */
  append(entries: readonly Entry[], written?: () => void): readonly Applied[];
  /** Resolves when everything appended so far is written. */
  flushed(): Promise<void>;
  close(): Promise<void>;
}

export interface JournalEvents {
  /** After each commit: owners whose promise grew in it, each at its newest written position. */
  committed(promised: ReadonlyMap<RawAddress, OwnerBook>): void;
  /** Writing failed, or works again (undefined). */
  trouble(code: FailureCode | undefined): void;
  /** What was to be done after a commit threw; the commit stands. */
  bug(error: unknown): void;
}

/** A commit waits this long for company, or for this many rows (NETWORK §7). */
const GATHER_MS = 4;
const GROUP_ROWS = 256;
const RETRY_MS = 250;

interface Pending {
  readonly rows: readonly Uint8Array[];
  readonly written: (() => void) | undefined;
  readonly promised: readonly ReadonlyMap<RawAddress, OwnerBook>[];
}

/** Loads the ledger and checks it. @throws {Failure} `storage_failed`. */
export async function openJournal(store: Store, events: JournalEvents): Promise<Journal> {
  const ledger = emptyLedger();
  await store.load((row) => applyEntry(ledger, parseEntry(row)));
  checkConservation(ledger);
  return new GroupCommit(ledger, store, events);
}

class GroupCommit implements Journal {
  readonly ledger: Ledger;
  readonly openedRows: number;
  trouble: FailureCode | undefined;
  readonly #store: Store;
  readonly #events: JournalEvents;
  #waiting: Pending[] = [];
  #waitingRows = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #isClosed = false;

  constructor(ledger: Ledger, store: Store, events: JournalEvents) {
    this.ledger = ledger;
    this.openedRows = ledger.rows;
    this.#store = store;
    this.#events = events;
  }

  append(entries: readonly Entry[], written?: () => void): readonly Applied[] {
    // What no row can hold must not count either.
    const rows = entries.map(encodeEntry);
    const applied: Applied[] = [];
    try {
      for (const entry of entries) applied.push(applyEntry(this.ledger, entry));
    } finally {
      const followed = rows.slice(0, applied.length);
      const promised = applied.map((one) => one.promised);
      if (followed.length > 0) this.#enqueue({ rows: followed, written, promised });
    }
    return applied;
  }

  async flushed(): Promise<void> {
    while (this.#waiting.length > 0 || this.#writing !== undefined) {
      if (this.#isClosed) return;
      this.#commit();
      await this.#writing;
    }
  }

  async close(): Promise<void> {
    // On a full disk this would wait for ever; what was not written was not spoken of either.
    if (this.trouble === undefined) await this.flushed();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#writing;
    await this.#store.close();
  }

  #enqueue(pending: Pending): void {
    this.#waiting.push(pending);
    this.#waitingRows += pending.rows.length;
    if (this.#writing !== undefined || this.trouble !== undefined) return;
    if (this.#waitingRows >= GROUP_ROWS) this.#commit();
    else this.#timer ??= setTimeout(() => this.#commit(), GATHER_MS);
  }

  #commit(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing !== undefined || this.#waiting.length === 0 || this.#isClosed) return;
    const group = this.#waiting;
    this.#waiting = [];
    this.#waitingRows = 0;
    this.#writing = this.#write(group).finally(() => {
      this.#writing = undefined;
      if (this.#waiting.length > 0) this.#commit();
    });
  }

  /** Tries until it is done: later entries follow from these, so they can neither be dropped nor overtaken. */
  async #write(group: readonly Pending[]): Promise<void> {
    const rows = group.flatMap((pending) => pending.rows);
    for (;;) {
      try {
        await this.#store.append(rows);
        break;
      } catch (error) {
        this.#setTrouble(codeOf(error));
        if (this.#isClosed) return;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    this.#setTrouble(undefined);
    this.#tell(group);
  }

  #tell(group: readonly Pending[]): void {
    const promised = new Map<RawAddress, OwnerBook>();
    for (const pending of group) {
      for (const positions of pending.promised)
        for (const [owner, position] of positions) promised.set(owner, position);
      try {
        pending.written?.();
      } catch (error) {
        this.#events.bug(error);
      }
    }
    this.#events.committed(promised);
  }

  #setTrouble(code: FailureCode | undefined): void {
    if (this.trouble === code) return;
    this.trouble = code;
    this.#events.trouble(code);
  }
}

import * as z from "zod";
import {
  nanoton,
  parseStrict,
  priceSheet,
  readJson,
  stringify,
  key32,
  bytesField,
  count,
  hashHex,
  signature,
} from "../protocol/index.ts";
import type { StreamTerms } from "./receipts.ts";

/**
 * Where a client keeps what it has signed. Lines are appended and survive a crash of the process; a last line that was
 * torn is not one. Whoever loses the lines can go on from the gateway's copy of the last countersignature.
 */
export interface Journal {
  /** Every whole line, oldest first. */
  lines(): readonly string[];
  /** Returns once the line is kept. @throws {Failure} `disk_full`, `storage_failed`. */
  append(line: string): void;
  /** Everything so far is said shorter by these. */
  replace(lines: readonly string[]): void;
  close(): void;
}

/** A journal that ends with the process or the page. */
export function memoryJournal(): Journal {
  let kept: string[] = [];
  return {
    lines: () => kept,
    append(line) {
      kept.push(line);
    },
    replace(lines) {
      kept = [...lines];
    },
    close: () => undefined,
  };
}

const sessionId = z.string().regex(/^[0-9a-f]{32}$/);

const entrySchema = z.discriminatedUnion("t", [
  z.strictObject({
    t: z.literal("opened"),
    reservationId: z.string(),
    sessionId,
    streamId: count,
    identityKey: key32,
    manifestRoot: hashHex,
    offerHash: hashHex,
    price: priceSheet,
    feeBps: count,
    promptBytes: count,
    maxTokens: count,
  }),
  z.strictObject({
    t: z.literal("signed"),
    networkId: z.int(),
    channel: z.string(),
    total: nanoton,
    chain: bytesField(32),
    boc: bytesField(undefined, 512),
    signature,
    /** Reservations that this total settles. */
    settled: z.array(z.string()),
    /** Disputes that it settles, by receipt hash in hex. */
    disputed: z.array(hashHex),
  }),
  z.strictObject({
    t: z.literal("disputed"),
    receiptHash: hashHex,
    promptTokens: count,
    completionTokens: count,
    charge: nanoton,
  }),
]);

/** One fact about the channel, in the order they happened. */
export type Entry = z.output<typeof entrySchema>;
export type SignedEntry = Extract<Entry, { t: "signed" }>;
export type DisputedEntry = Extract<Entry, { t: "disputed" }>;

export function encodeEntry(entry: Entry): string {
  return stringify(entry);
}

/** What the lines add up to. */
export interface JournalState {
  readonly signed: SignedEntry | undefined;
  /** Terms of streams not settled yet, by reservation. */
  readonly open: ReadonlyMap<string, StreamTerms>;
  /** Disputes not settled yet, by receipt hash in hex. */
  readonly disputed: ReadonlyMap<string, DisputedEntry>;
}

/** @throws {Failure} `storage_failed` for a line in the middle that is not an entry: something else wrote there. */
export function readJournal(lines: readonly string[]): JournalState {
  let signed: SignedEntry | undefined;
  const open = new Map<string, StreamTerms>();
  const disputed = new Map<string, DisputedEntry>();
  for (const line of lines) {
    const entry = parseEntry(line);
    switch (entry.t) {
      case "opened": {
        const { t, ...terms } = entry;
        open.set(terms.reservationId, terms);
        break;
      }
      case "signed":
        signed = entry;
        for (const reservationId of entry.settled) open.delete(reservationId);
        for (const receiptHash of entry.disputed) disputed.delete(receiptHash);
        break;
      case "disputed":
        disputed.set(entry.receiptHash, entry);
        break;
    }
  }
  return { signed, open, disputed };
}

function parseEntry(line: string): Entry {
  return parseStrict(entrySchema, readJson(line, "storage_failed"), "storage_failed");
}

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
import { Leases } from "./leases.ts";

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
    t: z.literal("leased"),
    sessionId,
    identityKey: key32,
    manifestRoot: hashHex,
    offerHash: hashHex,
    price: priceSheet,
    feeBps: count,
    promptBytes: count,
    maxTokens: count,
    through: count,
    settled: z.array(count),
  }),
  z.strictObject({
    t: z.literal("signed"),
    networkId: z.int(),
    channel: z.string(),
    total: nanoton,
    chain: bytesField(32),
    boc: bytesField(undefined, 512),
    signature,
    /** What the gateway is shown should it forget; absent in lines of a time when it was not kept. */
    gatewaySignature: signature.optional(),
    /** The receipts it was signed for, in the order of the chain. */
    receipts: z.array(z.strictObject({ receiptHash: hashHex, sessionId, streamId: count })),
  }),
  z.strictObject({
    t: z.literal("disputed"),
    receiptHash: hashHex,
    promptTokens: count,
    completionTokens: count,
    charge: nanoton,
  }),
  /** With which total a day began: what a daily cap counts from. */
  z.strictObject({ t: z.literal("day"), day: count, total: nanoton }),
]);

/** One fact about the channel, in the order they happened. */
export type Entry = z.output<typeof entrySchema>;
export type LeaseEntry = Extract<Entry, { t: "leased" }>;
export type SignedEntry = Extract<Entry, { t: "signed" }>;
export type DisputedEntry = Extract<Entry, { t: "disputed" }>;
export type DayEntry = Extract<Entry, { t: "day" }>;

export function encodeEntry(entry: Entry): string {
  return stringify(entry);
}

/** What the lines add up to. */
export interface JournalState {
  readonly signed: SignedEntry | undefined;
  /** The newest of each session and offer, oldest first. */
  readonly leases: readonly LeaseEntry[];
  /** Disputes not settled yet, by receipt hash in hex. */
  readonly disputed: ReadonlyMap<string, DisputedEntry>;
  /** The newest day on which something was asked under a daily cap. */
  readonly day: DayEntry | undefined;
}

/** @throws {Failure} `storage_failed` for a line in the middle that is not an entry: something else wrote there. */
export function readJournal(lines: readonly string[]): JournalState {
  let signed: SignedEntry | undefined;
  let day: DayEntry | undefined;
  const leases = new Leases();
  const disputed = new Map<string, DisputedEntry>();
  for (const line of lines) {
    const entry = parseEntry(line);
    switch (entry.t) {
      case "leased":
        leases.put(entry);
        break;
      case "signed":
        signed = entry;
        for (const { receiptHash, sessionId: session, streamId } of entry.receipts) {
          disputed.delete(receiptHash);
          leases.settle(session, streamId);
        }
        break;
      case "disputed":
        disputed.set(entry.receiptHash, entry);
        break;
      case "day":
        day = entry;
        break;
    }
  }
  return { signed, leases: leases.entries(), disputed, day };
}

function parseEntry(line: string): Entry {
  return parseStrict(entrySchema, readJson(line, "storage_failed"), "storage_failed");
}

import * as z from "zod";
import {
  bytesField,
  count,
  hashHex,
  nanoton,
  parseStrictJson,
  priceSheet,
  RECEIPT_BYTES,
  signature,
  stringify,
} from "../protocol/index.ts";

/** What the ledger is made of: rows that are only ever added (NETWORK §4, §7). Times in Unix ms, amounts in nanoton. */

const channel = z.string().regex(/^0:[0-9a-f]{64}$/);
const at = z.int().min(0);
const usage = z.strictObject({ promptTokens: count, cachedTokens: count, completionTokens: count });
const split = { charge: nanoton, earned: nanoton, fee: nanoton };

/** One receipt, metered: the payer's total grows by `charge`, what the payee earned by `earned`. */
const charge = z.strictObject({
  type: z.literal("charge"),
  at,
  payer: z.union([z.strictObject({ channel }), z.strictObject({ trial: hashHex })]),
  workerId: hashHex,
  /** Who earns it, when the worker had named its owner; null: the worker id. */
  owner: channel.nullable(),
  reservationId: z.string(),
  receipt: bytesField(RECEIPT_BYTES),
  signature,
  usage,
  price: priceSheet,
  feeBps: count,
  deliveredFrames: count,
  ...split,
});

/** The client signed the total that stands after the charge in row `through`. */
const countersign = z.strictObject({
  type: z.literal("countersign"),
  at,
  channel,
  total: nanoton,
  through: count,
  signature,
});

/** The client's counts replace the worker's in a charge whose earning was not promised yet. */
const dispute = z.strictObject({
  type: z.literal("dispute"),
  at,
  channel,
  /** Row of the charge. */
  row: count,
  signature,
  usage,
  /** The highest total the gateway had signed for this channel by then: it never signs that or less again. */
  signedTotal: nanoton,
  ...split,
});

/** The earnings of these charges become promised to their owners. */
const settle = z.strictObject({ type: z.literal("settle"), at, rows: z.array(count).min(1) });

/** A worker's owner is known: what was owed to the worker id is promised to the owner. */
const name = z.strictObject({ type: z.literal("name"), at, workerId: hashHex, owner: channel });

const entrySchema = z.discriminatedUnion("type", [charge, countersign, dispute, settle, name]);

export type Entry = z.output<typeof entrySchema>;
export type ChargeEntry = z.output<typeof charge>;
export type DisputeEntry = z.output<typeof dispute>;
export type CountersignEntry = z.output<typeof countersign>;
export type NameEntry = z.output<typeof name>;

/** The text of a row. */
export function encodeEntry(entry: Entry): string {
  return stringify(entry);
}

/** @throws {Failure} `storage_failed` when a stored row is not one this version wrote. */
export function parseEntry(text: string): Entry {
  return parseStrictJson(entrySchema, text, "storage_failed");
}

import { Failure, RECEIPT_BYTES, type RawAddress } from "../protocol/index.ts";
import {
  address,
  bytes,
  coins,
  decodeRow,
  encodeRow,
  hash32,
  list,
  nullable,
  oneOf,
  record,
  text,
  u32,
  whole,
  type Field,
} from "./row-codec.ts";

/**
 * What the ledger is made of: rows that are only ever added (NETWORK §4, §7). Times in Unix ms, amounts in nanoton. The
 * order of fields is that of their bytes.
 */

/** Who pays for an answer: a channel, or the gateway for a trial key or for a check of its own. */
export type Payer = { readonly channel: RawAddress } | { readonly trial: string } | { readonly canary: string };

/** A payer that asks over a link. */
export type ClientPayer = Exclude<Payer, { readonly canary: string }>;

const payer: Field<Payer> = {
  write(out, value) {
    const [tag, hex] =
      "channel" in value ? [0, value.channel.slice(2)] : "trial" in value ? [1, value.trial] : [2, value.canary];
    out.unsigned(tag, 1);
    hash32.write(out, hex);
  },
  read(row) {
    const tag = row.unsigned(1);
    const hex = hash32.read(row);
    if (tag === 0) return { channel: `0:${hex}` };
    if (tag === 1) return { trial: hex };
    if (tag === 2) return { canary: hex };
    throw new Failure("storage_failed", "a row of the ledger is paid by nobody");
  },
};

const usage = record({ promptTokens: u32, cachedTokens: u32, completionTokens: u32 });
const price = record({ prompt: coins, cached: coins, completion: coins });
const split = { charge: coins, earned: coins, fee: coins };
const chain = bytes(32);
const signature = bytes(64);

const entry = oneOf({
  /** One receipt, metered: the payer's total grows by `charge`, what the payee earned by `earned`. */
  charge: {
    tag: 1,
    fields: {
      at: whole,
      payer,
      workerId: hash32,
      /** Who earns it, when the worker had named its owner; null: the worker id. */
      owner: nullable(address),
      reservationId: text,
      receipt: bytes(RECEIPT_BYTES),
      signature,
      usage,
      price,
      feeBps: u32,
      deliveredFrames: u32,
      ...split,
    },
  },
  /** The client signed the total that stands after the charge in row `through`. */
  countersign: { tag: 2, fields: { at: whole, channel: address, total: coins, through: whole, signature } },
  /** The client's counts replace the worker's in a charge whose earning was not promised yet. */
  dispute: {
    tag: 3,
    fields: {
      at: whole,
      channel: address,
      /** Row of the charge. */
      row: whole,
      signature,
      usage,
      /** The highest total the gateway had signed for this channel by then: it never signs that or less again. */
      signedTotal: coins,
      ...split,
    },
  },
  /** The earnings of these charges become promised to their owners. */
  settle: { tag: 4, fields: { at: whole, rows: list(whole) } },
  /** A worker's owner is known: what was owed to the worker id is promised to the owner. */
  name: { tag: 5, fields: { at: whole, workerId: hash32, owner: address } },
  /**
   * The earnings of these charges, all of one owner, become promised less what a redeem costs that the gateway pays for
   * (NETWORK §4.9): one row, so that the total is never seen to fall.
   */
  redeem: {
    tag: 6,
    fields: {
      at: whole,
      owner: address,
      rows: list(whole),
      deduction: coins,
      /** The worker's leave: its key, the total it had, the most that may be deducted, its signature over these. */
      request: record({ identityKey: bytes(32), total: coins, maxDeduction: coins, signature }),
    },
  },
  /** An owner was promised more than this ledger knows of: the difference is the gateway's loss. */
  adopt_payout: {
    tag: 7,
    fields: {
      at: whole,
      owner: address,
      total: coins,
      /** What was promised since the ledgers parted stays on top of it. */
      kept: coins,
      /** The gateway's own voucher; null: the chain paid that much. */
      voucher: nullable(record({ chain, signature })),
    },
  },
  /** A client agreed to more than this ledger knows of. */
  adopt_charge: {
    tag: 8,
    fields: {
      at: whole,
      channel: address,
      total: coins,
      chain,
      /** The client's. */
      signature,
      gatewaySignature: signature,
      /** Its charges up to this row are among those the client agreed to; 0: none. */
      through: whole,
      /** As in a dispute. */
      signedTotal: coins,
    },
  },
  /** The state after `rows` rows is about to be committed on chain under this number (TON §2, Checkpoint). */
  commit: { tag: 9, fields: { at: whole, seqno: u32, rows: whole, stateHash: bytes(32) } },
});

export type Entry = EntryOf<typeof entry>;
type EntryOf<Type> = Type extends Field<infer Value> ? Value : never;
type EntryNamed<Type extends Entry["type"]> = Extract<Entry, { type: Type }>;
export type ChargeEntry = EntryNamed<"charge">;
export type CountersignEntry = EntryNamed<"countersign">;
export type DisputeEntry = EntryNamed<"dispute">;
export type NameEntry = EntryNamed<"name">;
export type RedeemEntry = EntryNamed<"redeem">;
export type AdoptPayoutEntry = EntryNamed<"adopt_payout">;
export type AdoptChargeEntry = EntryNamed<"adopt_charge">;
export type CommitEntry = EntryNamed<"commit">;

/** The bytes of a row. @throws {RangeError} for an amount, an address or a count that no row can hold. */
export function encodeEntry(value: Entry): Uint8Array {
  return encodeRow(entry, value);
}

/** @throws {Failure} `storage_failed` when a stored row is not one this version writes. */
export function parseEntry(row: Uint8Array): Entry {
  return decodeRow(entry, row);
}

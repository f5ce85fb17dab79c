import {
  equalBytes,
  Failure,
  parsePayload,
  payloadHash,
  type ChargeVoucher,
  type Nanoton,
  type PayoutVoucher,
  type RawAddress,
  type SignedPayload,
  type SignedVoucher,
} from "../protocol/index.ts";
import { coveredBy, isCountersignable } from "./agreements.ts";
import { sum, type ClientBook, type OwnerBook } from "./books.ts";
import { isSignedBy, type PublicKey } from "./signatures.ts";

/**
 * What follows from a voucher that a peer shows and this ledger may have lost (NETWORK §7): a ledger that was put back
 * from an older copy goes on from there, and then never signs less. Pure.
 */

type VoucherOf<Type extends "charge" | "payout"> = Type extends "charge" ? ChargeVoucher : PayoutVoucher;

export interface VoucherExpectation<Type extends "charge" | "payout"> {
  readonly type: Type;
  /** The gateway's own. */
  readonly key: PublicKey;
  readonly networkId: number;
  readonly channel: RawAddress;
}

/** The payload of a voucher that this gateway signed itself. @throws {Failure} `bad_login`, with what is wrong with it. */
export function ownVoucher<Type extends "charge" | "payout">(
  { boc, signature }: SignedVoucher,
  { type, key, networkId, channel }: VoucherExpectation<Type>,
): VoucherOf<Type> {
  const payload = payloadOf(boc, type);
  if (payload.networkId !== networkId) throw new Failure("bad_login", "shows a voucher of another TON network");
  if (payload.channel !== channel) throw new Failure("bad_login", "shows a voucher of another channel");
  if (!isSignedBy(key, payloadHash(payload), signature))
    throw new Failure("bad_login", "shows a voucher that this gateway never signed");
  return payload;
}

/**
 * How much of an owner's promise stays on top of the voucher that is shown; undefined when there is nothing to adopt: a
 * lower total may well be one of ours, a higher one, or the same over other receipts, was lost. `base` is the promise
 * where this ledger and the lost one parted: what came after is in this one alone.
 */
export function keptOnTop(
  book: OwnerBook,
  base: Nanoton,
  shown: Pick<PayoutVoucher, "total" | "receipt">,
): Nanoton | undefined {
  const isLost = shown.total > book.total || (shown.total === book.total && !equalBytes(shown.receipt, book.chain));
  return isLost ? book.total - base : undefined;
}

export interface Agreement {
  /** `known`: it closes charges as any countersignature does. `lost`: it was made over charges this ledger has lost. */
  readonly type: "known" | "lost";
  /** Row of the last charge it covers here; 0: none. */
  readonly through: number;
}

/**
 * What a client's countersigned voucher says about its open charges; undefined when the ledger has it, or a newer one.
 * `openedRows` is how many rows this ledger had when the gateway started: the lost ones followed those, so a charge made
 * since is not in the voucher.
 */
export function agreementIn(
  book: ClientBook,
  shown: Pick<ChargeVoucher, "total" | "receipt">,
  openedRows: number,
): Agreement | undefined {
  const { total, receipt } = shown;
  const before = book.countersigned?.total ?? 0n;
  if (total <= before) return undefined;
  const last = book.uncountersigned.find((record) => equalBytes(record.chain, receipt));
  if (last === undefined) {
    const through = book.uncountersigned.findLast(({ row }) => row <= openedRows)?.row ?? 0;
    return { type: "lost", through };
  }
  const through = last.row;
  if (isCountersignable(book, { total, through })) return { type: "known", through };
  // Less than these charges: a dispute is lost. More: they were disputed here, and the workers are owed no more than that.
  const charged = sum(coveredBy(book, through), (record) => record.amounts.charge);
  return total < before + charged ? { type: "lost", through } : undefined;
}

function payloadOf<Type extends "charge" | "payout">(boc: Uint8Array, type: Type): VoucherOf<Type> {
  let payload: SignedPayload;
  try {
    payload = parsePayload(boc);
  } catch (cause) {
    throw new Failure("bad_login", "shows bytes that are no voucher", { cause });
  }
  if (payload.type !== type) throw new Failure("bad_login", `shows a ${payload.type} payload as a ${type} voucher`);
  return payload as VoucherOf<Type>;
}

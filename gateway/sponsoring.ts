import {
  redeemMessage,
  type FailureCode,
  type Nanoton,
  type RawAddress,
  type SignedVoucher,
} from "../protocol/index.ts";
import { ownerBook, payeeOf, sum, type ChargeRecord, type Ledger } from "./books.ts";
import type { Entry, RedeemEntry } from "./entries.ts";
import { importPublicKey, isSignedBy } from "./signatures.ts";

/** A redeem that a worker asked for and this gateway will pay the fees of (NETWORK §4.9). */
export interface Sponsorship {
  readonly owner: RawAddress;
  /** The worker's leave, as its `redeem_request` has it, with the key of its link. */
  readonly request: RedeemEntry["request"];
  /** What the gateway keeps for it, at most what the worker allowed. */
  readonly deduction: Nanoton;
  /** Called with the voucher to redeem, once it is written. */
  readonly ready: (voucher: SignedVoucher) => void;
}

export interface SponsoringOptions {
  readonly ledger: Ledger;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  readonly networkId: number;
}

/**
 * Redeems that wait until new earnings of their owner can bear them: a deduction comes before the voucher is signed, so
 * that no total falls. They are in memory only; a worker asks again.
 */
export class Sponsoring {
  readonly #options: SponsoringOptions;
  readonly #waiting = new Map<RawAddress, Sponsorship>();

  constructor(options: SponsoringOptions) {
    this.#options = options;
  }

  /** @returns the code of a refusal: `bad_message` for no leave, `replay` for one that was used or is none of now. */
  add(sponsorship: Sponsorship): FailureCode | undefined {
    const { ledger, gatewayKey, networkId } = this.#options;
    const { owner, deduction, request } = sponsorship;
    const { identityKey, total, maxDeduction, signature } = request;
    const key = importPublicKey(identityKey);
    const message = redeemMessage({ gatewayKey, networkId, owner, total, maxDeduction });
    if (key === undefined || !isSignedBy(key, message, signature)) return "bad_message";
    if (deduction <= 0n || deduction > maxDeduction) return "bad_message";
    const book = ownerBook(ledger, owner);
    if (total < book.redeemedAt || total > book.total) return "replay";
    this.#waiting.set(owner, sponsorship);
    return undefined;
  }

  /** The rows that settle these charges, those of them that pay for a redeem with what is then ready. */
  settlements(records: readonly ChargeRecord[], at: number): readonly Settlement[] {
    const redeems = [...this.#waiting.values()].flatMap((sponsorship) => this.#redeem(sponsorship, records, at));
    const paying = new Set(redeems.flatMap(({ entry }) => entry.rows));
    const rows = records.map(({ row }) => row).filter((row) => !paying.has(row));
    return rows.length === 0 ? redeems : [...redeems, { entry: { type: "settle", at, rows }, sponsorship: undefined }];
  }

  #redeem(
    sponsorship: Sponsorship,
    records: readonly ChargeRecord[],
    at: number,
  ): { readonly entry: RedeemEntry; readonly sponsorship: Sponsorship }[] {
    const { owner, deduction, request } = sponsorship;
    const own = records.filter((record) => payeeOf(this.#options.ledger, record) === owner);
    if (sum(own, (record) => record.amounts.earned) <= deduction) return [];
    this.#waiting.delete(owner);
    return [{ entry: { type: "redeem", at, owner, rows: own.map(({ row }) => row), deduction, request }, sponsorship }];
  }
}

export interface Settlement {
  readonly entry: Entry;
  readonly sponsorship: Sponsorship | undefined;
}

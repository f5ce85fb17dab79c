import * as z from "zod";
import {
  bytesField,
  equalBytes,
  Failure,
  nanoton,
  parsePayload,
  parseStrictJson,
  payloadHash,
  stringify,
  toHex,
  utf8,
  type Nanoton,
  type PayoutVoucher,
  type SignedVoucher,
  type Verify,
} from "../../protocol/index.ts";
import type { Disk } from "./disk.ts";

/** What one gateway promised this owner, held against what this worker counted itself. */
export interface VoucherReport {
  /** By this worker's own receipts, since it first knew this gateway. */
  readonly earnedOwnCount: Nanoton;
  /** The newest voucher's total: over all workers of the owner. Zero before the first. */
  readonly voucheredTotal: Nanoton;
  /** How much of the own count the vouchers have not grown by; a gateway settles within seconds, or owes. */
  readonly behind: Nanoton;
}

/** The newest voucher of one (gateway, owner): what an owner's money hangs on. */
export interface VoucherKeeper {
  /** `0:hex`, or empty while no owner is named. */
  readonly owner: string;
  /**
   * Takes a voucher: resolves with its total once it is on the disk, so that it can be acknowledged, also for one that is
   * kept already. Resolves with undefined when the next one came before this one's turn: its total covers both, and a
   * busy gateway sends more of them than a disk can flush.
   *
   * @throws {Failure} `bad_message` for anything but a newer payout voucher of this gateway for this channel;
   *   `disk_full`, `storage_failed` when it could not be kept: the gateway will send it again.
   */
  take(voucher: SignedVoucher): Promise<Nanoton | undefined>;
  /** Adds what one receipt earned. */
  earn(amount: Nanoton): void;
  /** Gives what was earned without an owner to the owner's keeper, as the gateway does. */
  moveCountTo(other: VoucherKeeper): void;
  report(): VoucherReport;
  newest(): SignedVoucher | undefined;
  /** Writes the own count too. */
  save(): Promise<void>;
}

export interface VoucherKeeperOptions {
  readonly gatewayKey: Uint8Array;
  /** `0:hex`, or empty while no owner is named. */
  readonly owner: string;
  readonly networkId: number;
  /** The WorkerChannel's address where it can be computed; else the first one seen stands. */
  readonly channel: string | undefined;
  readonly disk: Disk;
  readonly verify: Verify;
}

const keptSchema = z.strictObject({
  v: z.literal(1),
  voucher: z.strictObject({ boc: bytesField(undefined, 512), signature: bytesField(64) }).nullable(),
  earnedOwnCount: nanoton,
  /** The total that was there before this worker earned anything here. */
  baseline: nanoton,
});

interface Kept {
  readonly voucher: SignedVoucher;
  readonly payout: PayoutVoucher;
}

/** @throws {Failure} `storage_failed` when the file is damaged: a forgotten voucher would be a silent loss. */
export async function openVoucherKeeper(options: VoucherKeeperOptions): Promise<VoucherKeeper> {
  const name = fileName(options);
  const bytes = await options.disk.read(name);
  const file = bytes === undefined ? undefined : parseStrictJson(keptSchema, bytes, "storage_failed");
  const voucher = file?.voucher ?? undefined;
  const kept =
    voucher === undefined ? undefined : { voucher, payout: verifiedPayout(voucher, options, "storage_failed") };
  return new FileVoucherKeeper(options, name, {
    kept,
    earnedOwnCount: file?.earnedOwnCount ?? 0n,
    baseline: file?.baseline,
  });
}

/** A voucher that nobody has looked at yet. */
interface Waiting {
  readonly voucher: SignedVoucher;
  readonly resolve: (total: Nanoton | undefined) => void;
  readonly reject: (error: unknown) => void;
}

class FileVoucherKeeper implements VoucherKeeper {
  readonly #options: VoucherKeeperOptions;
  readonly #name: string;
  #kept: Kept | undefined;
  #earnedOwnCount: Nanoton;
  #baseline: Nanoton | undefined;
  #waiting: Waiting | undefined;
  #isWorking = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    options: VoucherKeeperOptions,
    name: string,
    start: { kept: Kept | undefined; earnedOwnCount: Nanoton; baseline: Nanoton | undefined },
  ) {
    this.#options = options;
    this.#name = name;
    this.#kept = start.kept;
    this.#earnedOwnCount = start.earnedOwnCount;
    this.#baseline = start.baseline;
  }

  take(voucher: SignedVoucher): Promise<Nanoton | undefined> {
    this.#waiting?.resolve(undefined);
    const { promise, resolve, reject } = Promise.withResolvers<Nanoton | undefined>();
    this.#waiting = { voucher, resolve, reject };
    void this.#work();
    return promise;
  }

  earn(amount: Nanoton): void {
    this.#baseline ??= this.#kept?.payout.total ?? 0n;
    this.#earnedOwnCount += amount;
  }

  get owner(): string {
    return this.#options.owner;
  }

  moveCountTo(other: VoucherKeeper): void {
    if (this.#earnedOwnCount > 0n) other.earn(this.#earnedOwnCount);
    this.#earnedOwnCount = 0n;
  }

  report(): VoucherReport {
    const voucheredTotal = this.#kept?.payout.total ?? 0n;
    const grown = voucheredTotal - (this.#baseline ?? voucheredTotal);
    const behind = this.#earnedOwnCount - grown;
    return { earnedOwnCount: this.#earnedOwnCount, voucheredTotal, behind: behind > 0n ? behind : 0n };
  }

  newest(): SignedVoucher | undefined {
    return this.#kept?.voucher;
  }

  save(): Promise<void> {
    return this.#write(this.#kept);
  }

  async #work(): Promise<void> {
    if (this.#isWorking) return;
    this.#isWorking = true;
    for (let next = this.#takeWaiting(); next !== undefined; next = this.#takeWaiting()) {
      try {
        next.resolve(await this.#keepIfNewer(next.voucher));
      } catch (error) {
        next.reject(error);
      }
    }
    this.#isWorking = false;
  }

  #takeWaiting(): Waiting | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }

  async #keepIfNewer(voucher: SignedVoucher): Promise<Nanoton> {
    const payout = verifiedPayout(voucher, this.#options, "bad_message");
    const kept = this.#kept;
    const channel = this.#options.channel ?? kept?.payout.channel;
    refuseUnless(channel === undefined || payout.channel === channel, "a voucher for another channel");
    if (kept?.payout.total === payout.total) {
      refuseUnless(equalBytes(kept.voucher.boc, voucher.boc), "two different vouchers with one total");
      return payout.total;
    }
    refuseUnless(kept === undefined || payout.total > kept.payout.total, "the gateway's promise has shrunk");
    await this.#write({ voucher, payout });
    this.#kept = { voucher, payout };
    return payout.total;
  }

  /** One write at a time, so that an older one never lands last. */
  #write(kept: Kept | undefined): Promise<void> {
    const written = this.#writing.then(() => this.#options.disk.write(this.#name, this.#encode(kept)));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  #encode(kept: Kept | undefined): Uint8Array {
    const baseline = this.#baseline ?? kept?.payout.total ?? 0n;
    return utf8(stringify({ v: 1, voucher: kept?.voucher ?? null, earnedOwnCount: this.#earnedOwnCount, baseline }));
  }
}

function verifiedPayout(
  { boc, signature }: SignedVoucher,
  { gatewayKey, networkId, verify }: VoucherKeeperOptions,
  code: "bad_message" | "storage_failed",
): PayoutVoucher {
  const payload = parsePayload(boc);
  if (payload.type !== "payout") throw new Failure(code, "not a payout voucher");
  if (payload.networkId !== networkId) throw new Failure(code, "a voucher of another TON network");
  if (!verify(signature, payloadHash(payload), gatewayKey)) throw new Failure(code, "not signed by the gateway");
  return payload;
}

function refuseUnless(holds: boolean, why: string): void {
  if (!holds) throw new Failure("bad_message", why);
}

function fileName({ gatewayKey, owner }: VoucherKeeperOptions): string {
  const name = owner === "" ? "unnamed" : owner.slice(2);
  return `voucher-${toHex(gatewayKey).slice(0, 16)}-${name.slice(0, 16)}.json`;
}

import {
  equalBytes,
  Failure,
  type Nanoton,
  type PayoutVoucher,
  type SignedVoucher,
  type Verify,
} from "../../protocol/index.ts";
import type { Disk } from "./disk.ts";
import { accountFileName, encodeAccount, isSameAccount, parseAccount } from "./kept-account.ts";
import { checkedPayout } from "./voucher-check.ts";

/** What one gateway promised this owner, held against what this worker counted itself. */
export interface VoucherReport {
  /** By this worker's own receipts, since it first knew this gateway. */
  readonly earnedOwnCount: Nanoton;
  /** The newest voucher's total: over all workers of the owner. Zero before the first. */
  readonly voucheredTotal: Nanoton;
  /** How much of the own count the vouchers have not grown by; a gateway settles within seconds, or owes. */
  readonly behind: Nanoton;
  /** Of the vouchered total, what the chain has paid: as far as that was confirmed. */
  readonly paid: Nanoton;
  /** What the gateway owes in all, promised or not. */
  readonly debt: Nanoton;
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
   * @throws {Failure} `promise_fell` for less than is held, or the same for other receipts; `bad_message` for anything
   *   else that is no newer payout voucher of this gateway for this channel; `disk_full`, `storage_failed` when it could not be kept: the gateway will send it again.
   */
  take(voucher: SignedVoucher): Promise<Nanoton | undefined>;
  /** Adds what one receipt earned. */
  earn(amount: Nanoton): void;
  /** The gateway kept so much of it for a redeem that it pays for. */
  deduct(amount: Nanoton): void;
  /** The chain has paid so much in all; less than before changes nothing. */
  setPaid(total: Nanoton): Promise<void>;
  /** The channel has become known. Vouchers of another are worth nothing from now on. */
  setChannel(channel: string): void;
  /** Undefined while neither computed nor seen. */
  channel(): string | undefined;
  /** Whether what is held is for another channel than the owner's. */
  hasOtherChannel(): boolean;
  /** Gives what was earned without an owner to the owner's keeper, as the gateway does. */
  moveCountTo(other: VoucherKeeper): void;
  report(): VoucherReport;
  newest(): SignedVoucher | undefined;
  /** What the newest says. */
  payout(): PayoutVoucher | undefined;
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
  /** What this worker counted by another record: the greater of both stands, since a kill may cost the file its last. */
  readonly counted: Nanoton;
  readonly disk: Disk;
  readonly verify: Verify;
}

interface Kept {
  readonly voucher: SignedVoucher;
  readonly payout: PayoutVoucher;
}

/** @throws {Failure} `storage_failed` when the file is damaged: a forgotten voucher would be a silent loss. */
export async function openVoucherKeeper(options: VoucherKeeperOptions): Promise<VoucherKeeper> {
  const name = accountFileName(options);
  const bytes = await options.disk.read(name);
  return new FileVoucherKeeper(options, name, bytes === undefined ? NOTHING_KEPT : readKept(bytes, name, options));
}

interface Start {
  readonly kept: Kept | undefined;
  readonly earnedOwnCount: Nanoton;
  readonly baseline: Nanoton | undefined;
  readonly deducted: Nanoton;
  readonly paid: Nanoton;
}

const NOTHING_KEPT: Start = { kept: undefined, earnedOwnCount: 0n, baseline: undefined, deducted: 0n, paid: 0n };

function readKept(bytes: Uint8Array, name: string, options: VoucherKeeperOptions): Start {
  const file = parseAccount(bytes, name);
  if (!isSameAccount(file, options)) throw new Failure("storage_failed", `${name} is of another gateway or owner`);
  const { voucher, earnedOwnCount, deducted, paid } = file;
  const kept = voucher === null ? undefined : { voucher, payout: checkedPayout(voucher, options, "storage_failed") };
  // Until something was earned here, what others of the owner earn moves the start of the own count.
  const baseline = earnedOwnCount === 0n ? undefined : file.baseline;
  return { kept, earnedOwnCount, baseline, deducted, paid };
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
  #channel: string | undefined;
  #earnedOwnCount: Nanoton;
  #baseline: Nanoton | undefined;
  #deducted: Nanoton;
  #paid: Nanoton;
  #waiting: Waiting | undefined;
  #isWorking = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: VoucherKeeperOptions, name: string, start: Start) {
    this.#options = options;
    this.#name = name;
    this.#channel = options.channel;
    this.#kept = start.kept;
    this.#earnedOwnCount = start.earnedOwnCount;
    this.#baseline = start.baseline;
    this.#deducted = start.deducted;
    this.#paid = start.paid;
    const missed = options.counted - start.earnedOwnCount;
    if (missed > 0n) this.earn(missed);
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

  deduct(amount: Nanoton): void {
    this.#deducted += amount;
  }

  setPaid(total: Nanoton): Promise<void> {
    if (total <= this.#paid) return Promise.resolve();
    this.#paid = total;
    return this.save();
  }

  setChannel(channel: string): void {
    this.#channel = channel;
  }

  channel(): string | undefined {
    return this.#channel ?? this.#kept?.payout.channel;
  }

  hasOtherChannel(): boolean {
    return this.#kept !== undefined && this.#kept.payout.channel !== this.channel();
  }

  report(): VoucherReport {
    const voucheredTotal = this.#kept?.payout.total ?? 0n;
    const grown = voucheredTotal - (this.#baseline ?? voucheredTotal);
    const behind = positive(this.#earnedOwnCount - this.#deducted - grown);
    const paid = this.#paid < voucheredTotal ? this.#paid : voucheredTotal;
    return {
      earnedOwnCount: this.#earnedOwnCount,
      voucheredTotal,
      behind,
      paid,
      debt: behind + voucheredTotal - paid,
    };
  }

  newest(): SignedVoucher | undefined {
    return this.#kept?.voucher;
  }

  payout(): PayoutVoucher | undefined {
    return this.#kept?.payout;
  }

  save(): Promise<void> {
    return this.#write();
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
    const payout = checkedPayout(voucher, this.#options, "bad_message");
    const kept = this.#kept;
    const channel = this.channel();
    if (channel !== undefined && payout.channel !== channel)
      throw new Failure("bad_message", "a voucher for another channel");
    if (kept?.payout.total === payout.total) {
      if (!equalBytes(kept.voucher.boc, voucher.boc))
        throw new Failure("promise_fell", "two different vouchers with one total");
      return payout.total;
    }
    if (kept !== undefined && payout.total < kept.payout.total)
      throw new Failure("promise_fell", "the gateway's promise has shrunk");
    await this.#write({ voucher, payout });
    return payout.total;
  }

  /** One write at a time, and each of what is held at its turn, so that an older voucher never lands last. */
  #write(newer?: Kept): Promise<void> {
    const written = this.#writing.then(async () => {
      const kept = newer ?? this.#kept;
      await this.#options.disk.write(this.#name, this.#encode(kept));
      this.#kept = kept;
    });
    this.#writing = written.catch(() => undefined);
    return written;
  }

  #encode(kept: Kept | undefined): Uint8Array {
    const { networkId, gatewayKey, owner } = this.#options;
    return encodeAccount({
      networkId,
      gatewayKey,
      owner,
      voucher: kept?.voucher ?? null,
      earnedOwnCount: this.#earnedOwnCount,
      baseline: this.#baseline ?? kept?.payout.total ?? 0n,
      deducted: this.#deducted,
      paid: this.#paid,
    });
  }
}

function positive(amount: Nanoton): Nanoton {
  return amount > 0n ? amount : 0n;
}

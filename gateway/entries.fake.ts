import { createHash } from "node:crypto";
import { chargeFor, type Nanoton, type RawAddress, type TokenUsage } from "../protocol/index.ts";
import { isCountersignable, isDisputable } from "./agreements.ts";
import { clientBook, ownerBook, payeeOf, type ChargeRecord, type ClientBook, type Ledger } from "./books.ts";
import type { ChargeEntry, DisputeEntry, Entry } from "./entries.ts";

/** Entries as tests want them: amounts that are easy to add up, receipts that nobody signed. */

export const CHANNEL: RawAddress = `0:${"c1".repeat(32)}`;
export const OWNER: RawAddress = `0:${"0a".repeat(32)}`;
export const WORKER = "77".repeat(32);
export const SIGNATURE = new Uint8Array(64);
const PRICE = { prompt: 1_000_000n, cached: 1_000_000n, completion: 1_000_000n };

/** A charge of so many completion tokens at 1 nanoton each, fee 10 %. */
export function charge(tokens: number, overrides: Partial<ChargeEntry> = {}): ChargeEntry {
  const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: tokens };
  return {
    type: "charge",
    at: 0,
    payer: { channel: CHANNEL },
    workerId: WORKER,
    owner: OWNER,
    reservationId: "r",
    receipt: receiptBytes(tokens),
    signature: SIGNATURE,
    usage,
    price: PRICE,
    feeBps: 1000,
    deliveredFrames: 1,
    ...chargeFor(usage, PRICE, 1000),
    ...overrides,
  };
}

/** Any 178 bytes: the ledger only hashes them. */
export function receiptBytes(name: number): Uint8Array {
  const bytes = new Uint8Array(178);
  bytes.set(createHash("sha256").update(String(name)).digest());
  return bytes;
}

/** 32 bytes that stand for a chain this ledger does not know. */
export function someChain(name: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(name).digest());
}

export function dispute(
  row: number,
  tokens: number,
  signedTotal: Nanoton,
  overrides: Partial<DisputeEntry> = {},
): DisputeEntry {
  const usage: TokenUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: tokens };
  const base = { type: "dispute" as const, at: 0, channel: CHANNEL, row, signature: SIGNATURE, usage, signedTotal };
  return { ...base, ...chargeFor(usage, PRICE, 1000), ...overrides };
}

export function settle(...rows: number[]): Entry {
  return { type: "settle", at: 0, rows };
}

export function countersign(total: Nanoton, through: number, channel = CHANNEL): Entry {
  return { type: "countersign", at: 0, channel, total, through, signature: SIGNATURE };
}

export const NAME: Entry = { type: "name", at: 0, workerId: WORKER, owner: OWNER };

/** Numbers below a bound, the same for the same seed. */
export function seededBelow(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * bound);
  };
}

/** Entries of every kind among a few clients, workers and owners; each follows from the ledger it is asked for. */
export class RandomEntries {
  readonly #below: (bound: number) => number;
  #made = 0;

  constructor(seed: number) {
    this.#below = seededBelow(seed);
  }

  next(ledger: Ledger): Entry {
    const kinds = [this.#settle, this.#countersign, this.#dispute, this.#redeem, this.#adoptPayout, this.#adoptCharge];
    const made = this.#below(2) === 0 ? undefined : kinds[this.#below(kinds.length)]?.call(this, ledger);
    if (made !== undefined) return made;
    const rare = this.#below(40);
    if (rare === 0) return { type: "name", at: this.#at(), workerId: this.#worker(), owner: this.#owner() };
    if (rare === 1) return this.#commit(ledger);
    return this.#charge();
  }

  #charge(): Entry {
    const tokens = 1 + this.#below(1000);
    const trial = { payer: { trial: this.#name("trial", 3) }, charge: BigInt(tokens), fee: 0n };
    const canary = { payer: { canary: this.#name("canary", 2) }, charge: BigInt(tokens), fee: 0n };
    const client = { payer: { channel: `0:${this.#name("client", 4)}` } };
    const payer = [trial, canary, client, client, client][this.#below(5)] ?? client;
    const at = this.#at();
    const owner = this.#below(3) === 0 ? null : this.#owner();
    const receipt = receiptBytes(this.#made);
    return charge(tokens, { at, workerId: this.#worker(), owner, receipt, ...payer });
  }

  #settle(ledger: Ledger): Entry | undefined {
    const rows = [...ledger.open.values()].filter(({ isSettled }) => !isSettled).map(({ row }) => row);
    const chosen = rows.filter(() => this.#below(3) === 0);
    return chosen.length === 0 ? undefined : { type: "settle", at: this.#at(), rows: chosen };
  }

  #countersign(ledger: Ledger): Entry | undefined {
    const [channel, book] = this.#client(ledger);
    const through = this.#one(book.uncountersigned)?.row ?? 0;
    const covered = book.uncountersigned.filter(({ row }) => row <= through);
    const before = book.countersigned?.total ?? 0n;
    const total = covered.reduce((sum, record) => sum + record.amounts.charge, before);
    // A client may also sign the very voucher it had disputed.
    const disputed = covered.at(-1)?.dispute?.signedTotal ?? total;
    for (const signed of [disputed, total])
      if (isCountersignable(book, { total: signed, through })) return countersign(signed, through, channel);
    return undefined;
  }

  #dispute(ledger: Ledger): Entry | undefined {
    const [channel, book] = this.#client(ledger);
    const record = this.#one(book.uncountersigned);
    if (record === undefined || !isDisputable(book, record)) return undefined;
    return dispute(record.row, this.#below(record.usage.completionTokens + 1), book.total, { channel, at: this.#at() });
  }

  #redeem(ledger: Ledger): Entry | undefined {
    const owner = this.#owner();
    const isOwn = (record: ChargeRecord): boolean => !record.isSettled && payeeOf(ledger, record) === owner;
    const own = [...ledger.open.values()].filter(isOwn);
    const earned = own.reduce((sum, record) => sum + record.amounts.earned, 0n);
    if (earned < 2n) return undefined;
    const deduction = BigInt(1 + this.#below(Number(earned) - 1));
    const total = ownerBook(ledger, owner).total;
    const request = { identityKey: new Uint8Array(32), total, maxDeduction: deduction, signature: SIGNATURE };
    return { type: "redeem", at: this.#at(), owner, rows: own.map(({ row }) => row), deduction, request };
  }

  #adoptPayout(ledger: Ledger): Entry | undefined {
    if (this.#below(4) > 0) return undefined;
    const owner = this.#owner();
    const book = ownerBook(ledger, owner);
    const kept = BigInt(this.#below(Number(book.total) + 1));
    const total = book.total + BigInt(1 + this.#below(500));
    const voucher = this.#below(2) === 0 ? null : { chain: someChain(`payout ${this.#made}`), signature: SIGNATURE };
    return { type: "adopt_payout", at: this.#at(), owner, total, kept, voucher };
  }

  #adoptCharge(ledger: Ledger): Entry | undefined {
    if (this.#below(4) > 0) return undefined;
    const [channel, book] = this.#client(ledger);
    const through = this.#below(2) === 0 ? 0 : (this.#one(book.uncountersigned)?.row ?? 0);
    const total = (book.countersigned?.total ?? 0n) + BigInt(1 + this.#below(2000));
    const chain = someChain(`charge ${this.#made}`);
    const signatures = { signature: SIGNATURE, gatewaySignature: SIGNATURE };
    return {
      type: "adopt_charge",
      at: this.#at(),
      channel,
      total,
      chain,
      ...signatures,
      through,
      signedTotal: book.total,
    };
  }

  #commit(ledger: Ledger): Entry {
    const { rows } = ledger;
    const seqno = (ledger.committed?.seqno ?? 0) + 1;
    return { type: "commit", at: this.#at(), seqno, rows, stateHash: someChain(`state ${rows}`) };
  }

  #client(ledger: Ledger): readonly [RawAddress, ClientBook] {
    const channel = `0:${this.#name("client", 4)}`;
    return [channel, clientBook(ledger, channel)];
  }

  #one<Item>(items: readonly Item[]): Item | undefined {
    return items[this.#below(items.length)];
  }

  #at(): number {
    return 3_600_000 * this.#made++;
  }

  #owner(): RawAddress {
    return `0:${this.#name("owner", 3)}`;
  }

  #worker(): string {
    return this.#name("worker", 4);
  }

  #name(kind: string, count: number): string {
    return Buffer.from(someChain(`${kind} ${this.#below(count)}`)).toString("hex");
  }
}

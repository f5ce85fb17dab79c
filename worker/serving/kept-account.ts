import * as z from "zod";
import {
  bytesField,
  equalBytes,
  Failure,
  key32,
  nanoton,
  parseStrictJson,
  stringify,
  toHex,
  utf8,
  type Nanoton,
  type SignedVoucher,
} from "../../protocol/index.ts";

/** What a worker keeps of one (gateway, owner) on one network, in a file of its own. */
export interface KeptAccount {
  readonly networkId: number;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** `0:hex`, or empty while no owner is named. */
  readonly owner: string;
  readonly voucher: SignedVoucher | null;
  /** By this worker's own receipts. */
  readonly earnedOwnCount: Nanoton;
  /** The total that was there before this worker earned anything here. */
  readonly baseline: Nanoton;
  /** What the gateway kept of the own count for redeems that it paid for. */
  readonly deducted: Nanoton;
  /** What the chain has paid, as far as it was confirmed. */
  readonly paid: Nanoton;
}

export type AccountKey = Pick<KeptAccount, "networkId" | "gatewayKey" | "owner">;

const schema = z.strictObject({
  v: z.literal(2),
  networkId: z.int(),
  gatewayKey: key32,
  owner: z.string().regex(/^(0:[0-9a-f]{64})?$/),
  voucher: z.strictObject({ boc: bytesField(undefined, 512), signature: bytesField(64) }).nullable(),
  earnedOwnCount: nanoton,
  baseline: nanoton,
  deducted: nanoton,
  paid: nanoton,
});

const NAME = /^voucher-(-?\d+)-[0-9a-f]{16}-([0-9a-f]{16}|unnamed)\.json$/;

/** Of the networks a gateway is on each has its own file: a voucher of one is void on the others. */
export function accountFileName({ networkId, gatewayKey, owner }: AccountKey): string {
  const name = owner === "" ? "unnamed" : owner.slice(2, 18);
  return `voucher-${networkId}-${toHex(gatewayKey).slice(0, 16)}-${name}.json`;
}

/** Whether a file of the data folder is one of these, for this network. */
export function isAccountFile(name: string, networkId: number): boolean {
  return NAME.exec(name)?.[1] === String(networkId);
}

/** The networks that these files are of, the smallest id first. */
export function networksOf(names: readonly string[]): readonly number[] {
  const ids = names.flatMap((name) => NAME.exec(name)?.[1] ?? []);
  return [...new Set(ids.map(Number))].sort((a, b) => a - b);
}

export function encodeAccount(account: KeptAccount): Uint8Array {
  return utf8(stringify({ v: 2, ...account }));
}

/** @throws {Failure} `storage_failed` when the file is damaged, or not the one that its name says. */
export function parseAccount(bytes: Uint8Array, name: string): KeptAccount {
  try {
    const { v: _, ...account } = parseStrictJson(schema, bytes, "storage_failed");
    if (accountFileName(account) !== name) throw new Failure("storage_failed", "of another gateway, owner or network");
    return account;
  } catch (cause) {
    const why = cause instanceof Failure ? cause.message : "unreadable";
    throw new Failure("storage_failed", `${name} is damaged (${why}): restore it, or import an exported voucher`, {
      cause,
    });
  }
}

export function isSameAccount(a: AccountKey, b: AccountKey): boolean {
  return a.networkId === b.networkId && a.owner === b.owner && equalBytes(a.gatewayKey, b.gatewayKey);
}

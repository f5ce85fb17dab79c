import * as z from "zod";
import { workerChannelOf } from "../../contracts/WorkerChannel.ts";
import {
  bytesField,
  Failure,
  fromHex,
  hashHex,
  nanoton,
  parsePayload,
  payloadHash,
  readJson,
  stringify,
  toHex,
  utf8,
  type FailureCode,
  type Nanoton,
  type PayoutVoucher,
  type RawAddress,
  type SignedVoucher,
  type Verify,
} from "../../protocol/index.ts";
import { MAX_TOTAL } from "../serving/voucher-check.ts";

/**
 * Vouchers as one file that an owner can keep: it pays nobody but the owners it names, whoever holds it. What stands beside
 * a voucher's bytes is there to be read by people, and must say the same.
 */
export interface VoucherFile {
  readonly networkId: number;
  readonly vouchers: readonly ExportedVoucher[];
}

export interface ExportedVoucher {
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** The gateway's contract; undefined where it was not known: then nobody can tell whose channel it is. */
  readonly contract: RawAddress | undefined;
  readonly owner: RawAddress;
  readonly voucher: SignedVoucher;
  readonly payout: PayoutVoucher;
}

/** A file that is refused, with the first field that is wrong. */
export class RefusedVoucherFile extends Failure {
  /** As `vouchers[0].totalNanoton`; empty for the file as a whole. */
  readonly field: string;

  constructor(code: FailureCode, field: string, why: string) {
    super(code, field === "" ? why : `${field}: ${why}`);
    this.name = "RefusedVoucherFile";
    this.field = field;
  }
}

const FORMAT = "cocoon-vouchers";
const MAX_BYTES = 1_048_576;

const rawAddress = z.string().regex(/^0:[0-9a-f]{64}$/, "not a raw address in workchain 0");
const entrySchema = z.strictObject({
  gatewayKey: hashHex,
  contract: rawAddress.nullable(),
  owner: rawAddress,
  channel: rawAddress,
  totalNanoton: nanoton,
  boc: bytesField(undefined, 512),
  signature: bytesField(64),
});
const fileSchema = z.strictObject({
  format: z.literal(FORMAT),
  v: z.literal(1),
  networkId: z.int(),
  vouchers: z.array(entrySchema).max(1_000),
});

type Entry = z.output<typeof entrySchema>;

/** For people and programs: one field a line. */
export function encodeVoucherFile({ networkId, vouchers }: VoucherFile): Uint8Array {
  const entries = vouchers.map(({ gatewayKey, contract, owner, voucher, payout }) => ({
    gatewayKey: toHex(gatewayKey),
    contract: contract ?? null,
    owner,
    channel: payout.channel,
    totalNanoton: payout.total,
    ...voucher,
  }));
  const plain: unknown = JSON.parse(stringify({ format: FORMAT, v: 1, networkId, vouchers: entries }));
  return utf8(`${JSON.stringify(plain, undefined, 2)}\n`);
}

/**
 * Reads a file and proves every voucher in it.
 *
 * @throws {RefusedVoucherFile} `voucher_format` for what is no such file, `voucher_mismatch` where it says something else
 *   than the voucher, `voucher_signature`, `voucher_channel`.
 */
export function parseVoucherFile(bytes: Uint8Array, verify: Verify): VoucherFile {
  const { networkId, vouchers } = readShape(bytes);
  const seen = new Set<string>();
  const checked = vouchers.map((entry, at) => {
    const name = `${entry.gatewayKey} ${entry.owner}`;
    const refuse = (code: FailureCode, field: keyof Entry | "", why: string): RefusedVoucherFile =>
      new RefusedVoucherFile(code, field === "" ? `vouchers[${at}]` : `vouchers[${at}].${field}`, why);
    if (seen.has(name)) throw refuse("voucher_format", "", "a second voucher of one gateway and owner");
    seen.add(name);
    return check(entry, { networkId, verify, refuse });
  });
  return { networkId, vouchers: checked };
}

function readShape(bytes: Uint8Array): z.output<typeof fileSchema> {
  if (bytes.length > MAX_BYTES) throw new RefusedVoucherFile("voucher_format", "", "too long");
  const result = fileSchema.safeParse(readText(bytes));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = (issue?.path ?? []).map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
  throw new RefusedVoucherFile("voucher_format", path.slice(1), issue?.message ?? "not as it is exported");
}

function readText(bytes: Uint8Array): unknown {
  try {
    return readJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes), "voucher_format");
  } catch (cause) {
    throw new RefusedVoucherFile("voucher_format", "", cause instanceof Failure ? "not JSON" : "not text");
  }
}

interface Checking {
  readonly networkId: number;
  readonly verify: Verify;
  readonly refuse: (code: FailureCode, field: keyof Entry | "", why: string) => RefusedVoucherFile;
}

function check(entry: Entry, { networkId, verify, refuse }: Checking): ExportedVoucher {
  const { boc, signature, owner } = entry;
  const gatewayKey = fromHex(entry.gatewayKey);
  const contract = entry.contract ?? undefined;
  const payout = payoutIn(entry, refuse);
  if (payout.networkId !== networkId)
    throw new RefusedVoucherFile("voucher_mismatch", "networkId", `the voucher is of network ${payout.networkId}`);
  if (payout.channel !== entry.channel)
    throw refuse("voucher_mismatch", "channel", `the voucher is for ${payout.channel}`);
  if (payout.total !== entry.totalNanoton)
    throw refuse("voucher_mismatch", "totalNanoton", `the voucher's total is ${payout.total}`);
  if (!verify(signature, payloadHash(payout), gatewayKey))
    throw refuse("voucher_signature", "signature", "not signed by this gateway");
  if (contract !== undefined && workerChannelOf({ owner, gateway: contract, gatewayKey }).address !== payout.channel)
    throw refuse("voucher_channel", "owner", "the voucher is for the channel of somebody else, or of another contract");
  return { gatewayKey, contract, owner, voucher: { boc, signature }, payout };
}

function payoutIn({ boc }: Entry, refuse: Checking["refuse"]): PayoutVoucher {
  const payload = parsed(boc);
  if (payload?.type !== "payout") throw refuse("voucher_format", "boc", "not a payout voucher");
  if (payload.total > MAX_TOTAL) throw refuse("voucher_format", "boc", "a voucher for more coins than there are");
  return payload;
}

function parsed(boc: Uint8Array): ReturnType<typeof parsePayload> | undefined {
  try {
    return parsePayload(boc);
  } catch {
    return undefined;
  }
}

/** What was done with each voucher of a file. */
export interface ImportedVoucher {
  readonly gatewayKey: Uint8Array;
  readonly owner: RawAddress;
  readonly total: Nanoton;
  /** `kept`: as much or more was there already. */
  readonly outcome: "imported" | "kept";
}

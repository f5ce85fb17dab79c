import { createHash } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { beginCell, Cell, loadMessage, storeMessage, type Message } from "@ton/core";
import * as z from "zod";
import { Failure } from "../../protocol/index.ts";
import type { Chain } from "./chain.ts";
import { readAccount } from "./emulator.ts";
import { ChainState } from "./state.ts";

/** A chain as it lies on disk. */
export interface SavedChain {
  readonly networkId: number;
  readonly state: ChainState;
  readonly pending: readonly Message[];
  readonly aheadSeconds: number;
}

const FILE = "chain.saved";
const VERSION = "cocoon devnet chain 1";

const address = z.string().regex(/^0:[0-9a-f]{64}$/);
const boc = z.string();
const lt = z.string().transform((digits) => BigInt(digits));

const schema = z.strictObject({
  networkId: z.int(),
  aheadSeconds: z.int().min(0),
  blocks: z.array(z.strictObject({ seqno: z.int().min(1), rootHash: z.string(), genUtime: z.int().min(0) })).min(1),
  accounts: z.array(z.tuple([address, boc])),
  transactions: z.array(
    z.strictObject({ address, seqno: z.int(), lt, hash: z.string(), causedLt: lt.optional(), boc }),
  ),
  pending: z.array(boc),
});

/** In one piece or not at all: a crash while it is written leaves the one before. @throws {Failure} `storage_failed`. */
export function saveChain(folder: string, chain: Chain): void {
  const { state, networkId, aheadSeconds, pending } = chain;
  const text = JSON.stringify({
    networkId,
    aheadSeconds,
    blocks: state.blocks,
    accounts: [...state.accounts].map(([key, account]) => [key, account.boc]),
    transactions: state.transactions.map(({ lt: at, causedLt, ...placed }) => {
      return { ...placed, lt: at.toString(), ...(causedLt === undefined ? {} : { causedLt: causedLt.toString() }) };
    }),
    pending: pending.map((message) => bocOf(beginCell().store(storeMessage(message)).endCell())),
  } satisfies z.input<typeof schema>);
  try {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, FILE);
    const file = openSync(`${path}.new`, "w");
    try {
      writeSync(file, `${headOf(text)}\n${text}`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(`${path}.new`, path);
  } catch (cause) {
    throw new Failure("storage_failed", `the chain was not written to ${folder}`, { cause });
  }
}

/** Undefined when the folder holds none yet. @throws {Failure} `storage_failed`. */
export function loadChain(folder: string): SavedChain | undefined {
  const text = readIfThere(join(folder, FILE));
  if (text === undefined) return undefined;
  try {
    const saved = schema.parse(JSON.parse(bodyOf(text)));
    const { networkId, aheadSeconds } = saved;
    const accounts = new Map(saved.accounts.map(([key, account]) => [key, readAccount(account)] as const));
    const transactions = saved.transactions.map(({ causedLt, ...placed }) => ({ ...placed, causedLt }));
    const pending = saved.pending.map((raw) => loadMessage(Cell.fromBase64(raw).beginParse()));
    return { networkId, aheadSeconds, pending, state: new ChainState(saved.blocks, accounts, transactions) };
  } catch (cause) {
    throw new Failure("storage_failed", `${FILE} in ${folder} is not a chain that was saved here`, { cause });
  }
}

/** The first line: what the file is, and the hash of the rest, so that nothing in it need be checked one by one. */
function headOf(body: string): string {
  return `${VERSION} ${createHash("sha256").update(body).digest("hex")}`;
}

function bodyOf(text: string): string {
  const end = text.indexOf("\n");
  const body = text.slice(end + 1);
  if (text.slice(0, end) !== headOf(body)) throw new Error("the file was changed, or is none of this version");
  return body;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new Failure("storage_failed", `${path} cannot be read`, { cause });
  }
}

function bocOf(cell: Cell): string {
  return cell.toBoc().toString("base64");
}

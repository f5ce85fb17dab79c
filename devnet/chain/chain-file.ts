import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { beginCell, Cell, loadMessage, loadTransaction, storeMessage, type Message } from "@ton/core";
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

const FILE = "chain.json";
const VERSION = 1;

const address = z.string().regex(/^0:[0-9a-f]{64}$/);
const boc = z.base64();

const schema = z.strictObject({
  version: z.literal(VERSION),
  networkId: z.int(),
  aheadSeconds: z.int().min(0),
  blocks: z.array(z.strictObject({ seqno: z.int().min(1), rootHash: z.base64(), genUtime: z.int().min(0) })).min(1),
  accounts: z.array(z.tuple([address, boc])),
  transactions: z.array(z.strictObject({ address, seqno: z.int(), boc })),
  pending: z.array(boc),
});

/** In one piece or not at all: a crash while it is written leaves the one before. @throws {Failure} `storage_failed`. */
export function saveChain(folder: string, chain: Chain): void {
  const { state, networkId, aheadSeconds, pending } = chain;
  const text = JSON.stringify({
    version: VERSION,
    networkId,
    aheadSeconds,
    blocks: state.blocks,
    accounts: [...state.accounts].map(([key, account]) => [key, account.boc]),
    transactions: state.transactions.map(({ transaction, ...placed }) => ({ ...placed, boc: bocOf(transaction.raw) })),
    pending: pending.map((message) => bocOf(beginCell().store(storeMessage(message)).endCell())),
  } satisfies z.input<typeof schema>);
  try {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, FILE);
    const file = openSync(`${path}.new`, "w");
    try {
      writeSync(file, text);
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
    const saved = schema.parse(JSON.parse(text));
    const { networkId, aheadSeconds } = saved;
    const accounts = new Map(saved.accounts.map(([key, account]) => [key, readAccount(account)] as const));
    const transactions = saved.transactions.map(({ boc: raw, ...placed }) => {
      return { ...placed, transaction: loadTransaction(Cell.fromBase64(raw).beginParse()) };
    });
    const pending = saved.pending.map((raw) => loadMessage(Cell.fromBase64(raw).beginParse()));
    return { networkId, aheadSeconds, pending, state: new ChainState(saved.blocks, accounts, transactions) };
  } catch (cause) {
    throw new Failure("storage_failed", `${FILE} in ${folder} is not a chain that was saved here`, { cause });
  }
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

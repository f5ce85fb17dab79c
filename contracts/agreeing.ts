import { Cell } from "@ton/core";
import { equalBytes, Failure } from "../protocol/index.ts";
import type { ChainClock } from "./chain-clock.ts";
import type { Account, Block, ChainReader, ChainTransaction, History, StackItem } from "./chain-reader.ts";
import { pause } from "./pace.ts";

export interface AgreeingOptions {
  readonly clock: ChainClock;
  readonly signal?: AbortSignal;
}

/** One node may be a block or two ahead: how often and how far apart both are asked again before it counts. */
const ATTEMPTS = 4;
const AGAIN_AFTER_MS = 3_000;

/**
 * A reader that believes only what two nodes say alike, so that no one node can make an owner see coins that are not
 * there. Only one of them is sent messages: what it does with them shows on the other. Everything that
 * {@link ChainReader} throws, and `chain_disagrees` when two answers still differ after some blocks.
 */
export function agreeing(first: ChainReader, second: ChainReader, options: AgreeingOptions): ChainReader {
  return {
    networkId: () =>
      agreed("the network", options, async () => {
        const [a, b] = await Promise.all([first.networkId(), second.networkId()]);
        return a === b ? { value: a } : undefined;
      }),
    newestBlock: () => agreed("the newest block", options, () => newestOfBoth(first, second)),
    block: (seqno) =>
      agreed(`block ${seqno}`, options, async () => {
        const [a, b] = await Promise.all([first.block(seqno), second.block(seqno)]);
        // A block that only one has is not there yet.
        if (a === undefined || b === undefined) return { value: undefined };
        return isSameBlock(a, b) ? { value: a } : undefined;
      }),
    account: (address) =>
      agreed(`account ${address}`, options, async () => {
        const [a, b] = await Promise.all([first.account(address), second.account(address)]);
        return isSameAccount(a, b) ? { value: a } : undefined;
      }),
    get: (address, method, args) =>
      agreed(`${method} of ${address}`, options, async () => {
        const [a, b] = await Promise.all([first.get(address, method, args), second.get(address, method, args)]);
        if (a === undefined && b === undefined) return { value: undefined };
        return a !== undefined && b !== undefined && isSameStack(a, b) ? { value: a } : undefined;
      }),
    transactions: (address, since) =>
      agreed(`transactions of ${address}`, options, async () => {
        const [a, b] = await Promise.all([first.transactions(address, since), second.transactions(address, since)]);
        const value = historyOfBoth(a, b);
        return value === undefined ? undefined : { value };
      }),
    send: (boc) => first.send(boc),
  };
}

/** Undefined from `ask` is a difference, which time may mend. */
async function agreed<Value>(
  what: string,
  { clock, signal }: AgreeingOptions,
  ask: () => Promise<{ readonly value: Value } | undefined>,
): Promise<Value> {
  for (let attempt = 1; ; attempt++) {
    const answer = await ask();
    if (answer !== undefined) return answer.value;
    if (attempt >= ATTEMPTS) throw new Failure("chain_disagrees", `two nodes differ about ${what}`);
    await pause(clock, AGAIN_AFTER_MS, signal);
  }
}

/** The newest that both have. */
async function newestOfBoth(first: ChainReader, second: ChainReader): Promise<{ readonly value: Block } | undefined> {
  const [a, b] = await Promise.all([first.newestBlock(), second.newestBlock()]);
  if (a.seqno === b.seqno) return isSameBlock(a, b) ? { value: a } : undefined;
  const [older, ahead] = a.seqno < b.seqno ? [a, second] : [b, first];
  const same = await ahead.block(older.seqno);
  return same !== undefined && isSameBlock(older, same) ? { value: older } : undefined;
}

/**
 * What both have seen: where the two overlap they must be the same, and what only the newer of two nodes knows waits
 * until the other knows it too.
 */
function historyOfBoth(a: History, b: History): History | undefined {
  const [newestA, newestB] = [a.transactions.at(-1), b.transactions.at(-1)];
  const until = newestA === undefined || newestB === undefined ? undefined : lesser(newestA.lt, newestB.lt);
  if (until === undefined) return { transactions: [], isWhole: a.isWhole && b.isWhole };
  const from = greater(startOf(a), startOf(b));
  const [seenByA, seenByB] = [between(a, from, until), between(b, from, until)];
  const isSame = seenByA.length === seenByB.length && seenByA.every((one, at) => isSameTransaction(one, seenByB[at]));
  return isSame ? { transactions: seenByA, isWhole: a.isWhole && b.isWhole } : undefined;
}

/** A whole history begins wherever the other does. */
function startOf({ transactions: [oldest], isWhole }: History): bigint {
  return isWhole ? 0n : (oldest?.lt ?? 0n);
}

function between({ transactions }: History, from: bigint, until: bigint): readonly ChainTransaction[] {
  return transactions.filter(({ lt }) => lt >= from && lt <= until);
}

/** The hash binds everything in it. */
function isSameTransaction(a: ChainTransaction, b: ChainTransaction | undefined): boolean {
  return a.lt === b?.lt && equalBytes(a.hash, b.hash);
}

function isSameBlock(a: Block, b: Block): boolean {
  return a.seqno === b.seqno && a.genUtime === b.genUtime && equalBytes(a.rootHash, b.rootHash);
}

function isSameAccount(a: Account, b: Account): boolean {
  if (a.state !== b.state || a.balance !== b.balance) return false;
  if (a.lastTransaction?.lt !== b.lastTransaction?.lt) return false;
  if (!isSameBytes(a.lastTransaction?.hash, b.lastTransaction?.hash)) return false;
  return isSameCell(a.contract?.code, b.contract?.code) && isSameCell(a.contract?.data, b.contract?.data);
}

function isSameStack(a: readonly StackItem[], b: readonly StackItem[]): boolean {
  return a.length === b.length && a.every((item, at) => isSameItem(item, b[at]));
}

function isSameItem(a: StackItem, b: StackItem | undefined): boolean {
  switch (a.type) {
    case "int":
      return b?.type === "int" && a.value === b.value;
    case "null":
      return b?.type === "null";
    case "tuple":
      return b?.type === "tuple" && isSameStack(a.items, b.items);
    case "cell":
    case "slice":
      // Not every node tells the two apart.
      return b !== undefined && "boc" in b && isSameCell(a.boc, b.boc);
  }
}

/** Two bags of cells may be written in two ways and hold the same cell. */
function isSameCell(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b) || equalBytes(hashOf(a), hashOf(b));
}

function hashOf(boc: Uint8Array): Uint8Array {
  try {
    const [cell] = Cell.fromBoc(Buffer.from(boc));
    if (cell !== undefined) return cell.hash();
  } catch (cause) {
    throw new Failure("chain_malformed", "a cell that cannot be read", { cause });
  }
  throw new Failure("chain_malformed", "no cell");
}

function isSameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b);
}

function lesser(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function greater(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

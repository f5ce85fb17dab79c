import { Address, Cell, loadTransaction, type Transaction } from "@ton/core";
import type { RawAddress } from "../../protocol/index.ts";
import { blockAtTime, blockOfSeqno, type ChainBlock } from "./blocks.ts";
import { emptyAccount, type AccountState } from "./emulator.ts";

/** A transaction where it belongs. Kept as bytes: one that is read takes 20 KB, and a chain may have many thousands. */
export interface PlacedTransaction {
  readonly address: RawAddress;
  /** Of the block it is in. */
  readonly seqno: number;
  readonly lt: bigint;
  /** Base64. */
  readonly hash: string;
  /** When the message that caused it was made, if another contract made it. */
  readonly causedLt: bigint | undefined;
  /** Base64. */
  readonly boc: string;
}

export function placed(address: RawAddress, seqno: number, transaction: Transaction): PlacedTransaction {
  const info = transaction.inMessage?.info;
  return {
    address,
    seqno,
    lt: transaction.lt,
    hash: transaction.hash().toString("base64"),
    causedLt: info?.type === "internal" ? info.createdLt : undefined,
    boc: transaction.raw.toBoc().toString("base64"),
  };
}

export function readPlaced({ boc }: PlacedTransaction): Transaction {
  return loadTransaction(Cell.fromBase64(boc).beginParse());
}

/** Everything a node can be asked about, as of one block. */
export interface ChainView {
  readonly head: ChainBlock;
  account(address: RawAddress): AccountState;
  block(seqno: number): ChainBlock | undefined;
  blockAt(utime: number): ChainBlock | undefined;
  /** Oldest first. */
  transactionsOf(address: RawAddress): readonly PlacedTransaction[];
  transactionsIn(seqno: number): readonly PlacedTransaction[];
}

/** What is in the blocks: the facts, and the index by which they are found. */
export class ChainState {
  readonly blocks: ChainBlock[];
  readonly accounts: Map<RawAddress, AccountState>;
  /** In the order they ran. */
  readonly transactions: PlacedTransaction[] = [];
  readonly #byAddress = new Map<RawAddress, PlacedTransaction[]>();
  readonly #bySeqno = new Map<number, PlacedTransaction[]>();

  constructor(
    blocks: ChainBlock[],
    accounts: Map<RawAddress, AccountState>,
    transactions: readonly PlacedTransaction[],
  ) {
    this.blocks = blocks;
    this.accounts = accounts;
    for (const one of transactions) this.place(one);
  }

  get head(): ChainBlock {
    const head = this.blocks.at(-1);
    if (head === undefined) throw new Error("a chain without a block");
    return head;
  }

  account(address: RawAddress): AccountState {
    return this.accounts.get(address) ?? emptyAccount(Address.parseRaw(address));
  }

  place(transaction: PlacedTransaction): void {
    this.transactions.push(transaction);
    listAt(this.#byAddress, transaction.address).push(transaction);
    listAt(this.#bySeqno, transaction.seqno).push(transaction);
  }

  /** As it is now, and goes on being. */
  live(): ChainView {
    return this.#view(() => this.head, this.accounts);
  }

  /** As it is now, whatever happens after: what a node that has stopped following still says. */
  frozen(): ChainView {
    const { head } = this;
    return this.#view(() => head, new Map(this.accounts));
  }

  #view(headNow: () => ChainBlock, accounts: ReadonlyMap<RawAddress, AccountState>): ChainView {
    const isKnown = ({ seqno }: { readonly seqno: number }): boolean => seqno <= headNow().seqno;
    const known = (block: ChainBlock | undefined): ChainBlock | undefined =>
      block !== undefined && isKnown(block) ? block : undefined;
    return {
      get head() {
        return headNow();
      },
      account: (address) => accounts.get(address) ?? emptyAccount(Address.parseRaw(address)),
      block: (seqno) => known(blockOfSeqno(this.blocks, seqno)),
      blockAt: (utime) => blockAtTime(this.blocks.filter(isKnown), utime),
      transactionsOf: (address) => (this.#byAddress.get(address) ?? []).filter(isKnown),
      transactionsIn: (seqno) => (this.#bySeqno.get(seqno) ?? []).filter(isKnown),
    };
  }
}

function listAt<Key, Value>(lists: Map<Key, Value[]>, key: Key): Value[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

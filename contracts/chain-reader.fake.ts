import { Failure, hash, utf8, type FailureCode, type Nanoton, type RawAddress } from "../protocol/index.ts";
import type { Account, Block, ChainReader, ChainTransaction, History, Since, StackItem } from "./chain-reader.ts";

/** A chain that says what a test has put into it, for those who only read one. */
export interface FakeChain extends ChainReader {
  /** Every message that was sent, in order. */
  readonly sent: readonly Uint8Array[];
  /** What a get method answers from now on; undefined for a contract that is not there. */
  answer(address: RawAddress, method: string, stack: readonly StackItem[] | undefined): void;
  setAccount(address: RawAddress, facts: Partial<Account> & { readonly balance: Nanoton }): void;
  addTransaction(transaction: Partial<ChainTransaction> & Pick<ChainTransaction, "address" | "lt">): void;
  /** One more block, whose hash follows from its number and the salt. */
  addBlock(genUtime: number, salt?: string): Block;
  /** Everything that is asked fails so; undefined ends it. */
  fail(code: FailureCode | undefined): void;
}

export function fakeChain(networkId = 7): FakeChain {
  const accounts = new Map<RawAddress, Account>();
  const answers = new Map<string, readonly StackItem[]>();
  const blocks: Block[] = [];
  const sent: Uint8Array[] = [];
  let transactions: readonly ChainTransaction[] = [];
  let failing: FailureCode | undefined;

  /** Answers on a later turn, as a network does. */
  const answered = async <Value>(value: () => Value): Promise<Value> => {
    await Promise.resolve();
    if (failing !== undefined) throw new Failure(failing, "as the test has it");
    return value();
  };
  const addBlock = (genUtime: number, salt = ""): Block => {
    const seqno = blocks.length + 1;
    const block = { seqno, rootHash: hash(utf8(`block ${seqno} ${salt}`)), genUtime };
    blocks.push(block);
    return block;
  };
  addBlock(0);

  return {
    sent,
    addBlock,
    answer(address, method, stack) {
      if (stack === undefined) answers.delete(`${address} ${method}`);
      else answers.set(`${address} ${method}`, stack);
    },
    setAccount(address, facts) {
      const empty = { address, state: "uninitialized", lastTransaction: undefined, contract: undefined } as const;
      accounts.set(address, { ...empty, ...facts });
    },
    addTransaction(transaction) {
      const added: ChainTransaction = {
        hash: hash(utf8(`transaction ${transaction.address} ${transaction.lt}`)),
        executedAt: 0,
        outcome: { type: "succeeded", exitCode: 0 },
        fees: 0n,
        inMessage: undefined,
        outMessages: [],
        ...transaction,
      };
      transactions = [...transactions, added].sort((a, b) => (a.lt < b.lt ? -1 : 1));
    },
    fail(code) {
      failing = code;
    },
    networkId: () => answered(() => networkId),
    newestBlock: () => answered(() => blocks.at(-1) ?? addBlock(0)),
    block: (seqno) => answered(() => blocks[seqno - 1]),
    account: (address) =>
      answered(() => {
        const empty = { address, state: "uninitialized", balance: 0n, lastTransaction: undefined } as const;
        return accounts.get(address) ?? { ...empty, contract: undefined };
      }),
    get: (address, method) => answered(() => answers.get(`${address} ${method}`)),
    transactions: (address, { after = 0n, limit = 1_000 }: Since = {}) =>
      answered((): History => {
        const newer = transactions.filter((one) => one.address === address && one.lt > after);
        return { transactions: newer.slice(-limit), isWhole: newer.length <= limit };
      }),
    send: (boc) => answered(() => void sent.push(boc)),
  };
}

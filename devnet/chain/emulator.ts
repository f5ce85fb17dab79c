import {
  beginCell,
  Cell,
  Dictionary,
  loadShardAccount,
  loadTransaction,
  parseTuple,
  storeMessage,
  storeShardAccount,
} from "@ton/core";
import type { Address, Message, ShardAccount, Transaction, TupleItem } from "@ton/core";
import { createEmptyShardAccount, defaultConfig, Executor } from "@ton/sandbox";
import { PRICES_OF_JUNE_2026, withPrices } from "../../contracts/prices.ts";

/** Where and when something runs. */
export interface Moment {
  /** Unix seconds. */
  readonly utime: number;
  /** Logical time that it may begin at. */
  readonly lt: bigint;
  /** 32 bytes. */
  readonly randomSeed: Uint8Array;
}

/** An account as the executor writes it, and read. */
export interface AccountState {
  /** Base64. */
  readonly boc: string;
  readonly shard: ShardAccount;
}

export type Execution =
  | {
      readonly type: "executed";
      /** The account after it. */
      readonly account: AccountState;
      readonly transaction: Transaction;
    }
  /** An external message that its contract did not accept: as if it had never been. */
  | { readonly type: "refused"; readonly exitCode: number | undefined };

export interface GetterRun {
  readonly exitCode: number;
  readonly gasUsed: number;
  readonly stack: readonly TupleItem[];
}

/** The executor did not survive what it was asked: a get method with a stack of some hundred levels is enough. */
export class ExecutorBroke extends Error {
  constructor(cause: unknown) {
    super("the executor broke", { cause });
    this.name = "ExecutorBroke";
  }
}

/** What a public node lets a get method use. */
const GETTER_GAS = 1_000_000n;
/** Parameters above are lists of validators: an eighth of a megabyte to read for every get method. */
const LAST_PARAMETER = 31;
const GLOBAL_ID = 19;
/** Exit code that a node gives for an account without code. */
const NO_CODE = -13;

/** TON's own transaction executor (WASM), without a memory of its own: accounts go in and come out. */
export class Emulator {
  readonly #config: Cell;
  readonly #configText: string;
  #executor: Executor;

  private constructor(config: Cell, executor: Executor) {
    this.#config = config;
    this.#configText = config.toBoc().toString("base64");
    this.#executor = executor;
  }

  static async create(networkId: number): Promise<Emulator> {
    return new Emulator(chainConfig(networkId), await Executor.create());
  }

  /** One parameter of the network's configuration. */
  parameter(index: number): Cell | undefined {
    return Dictionary.loadDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell(), this.#config).get(index);
  }

  async run(
    account: AccountState,
    message: Message,
    { utime, lt, randomSeed, ignoreSignatures = false }: Moment & { readonly ignoreSignatures?: boolean },
  ): Promise<Execution> {
    const { result } = await this.#attempt((executor) =>
      executor.runTransaction({
        config: this.#configText,
        libs: null,
        verbosity: "short",
        shardAccount: account.boc,
        message: beginCell().store(storeMessage(message)).endCell(),
        now: utime,
        lt,
        randomSeed: Buffer.from(randomSeed),
        ignoreChksig: ignoreSignatures,
        debugEnabled: false,
      }),
    );
    if (!result.success) return { type: "refused", exitCode: result.vmResults?.vmExitCode };
    return {
      type: "executed",
      account: readAccount(result.shardAccount),
      transaction: loadTransaction(Cell.fromBase64(result.transaction).beginParse()),
    };
  }

  async get(
    { shard: { account } }: AccountState,
    methodId: number,
    stack: readonly TupleItem[],
    { utime, randomSeed }: Moment,
  ): Promise<GetterRun> {
    const state = account?.storage.state;
    const { code, data } = state?.type === "active" ? state.state : {};
    if (!account || !code || !data) return { exitCode: NO_CODE, gasUsed: 0, stack: [] };
    const { output } = await this.#attempt((executor) =>
      executor.runGetMethod({
        code,
        data,
        methodId,
        stack: [...stack],
        config: this.#configText,
        verbosity: "short",
        address: account.addr,
        unixTime: utime,
        balance: account.storage.balance.coins,
        randomSeed: Buffer.from(randomSeed),
        gasLimit: GETTER_GAS,
        debugEnabled: false,
      }),
    );
    if (!output.success) throw new Error(`get method ${methodId}: ${output.error}`);
    const exitCode = output.vm_exit_code;
    const isAnswer = exitCode === 0 || exitCode === 1;
    const answer = isAnswer ? parseTuple(Cell.fromBase64(output.stack)) : [];
    return { exitCode, gasUsed: Number(output.gas_used), stack: answer };
  }

  /**
   * A module of WASM that threw may have broken its own memory: the next call gets a fresh one.
   *
   * @throws {ExecutorBroke}
   */
  async #attempt<Result>(run: (executor: Executor) => Promise<Result>): Promise<Result> {
    try {
      return await run(this.#executor);
    } catch (cause) {
      this.#executor = await Executor.create();
      throw new ExecutorBroke(cause);
    }
  }
}

/** One that nobody has sent anything to. */
export function emptyAccount(address: Address): AccountState {
  const shard = createEmptyShardAccount(address);
  return { boc: beginCell().store(storeShardAccount(shard)).endCell().toBoc().toString("base64"), shard };
}

export function readAccount(boc: string): AccountState {
  return { boc, shard: loadShardAccount(Cell.fromBase64(boc).beginParse()) };
}

/** Mainnet's configuration and today's prices, under a network id of its own. */
function chainConfig(networkId: number): Cell {
  const all = Dictionary.loadDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell(), Cell.fromBase64(defaultConfig));
  const parameters = Dictionary.empty(Dictionary.Keys.Int(32), Dictionary.Values.Cell());
  for (const [index, parameter] of all) if (index >= 0 && index <= LAST_PARAMETER) parameters.set(index, parameter);
  parameters.set(GLOBAL_ID, beginCell().storeInt(networkId, 32).endCell());
  return withPrices(beginCell().storeDictDirect(parameters).endCell(), PRICES_OF_JUNE_2026);
}

import { Address, Cell, type Message } from "@ton/core";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { appendBlock, nextBlock } from "./blocks.ts";
import type { Emulator, Execution, Moment } from "./emulator.ts";
import { placed, type ChainState } from "./state.ts";

/**
 * When a message that was accepted is executed, and the messages it causes after it. On a real chain each hop takes a
 * block, some seconds; `at-once` is for tests in which the chain is not what is tested.
 */
export type BlockPace = "at-once" | "by-hand" | { readonly everyMs: number };

export interface ChainOptions {
  readonly networkId: number;
  readonly pace: BlockPace;
  readonly emulator: Emulator;
  readonly state: ChainState;
  /** Accepted and not yet executed. */
  readonly pending?: readonly Message[];
  /** Seconds that the chain's clock is ahead of this machine's. */
  readonly aheadSeconds?: number;
  /** Unix ms. */
  readonly now: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
  /** A message that the executor itself failed at is left out, and said here. */
  readonly bug: (error: unknown) => void;
}

/** An external message that its contract does not accept now. */
export class NotAccepted extends Error {
  readonly exitCode: number | undefined;

  constructor(exitCode: number | undefined) {
    super(`not accepted (exit code ${exitCode ?? "none"})`);
    this.name = "NotAccepted";
    this.exitCode = exitCode;
  }
}

/** Where the devnet's coins come from. Nobody has its key: it is no account, its coins are made as they are given. */
export const FAUCET: RawAddress = `0:${"fa".repeat(32)}`;

/** Room for a block's transactions, and for the messages of each, between the logical times of two blocks. */
const BLOCK_LT = 1_000_000n;
const TRANSACTION_LT = 1_000n;
const MAX_TRANSACTIONS = 900;
/** A quiet chain makes a block a second, when somebody looks. */
const QUIET_BLOCK_MS = 1_000;
/** Contracts that send each other messages for ever must not stop the rest. */
const MAX_BLOCKS_TO_SETTLE = 10_000;

/** One chain: what was accepted becomes blocks, what is in blocks can be read. One thing happens at a time. */
export class Chain {
  readonly networkId: number;
  readonly state: ChainState;
  readonly emulator: Emulator;
  readonly #options: ChainOptions;
  #pending: Message[];
  #aheadSeconds: number;
  #lastTurn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #lastBlockAt: number;
  #lastFaucetLt = 0n;

  constructor(options: ChainOptions) {
    this.#options = options;
    this.networkId = options.networkId;
    this.state = options.state;
    this.emulator = options.emulator;
    this.#pending = [...(options.pending ?? [])];
    this.#aheadSeconds = options.aheadSeconds ?? 0;
    this.#lastBlockAt = options.now();
    if (this.state.blocks.length === 0) this.#appendBlock();
    this.#schedule();
  }

  get aheadSeconds(): number {
    return this.#aheadSeconds;
  }

  get pending(): readonly Message[] {
    return this.#pending;
  }

  /** Unix seconds, never before the newest block. */
  now(): number {
    return Math.max(Math.floor(this.#options.now() / 1_000) + this.#aheadSeconds, this.state.head.genUtime);
  }

  /** Between blocks, after everything that was asked before. */
  inTurn<Result>(act: () => Promise<Result> | Result): Promise<Result> {
    const turn = this.#lastTurn.then(act);
    this.#lastTurn = turn.catch(() => undefined);
    return turn;
  }

  /** The same, once the chain has made the block that is due. */
  atHead<Result>(act: () => Promise<Result> | Result): Promise<Result> {
    return this.inTurn(async () => {
      const idleMs = this.#options.now() - this.#lastBlockAt;
      if (this.#options.pace !== "by-hand" && this.#pending.length === 0 && idleMs >= this.#quietMs())
        this.#appendBlock();
      return act();
    });
  }

  /**
   * Takes an external message as a node does: after trying it on the newest state, which promises nothing.
   *
   * @throws {NotAccepted}
   */
  accept(message: Message): Promise<void> {
    return this.inTurn(async () => {
      const tried = await this.tryOut(message);
      if (tried.type === "refused") throw new NotAccepted(tried.exitCode);
      if (this.#pending.some((other) => isSameMessage(other, message))) return;
      this.#pending.push(message);
      if (this.#options.pace === "at-once") await this.#settle();
      else this.#schedule();
    });
  }

  /** What a message would do now. Only in turn. */
  tryOut(message: Message, ignoreSignatures = false): Promise<Execution> {
    const account = this.state.account(destinationOf(message));
    return this.emulator.run(account, message, { ...this.moment(), ignoreSignatures });
  }

  /** When something would run that ran now. */
  moment(): Moment {
    const lt = BigInt(this.state.head.seqno + 1) * BLOCK_LT;
    return { utime: this.now(), lt, randomSeed: this.#options.randomBytes(32) };
  }

  /** The coins are in the account when this resolves. */
  faucet(address: RawAddress, amount: Nanoton): Promise<void> {
    return this.inTurn(async () => {
      this.#pending.push(this.#gift(address, amount));
      if (this.#options.pace === "at-once") return this.#settle();
      await this.#makeBlock();
    });
  }

  advance(seconds: number): Promise<void> {
    return this.inTurn(() => {
      this.#aheadSeconds += seconds;
      if (this.#options.pace !== "by-hand") this.#appendBlock();
    });
  }

  makeBlock(): Promise<void> {
    return this.inTurn(() => this.#makeBlock());
  }

  /** Blocks until no message is under way. */
  settle(): Promise<void> {
    return this.inTurn(() => this.#settle());
  }

  /** No block is made after this. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#lastTurn;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #settle(): Promise<void> {
    for (let blocks = 0; this.#pending.length > 0; blocks++) {
      if (blocks >= MAX_BLOCKS_TO_SETTLE) throw new Error("messages that never end");
      await this.#makeBlock();
    }
  }

  /** One hop: what these messages cause is for the next block. */
  async #makeBlock(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const messages = this.#pending.splice(0, MAX_TRANSACTIONS);
    const moment = this.moment();
    const { seqno } = this.#appendBlock();
    for (const [index, message] of messages.entries()) {
      await this.#execute(message, seqno, { ...moment, lt: moment.lt + BigInt(index) * TRANSACTION_LT });
    }
    this.#schedule();
  }

  async #execute(message: Message, seqno: number, moment: Moment): Promise<void> {
    const address = destinationOf(message);
    try {
      const execution = await this.emulator.run(this.state.account(address), message, moment);
      // Accepted before and refused now: another one was faster. It leaves no trace, as on any chain.
      if (execution.type === "refused") return;
      const { account, transaction } = execution;
      this.state.accounts.set(address, account);
      this.state.place(placed(address, seqno, transaction));
      this.#pending.push(...transaction.outMessages.values().filter(({ info }) => info.type === "internal"));
    } catch (error) {
      this.#options.bug(error);
    }
  }

  #appendBlock(): { readonly seqno: number } {
    const { now, randomBytes } = this.#options;
    const utime = Math.floor(now() / 1_000) + this.#aheadSeconds;
    const block = nextBlock(this.networkId, this.state.blocks.at(-1), { utime, chance: randomBytes(32) });
    appendBlock(this.state.blocks, block);
    this.#lastBlockAt = now();
    return block;
  }

  #schedule(): void {
    const { pace, bug } = this.#options;
    if (typeof pace === "string" || this.#pending.length === 0 || this.#timer !== undefined) return;
    const dueInMs = Math.max(0, this.#lastBlockAt + pace.everyMs - this.#options.now());
    this.#timer = setTimeout(() => void this.makeBlock().catch(bug), dueInMs);
  }

  #quietMs(): number {
    const { pace } = this.#options;
    return typeof pace === "string" ? QUIET_BLOCK_MS : Math.max(QUIET_BLOCK_MS, pace.everyMs);
  }

  #gift(address: RawAddress, amount: Nanoton): Message {
    const { utime, lt } = this.moment();
    // Two gifts are two messages, also within one block.
    this.#lastFaucetLt = this.#lastFaucetLt >= lt - BLOCK_LT ? this.#lastFaucetLt + 1n : lt - BLOCK_LT;
    return {
      info: {
        type: "internal",
        ihrDisabled: true,
        bounce: false,
        bounced: false,
        src: Address.parseRaw(FAUCET),
        dest: Address.parseRaw(address),
        value: { coins: amount },
        ihrFee: 0n,
        forwardFee: 0n,
        createdLt: this.#lastFaucetLt,
        createdAt: utime,
      },
      body: Cell.EMPTY,
    };
  }
}

function destinationOf({ info }: Message): RawAddress {
  if (info.type === "external-out") throw new Error("a message to nobody");
  return info.dest.toRawString();
}

function isSameMessage(a: Message, b: Message): boolean {
  return a.info.type === "external-in" && destinationOf(a) === destinationOf(b) && a.body.equals(b.body);
}

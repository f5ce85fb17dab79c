import type { Nanoton, RawAddress } from "../protocol/index.ts";

/**
 * The chain as every role sees it, through somebody else's node. Addresses are raw, cells are bags of cells, so a caller
 * needs no TON library; the twins of the contracts read what comes out of {@link ChainReader.get}.
 *
 * Every method throws a {@link Failure} of the chain group: `chain_unreachable`, `chain_rate_limited`, `chain_malformed`,
 * `chain_lagging`, `chain_other_network`; two endpoints that are compared also `chain_disagrees`. A message that was
 * sent is not a message that was executed: a trace takes seconds a hop, so ask again, never assume.
 */
export interface ChainReader {
  /** What GLOBALID gives on this chain (configuration parameter 19), int32: −239 mainnet, −3 testnet. */
  networkId(): Promise<number>;
  /** The newest masterchain block: the freshness beacon of evidence. */
  newestBlock(): Promise<Block>;
  /** One masterchain block; undefined when this chain has none of that number, or none yet. */
  block(seqno: number): Promise<Block | undefined>;
  account(address: RawAddress): Promise<Account>;
  /**
   * Runs a get method. Undefined when there is nothing that could answer: no contract at the address yet, or none with
   * this method.
   *
   * @throws {Failure} `chain_malformed` when the method itself ended with an exit code.
   */
  get(address: RawAddress, method: string, args?: readonly StackItem[]): Promise<readonly StackItem[] | undefined>;
  /** What an account has done since. */
  transactions(address: RawAddress, since?: Since): Promise<History>;
  /**
   * Hands an external message to the chain. Not repeated when no answer comes, since it may have been taken: look at
   * the account, then decide. Sending the same bytes again does no harm, but a refusal then says nothing.
   *
   * @throws {Failure} `chain_refused` when the contract did not accept it.
   */
  send(boc: Uint8Array): Promise<void>;
}

/** A masterchain block. */
export interface Block {
  readonly seqno: number;
  /** 32 bytes. Nobody could know it before the block was made. */
  readonly rootHash: Uint8Array;
  /** Unix seconds. */
  readonly genUtime: number;
}

export interface Account {
  readonly address: RawAddress;
  readonly state: "active" | "uninitialized" | "frozen";
  readonly balance: Nanoton;
  /** Undefined for an account that has never had one. */
  readonly lastTransaction: TransactionId | undefined;
  /** Bags of cells, while the account is active. */
  readonly contract: { readonly code: Uint8Array; readonly data: Uint8Array } | undefined;
}

export interface TransactionId {
  /** Logical time: grows along every account, and along every chain of messages. */
  readonly lt: bigint;
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

/** A value on the stack of a get method. An answer has slices as cells: not every node tells them apart. */
export type StackItem =
  | { readonly type: "int"; readonly value: bigint }
  | { readonly type: "cell"; readonly boc: Uint8Array }
  | { readonly type: "slice"; readonly boc: Uint8Array }
  | { readonly type: "null" }
  | { readonly type: "tuple"; readonly items: readonly StackItem[] };

export interface Since {
  /** Only transactions of a greater logical time. Default: all that there are. */
  readonly after?: bigint;
  /** At most this many, the newest. Default 1 000. */
  readonly limit?: number;
}

export interface History {
  /** Oldest first. */
  readonly transactions: readonly ChainTransaction[];
  /** False when `limit` left older ones out: continue from the state of the contract, not from here. */
  readonly isWhole: boolean;
}

export interface ChainTransaction extends TransactionId {
  readonly address: RawAddress;
  /** Unix seconds. */
  readonly executedAt: number;
  readonly outcome: Outcome;
  /** What validators took for it, storage included. */
  readonly fees: Nanoton;
  /** Undefined for one that no message caused. */
  readonly inMessage: ChainMessage | undefined;
  readonly outMessages: readonly ChainMessage[];
}

/** `no-code` is an account without a contract that was sent coins, or a message without gas for one. */
export type Outcome =
  | { readonly type: "succeeded"; readonly exitCode: number }
  | { readonly type: "failed"; readonly phase: "compute" | "action"; readonly exitCode: number }
  | { readonly type: "skipped"; readonly reason: "no-code" | "no-gas" };

export type ChainMessage =
  | {
      readonly type: "internal";
      readonly source: RawAddress;
      readonly destination: RawAddress;
      readonly value: Nanoton;
      /** Whether it came back from where it was refused; its body then begins with 32 ones. */
      readonly isBounced: boolean;
      /** 32 bytes, of the message's cell. */
      readonly hash: Uint8Array;
      readonly body: Uint8Array;
    }
  | {
      readonly type: "external-in";
      readonly destination: RawAddress;
      /** 32 bytes: {@link externalHash} of what was sent, whichever way its cells were laid out. */
      readonly hash: Uint8Array;
      readonly body: Uint8Array;
    }
  | {
      readonly type: "external-out";
      readonly source: RawAddress;
      readonly hash: Uint8Array;
      readonly body: Uint8Array;
    };

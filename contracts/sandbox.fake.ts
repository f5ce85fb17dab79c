import { Blockchain, EmulationError, type SandboxContract, type TreasuryContract } from "@ton/sandbox";
import { beginCell, Cell, Dictionary, external, loadStateInit, type StateInit, type Transaction } from "@ton/core";
import type { Nanoton, RawAddress } from "../protocol/index.ts";
import { toAddress, toBoc, toCell, type Deployment } from "./cells.ts";
import type { Getter } from "./getter.ts";
import { PRICES_OF_JUNE_2026, withPrices, type Prices } from "./prices.ts";
import { stackItems } from "./stack.ts";

/** A chain in memory on which contracts are tested, with wallets as rich as a test needs. */
export interface TestChain {
  readonly blockchain: Blockchain;
  readonly networkId: number;
  readonly prices: Prices;
  /** Unix seconds. */
  now(): number;
  advance(seconds: number): void;
  /** The same wallet for the same name, with 1 000 000 TON. */
  wallet(name: string): Promise<TestWallet>;
  /** From a wallet, which pays the message's fees beside its value. */
  send(message: TestMessage): Promise<Trace>;
  /** A message from nowhere: what it led to, or the exit code with which the contract did not accept it. */
  sendExternal(to: RawAddress, body: Uint8Array): Promise<Trace | number>;
  /** @throws {Error} with the exit code when there is no such contract. */
  ask<Answer>(address: RawAddress, getter: Getter<Answer>): Promise<Answer>;
  balanceOf(address: RawAddress): Promise<Nanoton>;
  /** Whether there is a contract at the address. */
  isActive(address: RawAddress): Promise<boolean>;
}

export interface TestWallet {
  readonly address: RawAddress;
  readonly contract: SandboxContract<TreasuryContract>;
}

export interface TestMessage {
  readonly from: TestWallet;
  readonly to: RawAddress;
  readonly value: Nanoton;
  /** Default empty. */
  readonly body?: Uint8Array;
  /** Brings the contract to its address. */
  readonly deploys?: Deployment;
  /** Default true, as wallets have it for contracts. */
  readonly bounce?: boolean;
}

/** Everything that one message led to. */
export interface Trace {
  readonly transactions: readonly Transaction[];
  /** Of the first transaction on an account: its exit code, of the action phase when that failed. */
  codeAt(address: RawAddress): number | "skipped" | undefined;
  /** What an account was charged for standing on the chain since its last transaction. */
  rentOf(address: RawAddress): Nanoton;
  /** What the account was sent by other contracts, in order. */
  receivedBy(address: RawAddress): readonly ReceivedMessage[];
}

export interface ReceivedMessage {
  readonly from: RawAddress;
  readonly value: Nanoton;
  readonly isBounced: boolean;
  /** Whether it would come back from an account that cannot take it. */
  readonly mayBounce: boolean;
  readonly body: Uint8Array;
}

export interface TestChainOptions {
  readonly prices?: Prices;
  readonly networkId?: number;
}

/** That of mainnet. */
export const TEST_NETWORK_ID = -239;

/** Unix seconds: in September 2026. */
const START = 1_790_000_000;

export async function openTestChain(options: TestChainOptions = {}): Promise<TestChain> {
  const { prices = PRICES_OF_JUNE_2026, networkId = TEST_NETWORK_ID } = options;
  const blockchain = await Blockchain.create();
  blockchain.setConfig(withPrices(withNetworkId(blockchain.config, networkId), prices));
  blockchain.now = START;
  const now = (): number => blockchain.now ?? START;
  return {
    blockchain,
    networkId,
    prices,
    now,
    advance: (seconds) => {
      blockchain.now = now() + seconds;
    },
    wallet: async (name) => {
      const contract = await blockchain.treasury(name);
      return { address: contract.address.toRawString(), contract };
    },
    send: async ({ from, to, value, body, deploys, bounce = true }) => {
      const { transactions } = await from.contract.send({
        to: toAddress(to),
        value,
        bounce,
        body: body === undefined ? Cell.EMPTY : toCell(body),
        init: deploys === undefined ? null : stateInitOf(deploys),
      });
      return traceOf(transactions);
    },
    sendExternal: async (to, body) => {
      try {
        const message = external({ to: toAddress(to), body: toCell(body) });
        const { transactions } = await blockchain.sendMessage(message);
        return traceOf(transactions);
      } catch (error) {
        if (error instanceof EmulationError && error.exitCode !== undefined) return error.exitCode;
        throw error;
      }
    },
    ask: async (address, { method, args, read }) => {
      const given = args.map((item) => {
        if (item.type === "int") return item;
        if (item.type === "slice") return { type: "slice" as const, cell: toCell(item.boc) };
        throw new RangeError("getters of ours are asked with numbers and addresses");
      });
      const { stack } = await blockchain.runGetMethod(toAddress(address), method, given);
      return read(stackItems(stack));
    },
    balanceOf: async (address) => (await blockchain.getContract(toAddress(address))).balance,
    isActive: async (address) => {
      const { accountState } = await blockchain.getContract(toAddress(address));
      return accountState?.type === "active";
    },
  };
}

function withNetworkId(config: Cell, networkId: number): Cell {
  const parameters = Dictionary.loadDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell(), config);
  parameters.set(19, beginCell().storeInt(networkId, 32).endCell());
  return beginCell().storeDictDirect(parameters).endCell();
}

function stateInitOf({ stateInit }: Deployment): StateInit {
  return loadStateInit(toCell(stateInit).beginParse());
}

function traceOf(transactions: readonly Transaction[]): Trace {
  const on = (address: RawAddress): readonly Transaction[] =>
    transactions.filter((transaction) => accountOf(transaction) === address);
  return {
    transactions,
    codeAt: (address) => {
      const [first] = on(address);
      return first === undefined ? undefined : codeOf(first);
    },
    rentOf: (address) => on(address).reduce((rent, transaction) => rent + rentIn(transaction), 0n),
    receivedBy: (address) =>
      on(address).flatMap(({ inMessage }) =>
        inMessage?.info.type === "internal"
          ? {
              from: inMessage.info.src.toRawString(),
              value: inMessage.info.value.coins,
              isBounced: inMessage.info.bounced,
              mayBounce: inMessage.info.bounce,
              body: toBoc(inMessage.body),
            }
          : [],
      ),
  };
}

export function accountOf({ address }: Transaction): RawAddress {
  return `0:${address.toString(16).padStart(64, "0")}`;
}

export function codeOf({ description }: Transaction): number | "skipped" {
  if (description.type !== "generic") throw new RangeError("a transaction that no message caused");
  const { computePhase, actionPhase } = description;
  if (computePhase.type === "skipped") return "skipped";
  return computePhase.success && actionPhase?.success === false ? actionPhase.resultCode : computePhase.exitCode;
}

function rentIn({ description }: Transaction): Nanoton {
  return description.type === "generic" ? (description.storagePhase?.storageFeesCollected ?? 0n) : 0n;
}

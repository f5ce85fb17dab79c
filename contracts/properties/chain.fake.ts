import assert from "node:assert/strict";
import { Blockchain, internal } from "@ton/sandbox";
import { Address, external, loadStateInit, type Cell, type Message } from "@ton/core";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { toCell } from "../cells.ts";
import type { Getter } from "../getter.ts";
import { stackItems } from "../stack.ts";
import { pricesIn, withPrices, type Prices } from "../prices.ts";
import { readTransaction, type Transaction } from "./transactions.fake.ts";

/** A message from outside. A person's coins come from nowhere and are counted. */
export interface Delivery {
  /** Undefined for nobody: an external message. */
  readonly from: RawAddress | undefined;
  readonly to: RawAddress;
  readonly value: Nanoton;
  readonly body: Cell;
  /** Sent with the first message to a contract. */
  readonly stateInit?: Uint8Array;
  readonly bounces?: boolean;
}

/** A simulated chain, one transaction at a time. */
export interface Chain {
  readonly prices: Prices;
  readonly networkId: number;
  /** Unix seconds. */
  now(): number;
  advance(seconds: number): void;
  /** @throws with an `exitCode` when an external message is refused. */
  deliver(delivery: Delivery): AsyncIterable<Transaction>;
  balanceOf(address: RawAddress): Promise<Nanoton>;
  /** What its next message takes for storage. */
  rentOf(address: RawAddress): Promise<Nanoton>;
  ask<Answer>(address: RawAddress, getter: Getter<Answer>): Promise<Answer>;
}

/** Of the sandbox's configuration, which is mainnet's. */
const NETWORK_ID = -239;
const BEGINNING = 1_790_000_000;

export async function simulatedChain(prices: Prices): Promise<Chain> {
  const blockchain = await Blockchain.create({ config: "slim" });
  blockchain.setConfig(withPrices(blockchain.config, prices));
  assert.deepEqual(pricesIn(blockchain.config), prices);
  let now = BEGINNING;
  blockchain.now = now;
  const contract = async (address: RawAddress): ReturnType<Blockchain["getContract"]> =>
    blockchain.getContract(Address.parseRaw(address));
  return {
    prices,
    networkId: NETWORK_ID,
    now: () => now,
    advance: (seconds) => {
      now += seconds;
      blockchain.now = now;
    },
    deliver: async function* (delivery) {
      for await (const transaction of await blockchain.sendMessageIter(messageOf(delivery))) {
        yield readTransaction(transaction);
      }
    },
    balanceOf: async (address) => (await contract(address)).balance,
    rentOf: async (address) => {
      const { account } = (await contract(address)).account;
      if (!account || account.storageStats.lastPaid === 0) return 0n;
      const { used, lastPaid, duePayment } = account.storageStats;
      const perSecond = used.cells * prices.rentCell + used.bits * prices.rentBit;
      return ((perSecond * BigInt(now - lastPaid) + 0xffffn) >> 16n) + (duePayment ?? 0n);
    },
    // The twins' getters that tell a whole state take no arguments.
    ask: async (address, { method, read }) => read(stackItems((await (await contract(address)).get(method)).stack)),
  };
}

function messageOf({ from, to, value, body, stateInit, bounces = true }: Delivery): Message {
  const init = stateInit === undefined ? undefined : loadStateInit(toCell(stateInit).beginParse());
  const dest = Address.parseRaw(to);
  if (from === undefined) return external({ to: dest, body, ...(init && { init }) });
  return internal({
    from: Address.parseRaw(from),
    to: dest,
    value,
    body,
    bounce: bounces,
    ...(init && { stateInit: init }),
  });
}

import { Address, type Message } from "@ton/core";
import { MASTERCHAIN } from "./blocks.ts";
import { atHead, idOf, type Method, type NodeSide } from "./method.ts";
import {
  addressOf,
  integerOf,
  methodIdOf,
  optionalHash,
  optionalInteger,
  stackOf,
  type Parameters,
} from "./parameters.ts";
import { Refusal } from "./refusal.ts";
import { readPlaced, type ChainView, type PlacedTransaction } from "./state.ts";
import { base64, stackEntry, transactionId, transactionJson, type Json } from "./toncenter-format.ts";

const DEFAULT_TRANSACTIONS = 10n;
const MAX_TRANSACTIONS = 100n;

/** Accounts: what they hold, what they answer, what they did. */
export const ACCOUNT_METHODS: Readonly<Record<string, Method>> = {
  getAddressInformation: atHead((node, parameters) => {
    const view = node.view();
    const { shard } = view.account(addressOf(parameters, "address"));
    const storage = shard.account?.storage;
    const state = storage?.state.type === "active" ? storage.state.state : undefined;
    return {
      "@type": "raw.fullAccountState",
      balance: (storage?.balance.coins ?? 0n).toString(),
      extra_currencies: [],
      code: state?.code ? base64(state.code) : "",
      data: state?.data ? base64(state.data) : "",
      last_transaction_id: lastTransaction(shard),
      block_id: idOf(view.head, MASTERCHAIN),
      frozen_hash: storage?.state.type === "frozen" ? hashOf(storage.state.stateHash) : "",
      sync_utime: view.head.genUtime,
      state: stateOf(storage?.state.type),
    };
  }),

  getAddressBalance: atHead((node, parameters) => {
    const { shard } = node.view().account(addressOf(parameters, "address"));
    return (shard.account?.storage.balance.coins ?? 0n).toString();
  }),

  getAddressState: atHead((node, parameters) => {
    const { shard } = node.view().account(addressOf(parameters, "address"));
    return stateOf(shard.account?.storage.state.type);
  }),

  runGetMethod: atHead(async ({ chain, view }, parameters) => {
    const { head, account } = view();
    const [address, methodId] = [addressOf(parameters, "address"), methodIdOf(parameters, "method")];
    const moment = { ...chain.moment(), utime: head.genUtime };
    const run = await chain.emulator.get(account(address), methodId, stackOf(parameters, "stack"), moment);
    return {
      "@type": "smc.runResult",
      gas_used: run.gasUsed,
      stack: run.stack.map(stackEntry),
      exit_code: run.exitCode,
      block_id: idOf(head, MASTERCHAIN),
      last_transaction_id: lastTransaction(account(address).shard),
    };
  }),

  getTransactions: atHead((node, parameters) => {
    const address = addressOf(parameters, "address");
    const limit = optionalInteger(parameters, "limit") ?? DEFAULT_TRANSACTIONS;
    if (limit < 1n || limit > MAX_TRANSACTIONS) throw new Refusal(422, "Validation error: limit must be from 1 to 100");
    const all = node.view().transactionsOf(address);
    const until = all.length - 1 - newerThan(all, parameters);
    const after = optionalInteger(parameters, "to_lt") ?? 0n;
    const asked = all.slice(Math.max(0, until + 1 - Number(limit)), until + 1).reverse();
    return asked.filter(({ lt }) => lt > after).map(transactionJson);
  }),

  tryLocateTx: (node, parameters) => located(receivedBy(node, parameters)),

  tryLocateResultTx: (node, parameters) => located(receivedBy(node, parameters)),

  tryLocateSourceTx: (node, parameters) => {
    const [destination, createdLt] = [addressOf(parameters, "destination"), integerOf(parameters, "created_lt")];
    const isSent = ({ info }: Message): boolean =>
      info.type === "internal" && info.dest.toRawString() === destination && info.createdLt === createdLt;
    // Messages are numbered on from the transaction that sends them.
    const sender = node
      .view()
      .transactionsOf(addressOf(parameters, "source"))
      .findLast(({ lt }) => lt < createdLt);
    const hasSent = sender !== undefined && readPlaced(sender).outMessages.values().some(isSent);
    return located(hasSent ? sender : undefined);
  },

  packAddress: (_node, parameters) => Address.parseRaw(addressOf(parameters, "address")).toString(),

  unpackAddress: (_node, parameters) => addressOf(parameters, "address"),
};

type ShardAccount = ReturnType<ChainView["account"]>["shard"];

function lastTransaction({ lastTransactionLt, lastTransactionHash }: ShardAccount): Json {
  return transactionId({ lt: lastTransactionLt, hash: hashOf(lastTransactionHash) });
}

function hashOf(hash: bigint): string {
  return Buffer.from(hash.toString(16).padStart(64, "0"), "hex").toString("base64");
}

function stateOf(type: "active" | "frozen" | "uninit" | undefined): string {
  return type === "active" || type === "frozen" ? type : "uninitialized";
}

/** How many of an account's transactions are newer than the one to start with. */
function newerThan(all: readonly PlacedTransaction[], parameters: Parameters): number {
  const [lt, hash] = [optionalInteger(parameters, "lt"), optionalHash(parameters, "hash")];
  if (lt === undefined || hash === undefined) return 0;
  const at = all.findLastIndex((one) => one.lt === lt);
  if (all[at]?.hash !== hash) {
    throw new Refusal(500, `LITE_SERVER_UNKNOWN: cannot locate transaction in block with specified logical time ${lt}`);
  }
  return all.length - 1 - at;
}

function receivedBy({ view }: NodeSide, parameters: Parameters): PlacedTransaction | undefined {
  const [source, createdLt] = [addressOf(parameters, "source"), integerOf(parameters, "created_lt")];
  const received = view().transactionsOf(addressOf(parameters, "destination"));
  return received.find((one) => {
    if (one.causedLt !== createdLt) return false;
    const info = readPlaced(one).inMessage?.info;
    return info?.type === "internal" && info.src.toRawString() === source;
  });
}

function located(placed: PlacedTransaction | undefined): Json {
  if (placed === undefined) throw new Refusal(503, "Tx not found");
  return transactionJson(placed);
}

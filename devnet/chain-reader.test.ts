import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { toNano } from "@ton/core";
import { agreeing } from "../contracts/agreeing.ts";
import { SYSTEM_CHAIN_CLOCK } from "../contracts/chain-clock.ts";
import type { ChainReader, StackItem } from "../contracts/chain-reader.ts";
import { externalHash } from "../contracts/external-message.ts";
import { toncenterReader, type ToncenterOptions } from "../contracts/toncenter.ts";
import { equalBytes, toHex } from "../protocol/index.ts";
import { DEVNET_NETWORK_ID } from "./accounts.ts";
import type { DevnetChain, DevnetNode, FaultType } from "./chain.ts";
import { coinsFor, contractOf, funded, PUBLIC_KEY, STRANGER, transferBoc, WALLET } from "./chain.fake.ts";

/** Time as it is, but nobody waits: a pause is over at once. */
const HURRIED = { ...SYSTEM_CHAIN_CLOCK, pause: (): Promise<void> => Promise.resolve() };

function readerOf({ endpoint }: { readonly endpoint: string }, overrides: Partial<ToncenterOptions> = {}): ChainReader {
  const options = { endpoint, networkId: DEVNET_NETWORK_ID, fetch, clock: HURRIED, random: () => 0 };
  return toncenterReader({ ...options, ...overrides });
}

describe("our reader at the devnet", () => {
  let chain: DevnetChain;
  let reader: ChainReader;

  before(async () => {
    ({ chain } = await funded({ blocks: "at-once" }));
    reader = readerOf(chain);
  });
  after(() => chain.close());
  beforeEach(() => chain.heal());

  test("an account without a contract answers nothing, and has its coins", async () => {
    const { state, balance } = await reader.account(WALLET);
    assert.deepEqual([state, balance], ["uninitialized", toNano(100)]);
    assert.equal(await reader.get(WALLET, "seqno"), undefined);
  });

  test("a sent message is found by its hash, with what it caused", async () => {
    const boc = transferBoc(0, coinsFor(STRANGER, 5n));
    await reader.send(boc);
    const { transactions, isWhole } = await reader.transactions(WALLET);
    const done = transactions.find(({ inMessage }) => inMessage && equalBytes(inMessage.hash, externalHash(boc)));
    assert.deepEqual([isWhole, done?.outcome], [true, { type: "succeeded", exitCode: 0 }]);
    const [out] = done?.outMessages ?? [];
    assert.ok(out?.type === "internal");
    assert.deepEqual([out.destination, out.value], [STRANGER.toRawString(), 5n]);
    const [arrived] = (await reader.transactions(STRANGER.toRawString())).transactions;
    assert.ok(arrived?.inMessage && equalBytes(arrived.inMessage.hash, out.hash));
    assert.deepEqual(await reader.get(WALLET, "seqno"), [{ type: "int", value: 1n }]);
    const [publicKey] = (await reader.get(WALLET, "get_public_key")) ?? [];
    assert.deepEqual(publicKey, { type: "int", value: BigInt(`0x${toHex(PUBLIC_KEY)}`) });
    assert.equal((await reader.transactions(WALLET, { after: done?.lt ?? 0n })).transactions.length, 0);
  });

  test("a refused message is a refusal, with the contract's exit code", async () => {
    const replay = transferBoc(0, coinsFor(STRANGER, 5n));
    await assert.rejects(reader.send(replay), { code: "chain_refused", message: /exitcode=133/ });
  });

  test("a block is found again by its number, and one that is not there is not", async () => {
    const newest = await reader.newestBlock();
    assert.deepEqual(await reader.block(newest.seqno), newest);
    assert.equal(await reader.block(newest.seqno + 1_000), undefined);
    assert.ok(Math.abs(newest.genUtime - Date.now() / 1_000) < 30);
    await chain.makeBlock();
    const next = await reader.newestBlock();
    assert.ok(next.seqno > newest.seqno && !equalBytes(next.rootHash, newest.rootHash));
  });

  test("a deep stack is read, and one that breaks the executor breaks nothing else", async () => {
    // DROP NULL, n times: a tuple of what there is.
    const nestedBy = (depth: number): string => `306d81${depth.toString(16).padStart(4, "0")}926f01e4`;
    const depthOf = async (depth: number): Promise<number> => {
      const { address, message } = contractOf(nestedBy(depth));
      const [seqno] = (await reader.get(WALLET, "seqno")) ?? [];
      await reader.send(transferBoc(seqno?.type === "int" ? Number(seqno.value) : 0, message));
      let item: StackItem | undefined = (await reader.get(address.toRawString(), "deep"))?.[0];
      let found = 0;
      for (; item?.type === "tuple"; found++) item = item.items[0];
      return found;
    };
    assert.equal(await depthOf(1), 1);
    assert.equal(await depthOf(200), 200);
    // Here the executor itself gives up, and a new one takes its place.
    await assert.rejects(depthOf(400), { code: "chain_unreachable" });
    await assert.rejects(depthOf(9_000), { code: "chain_unreachable" });
    assert.equal(await depthOf(2), 2, "the chain goes on");
  });

  test("a node of another network is not read", async () => {
    await assert.rejects(readerOf(chain, { networkId: -239 }).account(WALLET), { code: "chain_other_network" });
  });

  /** What a node does once, and what a reader makes of it that asks again. */
  const PASSING: readonly FaultType[] = ["rate-limited", "failing", "cut", "truncated"];
  for (const type of PASSING) {
    test(`a node that is ${type} once is asked again, and answers`, async () => {
      await chain.fail({ type, times: 1 });
      assert.equal((await reader.account(WALLET)).state, "active");
    });
  }

  /** What a node does until it is healed, and what it is called then. */
  const LASTING: readonly (readonly [FaultType, string])[] = [
    ["rate-limited", "chain_rate_limited"],
    ["failing", "chain_unreachable"],
    ["cut", "chain_unreachable"],
    ["silent", "chain_unreachable"],
    ["truncated", "chain_unreachable"],
    ["html", "chain_malformed"],
    ["wrong-types", "chain_malformed"],
    ["redirect", "chain_malformed"],
  ];
  for (const [type, code] of LASTING) {
    test(`a node that stays ${type} is ${code}`, async () => {
      const impatient = readerOf(chain, { timeoutMs: 50 });
      await chain.fail({ type });
      await assert.rejects(impatient.account(WALLET), { code });
      await chain.heal();
      assert.equal((await impatient.account(WALLET)).state, "active");
    });
  }

  test("only the method that fails fails", async () => {
    await chain.fail({ type: "html", method: "runGetMethod" });
    assert.equal((await reader.account(WALLET)).state, "active");
    await assert.rejects(reader.get(WALLET, "seqno"), { code: "chain_malformed" });
  });

  test("a node may thank for a message and lose it", async () => {
    await chain.fail({ type: "loses-message", times: 1 });
    const before = (await reader.transactions(WALLET)).transactions.length;
    const [seqno] = (await reader.get(WALLET, "seqno")) ?? [];
    const boc = transferBoc(seqno?.type === "int" ? Number(seqno.value) : 0, coinsFor(STRANGER, 5n));
    await reader.send(boc);
    assert.equal((await reader.transactions(WALLET)).transactions.length, before);
    await reader.send(boc);
    assert.equal((await reader.transactions(WALLET)).transactions.length, before + 1);
  });
});

describe("two nodes of one chain", () => {
  let chain: DevnetChain;
  let second: DevnetNode;

  before(async () => {
    ({ chain } = await funded({ blocks: "at-once" }));
    second = await chain.addNode();
  });
  after(() => chain.close());
  beforeEach(() => second.thaw());

  const both = (): ChainReader => agreeing(readerOf(chain), readerOf(second), { clock: HURRIED });

  test("they say the same", async () => {
    assert.equal((await both().account(WALLET)).balance, toNano(100));
    assert.ok((await both().newestBlock()).seqno > 0);
    assert.equal((await both().transactions(WALLET)).transactions.length, 1);
  });

  test("nothing is paid of which one of them knows nothing", async () => {
    await second.freeze();
    await chain.faucet(WALLET, 1n);
    await assert.rejects(both().account(WALLET), { code: "chain_disagrees" });
    assert.equal((await both().transactions(WALLET)).transactions.length, 1);
    await second.thaw();
    assert.equal((await both().account(WALLET)).balance, toNano(100) + 1n);
    assert.equal((await both().transactions(WALLET)).transactions.length, 2);
  });

  test("a node that stopped following is named as one, by its age or by what it said before", async () => {
    const reader = readerOf(second);
    await reader.newestBlock();
    await second.freeze();
    const threeMinutesLater = { ...HURRIED, now: () => Date.now() + 180_000 };
    const late = readerOf(second, { clock: threeMinutesLater });
    await assert.rejects(late.account(WALLET), { code: "chain_lagging", message: /s old/ });
    await chain.makeBlock();
    await second.thaw();
    const { seqno } = await reader.newestBlock();
    await second.freeze();
    await chain.makeBlock();
    assert.equal((await reader.newestBlock()).seqno, seqno, "not older than what was seen");
  });

  test("a node of another chain is found out", async () => {
    const { chain: other } = await funded({ blocks: "at-once" });
    try {
      await other.faucet(WALLET, 7n);
      const mixed = agreeing(readerOf(chain), readerOf(other), { clock: HURRIED });
      await assert.rejects(mixed.account(WALLET), { code: "chain_disagrees" });
      await assert.rejects(mixed.newestBlock(), { code: "chain_disagrees" });
    } finally {
      await other.close();
    }
  });
});

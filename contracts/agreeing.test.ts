import assert from "node:assert/strict";
import test from "node:test";
import { beginCell } from "@ton/core";
import { type RawAddress } from "../protocol/index.ts";
import { agreeing } from "./agreeing.ts";
import { fakeChainClock, type FakeChainClock } from "./chain-clock.fake.ts";
import { fakeChain, type FakeChain } from "./chain-reader.fake.ts";
import type { ChainReader, StackItem } from "./chain-reader.ts";

const A: RawAddress = `0:${"aa".repeat(32)}`;
const PAID: readonly StackItem[] = [{ type: "int", value: 5n }];
const UNPAID: readonly StackItem[] = [{ type: "int", value: 0n }];

interface Pair {
  readonly first: FakeChain;
  readonly second: FakeChain;
  readonly both: ChainReader;
  readonly clock: FakeChainClock;
}

/** Two nodes of one chain, as both see it after `set`. */
function pair(set: (node: FakeChain) => void = () => undefined): Pair {
  const [first, second, clock] = [fakeChain(), fakeChain(), fakeChainClock()];
  set(first);
  set(second);
  return { first, second, clock, both: agreeing(first, second, { clock }) };
}

/** A clock on whose first pause something happens. */
function onFirstPause(clock: FakeChainClock, happen: () => void): FakeChainClock {
  return {
    ...clock,
    async pause(ms) {
      happen();
      await clock.pause(ms);
    },
  };
}

test("what two nodes say alike is the answer", async () => {
  const { both } = pair((node) => {
    node.answer(A, "get_worker_data", PAID);
    node.setAccount(A, { balance: 7n, state: "active" });
    node.addTransaction({ address: A, lt: 4n });
  });
  assert.equal(await both.networkId(), 7);
  assert.deepEqual(await both.get(A, "get_worker_data"), PAID);
  assert.equal(await both.get(A, "get_other_data"), undefined);
  assert.equal((await both.account(A)).balance, 7n);
  assert.equal((await both.newestBlock()).seqno, 1);
  assert.equal((await both.transactions(A)).transactions.length, 1);
});

test("one node that says paid while the other does not is a disagreement, however often both are asked", async () => {
  const { first, both, clock } = pair((node) => node.answer(A, "get_worker_data", UNPAID));
  first.answer(A, "get_worker_data", PAID);
  await assert.rejects(both.get(A, "get_worker_data"), { code: "chain_disagrees" });
  assert.deepEqual(clock.pauses, [3_000, 3_000, 3_000]);
});

test("a node that is a block behind is waited for", async () => {
  const { first, second, clock } = pair((node) => node.answer(A, "get_worker_data", UNPAID));
  first.answer(A, "get_worker_data", PAID);
  const catchingUp = onFirstPause(clock, () => second.answer(A, "get_worker_data", PAID));
  assert.deepEqual(await agreeing(first, second, { clock: catchingUp }).get(A, "get_worker_data"), PAID);
});

/** Whatever one node could make up alone. */
const LIES: readonly (readonly [what: string, lie: (node: FakeChain) => void, ask: (both: ChainReader) => unknown])[] =
  [
    ["a balance", (node) => node.setAccount(A, { balance: 9n, state: "active" }), (both) => both.account(A)],
    ["a state", (node) => node.setAccount(A, { balance: 1n, state: "frozen" }), (both) => both.account(A)],
    [
      "a last transaction",
      (node) =>
        node.setAccount(A, { balance: 1n, state: "active", lastTransaction: { lt: 1n, hash: new Uint8Array(32) } }),
      (both) => both.account(A),
    ],
    ["a contract's answer", (node) => node.answer(A, "get", PAID), (both) => both.get(A, "get")],
    ["one value more", (node) => node.answer(A, "get", [...UNPAID, ...PAID]), (both) => both.get(A, "get")],
    ["another kind of value", (node) => node.answer(A, "get", [{ type: "null" }]), (both) => both.get(A, "get")],
    ["no contract", (node) => node.answer(A, "get", undefined), (both) => both.get(A, "get")],
    ["a transaction", (node) => node.addTransaction({ address: A, lt: 3n }), (both) => both.transactions(A)],
    [
      "another transaction in a place",
      (node) => node.addTransaction({ address: A, lt: 5n, hash: new Uint8Array(32) }),
      (both) => both.transactions(A),
    ],
  ];

for (const [what, lie, ask] of LIES) {
  test(`one node alone cannot make up ${what}`, async () => {
    const { first, second, both, clock } = pair((node) => {
      node.setAccount(A, { balance: 1n, state: "active" });
      node.answer(A, "get", UNPAID);
      node.addTransaction({ address: A, lt: 5n });
    });
    lie(first);
    await assert.rejects(async () => ask(both), { code: "chain_disagrees" });
    await assert.rejects(async () => ask(agreeing(second, first, { clock })), { code: "chain_disagrees" });
  });
}

test("two networks are never one", async () => {
  const clock = fakeChainClock();
  await assert.rejects(agreeing(fakeChain(7), fakeChain(-239), { clock }).networkId(), { code: "chain_disagrees" });
});

test("cells are compared by what is in them, not by how a node writes them down", async () => {
  const cell = beginCell().storeUint(1, 8).storeRef(beginCell().storeUint(2, 8)).endCell();
  const item = (type: "cell" | "slice", options: Parameters<typeof cell.toBoc>[0]): readonly StackItem[] => [
    { type: "tuple", items: [{ type, boc: new Uint8Array(cell.toBoc(options)) }] },
  ];
  const { first, second, both } = pair();
  first.answer(A, "get", item("cell", { idx: true, crc32: false }));
  second.answer(A, "get", item("slice", { idx: false, crc32: true }));
  assert.equal((await both.get(A, "get"))?.length, 1);
  second.answer(A, "get", [{ type: "tuple", items: [{ type: "cell", boc: new Uint8Array([1]) }] }]);
  await assert.rejects(both.get(A, "get"), { code: "chain_malformed" });
});

test("the newest block is the newest that both have", async () => {
  const { first, second, both } = pair((node) => node.addBlock(10));
  second.addBlock(11);
  assert.equal((await both.newestBlock()).seqno, 2);
  assert.equal((await agreeing(second, first, { clock: fakeChainClock() }).newestBlock()).seqno, 2);
  assert.equal(await both.block(3), undefined, "a block that only one has is not there yet");
});

test("two blocks of one number are a disagreement", async () => {
  const { first, second, both } = pair();
  first.addBlock(10, "one");
  second.addBlock(10, "other");
  await assert.rejects(both.newestBlock(), { code: "chain_disagrees" });
  await assert.rejects(both.block(2), { code: "chain_disagrees" });
  second.addBlock(11);
  await assert.rejects(both.newestBlock(), { code: "chain_disagrees" });
});

test("what only the newer node knows of an account waits for the other", async () => {
  const { first, second, both } = pair((node) => node.addTransaction({ address: A, lt: 1n }));
  second.addTransaction({ address: A, lt: 2n });
  const { transactions, isWhole } = await both.transactions(A);
  assert.deepEqual([transactions.map(({ lt }) => lt), isWhole], [[1n], true]);
  first.addTransaction({ address: A, lt: 2n });
  assert.equal((await both.transactions(A)).transactions.length, 2);
  assert.deepEqual(await both.transactions(A, { limit: 1 }).then((history) => history.isWhole), false);
});

test("a node that does not answer is named as what it is, and nothing is believed", async () => {
  const { second, both } = pair((node) => node.answer(A, "get", PAID));
  for (const code of ["chain_unreachable", "chain_lagging", "chain_rate_limited"] as const) {
    second.fail(code);
    await assert.rejects(both.get(A, "get"), { code });
  }
});

test("a message is handed to one of the two", async () => {
  const { first, second, both } = pair();
  await both.send(new Uint8Array([1]));
  assert.deepEqual([first.sent.length, second.sent.length], [1, 0]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { Address, beginCell, Cell, external, internal, storeMessage } from "@ton/core";
import { equalBytes, type RawAddress } from "../protocol/index.ts";
import { fakeChainClock, type FakeChainClock } from "./chain-clock.fake.ts";
import type { ChainReader, StackItem } from "./chain-reader.ts";
import { externalHash } from "./external-message.ts";
import { addressItem } from "./stack.ts";
import { toncenterReader } from "./toncenter.ts";
import {
  blockHeader,
  blockId,
  hashOf,
  masterchainInfo,
  ok,
  refused,
  scriptedNode,
  silence,
  transactionLine,
  type Reply,
  type ScriptedNode,
} from "./toncenter.fake.ts";

const A: RawAddress = `0:${"aa".repeat(32)}`;
const NOW_SECONDS = 1_800_000_000;

interface Read {
  readonly reader: ChainReader;
  readonly node: ScriptedNode;
  readonly clock: FakeChainClock;
}

function readerOf(facts: Parameters<typeof scriptedNode>[0] = {}): Read {
  const [node, clock] = [scriptedNode(facts), fakeChainClock(NOW_SECONDS * 1_000)];
  const options = { endpoint: "http://127.0.0.1:8081/api/v2", networkId: 7, random: () => 0.5 };
  return { node, clock, reader: toncenterReader({ ...options, fetch: node.fetch, clock }) };
}

function addressInformation(overrides: Readonly<Record<string, unknown>> = {}): unknown {
  return {
    balance: "12",
    state: "active",
    code: Cell.EMPTY.toBoc().toString("base64"),
    data: Cell.EMPTY.toBoc().toString("base64"),
    last_transaction_id: { "@type": "internal.transactionId", lt: "20", hash: hashOf(1) },
    block_id: blockId(100),
    sync_utime: NOW_SECONDS,
    frozen_hash: "",
    ...overrides,
  };
}

function runResult(stack: readonly unknown[], overrides: Readonly<Record<string, unknown>> = {}): unknown {
  return { "@type": "smc.runResult", gas_used: 1, exit_code: 0, stack, block_id: blockId(100), ...overrides };
}

test("the newest block is the one the node names, with the time of its header", async () => {
  const { reader } = readerOf();
  const block = await reader.newestBlock();
  assert.deepEqual([block.seqno, block.genUtime], [100, NOW_SECONDS]);
  assert.ok(equalBytes(block.rootHash, Buffer.from(hashOf(100), "base64")));
  assert.equal(await reader.networkId(), 7);
});

test("a node of another network is refused before anything is read from it", async () => {
  const { reader, node } = readerOf({ networkId: -239 });
  node.on("getAddressInformation", ok(addressInformation()));
  const boc = beginCell()
    .store(storeMessage(external({ to: Address.parse(A) })))
    .endCell()
    .toBoc();
  for (const read of [
    () => reader.account(A),
    () => reader.networkId(),
    () => reader.get(A, "seqno"),
    () => reader.block(1),
    () => reader.transactions(A),
    () => reader.send(new Uint8Array(boc)),
  ]) {
    await assert.rejects(read, { code: "chain_other_network", message: /network -239, not 7/ });
  }
  const asked = new Set(node.asked.map(({ method }) => method));
  assert.deepEqual(asked, new Set(["getMasterchainInfo", "getBlockHeader"]));
});

test("the network is asked once, and again after it could not be asked", async () => {
  const { reader, node } = readerOf();
  node.on("getMasterchainInfo", ...Array.from({ length: 4 }, () => refused(500, "down")), ok(masterchainInfo(100)));
  node.on("getAddressInformation", ok(addressInformation()));
  await assert.rejects(reader.account(A), { code: "chain_unreachable" });
  await reader.account(A);
  await reader.account(A);
  assert.equal(node.asked.filter(({ method }) => method === "getMasterchainInfo").length, 5);
});

test("a block that the node does not have is nothing, in whichever words it says so", async () => {
  const { reader, node } = readerOf();
  await reader.networkId();
  for (const words of [
    "LITE_SERVER_NOTREADY: ltdb: block not found",
    "LITE_SERVER_UNKNOWN: cannot find block (-1,8000000000000000) seqno=9: seqno not in db",
    "LITE_SERVER_NOTREADY: block is not applied",
  ]) {
    node.on("getBlockHeader", refused(500, words));
    assert.equal(await reader.block(9), undefined);
  }
  node.on("getBlockHeader", refused(500, "LITE_SERVER_NETWORK: adnl query timeout"));
  await assert.rejects(reader.block(9), { code: "chain_unreachable" });
});

test("another block than the one asked for is no answer", async () => {
  const { reader, node } = readerOf();
  await reader.networkId();
  node.on("getBlockHeader", ok(blockHeader(8, { networkId: 7, genUtime: NOW_SECONDS })));
  await assert.rejects(reader.block(9), { code: "chain_malformed" });
  node.on("getMasterchainInfo", ok({ last: { ...blockId(100), root_hash: hashOf(3) } }));
  node.on("getBlockHeader", ok(blockHeader(100, { networkId: 7, genUtime: NOW_SECONDS })));
  await assert.rejects(reader.newestBlock(), { code: "chain_malformed", message: /two blocks of one number/ });
});

test("a node whose newest block is minutes old is lagging, and so is all that it says", async () => {
  const { reader, node, clock } = readerOf({ genUtime: NOW_SECONDS - 121 });
  await assert.rejects(reader.newestBlock(), { code: "chain_lagging", message: /12\d s old/ });
  assert.deepEqual(clock.pauses, [1_000, 1_000, 1_000], "it was given time to catch up");
  const fresh = readerOf({ genUtime: NOW_SECONDS - 100 });
  await fresh.reader.newestBlock();
  fresh.node.on("getAddressInformation", ok(addressInformation({ sync_utime: NOW_SECONDS - 200 })));
  await assert.rejects(fresh.reader.account(A), { code: "chain_lagging" });
  assert.equal(
    node.asked.some(({ method }) => method === "getAddressInformation"),
    false,
  );
});

test("a node that goes back to an older block is asked again, and lags when it stays there", async () => {
  const { reader, node } = readerOf();
  await reader.newestBlock();
  const older = ok(addressInformation({ block_id: blockId(99) }));
  node.on("getAddressInformation", older, ok(addressInformation()));
  assert.equal((await reader.account(A)).balance, 12n);
  node.on("getAddressInformation", older);
  await assert.rejects(reader.account(A), { code: "chain_lagging", message: /block 99 after block 100/ });
  node.on("runGetMethod", ok(runResult([], { block_id: blockId(98) })));
  await assert.rejects(reader.get(A, "seqno"), { code: "chain_lagging" });
});

test("a clock that was put ahead does not make a chain newer than it is", async () => {
  const { reader, clock } = readerOf();
  await reader.newestBlock();
  clock.advance(3_600_000);
  await assert.rejects(reader.newestBlock(), { code: "chain_lagging" });
});

test("an account is what the node says of it", async () => {
  const { reader, node } = readerOf();
  node.on("getAddressInformation", ok(addressInformation()));
  const account = await reader.account(A);
  assert.deepEqual([account.address, account.state, account.balance], [A, "active", 12n]);
  assert.equal(account.lastTransaction?.lt, 20n);
  assert.ok(account.contract !== undefined);
});

test("an account that nobody has used is empty, in each of the ways nodes say so", async () => {
  const { reader, node } = readerOf();
  for (const balance of ["0", 0, "-1", -1]) {
    const unused = {
      balance,
      state: "uninitialized",
      code: "",
      data: "",
      last_transaction_id: { lt: "0", hash: hashOf(0) },
    };
    node.on("getAddressInformation", ok(addressInformation(unused)));
    const empty = { address: A, state: "uninitialized", balance: 0n, lastTransaction: undefined, contract: undefined };
    assert.deepEqual(await reader.account(A), empty);
  }
});

const WRONG_ACCOUNTS: readonly Readonly<Record<string, unknown>>[] = [
  { balance: "12.5" },
  { balance: 1.5 },
  { balance: -2 },
  { balance: "0x10" },
  { balance: null },
  { state: "open" },
  { code: "not base64!" },
  { code: undefined },
  { last_transaction_id: undefined },
  { last_transaction_id: { lt: 20, hash: hashOf(1) } },
  { last_transaction_id: { lt: "20", hash: "AAAA" } },
  { sync_utime: "now" },
  { block_id: { seqno: -1 } },
];

for (const overrides of WRONG_ACCOUNTS) {
  test(`an account is refused that has ${JSON.stringify(overrides)}`, async () => {
    const { reader, node } = readerOf();
    node.on("getAddressInformation", ok(addressInformation(overrides)));
    await assert.rejects(reader.account(A), { code: "chain_malformed" });
  });
}

for (const result of [undefined, null, [], "text", 5, {}]) {
  test(`${result === undefined ? "nothing" : JSON.stringify(result)} answers no question`, async () => {
    const { reader, node } = readerOf();
    await reader.networkId();
    for (const method of ["getAddressInformation", "runGetMethod", "getMasterchainInfo", "getBlockHeader"]) {
      node.on(method, ok(result));
    }
    node.on("getTransactions", ok(Array.isArray(result) ? {} : result));
    await assert.rejects(reader.account(A), { code: "chain_malformed" });
    await assert.rejects(reader.get(A, "seqno"), { code: "chain_malformed" });
    await assert.rejects(reader.block(5), { code: "chain_malformed" });
    await assert.rejects(reader.newestBlock(), { code: "chain_malformed" });
    await assert.rejects(reader.transactions(A), { code: "chain_malformed" });
  });
}

test("arguments go to a get method as the API takes them", async () => {
  const { reader, node } = readerOf();
  node.on("runGetMethod", ok(runResult([])));
  const cell: StackItem = { type: "cell", boc: new Uint8Array(Cell.EMPTY.toBoc()) };
  await reader.get(A, "get_worker_address", [{ type: "int", value: -5n }, cell, addressItem(A)]);
  const { address, method, stack } = node.asked.at(-1)?.params ?? {};
  assert.deepEqual([address, method], [A, "get_worker_address"]);
  const slice = beginCell().storeAddress(Address.parse(A)).endCell().toBoc().toString("base64");
  assert.deepEqual(stack, [
    ["num", "-5"],
    ["tvm.Cell", Cell.EMPTY.toBoc().toString("base64")],
    ["tvm.Slice", slice],
  ]);
  await assert.rejects(reader.get(A, "x", [{ type: "null" }]), RangeError);
});

const CELL = beginCell().storeUint(7, 8).endCell().toBoc();
const bytes = CELL.toString("base64");
const boc = new Uint8Array(CELL);

const nestedNumber = { "@type": "tvm.stackEntryNumber", number: { "@type": "tvm.numberDecimal", number: "-3" } };
const nestedCell = { "@type": "tvm.stackEntryCell", cell: { "@type": "tvm.cell", bytes } };
const nestedSlice = { "@type": "tvm.stackEntrySlice", slice: { "@type": "tvm.slice", bytes } };
const nestedNull = { "@type": "tvm.stackEntryList", list: { "@type": "tvm.list", elements: [] } };
const nested = (elements: readonly unknown[]): unknown => ({ "@type": "tvm.stackEntryTuple", tuple: { elements } });

const STACKS: readonly (readonly [entry: unknown, item: StackItem])[] = [
  [["num", "0x10"], { type: "int", value: 16n }],
  [["num", "-0x1"], { type: "int", value: -1n }],
  [["num", "12"], { type: "int", value: 12n }],
  [["num", `0x${"f".repeat(64)}`], { type: "int", value: (1n << 256n) - 1n }],
  [["cell", { bytes, object: {} }], { type: "cell", boc }],
  [["slice", { bytes }], { type: "slice", boc }],
  [["null", null], { type: "null" }],
  [["list", { "@type": "tvm.list", elements: [] }], { type: "null" }],
  [["tuple", { "@type": "tvm.tuple", elements: [] }], { type: "null" }],
  [
    ["tuple", { elements: [nestedNumber, nestedCell, nestedSlice, nestedNull, nested([nestedNumber])] }],
    {
      type: "tuple",
      items: [
        { type: "int", value: -3n },
        { type: "cell", boc },
        { type: "slice", boc },
        { type: "null" },
        { type: "tuple", items: [{ type: "int", value: -3n }] },
      ],
    },
  ],
];

test("every kind of value that a get method returns is read", async () => {
  const { reader, node } = readerOf();
  node.on("runGetMethod", ok(runResult(STACKS.map(([entry]) => entry))));
  assert.deepEqual(
    await reader.get(A, "all"),
    STACKS.map(([, item]) => item),
  );
});

/** As text, since what writes JSON gives up before what reads it does. */
function answerOfDepth(depth: number): Response {
  const opened = '{"@type":"tvm.stackEntryTuple","tuple":{"elements":['.repeat(depth - 1);
  const value = `${opened}${JSON.stringify(nestedNumber)}${"]}}".repeat(depth - 1)}`;
  const result = `{"exit_code":0,"stack":[["tuple",{"elements":[${value}]}]]}`;
  return new Response(`{"ok":true,"result":${result}}`);
}

test("a tuple may be nested deeply, and no deeper than a reader can take", async () => {
  const { reader, node } = readerOf();
  node.on("runGetMethod", answerOfDepth(256));
  let item = (await reader.get(A, "deep"))?.[0];
  let depth = 0;
  for (; item?.type === "tuple"; depth++) item = item.items[0];
  assert.equal(depth, 256);
  for (const tooDeep of [257, 100_000]) {
    node.on("runGetMethod", answerOfDepth(tooDeep));
    await assert.rejects(reader.get(A, "deep"), { code: "chain_malformed" });
  }
});

const WRONG_ENTRIES: readonly unknown[] = [
  5,
  [],
  ["num"],
  ["num", 5],
  ["num", ""],
  ["num", "0x"],
  ["num", `0x1${"0".repeat(64)}`],
  ["num", "1e9"],
  ["cell", {}],
  ["cell", { bytes: "%%" }],
  ["cell", bytes],
  ["builder", { bytes }],
  ["cont", {}],
  ["tuple", {}],
  ["tuple", { elements: [["num", "1"]] }],
  ["tuple", { elements: [{ "@type": "tvm.stackEntryUnsupported" }] }],
  ["list", { elements: [null] }],
];

test("a value that no get method returns is no answer", async () => {
  const { reader, node } = readerOf();
  for (const entry of WRONG_ENTRIES) {
    node.on("runGetMethod", ok(runResult([entry])));
    await assert.rejects(reader.get(A, "get"), { code: "chain_malformed" }, JSON.stringify(entry));
  }
});

test("nobody answers where there is no contract, or none with this method", async () => {
  const { reader, node } = readerOf();
  for (const exit_code of [-13, -256, 11]) {
    node.on("runGetMethod", ok(runResult([], { exit_code })));
    assert.equal(await reader.get(A, "get"), undefined);
  }
  node.on("runGetMethod", ok(runResult([["num", "1"]], { exit_code: 1 })));
  assert.equal((await reader.get(A, "get"))?.length, 1, "1 is TVM's other code for success");
  node.on("runGetMethod", ok(runResult([], { exit_code: -14 })));
  await assert.rejects(reader.get(A, "get"), { code: "chain_malformed", message: /exit code -14/ });
});

/** The page of a line of transactions that toncenter would answer with. */
function pages(line: ReturnType<typeof transactionLine>): Reply {
  return ({ params }) => {
    const newestFirst = line.toReversed();
    const from = params.lt === undefined ? 0 : newestFirst.findIndex(({ lt }) => lt.toString() === params.lt);
    const newer = newestFirst
      .slice(from, from + Number(params.limit))
      .filter(({ lt }) => lt > BigInt(String(params.to_lt)));
    return ok(newer.map(entry));
  };
}

function entry(transaction: ReturnType<typeof transactionLine>[number]): unknown {
  const hash = transaction.hash().toString("base64");
  return { data: transaction.boc, transaction_id: { lt: transaction.lt.toString(), hash } };
}

test("a history of more than one page comes whole, oldest first, and only as far back as was asked", async () => {
  const { reader, node } = readerOf();
  node.on("getTransactions", pages(transactionLine(A, 250)));
  const { transactions, isWhole } = await reader.transactions(A);
  assert.deepEqual([transactions.length, isWhole], [250, true]);
  assert.deepEqual([transactions[0]?.lt, transactions.at(-1)?.lt], [10n, 2_500n]);
  assert.equal(node.asked.filter(({ method }) => method === "getTransactions").length, 3);
  const newer = await reader.transactions(A, { after: 2_400n });
  assert.deepEqual(
    [newer.transactions.map(({ lt }) => lt)[0], newer.transactions.length, newer.isWhole],
    [2_410n, 10, true],
  );
  assert.deepEqual(await reader.transactions(A, { after: 2_500n }), { transactions: [], isWhole: true });
});

test("a history longer than its limit is its newest part, and says so", async () => {
  const { reader, node } = readerOf();
  node.on("getTransactions", pages(transactionLine(A, 250)));
  const { transactions, isWhole } = await reader.transactions(A, { limit: 150 });
  assert.deepEqual([transactions.length, transactions.at(-1)?.lt, isWhole], [150, 2_500n, false]);
  assert.equal((await reader.transactions(A, { limit: 250 })).isWhole, true);
});

test("an account that has done nothing has a whole history of nothing", async () => {
  const { reader, node } = readerOf();
  node.on("getTransactions", ok([]));
  assert.deepEqual(await reader.transactions(A), { transactions: [], isWhole: true });
});

test("what a node has forgotten is asked of one that keeps all, and is a part when there is none", async () => {
  const { reader, node } = readerOf();
  const line = transactionLine(A, 3);
  const forgotten = refused(500, "LITE_SERVER_UNKNOWN: cannot compute block with specified transaction: lt not in db");
  node.on("getTransactions", (question) =>
    question.params.archival === true ? ok(line.toReversed().map(entry)) : forgotten.clone(),
  );
  assert.equal((await reader.transactions(A)).transactions.length, 3);
  node.on("getTransactions", ok(line.slice(1).toReversed().map(entry)), forgotten);
  const { transactions, isWhole } = await reader.transactions(A);
  assert.deepEqual([transactions.length, isWhole], [2, false]);
});

test("a node cannot change a history, nor leave anything out of it", async () => {
  const line = transactionLine(A, 4);
  const newest = line.toReversed().map(entry) as { data: string; transaction_id: { lt: string; hash: string } }[];
  const [first, second, third] = newest;
  assert.ok(first && second && third);
  const elsewhere = transactionLine(`0:${"bb".repeat(32)}`, 1).map(entry);
  const cases: readonly (readonly [why: RegExp, page: readonly unknown[]])[] = [
    [/gap/, [first, third]],
    [/gap/, [first, first]],
    [/gap/, [second, first]],
    [/another hash/, [{ ...first, data: second.data }]],
    [/another logical time/, [{ ...first, transaction_id: { ...first.transaction_id, lt: "41" } }]],
    [/another account/, elsewhere],
    [/cannot be read/, [{ ...first, data: Cell.EMPTY.toBoc().toString("base64") }]],
    [/cannot be read/, [{ ...first, data: "AAAA" }]],
    [/not as the API/, [{ ...first, data: 5 }]],
  ];
  for (const [message, page] of cases) {
    const { reader, node } = readerOf();
    node.on("getTransactions", ok(page));
    await assert.rejects(reader.transactions(A), { code: "chain_malformed", message });
  }
});

test("a node that stops in the middle of a history is not taken for its end", async () => {
  const { reader, node } = readerOf();
  node.on("getTransactions", ok(transactionLine(A, 4).slice(2).toReversed().map(entry)), ok([]));
  await assert.rejects(reader.transactions(A), { code: "chain_malformed", message: /end too early/ });
});

const message = external({ to: Address.parse(A), body: beginCell().storeUint(1, 8).endCell() });
const sendable = new Uint8Array(beginCell().store(storeMessage(message)).endCell().toBoc());

test("a sent message is found again among what the account did, by its hash", async () => {
  const { reader, node } = readerOf();
  node.on("sendBoc", ok({ "@type": "ok" }));
  node.on("getTransactions", pages(transactionLine(A, 1, message)));
  await reader.send(sendable);
  assert.equal(node.asked.at(-1)?.params.boc, Buffer.from(sendable).toString("base64"));
  const [transaction] = (await reader.transactions(A)).transactions;
  assert.ok(transaction?.inMessage?.type === "external-in");
  assert.ok(equalBytes(transaction.inMessage.hash, externalHash(sendable)));
  assert.deepEqual(transaction.outcome, { type: "skipped", reason: "no-gas" });
});

test("a message between contracts is read with what it carries and whether it came back", async () => {
  const { reader, node } = readerOf();
  const info = internal({ to: Address.parse(A), value: 3n, bounce: false }).info;
  assert.ok(info.type === "internal");
  const bounced = { ...info, src: Address.parse(`0:${"bb".repeat(32)}`), bounced: true };
  node.on("getTransactions", pages(transactionLine(A, 1, { info: bounced, body: Cell.EMPTY })));
  const inMessage = (await reader.transactions(A)).transactions[0]?.inMessage;
  assert.ok(inMessage?.type === "internal");
  const { source, destination, value, isBounced } = inMessage;
  assert.deepEqual([source, destination, value, isBounced], [`0:${"bb".repeat(32)}`, A, 3n, true]);
});

test("a message that its contract does not accept is refused with the exit code", async () => {
  const { reader, node } = readerOf();
  const words =
    "LITE_SERVER_UNKNOWN: cannot apply external message to current state : External message was not accepted\n" +
    "Cannot run message on account: inbound external message rejected by transaction 4C6F:\nexitcode=406, steps=49";
  for (const status of [500, 400]) {
    node.on("sendBoc", refused(status, words));
    await assert.rejects(reader.send(sendable), { code: "chain_refused", message: /exitcode=406/ });
  }
});

test("a message that may have been taken is not sent a second time", async () => {
  const { reader, node, clock } = readerOf();
  await reader.networkId();
  node.on("sendBoc", (question) => {
    setImmediate(() => clock.timeOut());
    return silence(question);
  });
  await assert.rejects(reader.send(sendable), { code: "chain_unreachable", message: /no answer in time/ });
  assert.equal(node.asked.filter(({ method }) => method === "sendBoc").length, 1);
});

test("what is no message is refused without asking anybody", async () => {
  const { reader, node } = readerOf();
  await assert.rejects(reader.send(new Uint8Array([1, 2])), { code: "chain_refused" });
  assert.equal(node.asked.length, 0);
});

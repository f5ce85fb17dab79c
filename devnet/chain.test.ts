import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { beginCell, Cell, comment, Dictionary, SendMode, toNano, type Address } from "@ton/core";
import { TonClient } from "@ton/ton";
import { gasFee, PRICES_OF_JUNE_2026, pricesIn } from "../contracts/prices.ts";
import { DEVNET_NETWORK_ID } from "./accounts.ts";
import { startChain, type DevnetChain } from "./chain.ts";
import { coinsFor, contract, contractOf, funded, PUBLIC_KEY, STRANGER, transfer, WALLET } from "./chain.fake.ts";
import type { OpenedWallet } from "./chain.fake.ts";

describe("the TonClient of @ton/ton, as it is", () => {
  let chain: DevnetChain;
  let client: TonClient;
  let opened: OpenedWallet;

  before(async () => ({ chain, client, opened } = await funded({ blocks: "at-once" })));
  after(() => chain.close());

  test("sees what the faucet gave, in an account without a contract yet", async () => {
    assert.equal(await client.getBalance(contract.address), toNano(100));
    const { state, code, lastTransaction } = await client.getContractState(contract.address);
    assert.deepEqual([state, code], ["uninitialized", null]);
    assert.ok(lastTransaction);
    assert.equal(await client.isContractDeployed(contract.address), false);
    assert.equal(await opened.getSeqno(), 0);
  });

  test("deploys a V5R1 wallet with its first transfer, and pays what mainnet takes today", async () => {
    await transfer(opened, 0, coinsFor(STRANGER, toNano("0.5")));
    assert.equal(await opened.getSeqno(), 1);
    assert.equal(await client.getBalance(STRANGER), toNano("0.5"));
    const spent = toNano("99.5") - (await opened.getBalance());
    assert.ok(spent > gasFee(PRICES_OF_JUNE_2026, 4_900n) && spent < toNano("0.001"), `${spent} nanoton in fees`);
    const state = await client.getContractState(contract.address);
    assert.equal(state.state, "active");
    assert.deepEqual(Cell.fromBoc(state.code ?? Buffer.alloc(0))[0]?.hash(), contract.init.code.hash());
  });

  test("reads transactions newest first, and on from any of them", async () => {
    await transfer(opened, 1, coinsFor(STRANGER, 7n));
    const all = await client.getTransactions(contract.address, { limit: 10 });
    assert.equal(all.length, 3);
    const [newest, middle, oldest] = all;
    assert.ok(newest && middle && oldest);
    assert.ok(newest.lt > middle.lt && middle.lt > oldest.lt);
    assert.deepEqual(newest.prevTransactionLt, middle.lt);
    const out = newest.outMessages.get(0);
    assert.ok(out?.info.type === "internal");
    assert.deepEqual([out.info.value.coins, out.body.equals(comment("hello"))], [7n, true]);
    const at = { lt: middle.lt.toString(), hash: middle.hash().toString("base64") };
    const older = await client.getTransactions(contract.address, { limit: 1, ...at });
    assert.deepEqual(older[0]?.lt, oldest.lt);
    const inclusive = await client.getTransactions(contract.address, { limit: 1, ...at, inclusive: true });
    assert.deepEqual(inclusive[0]?.lt, middle.lt);
    const since = await client.getTransactions(contract.address, { limit: 10, to_lt: middle.lt.toString() });
    assert.deepEqual(
      since.map(({ lt }) => lt),
      [newest.lt],
    );
    assert.deepEqual((await client.getTransaction(contract.address, at.lt, at.hash))?.lt, middle.lt);
  });

  test("finds the two ends of a message", async () => {
    const [sent] = await client.getTransactions(contract.address, { limit: 1 });
    const info = sent?.outMessages.get(0)?.info;
    assert.ok(info?.type === "internal");
    const createdLt = info.createdLt.toString();
    const result = await client.tryLocateResultTx(contract.address, STRANGER, createdLt);
    assert.deepEqual(result.inMessage?.info.type === "internal" && result.inMessage.info.createdLt, info.createdLt);
    const source = await client.tryLocateSourceTx(contract.address, STRANGER, createdLt);
    assert.equal(source.lt, sent?.lt);
    await assert.rejects(client.tryLocateResultTx(contract.address, STRANGER, "1"), /503/);
  });

  test("runs get methods, with arguments and without", async () => {
    const { stack } = await client.runMethod(contract.address, "get_public_key");
    assert.equal(stack.readBigNumber(), BigInt(`0x${PUBLIC_KEY.toString("hex")}`));
    await assert.rejects(client.runMethod(contract.address, "no_such_method"), /exit_code: 11/);
    await assert.rejects(client.runMethod(STRANGER, "seqno"), /exit_code: -13/);
    const echo = contractOf("30"); // DROP: the method's number goes, the arguments stay
    await transfer(opened, 2, echo.message);
    const cell = beginCell().storeUint(5, 8).storeRef(Cell.EMPTY).endCell();
    const echoed = await client.runMethod(echo.address, "echo", [
      { type: "int", value: -12n },
      { type: "int", value: (1n << 256n) - 1n },
      { type: "cell", cell },
      { type: "slice", cell },
    ]);
    assert.equal(echoed.stack.readBigNumber(), -12n);
    assert.equal(echoed.stack.readBigNumber(), (1n << 256n) - 1n);
    assert.ok(echoed.stack.readCell().equals(cell));
    assert.ok(echoed.stack.readCell().equals(cell));
  });

  test("weighs a message without sending it", async () => {
    const seqno = await opened.getSeqno();
    const body = contract.createTransfer({
      seqno,
      secretKey: Buffer.alloc(64),
      sendMode: SendMode.PAY_GAS_SEPARATELY,
      messages: [coinsFor(STRANGER, 1n)],
    });
    const { source_fees: fees } = await client.estimateExternalMessageFee(contract.address, {
      body,
      initCode: null,
      initData: null,
      ignoreSignature: true,
    });
    assert.equal(fees.gas_fee, Number(gasFee(PRICES_OF_JUNE_2026, 4_939n)));
    assert.ok(fees.in_fwd_fee > 0 && fees.fwd_fee > 0);
    assert.equal(await opened.getSeqno(), seqno);
  });

  test("is told of a message that its contract does not accept, as toncenter tells it", async () => {
    await assert.rejects(
      transfer(opened, 0, coinsFor(STRANGER, 1n)),
      (error: Error & { response?: { data: unknown } }) => {
        assert.match(error.message, /500/);
        assert.match(JSON.stringify(error.response?.data), /cannot apply external message.*exitcode=133/);
        return true;
      },
    );
  });

  test("walks from the newest block to what is in it", async () => {
    await transfer(opened, await opened.getSeqno(), coinsFor(STRANGER, 3n));
    const { latestSeqno, workchain, shard } = await client.getMasterchainInfo();
    assert.deepEqual([workchain, shard], [-1, "-9223372036854775808"]);
    const [inShard] = await client.getWorkchainShards(latestSeqno);
    assert.deepEqual([inShard?.workchain, inShard?.seqno], [0, latestSeqno]);
    const transactions = await client.getShardTransactions(0, latestSeqno, shard);
    assert.deepEqual(
      transactions.map(({ account }) => account.toRawString()),
      [STRANGER.toRawString()],
    );
  });
});

describe("a contract on the devnet", () => {
  let chain: DevnetChain;
  let client: TonClient;
  let opened: OpenedWallet;

  before(async () => ({ chain, client, opened } = await funded({ blocks: "at-once" })));
  after(() => chain.close());

  async function deployed(codeHex: string): Promise<Address> {
    const { address, message } = contractOf(codeHex);
    await transfer(opened, await opened.getSeqno(), message);
    return address;
  }

  test("sees a network id of its own, so that what is signed here is worth nothing elsewhere", async () => {
    const address = await deployed("30f835"); // DROP GLOBALID
    const { stack } = await client.runMethod(address, "id");
    assert.equal(stack.readNumber(), DEVNET_NETWORK_ID);
    assert.equal(chain.networkId, DEVNET_NETWORK_ID);
  });

  test("is charged the prices of June 2026", async () => {
    const parameters = await Promise.all(
      [18, 21, 25].map(async (id) => {
        const response = await fetch(chain.endpoint.replace("jsonRPC", `getConfigParam?config_id=${id}`));
        const { result } = (await response.json()) as { result: { config: { bytes: string } } };
        return [id, Cell.fromBase64(result.config.bytes)] as const;
      }),
    );
    const config = Dictionary.empty(Dictionary.Keys.Int(32), Dictionary.Values.Cell());
    for (const [id, cell] of parameters) config.set(id, cell);
    assert.deepEqual(pricesIn(beginCell().storeDictDirect(config).endCell()), PRICES_OF_JUNE_2026);
  });

  test("may loop for ever in a get method: it is stopped where a public node stops it", async () => {
    const address = await deployed("3090ea"); // DROP, an empty continuation, AGAIN
    const { exit_code: exitCode } = await client.runMethodWithError(address, "loop");
    assert.equal(exitCode, -14);
  });

  test("lives through years of the chain's clock", async () => {
    const address = await deployed("30f823"); // DROP NOW
    const before = (await client.runMethod(address, "now")).stack.readNumber();
    await chain.advance(10 * 365 * 86_400);
    const later = (await client.runMethod(address, "now")).stack.readNumber();
    assert.ok(later - before >= 10 * 365 * 86_400);
    await assert.rejects(chain.advance(-1), RangeError);
    await assert.rejects(chain.advance(0.5), RangeError);
  });
});

describe("messages take a block a hop", () => {
  let chain: DevnetChain;
  let client: TonClient;
  let opened: OpenedWallet;

  before(async () => {
    ({ chain, client, opened } = await funded({ blocks: "by-hand" }));
    await transfer(opened, 0, coinsFor(STRANGER, 1n));
    await chain.settle();
  });
  after(() => chain.close());

  test("accepted is not executed, executed is not arrived", async () => {
    await transfer(opened, 1, coinsFor(STRANGER, toNano(1)));
    assert.equal(await opened.getSeqno(), 1, "accepted");
    await chain.makeBlock();
    assert.equal(await opened.getSeqno(), 2, "executed");
    assert.equal(await client.getBalance(STRANGER), 1n);
    await chain.makeBlock();
    assert.equal(await client.getBalance(STRANGER), toNano(1) + 1n, "arrived");
  });

  test("no block is made before somebody makes one", async () => {
    const { latestSeqno } = await client.getMasterchainInfo();
    assert.equal((await client.getMasterchainInfo()).latestSeqno, latestSeqno);
    await chain.makeBlock();
    assert.equal((await client.getMasterchainInfo()).latestSeqno, latestSeqno + 1);
  });

  test("a message that another one overtook leaves no trace", async () => {
    const before = await client.getTransactions(contract.address, { limit: 100 });
    await transfer(opened, 2, coinsFor(STRANGER, 5n));
    await transfer(opened, 2, coinsFor(STRANGER, 6n));
    await chain.settle();
    const after = await client.getTransactions(contract.address, { limit: 100 });
    assert.equal(after.length, before.length + 1);
    const sent = after[0]?.outMessages.get(0)?.info;
    assert.equal(sent?.type === "internal" && sent.value.coins, 5n);
  });

  test("a message that is sent twice is executed once", async () => {
    const balance = await client.getBalance(STRANGER);
    await transfer(opened, 3, coinsFor(STRANGER, 9n));
    await transfer(opened, 3, coinsFor(STRANGER, 9n));
    await chain.settle();
    assert.equal(await client.getBalance(STRANGER), balance + 9n);
  });

  test("a faucet's coins are there when it says so", async () => {
    const balance = await client.getBalance(STRANGER);
    await Promise.all([chain.faucet(STRANGER.toRawString(), 1n), chain.faucet(STRANGER.toRawString(), 1n)]);
    assert.equal(await client.getBalance(STRANGER), balance + 2n);
  });
});

test("by itself a chain makes a block for whatever is under way", async () => {
  const chain = await startChain({ blocks: { everyMs: 20 } });
  try {
    const client = new TonClient({ endpoint: chain.endpoint });
    await chain.faucet(WALLET, toNano(1));
    await transfer(client.open(contract), 0, coinsFor(STRANGER, 5n));
    assert.equal(await client.getBalance(STRANGER), 0n, "not yet: a caller that assumes it fails here");
    while ((await client.getBalance(STRANGER)) === 0n);
    assert.equal(await client.getBalance(STRANGER), 5n);
  } finally {
    await chain.close();
  }
});

test("an ended chain says so, and ends once", async () => {
  const chain = await startChain();
  await chain.close();
  await chain.close();
  await assert.rejects(async () => chain.settle(), { code: "internal" });
  await assert.rejects(fetch(chain.endpoint));
});

test("two chains do not share a port", async () => {
  const chain = await startChain();
  try {
    const port = Number(new URL(chain.endpoint).port);
    await assert.rejects(startChain({ port }), { code: "port_taken" });
    await assert.rejects(chain.addNode(port), { code: "port_taken" });
  } finally {
    await chain.close();
  }
});

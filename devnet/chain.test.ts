import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cell, comment, internal, SendMode, toNano, type OpenedContract } from "@ton/core";
import { keyPairFromSeed } from "@ton/crypto";
import { TonClient, WalletContractV5R1 } from "@ton/ton";
import { DEVNET_NETWORK_ID } from "./accounts.ts";
import { startChain, type DevnetChain } from "./chain.ts";

const key = keyPairFromSeed(Buffer.alloc(32, 1));
const contract = WalletContractV5R1.create({
  publicKey: key.publicKey,
  walletId: { networkGlobalId: DEVNET_NETWORK_ID },
});
const wallet = contract.address.toRawString();
const STRANGER = `0:${"11".repeat(32)}`;

/** One transfer, signed for the wallet's next number. */
function transfer(opened: OpenedContract<WalletContractV5R1>, seqno: number, value: bigint): Promise<void> {
  const message = internal({ to: STRANGER, value, bounce: false, body: comment("hello") });
  const sendMode = SendMode.PAY_GAS_SEPARATELY;
  return opened.sendTransfer({ seqno, secretKey: key.secretKey, sendMode, messages: [message] });
}

describe("the TonClient of @ton/ton, as it is", () => {
  let chain: DevnetChain;
  let client: TonClient;
  let opened: OpenedContract<WalletContractV5R1>;

  before(async () => {
    chain = await startChain({ blocks: "at-once" });
    client = new TonClient({ endpoint: chain.endpoint });
    opened = client.open(contract);
    await chain.faucet(wallet, toNano(5));
  });
  after(() => chain.close());

  test("sees what the faucet gave, in an account without a contract yet", async () => {
    assert.equal(await client.getBalance(contract.address), toNano(5));
    assert.equal((await client.getContractState(contract.address)).state, "uninitialized");
    assert.equal(await client.isContractDeployed(contract.address), false);
  });

  test("deploys a V5R1 wallet with its first transfer, and pays what mainnet takes today", async () => {
    await transfer(opened, 0, toNano("0.5"));
    assert.equal(await opened.getSeqno(), 1);
    const spent = toNano("4.5") - (await opened.getBalance());
    assert.ok(spent > 0n && spent < toNano("0.003"), `${spent} nanoton in fees`);
    const state = await client.getContractState(contract.address);
    assert.equal(state.state, "active");
    assert.deepEqual(Cell.fromBoc(state.code ?? Buffer.alloc(0))[0]?.hash(), contract.init.code.hash());
  });
});

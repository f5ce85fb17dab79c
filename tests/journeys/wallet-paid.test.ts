import assert from "node:assert/strict";
import { test } from "node:test";
import { Address, Cell, internal, loadStateInit, SendMode } from "@ton/core";
import { TonClient, WalletContractV5R1 } from "@ton/ton";
import { SYSTEM_CHAIN_CLOCK } from "../../contracts/chain-clock.ts";
import type { ChainReader } from "../../contracts/chain-reader.ts";
import { ATTACHED, CHANNEL_RESERVE, GATEWAY_RESERVE } from "../../contracts/fees.ts";
import { encodeGatewayMessage, GATEWAY_STATE, gatewayOf } from "../../contracts/Gateway.ts";
import { ask } from "../../contracts/getter.ts";
import { toncenterReader } from "../../contracts/toncenter.ts";
import { WORKER_CHANNEL_STATE, workerChannelOf } from "../../contracts/WorkerChannel.ts";
import { DEVNET_NETWORK_ID, devnetKey, startChain, type DevnetChain } from "../../devnet/index.ts";
import { EMPTY_CHAIN, payloadHash, type Nanoton, type PayoutVoucher, type RawAddress } from "../../protocol/index.ts";
import type { Claim, Wallet } from "../../worker/index.ts";
import { atEnd, type Scope } from "./house.ts";
import { openWalletHouse, stateWhere, type WalletHouse } from "./wallet-house.ts";

/** From a voucher to coins: TON Connect's SDK, a wallet that deploys itself, the real contracts, a real executor. */

const TON = 1_000_000_000n;
const STAKE = 5n * TON;

interface Town {
  readonly house: WalletHouse;
  readonly chain: DevnetChain;
  readonly reader: ChainReader;
  claim(owner: RawAddress, total: Nanoton): Promise<Claim>;
  balanceOf(address: RawAddress): Promise<Nanoton>;
}

/** A gateway's contract with a stake, and the bridge between a worker and wallets on that chain. */
async function town(scope: Scope): Promise<Town> {
  const chain = await startChain({ blocks: "at-once" });
  atEnd(scope, () => chain.close());
  const house = await openWalletHouse();
  atEnd(scope, () => house.close());
  const reader = toncenterReader({
    endpoint: chain.endpoint,
    networkId: DEVNET_NETWORK_ID,
    fetch,
    clock: SYSTEM_CHAIN_CLOCK,
    random: Math.random,
  });
  const gatewayKey = devnetKey(1, "gateway");
  const operator = WalletContractV5R1.create({
    publicKey: Buffer.from(devnetKey(1, "operator").publicKey),
    walletId: { networkGlobalId: DEVNET_NETWORK_ID },
  });
  const operatorAddress = operator.address.toRawString();
  const gateway = gatewayOf({
    owner: operatorAddress,
    gatewayKey: gatewayKey.publicKey,
    registry: operatorAddress,
    instance: 1,
    withdrawDelaySeconds: 86_400,
    closeDelaySeconds: 604_800,
  });
  await chain.faucet(operatorAddress, 100n * TON);
  const key = devnetKey(1, "operator");
  await new TonClient({ endpoint: chain.endpoint }).open(operator).sendTransfer({
    seqno: 0,
    secretKey: Buffer.concat([key.seed, key.publicKey]),
    sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
    messages: [
      internal({
        to: Address.parseRaw(gateway.address),
        value: STAKE + ATTACHED + GATEWAY_RESERVE,
        init: loadStateInit((Cell.fromBoc(Buffer.from(gateway.stateInit))[0] ?? assert.fail()).beginParse()),
        body:
          Cell.fromBoc(Buffer.from(encodeGatewayMessage({ type: "add-stake", queryId: 1n, amount: STAKE })))[0] ?? null,
      }),
    ],
  });
  assert.equal((await ask(reader, gateway.address, GATEWAY_STATE))?.stake, STAKE);
  return {
    house,
    chain,
    reader,
    balanceOf: async (address) => (await reader.account(address)).balance,
    async claim(owner, total) {
      const terms = { owner, gateway: gateway.address, gatewayKey: gatewayKey.publicKey };
      const channel = workerChannelOf(terms).address;
      const voucher: PayoutVoucher = {
        type: "payout",
        networkId: DEVNET_NETWORK_ID,
        channel,
        total,
        receipt: EMPTY_CHAIN,
      };
      const state = await ask(reader, channel, WORKER_CHANNEL_STATE);
      const funds = (await ask(reader, gateway.address, GATEWAY_STATE)) ?? assert.fail();
      return {
        terms,
        voucher,
        signature: gatewayKey.sign(payloadHash(voucher)),
        paid: state?.paid ?? 0n,
        isDeployed: state !== undefined,
        cover: funds.pool + funds.stake,
      };
    },
  };
}

async function connect({ house, chain, reader }: Town, name: string, wallet: Wallet = house.wallet()) {
  const app = house.app(name, { chain: reader });
  await chain.faucet(app.address, TON);
  await app.open(await wallet.connect());
  await stateWhere(wallet, (state) => state.phase === "connected" && state.address === app.address);
  return { wallet, owner: app.address };
}

test("a withdrawal deploys wallet and channel, and the coins arrive, less fees and the rent that stays with the channel", async (context) => {
  const here = await town(context);
  const { wallet, owner } = await connect(here, "owner");
  const claim = await here.claim(owner, 3n * TON);
  const accepted = await wallet.withdraw({ claims: [claim], amount: "all" });

  const state = await ask(here.reader, claim.voucher.channel, WORKER_CHANNEL_STATE);
  assert.deepEqual([state?.paid, state?.terms.owner], [3n * TON, owner]);
  const { transactions } = await here.reader.transactions(owner);
  const own = transactions.find(({ inMessage }) => inMessage?.type === "external-in");
  assert.equal(Buffer.from(own?.inMessage?.hash ?? []).toString("hex"), accepted.messageHash);
  const gained = (await here.balanceOf(owner)) - TON;
  const cost = 3n * TON - CHANNEL_RESERVE - gained;
  assert.ok(cost > 0n && cost < 5_000_000n, `${cost} nanoton in fees`);
});

test("a part is paid as a part, and the rest by the next withdrawal", async (context) => {
  const here = await town(context);
  const { wallet, owner } = await connect(here, "owner");
  await wallet.withdraw({ claims: [await here.claim(owner, 3n * TON)], amount: TON });
  const after = await here.claim(owner, 3n * TON);
  assert.deepEqual([after.paid, after.isDeployed, after.cover], [TON, true, STAKE - TON]);
  await wallet.withdraw({ claims: [after], amount: "all" });
  assert.equal((await here.claim(owner, 3n * TON)).paid, 3n * TON);
});

test("what a wallet accepts is not yet paid: a contract that refuses costs fees and nothing else", async (context) => {
  const here = await town(context);
  const { wallet, owner } = await connect(here, "owner");
  const claim = await here.claim(owner, 3n * TON);
  await wallet.withdraw({ claims: [claim], amount: "all" });
  const before = await here.balanceOf(owner);
  // As it was before the first withdrawal: a second press of the button on a page that is not fresh.
  await wallet.withdraw({ claims: [claim], amount: "all" });
  assert.equal((await here.claim(owner, 3n * TON)).paid, 3n * TON);
  const lost = before - (await here.balanceOf(owner));
  assert.ok(lost > 0n && lost < 3_000_000n, `${lost} nanoton in fees`);
});

test("a second wallet brings the first owner's earnings to the first owner", async (context) => {
  const here = await town(context);
  const { wallet, owner: first } = await connect(here, "first");
  const { owner: second } = await connect(here, "second", wallet);
  const before = { first: await here.balanceOf(first), second: await here.balanceOf(second) };
  await wallet.withdraw({ claims: [await here.claim(first, 2n * TON)], amount: "all" });
  assert.ok((await here.balanceOf(first)) >= before.first + 2n * TON);
  assert.ok((await here.balanceOf(second)) < before.second);
});

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { beginCell, external, internal, loadStateInit, storeMessage, toNano, type MessageRelaxed } from "@ton/core";
import { toAddress, toCell, type Deployment } from "../contracts/cells.ts";
import { SYSTEM_CHAIN_CLOCK } from "../contracts/chain-clock.ts";
import type { ChainReader } from "../contracts/chain-reader.ts";
import { encodeGatewayMessage, GATEWAY_STATE, gatewayOf, workerAddressGetter } from "../contracts/Gateway.ts";
import { ask } from "../contracts/getter.ts";
import { toncenterReader } from "../contracts/toncenter.ts";
import { encodeWorkerChannelMessage, WORKER_CHANNEL_STATE, workerChannelOf } from "../contracts/WorkerChannel.ts";
import { payloadHash, type Nanoton, type PayoutVoucher } from "../protocol/index.ts";
import { DEVNET_NETWORK_ID, devnetKey } from "./accounts.ts";
import type { DevnetChain } from "./chain.ts";
import { funded, STRANGER, transferBoc, WALLET } from "./chain.fake.ts";

const OWNER = `0:${"0e".repeat(32)}`;
const key = devnetKey(1, "gateway");
const gateway = gatewayOf({
  owner: WALLET,
  gatewayKey: key.publicKey,
  registry: STRANGER.toRawString(),
  instance: 1,
  withdrawDelaySeconds: 86_400,
  closeDelaySeconds: 604_800,
});
const worker = workerChannelOf({ owner: OWNER, gateway: gateway.address, gatewayKey: key.publicKey });

let chain: DevnetChain;
let reader: ChainReader;

before(async () => {
  ({ chain } = await funded({ blocks: "by-hand" }));
  const options = { endpoint: chain.endpoint, networkId: DEVNET_NETWORK_ID };
  reader = toncenterReader({ ...options, fetch, clock: SYSTEM_CHAIN_CLOCK, random: Math.random });
});
after(() => chain.close());

/** A message that also brings the contract to its address. */
function deploying({ address, stateInit }: Deployment, value: Nanoton, body: Uint8Array): MessageRelaxed {
  const init = loadStateInit(toCell(stateInit).beginParse());
  return internal({ to: toAddress(address), value, init, body: toCell(body) });
}

function cashOut(facts: Partial<PayoutVoucher> & { readonly total: Nanoton }, signer = key): Uint8Array {
  const fixed = { type: "payout", networkId: DEVNET_NETWORK_ID, channel: worker.address } as const;
  const voucher: PayoutVoucher = { ...fixed, receipt: new Uint8Array(32), ...facts };
  const gatewaySignature = signer.sign(payloadHash(voucher));
  return encodeWorkerChannelMessage({ type: "cash-out", queryId: 0n, limit: 0n, gatewaySignature, voucher });
}

/** Without a wallet: the channel pays for it. */
function outsideBoc(body: Uint8Array): Uint8Array {
  const message = external({ to: toAddress(worker.address), body: toCell(body) });
  return new Uint8Array(beginCell().store(storeMessage(message)).endCell().toBoc());
}

/** What everybody could see of a cash-out between two blocks. */
async function seen(): Promise<{
  readonly paid: Nanoton | undefined;
  readonly stake: Nanoton;
  readonly owner: Nanoton;
}> {
  const [channel, contract] = [
    ask(reader, worker.address, WORKER_CHANNEL_STATE),
    ask(reader, gateway.address, GATEWAY_STATE),
  ];
  const { balance: owner } = await reader.account(OWNER);
  return { paid: (await channel)?.paid, stake: (await contract)?.stake ?? 0n, owner };
}

test("a gateway of ours stands on the devnet with its stake, and names the channel of an owner", async () => {
  const body = encodeGatewayMessage({ type: "add-stake", queryId: 1n, amount: toNano(5) });
  await reader.send(transferBoc(0, deploying(gateway, toNano("5.1"), body)));
  await chain.settle();
  const state = await ask(reader, gateway.address, GATEWAY_STATE);
  assert.deepEqual([state?.status, state?.stake, state?.terms.owner], ["open", toNano(5), WALLET]);
  assert.equal(await ask(reader, gateway.address, workerAddressGetter(OWNER)), worker.address);
  assert.equal(await ask(reader, worker.address, WORKER_CHANNEL_STATE), undefined, "joining costs nothing");
});

test("a cash-out is promised, then noted, then taken, then there: a block each", async () => {
  await reader.send(transferBoc(1, deploying(worker, toNano("0.1"), cashOut({ total: toNano(3) }))));
  assert.deepEqual(await seen(), { paid: undefined, stake: toNano(5), owner: 0n });
  await chain.makeBlock();
  assert.deepEqual(await seen(), { paid: undefined, stake: toNano(5), owner: 0n });
  await chain.makeBlock();
  assert.deepEqual(await seen(), { paid: toNano(3), stake: toNano(5), owner: 0n }, "paid, and no coins yet");
  await chain.makeBlock();
  assert.deepEqual(await seen(), { paid: toNano(3), stake: toNano(2), owner: 0n });
  await chain.makeBlock();
  const { owner } = await seen();
  assert.ok(owner > toNano(3) && owner < toNano("3.08"), `${owner}`);
});

test("a voucher of another network, one that was shown before and a forged one are refused with their codes", async () => {
  for (const [body, exitCode] of [
    [cashOut({ total: toNano(4) }, devnetKey(1, "somebody else")), 403],
    [cashOut({ total: toNano(4), networkId: -239 }), 405],
    [cashOut({ total: toNano(3) }), 406],
    [cashOut({ total: toNano(4), channel: gateway.address }), 404],
  ] as const) {
    const message = new RegExp(`exitcode=${exitCode}`);
    await assert.rejects(reader.send(outsideBoc(body)), { code: "chain_refused", message });
  }
});

test("a cash-out without a wallet is paid by the channel", async () => {
  const before = await seen();
  await chain.faucet(worker.address, toNano("0.05"));
  await reader.send(outsideBoc(cashOut({ total: toNano(4) })));
  await chain.settle();
  const { paid, owner } = await seen();
  assert.deepEqual([paid, owner - before.owner > toNano("0.99")], [toNano(4), true]);
});

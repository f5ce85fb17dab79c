import assert from "node:assert/strict";
import test from "node:test";
import { EMPTY_CHAIN, keyPairFromSeed, payloadHash, type PayoutVoucher } from "../protocol/index.ts";
import { ATTACHED, CHANNEL_RESERVE, GATEWAY_RESERVE } from "./fees.ts";
import { encodeGatewayMessage, GATEWAY_STATE, gatewayOf, workerAddressGetter } from "./Gateway.ts";
import { openTestChain } from "./sandbox.fake.ts";
import { parseWalletMessage } from "./wallet-messages.ts";
import { encodeWorkerChannelMessage, WORKER_CHANNEL_STATE, workerChannelOf } from "./WorkerChannel.ts";

test("an owner's first cash-out deploys the channel and brings the coins", async () => {
  const chain = await openTestChain();
  const [operator, owner] = [await chain.wallet("operator"), await chain.wallet("owner")];
  const key = keyPairFromSeed(new Uint8Array(32).fill(7));
  const gateway = gatewayOf({
    owner: operator.address,
    gatewayKey: key.publicKey,
    registry: operator.address,
    instance: 1,
    withdrawDelaySeconds: 86_400,
    closeDelaySeconds: 604_800,
  });
  const terms = { owner: owner.address, gateway: gateway.address, gatewayKey: key.publicKey };
  const channel = workerChannelOf(terms);
  const stake = 5_000_000_000n;
  const staked = await chain.send({
    from: operator,
    to: gateway.address,
    value: stake + ATTACHED + GATEWAY_RESERVE,
    body: encodeGatewayMessage({ type: "add-stake", queryId: 1n, amount: stake }),
    deploys: gateway,
  });
  assert.equal(staked.codeAt(gateway.address), 0);
  assert.equal(await chain.ask(gateway.address, workerAddressGetter(owner.address)), channel.address);

  const voucher: PayoutVoucher = {
    type: "payout",
    networkId: chain.networkId,
    channel: channel.address,
    total: 3_000_000_000n,
    receipt: EMPTY_CHAIN,
  };
  const gatewaySignature = key.sign(payloadHash(voucher));
  const trace = await chain.send({
    from: owner,
    to: channel.address,
    value: ATTACHED + CHANNEL_RESERVE,
    body: encodeWorkerChannelMessage({ type: "cash-out", queryId: 2n, limit: 0n, gatewaySignature, voucher }),
    deploys: channel,
  });
  assert.deepEqual(await chain.ask(channel.address, WORKER_CHANNEL_STATE), {
    paid: voucher.total,
    retryAfter: 0,
    terms,
  });
  const { pool, stake: left, drawn } = await chain.ask(gateway.address, GATEWAY_STATE);
  assert.deepEqual([pool, left, drawn], [0n, stake - voucher.total, voucher.total]);
  const [payout] = trace.receivedBy(owner.address);
  assert.ok(payout !== undefined && payout.value > voucher.total);
  assert.deepEqual(parseWalletMessage(payout.body), { type: "payout", queryId: 2n });
});

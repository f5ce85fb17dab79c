import assert from "node:assert/strict";
import { test } from "node:test";
import { chargeFor, EMPTY_CHAIN, nextChargeChain, nextPayoutChain, receiptHashOf } from "../protocol/index.ts";
import { OWNER, scene } from "./gateway.fake.ts";
import { chargeVoucher, countersign, payoutVoucher, PRICE, serve, USAGE } from "./peers.fake.ts";

const AMOUNTS = chargeFor(USAGE, PRICE, 500);

test("one answer moves the same figure from the client's channel to the owner's voucher and the fee", async (t) => {
  const { gateway, channels, ...stage } = await scene(t);
  const worker = await stage.worker();
  const client = await stage.client();
  await serve(client, worker);
  const charge = await client.next("charge");
  const voucher = chargeVoucher(client, charge);
  assert.equal(voucher.total, AMOUNTS.charge);
  assert.equal(voucher.channel, client.channel);
  const receiptHash = receiptHashOf(charge.receipts[0]?.receipt ?? new Uint8Array());
  assert.deepEqual(voucher.receipt, nextChargeChain(EMPTY_CHAIN, receiptHash));
  assert.equal(gateway.ownerTotal(OWNER), 0n, "nothing is promised before the client's word");

  countersign(client, voucher);
  const payout = payoutVoucher(gateway, await worker.next("voucher"));
  assert.equal(payout.total, AMOUNTS.earned);
  assert.equal(payout.channel, channels.workerChannel(OWNER));
  assert.deepEqual(payout.receipt, nextPayoutChain(EMPTY_CHAIN, receiptHash));
  assert.deepEqual(gateway.ledgerTotals(), {
    charges: AMOUNTS.charge,
    gatewayPaid: 0n,
    earnings: AMOUNTS.earned,
    fees: AMOUNTS.fee,
  });
  assert.deepEqual(gateway.clientTotals(client.channel), { charged: AMOUNTS.charge, countersigned: AMOUNTS.charge });
});

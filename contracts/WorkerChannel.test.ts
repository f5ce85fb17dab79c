import assert from "node:assert/strict";
import test from "node:test";
import { beginCell } from "@ton/core";
import { internal } from "@ton/sandbox";
import { payloadCell, toAddress, toBoc, toCell } from "./cells.ts";
import { ATTACHED, CHANNEL_RESERVE, MIN_EXTERNAL_AMOUNT, MINIMUM_VALUES, valueToAttach } from "./fees.ts";
import { encodeGatewayMessage, workerAddressGetter } from "./Gateway.ts";
import type { Trace } from "./sandbox.fake.ts";
import {
  assertRefused,
  BOTH_PRICES,
  forger,
  gainOf,
  NO_MESSAGES,
  openScene,
  OTHER_ADDRESS,
  OTHER_NETWORK,
  QUERY,
  STAKE,
  TON,
  YEAR,
  type Scene,
} from "./scene.fake.ts";
import { parseWalletMessage } from "./wallet-messages.ts";
import {
  encodeWorkerChannelMessage,
  parseWorkerChannelMessage,
  WORKER_CHANNEL_STATE,
  workerChannelOf,
  type WorkerChannelMessage,
} from "./WorkerChannel.ts";

/** A channel that was paid one TON, with coins above its reserve for messages without a wallet. */
async function openWorking(): Promise<Scene> {
  const scene = await openScene();
  await scene.paid(TON);
  await topUp(scene, TON / 5n);
  return scene;
}

function topUp({ chain, stranger, workerChannel }: Scene, value: bigint): Promise<Trace> {
  return chain.send({ from: stranger, to: workerChannel.address, value });
}

function external({ chain, workerChannel }: Scene, message: WorkerChannelMessage): Promise<Trace | number> {
  return chain.sendExternal(workerChannel.address, encodeWorkerChannelMessage(message));
}

test("an owner's first cash-out deploys the channel and brings the coins", async () => {
  const scene = await openScene();
  const { chain, earner, workerChannel } = scene;
  const trace = await scene.toWorkerChannel(scene.cashOut(3n * TON));
  const { paid, retryAfter, terms } = await scene.workerState();
  assert.deepEqual({ paid, retryAfter, terms }, { paid: 3n * TON, retryAfter: 0, terms: workerChannel.terms });
  const [payout] = trace.receivedBy(earner.address);
  assert.ok(payout !== undefined && payout.value > 3n * TON, "the amount and what is left of the value");
  assert.equal(payout.from, scene.gateway.address);
  assert.deepEqual(parseWalletMessage(payout.body), { type: "payout", queryId: QUERY });
  assert.equal(await chain.balanceOf(workerChannel.address), CHANNEL_RESERVE);
});

test("a gateway knows the channel of an owner by the address the twin gives it", async () => {
  const { chain, gateway, workerChannel, earner } = await openScene();
  assert.equal(await chain.ask(gateway.address, workerAddressGetter(earner.address)), workerChannel.address);
});

test("each voucher brings what it tells of more than the one before", async () => {
  const scene = await openScene();
  const cashOut = (total: bigint): Promise<bigint> =>
    gainOf(scene, scene.earner.address, () =>
      scene.toWorkerChannel(scene.cashOut(total), { from: scene.stranger, value: valueToAttach(0n, CHANNEL_RESERVE) }),
    );
  const [first, second] = [await cashOut(TON), await cashOut(3n * TON)];
  assert.ok(first > TON && first < TON + ATTACHED);
  assert.ok(second > 2n * TON && second < 2n * TON + ATTACHED + CHANNEL_RESERVE);
  assert.equal((await scene.workerState()).paid, 3n * TON);
  assert.equal((await scene.gatewayState()).stake, STAKE - 3n * TON);
});

test("whoever presents a voucher pays for it, and the owner gets the coins and the change", async () => {
  const scene = await openWorking();
  const { chain, stranger, earner, operator, workerChannel } = scene;
  const everyone = [stranger, earner, operator, workerChannel];
  const balances = (): Promise<bigint[]> => Promise.all(everyone.map(({ address }) => chain.balanceOf(address)));
  const before = await balances();
  await scene.toWorkerChannel(scene.cashOut(2n * TON), { from: stranger });
  const [spent = 0n, earned = 0n, ...rest] = (await balances()).map((balance, at) => balance - (before[at] ?? 0n));
  assert.ok(spent < -ATTACHED && earned > TON && spent + earned < TON);
  assert.deepEqual(rest, [0n, 0n], "neither the operator nor the channel gains or loses by it");
});

test("an owner whose wallet was never deployed is paid like any other", async () => {
  const scene = await openScene();
  const { chain, stranger, workerChannel } = scene;
  const owner = OTHER_ADDRESS;
  const channel = workerChannelOf({ ...workerChannel.terms, owner });
  const body = encodeWorkerChannelMessage(scene.cashOut(TON, { channel: channel.address }));
  const value = valueToAttach(0n, CHANNEL_RESERVE);
  await chain.send({ from: stranger, to: channel.address, value, body, deploys: channel });
  assert.ok((await chain.balanceOf(owner)) > TON);
});

test("the owner may take a part and the rest later; nobody else's limit counts", async () => {
  const scene = await openScene();
  await scene.toWorkerChannel(scene.cashOut(3n * TON, { limit: TON }));
  assert.equal((await scene.workerState()).paid, TON);
  await scene.toWorkerChannel(scene.cashOut(3n * TON, { limit: 50n * TON }));
  assert.equal((await scene.workerState()).paid, 3n * TON);
  await scene.toWorkerChannel(scene.cashOut(4n * TON, { limit: 1n }), { from: scene.stranger });
  assert.equal((await scene.workerState()).paid, 4n * TON);
});

test("a cash-out is checked in order: value, signature, network, channel, newness", async () => {
  const scene = await openWorking();
  const minimum = MINIMUM_VALUES.cashOut(scene.chain.prices);
  const { workerChannel } = scene;
  const wrongNetwork = { networkId: OTHER_NETWORK, channel: OTHER_ADDRESS };
  const steps = [
    { code: 408, message: scene.cashOut(TON, { key: forger, ...wrongNetwork }), value: minimum - 1n },
    { code: 403, message: scene.cashOut(TON, { key: forger, ...wrongNetwork }), value: minimum },
    { code: 405, message: scene.cashOut(TON, wrongNetwork), value: minimum },
    { code: 404, message: scene.cashOut(TON, { channel: OTHER_ADDRESS }), value: minimum },
    { code: 406, message: scene.cashOut(TON), value: minimum },
  ];
  for (const { code, message, value } of steps) {
    await assertRefused(scene, workerChannel, code, () => scene.toWorkerChannel(message, { value }));
  }
  await assertRefused(scene, workerChannel, 406, () => scene.toWorkerChannel(scene.cashOut(TON - 1n)));
  await scene.toWorkerChannel(scene.cashOut(TON + 1n), { value: minimum });
  assert.equal((await scene.workerState()).paid, TON + 1n);
});

test("the first cash-out must also bring the channel's rent", async () => {
  const scene = await openScene();
  const minimum = MINIMUM_VALUES.cashOut(scene.chain.prices) + CHANNEL_RESERVE;
  const cashOut = (value: bigint): Promise<Trace> => scene.toWorkerChannel(scene.cashOut(TON), { value });
  assert.equal((await cashOut(minimum - 1n)).codeAt(scene.workerChannel.address), 408);
  assert.equal((await cashOut(minimum)).codeAt(scene.workerChannel.address), 0);
  assert.equal(await scene.chain.balanceOf(scene.workerChannel.address), CHANNEL_RESERVE);
});

test("a voucher of another kind is no payout, whoever signed it", async () => {
  const scene = await openWorking();
  const { earner, workerChannel, chain } = scene;
  const { channel } = scene.cashOut(0n).voucher;
  const close = scene.closeVoucher(9n * TON, 0, { channel });
  assert.ok(close.type === "close-cooperative");
  const { voucher, gatewaySignature } = close;
  const shaped = toBoc(
    beginCell()
      .storeUint(0x1c0c0101, 32)
      .storeUint(QUERY, 64)
      .storeCoins(0)
      .storeBuffer(Buffer.from(gatewaySignature))
      .storeRef(payloadCell(voucher))
      .endCell(),
  );
  const act = (): Promise<Trace> => chain.send({ from: earner, to: workerChannel.address, value: TON, body: shaped });
  await assertRefused(scene, workerChannel, 63, act);
});

test("what is no message of a channel is refused, and coins for the rent are taken", async () => {
  const scene = await openWorking();
  const { chain, earner, workerChannel } = scene;
  const openChannel = beginCell().storeUint(0x1c0c0201, 32).storeUint(QUERY, 64).endCell();
  for (const body of [toBoc(openChannel), ...NO_MESSAGES]) {
    const act = (): Promise<Trace> => chain.send({ from: earner, to: workerChannel.address, value: TON, body });
    await assertRefused(scene, workerChannel, 0xffff, act);
  }
  const before = await chain.balanceOf(workerChannel.address);
  const [, received] = (await topUp(scene, TON)).transactions;
  assert.equal(await chain.balanceOf(workerChannel.address), before + TON - (received?.totalFees.coins ?? 0n));
});

for (const { name, prices } of BOTH_PRICES) {
  test(`the least accepted value pays for a payout and for a bounce, at the prices ${name}`, async () => {
    const scene = await openScene(prices);
    await scene.paid(TON);
    const value = MINIMUM_VALUES.cashOut(prices);
    await scene.toWorkerChannel(scene.cashOut(2n * TON), { value });
    assert.equal((await scene.workerState()).paid, 2n * TON);
    assert.equal((await scene.gatewayState()).stake, STAKE - 2n * TON);
    await scene.toWorkerChannel(scene.cashOut(50n * TON), { value });
    assert.equal((await scene.workerState()).paid, 2n * TON, "the claim came back");
    assert.equal((await scene.gatewayState()).stake, STAKE - 2n * TON);
  });
}

test("what the gateway cannot pay stays claimable, and a part that it can pay is paid", async () => {
  const scene = await openWorking();
  const { chain, gateway } = scene;
  const refused = await scene.toWorkerChannel(scene.cashOut(50n * TON));
  assert.equal(refused.codeAt(gateway.address), 409);
  const { paid, retryAfter } = await scene.workerState();
  assert.deepEqual([paid, retryAfter], [TON, chain.now() + 3600]);
  await scene.toWorkerChannel(scene.cashOut(50n * TON, { limit: 4n * TON }));
  assert.equal((await scene.workerState()).paid, 5n * TON);
  assert.equal((await scene.gatewayState()).stake, 0n);
});

test("nobody but the gateway can take back what was paid", async () => {
  const scene = await openWorking();
  const { chain, workerChannel, stranger } = scene;
  const bounced = beginCell()
    .storeUint(0xffff_ffff, 32)
    .storeSlice(
      toCell(
        encodeGatewayMessage({ type: "payout-request", queryId: 0n, amount: TON, workerOwner: stranger.address }),
      ).beginParse(),
    );
  const message = internal({
    from: toAddress(stranger.address),
    to: toAddress(workerChannel.address),
    value: TON,
    bounced: true,
    body: bounced.endCell(),
  });
  await chain.blockchain.sendMessage(message);
  const { paid, retryAfter } = await scene.workerState();
  assert.deepEqual([paid, retryAfter], [TON, 0]);
});

test("a voucher can be presented without a wallet: the channel pays the gas of what it has above its reserve", async () => {
  const scene = await openWorking();
  const { chain, earner, workerChannel } = scene;
  const before = await chain.balanceOf(workerChannel.address);
  const gain = await gainOf(scene, earner.address, () => external(scene, scene.cashOut(2n * TON)));
  assert.ok(gain > TON && gain < TON + before - CHANNEL_RESERVE);
  assert.equal((await scene.workerState()).paid, 2n * TON);
  assert.ok((await chain.balanceOf(workerChannel.address)) > CHANNEL_RESERVE);
  assert.equal(await external(scene, scene.cashOut(2n * TON)), 406, "and only once");
});

test("the owner's limit means nothing where nobody shows to be the owner", async () => {
  const scene = await openWorking();
  await external(scene, scene.cashOut(3n * TON, { limit: TON }));
  assert.equal((await scene.workerState()).paid, 3n * TON);
});

test("without a wallet it is checked in order: pause, signature, network, channel, newness, amount, reserve", async () => {
  const scene = await openScene();
  const { chain, workerChannel } = scene;
  await scene.paid(TON);
  await scene.toWorkerChannel(scene.cashOut(50n * TON)); // bounces
  const wrongNetwork = { networkId: OTHER_NETWORK, channel: OTHER_ADDRESS };
  const small = TON + MIN_EXTERNAL_AMOUNT - 1n;
  const state = await scene.workerState();
  assert.equal(await external(scene, scene.cashOut(TON, { key: forger, ...wrongNetwork })), 410);
  chain.advance(3599);
  assert.equal(await external(scene, scene.cashOut(small + 1n)), 410);
  chain.advance(1);
  await drain(scene);
  assert.equal(await external(scene, scene.cashOut(TON, { key: forger, ...wrongNetwork })), 403);
  assert.equal(await external(scene, scene.cashOut(TON, wrongNetwork)), 405);
  assert.equal(await external(scene, scene.cashOut(TON, { channel: OTHER_ADDRESS })), 404);
  assert.equal(await external(scene, scene.cashOut(TON)), 406);
  assert.equal(await external(scene, scene.cashOut(small)), 414);
  assert.equal(await external(scene, scene.cashOut(small + 1n)), 409);
  assert.deepEqual(await scene.workerState(), state, "a message that is not accepted costs and changes nothing");
  const lacking = CHANNEL_RESERVE + MINIMUM_VALUES.cashOut(chain.prices);
  await topUp(scene, lacking - (await chain.balanceOf(workerChannel.address)) + TON / 1000n);
  assert.equal(typeof (await external(scene, scene.cashOut(small + 1n))), "object");
  assert.equal((await scene.workerState()).paid, small + 1n);
});

test("what is no cash-out, or more than one, is not accepted without a wallet", async () => {
  const scene = await openWorking();
  const { chain, workerChannel } = scene;
  const address = workerChannel.address;
  const topUpBody = beginCell().storeUint(0x1c0c0202, 32).storeUint(QUERY, 64).storeCoins(1).endCell();
  assert.equal(await chain.sendExternal(address, toBoc(topUpBody)), 0xffff);
  const longer = beginCell().storeSlice(toCell(encodeWorkerChannelMessage(scene.cashOut(2n * TON))).beginParse());
  assert.equal(await chain.sendExternal(address, toBoc(longer.storeBit(1).endCell())), 9);
});

for (const { name, prices } of BOTH_PRICES) {
  test(`a payout refused to a message from nowhere gives the claim back, at the prices ${name}`, async () => {
    const scene = await openScene(prices);
    const { chain, gateway, workerChannel } = scene;
    await scene.paid(TON);
    await topUp(scene, TON / 5n);
    const trace = await external(scene, scene.cashOut(50n * TON));
    assert.ok(typeof trace === "object" && trace.codeAt(gateway.address) === 409);
    const { paid, retryAfter } = await scene.workerState();
    assert.deepEqual([paid, retryAfter], [TON, chain.now() + 3600]);
    assert.equal(await external(scene, scene.cashOut(2n * TON)), 410, "and the gas cannot be spent again at once");
    assert.ok((await chain.balanceOf(workerChannel.address)) > CHANNEL_RESERVE);
  });
}

test("a gateway that is not there loses nobody's claim", async () => {
  const scene = await openScene();
  const { chain, earner, workerChannel } = scene;
  const gone = { ...workerChannel.terms, gateway: OTHER_ADDRESS };
  const channel = workerChannelOf(gone);
  const message = scene.cashOut(TON, { channel: channel.address });
  await chain.send({
    from: earner,
    to: channel.address,
    value: valueToAttach(0n, CHANNEL_RESERVE),
    body: encodeWorkerChannelMessage(message),
    deploys: channel,
  });
  const { paid, retryAfter } = await chain.ask(channel.address, WORKER_CHANNEL_STATE);
  assert.deepEqual([paid, retryAfter], [0n, chain.now() + 3600]);
});

/** As much as an account may owe before it freezes. */
const MOST_DEBT = TON / 10n;

test("after thirty years of rent a cash-out brings the reserve and what is owed, and is paid", async () => {
  const scene = await openScene();
  const { chain, workerChannel } = scene;
  await scene.paid(TON);
  chain.advance(30 * YEAR);
  const minimum = MINIMUM_VALUES.cashOut(chain.prices);
  const low = await scene.toWorkerChannel(scene.cashOut(2n * TON), { value: minimum + CHANNEL_RESERVE });
  assert.equal(low.codeAt(workerChannel.address), 408);
  await scene.toWorkerChannel(scene.cashOut(2n * TON), { value: minimum + CHANNEL_RESERVE + MOST_DEBT });
  assert.equal((await scene.workerState()).paid, 2n * TON);
  assert.ok((await chain.balanceOf(workerChannel.address)) >= CHANNEL_RESERVE);
});

test("a channel that owes rent still hears that the gateway could not pay", async () => {
  const scene = await openScene();
  const { chain } = scene;
  await scene.paid(TON);
  chain.advance(30 * YEAR);
  const value = MINIMUM_VALUES.cashOut(chain.prices) + CHANNEL_RESERVE + MOST_DEBT;
  await scene.toWorkerChannel(scene.cashOut(50n * TON), { value });
  assert.equal((await scene.workerState()).paid, TON, "the claim came back");
});

test("a message is read as it was written, and nothing else is read as one", () => {
  const message: WorkerChannelMessage = {
    type: "cash-out",
    queryId: 2n ** 64n - 1n,
    limit: 2n ** 120n - 1n,
    gatewaySignature: new Uint8Array(64).fill(5),
    voucher: {
      type: "payout",
      networkId: -239,
      channel: OTHER_ADDRESS,
      total: 2n ** 120n - 1n,
      receipt: new Uint8Array(32).fill(6),
    },
  };
  const body = encodeWorkerChannelMessage(message);
  assert.deepEqual(parseWorkerChannelMessage(body), message);
  const cut = toCell(body).beginParse().skip(8).asCell();
  const withoutVoucher = beginCell()
    .storeBits(toCell(body).beginParse().loadBits(toCell(body).bits.length))
    .endCell();
  for (const other of [cut, withoutVoucher, beginCell().endCell(), beginCell().storeUint(0x1c0c0101, 32).endCell()]) {
    assert.equal(parseWorkerChannelMessage(toBoc(other)), undefined);
  }
  assert.equal(parseWorkerChannelMessage(new Uint8Array([1, 2, 3])), undefined);
});

test("terms that no channel can have are refused before anything is signed", () => {
  const terms = { owner: OTHER_ADDRESS, gateway: OTHER_ADDRESS, gatewayKey: new Uint8Array(32) };
  assert.throws(() => workerChannelOf({ ...terms, owner: "EQAA" }), RangeError);
  assert.throws(() => workerChannelOf({ ...terms, gateway: `-1:${"0d".repeat(32)}` }), RangeError);
  assert.throws(() => workerChannelOf({ ...terms, gatewayKey: new Uint8Array(31) }));
});

/** Spends what the channel has above its reserve, as messages without a wallet do in time. */
async function drain({ chain, workerChannel }: Scene): Promise<void> {
  const contract = await chain.blockchain.getContract(toAddress(workerChannel.address));
  contract.balance = CHANNEL_RESERVE;
}

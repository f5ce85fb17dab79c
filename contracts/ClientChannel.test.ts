import assert from "node:assert/strict";
import test from "node:test";
import { beginCell } from "@ton/core";
import { internal } from "@ton/sandbox";
import { ed25519 } from "@noble/curves/ed25519.js";
import { concat, hash, payloadHash } from "../protocol/index.ts";
import { payloadCell, toAddress, toBoc, toCell } from "./cells.ts";
import {
  CLIENT_CHANNEL_STATE,
  clientChannelOf,
  encodeClientChannelMessage,
  parseClientChannelMessage,
  type ClientChannelMessage,
} from "./ClientChannel.ts";
import { ATTACHED, CHANNEL_RESERVE, MIN_EXTERNAL_AMOUNT, MINIMUM_VALUES, valueToAttach } from "./fees.ts";
import type { TestWallet, Trace } from "./sandbox.fake.ts";
import {
  assertRefused,
  BOTH_PRICES,
  CREDIT_LIMIT,
  DAY,
  DEPOSIT,
  forger,
  gainOf,
  NO_MESSAGES,
  openScene,
  OTHER_ADDRESS,
  OTHER_NETWORK,
  paymentKey,
  QUERY,
  TON,
  YEAR,
  type KeyPair,
  type Scene,
} from "./scene.fake.ts";
import { parseWalletMessage } from "./wallet-messages.ts";

interface Opening {
  readonly amount?: bigint;
  readonly creditLimit?: bigint;
  readonly key?: KeyPair;
}

function open({ amount = TON, creditLimit = CREDIT_LIMIT, key = paymentKey }: Opening = {}): ClientChannelMessage {
  return { type: "open-channel", queryId: QUERY, amount, paymentKey: key.publicKey, creditLimit };
}

const topUp = (amount: bigint): ClientChannelMessage => ({ type: "top-up", queryId: QUERY, amount });
const setCreditLimit = (creditLimit: bigint): ClientChannelMessage => ({
  type: "set-credit-limit",
  queryId: QUERY,
  creditLimit,
});
const START_CLOSE: ClientChannelMessage = { type: "start-close", queryId: QUERY };
const FINISH_CLOSE: ClientChannelMessage = { type: "finish-close", queryId: QUERY };

function external({ chain, clientChannel }: Scene, message: ClientChannelMessage): Promise<Trace | number> {
  return chain.sendExternal(clientChannel.address, encodeClientChannelMessage(message));
}

/** A channel whose owner has closed it alone; nothing is in it. */
async function openClosed(): Promise<Scene> {
  const scene = await openScene();
  await scene.toClientChannel(START_CLOSE);
  scene.chain.advance(DAY);
  await scene.toClientChannel(FINISH_CLOSE);
  return scene;
}

async function coinsOf(scene: Scene): Promise<bigint> {
  return scene.chain.balanceOf(scene.clientChannel.address);
}

function only(trace: Trace, { address }: TestWallet, type: "excesses" | "refund"): bigint {
  const [message, ...more] = trace.receivedBy(address);
  assert.ok(message !== undefined && more.length === 0 && !message.mayBounce);
  assert.deepEqual(parseWalletMessage(message.body), { type, queryId: QUERY });
  return message.value;
}

// ---- OpenChannel ----

test("a channel that its owner opened holds the deposit, and is what its terms say", async () => {
  const scene = await openScene();
  const { clientChannel } = scene;
  assert.deepEqual(await scene.clientState(), {
    status: "open",
    balance: DEPOSIT,
    charged: 0n,
    acked: 0n,
    creditLimit: CREDIT_LIMIT,
    closeAt: 0,
    closeSeq: 0,
    paymentKey: paymentKey.publicKey,
    terms: clientChannel.terms,
  });
  assert.equal(await coinsOf(scene), DEPOSIT + CHANNEL_RESERVE);
  assert.equal(clientChannelOf(clientChannel.terms).address, clientChannel.address);
});

test("an opening is checked in order: owner, value, status, key", async () => {
  const scene = await openScene();
  const { chain, clientChannel, stranger: from } = scene;
  const value = TON + MINIMUM_VALUES.simple(chain.prices) + CHANNEL_RESERVE;
  const message = open({ key: forger });
  await scene.toClientChannel(START_CLOSE);
  await assertRefused(scene, clientChannel, 401, () => scene.toClientChannel(message, { from, value: value - 1n }));
  await assertRefused(scene, clientChannel, 408, () => scene.toClientChannel(message, { value: value - 1n }));
  await assertRefused(scene, clientChannel, 411, () => scene.toClientChannel(message, { value }));
});

test("while there is a balance, neither another key nor a lower limit can void what was signed or served", async () => {
  const scene = await openScene();
  const { clientChannel } = scene;
  for (const message of [open({ key: forger }), open({ creditLimit: CREDIT_LIMIT - 1n })]) {
    await assertRefused(scene, clientChannel, 413, () => scene.toClientChannel(message));
  }
  await scene.toClientChannel(open({ creditLimit: CREDIT_LIMIT + 1n }));
  const { balance, creditLimit } = await scene.clientState();
  assert.deepEqual([balance, creditLimit], [DEPOSIT + TON, CREDIT_LIMIT + 1n]);
});

test("an empty channel is opened again with another key and a lower limit; its totals stay", async () => {
  const scene = await openScene();
  await scene.charged(DEPOSIT);
  const trace = await scene.toClientChannel(open({ key: forger, creditLimit: 0n }));
  only(trace, scene.payer, "excesses");
  const { balance, charged, acked, creditLimit, paymentKey: key } = await scene.clientState();
  assert.deepEqual([balance, charged, acked, creditLimit], [TON, DEPOSIT, DEPOSIT, 0n]);
  assert.deepEqual(key, forger.publicKey);
});

test("a stranger who pays in before the owner opens the channel does not lock the owner out", async () => {
  const scene = await openScene();
  const { chain, stranger, payer } = scene;
  const terms = { ...scene.clientChannel.terms, closeDelaySeconds: 2 * DAY };
  const channel = clientChannelOf(terms);
  const send = (from: TestWallet, message: ClientChannelMessage): Promise<Trace> =>
    chain.send({
      from,
      to: channel.address,
      value: TON + valueToAttach(0n, CHANNEL_RESERVE),
      body: encodeClientChannelMessage(message),
      deploys: channel,
    });
  await send(stranger, topUp(1n));
  assert.equal((await send(payer, open())).codeAt(channel.address), 0);
  const { balance, paymentKey: key } = await chain.ask(channel.address, CLIENT_CHANNEL_STATE);
  assert.deepEqual([balance, key], [TON + 1n, paymentKey.publicKey]);
});

test("the twin opens no channel with a key that anyone can sign for", () => {
  const nobody = { ...paymentKey, publicKey: new Uint8Array(32) };
  assert.throws(() => encodeClientChannelMessage(open({ key: nobody })), RangeError);
});

// ---- TopUp ----

test("anyone may pay in, and gets back what was not needed", async () => {
  const scene = await openScene();
  const { stranger } = scene;
  const trace = await scene.toClientChannel(topUp(TON), { from: stranger, value: 3n * TON });
  assert.ok(only(trace, stranger, "excesses") > 2n * TON - MINIMUM_VALUES.simple(scene.chain.prices));
  assert.equal((await scene.clientState()).balance, DEPOSIT + TON);
  assert.equal(await coinsOf(scene), DEPOSIT + TON + CHANNEL_RESERVE);
});

test("a payment is checked in order: value, status", async () => {
  const scene = await openScene();
  const { chain, clientChannel } = scene;
  const value = TON + MINIMUM_VALUES.simple(chain.prices);
  await scene.toClientChannel(topUp(TON), { value });
  assert.equal((await scene.clientState()).balance, DEPOSIT + TON);
  await scene.toClientChannel(START_CLOSE);
  await assertRefused(scene, clientChannel, 408, () => scene.toClientChannel(topUp(TON), { value: value - 1n }));
  await assertRefused(scene, clientChannel, 411, () => scene.toClientChannel(topUp(TON), { value }));
});

// ---- Charge ----

test("a countersigned voucher moves its worth to the gateway, whoever presents it", async () => {
  const scene = await openScene();
  const { chain, stranger, clientChannel } = scene;
  const trace = await scene.toClientChannel(scene.charge(4n * TON), { from: stranger });
  assert.ok(only(trace, stranger, "excesses") > ATTACHED - MINIMUM_VALUES.charge(chain.prices));
  const { balance, charged, acked } = await scene.clientState();
  assert.deepEqual([balance, charged, acked], [DEPOSIT - 4n * TON, 4n * TON, 4n * TON]);
  assert.equal((await scene.gatewayState()).pool, 4n * TON);
  assert.equal(await chain.balanceOf(clientChannel.address), DEPOSIT - 4n * TON + CHANNEL_RESERVE);
});

test("alone the gateway gets ahead of what was confirmed by the credit limit and no further", async () => {
  const scene = await openScene();
  const alone = (total: bigint): ClientChannelMessage => scene.charge(total, { clientKey: "nobody" });
  await scene.charged(TON);
  await assertRefused(scene, scene.clientChannel, 407, () => scene.toClientChannel(alone(TON + CREDIT_LIMIT + 1n)));
  await scene.toClientChannel(alone(TON + CREDIT_LIMIT));
  const { charged, acked } = await scene.clientState();
  assert.deepEqual([charged, acked], [TON + CREDIT_LIMIT, TON]);
  await assertRefused(scene, scene.clientChannel, 407, () => scene.toClientChannel(alone(TON + CREDIT_LIMIT + 1n)));
  await scene.charged(2n * TON);
  assert.equal((await scene.clientState()).acked, 2n * TON, "a countersignature covers all below it");
});

test("no more is charged than there is: the rest was the gateway's own risk", async () => {
  const scene = await openScene();
  await scene.charged(DEPOSIT + TON);
  const { balance, charged, acked } = await scene.clientState();
  assert.deepEqual([balance, charged, acked], [0n, DEPOSIT, DEPOSIT + TON]);
  await assertRefused(scene, scene.clientChannel, 409, () => scene.toClientChannel(scene.charge(DEPOSIT + TON)));
  await scene.toClientChannel(topUp(3n * TON));
  await scene.charged(DEPOSIT + TON);
  assert.equal((await scene.clientState()).balance, 2n * TON, "a confirmed voucher stays good for the next deposit");
});

test("a charge is checked in order: value, gateway's signature, network, channel, newness, client's signature", async () => {
  const scene = await openScene();
  const { chain, clientChannel } = scene;
  const value = MINIMUM_VALUES.charge(chain.prices);
  await scene.charged(TON);
  const [networkId, channel] = [OTHER_NETWORK, OTHER_ADDRESS];
  const clientKey = forger;
  const steps = [
    { code: 408, message: scene.charge(TON, { key: forger, networkId, channel, clientKey }), coins: value - 1n },
    { code: 403, message: scene.charge(TON, { key: forger, networkId, channel, clientKey }), coins: value },
    { code: 405, message: scene.charge(TON, { networkId, channel, clientKey }), coins: value },
    { code: 404, message: scene.charge(TON, { channel, clientKey }), coins: value },
    { code: 406, message: scene.charge(TON, { clientKey }), coins: value },
    { code: 406, message: scene.charge(TON, { clientKey: "nobody" }), coins: value },
    { code: 403, message: scene.charge(9n * TON, { clientKey }), coins: value },
    { code: 407, message: scene.charge(9n * TON, { clientKey: "nobody" }), coins: value },
  ];
  for (const { code, message, coins } of steps) {
    await assertRefused(scene, clientChannel, code, () => scene.toClientChannel(message, { value: coins }));
  }
  await scene.toClientChannel(scene.charge(9n * TON), { value });
  assert.equal((await scene.clientState()).charged, 9n * TON);
});

test("a signature over one kind of voucher does not charge as another", async () => {
  const scene = await openScene();
  const { chain, clientChannel, operator: from } = scene;
  const close = scene.closeVoucher(9n * TON, 0);
  assert.ok(close.type === "close-cooperative");
  const body = beginCell()
    .storeUint(0x1c0c0203, 32)
    .storeUint(QUERY, 64)
    .storeBuffer(Buffer.from(close.gatewaySignature))
    .storeMaybeRef(null)
    .storeRef(payloadCell(close.voucher))
    .endCell();
  const act = (): Promise<Trace> => chain.send({ from, to: clientChannel.address, value: TON, body: toBoc(body) });
  await assertRefused(scene, clientChannel, 63, act);
});

/** A signature that verifies under a key of zeros, made without any secret: that key is a point of order four. */
function signWithoutKey(message: Uint8Array): Uint8Array {
  const zeros = new Uint8Array(32);
  const key = ed25519.Point.fromBytes(zeros, true);
  for (let s = 1n; ; s++) {
    const nonce = ed25519.Point.BASE.multiply(s);
    for (const point of [nonce, nonce.add(key), nonce.add(key.double()), nonce.subtract(key)]) {
      const scalar = Buffer.alloc(32);
      scalar.writeBigUInt64LE(s);
      const signature = concat(point.toBytes(), scalar);
      if (ed25519.verify(signature, message, zeros, { zip215: true })) return signature;
    }
  }
}

test("before the owner opens a channel nobody can countersign for it, though the key it has then is nobody's", async () => {
  const scene = await openScene();
  const { chain, stranger, operator } = scene;
  const channel = clientChannelOf({ ...scene.clientChannel.terms, closeDelaySeconds: 3 * DAY });
  const value = TON + valueToAttach(0n, CHANNEL_RESERVE);
  const body = encodeClientChannelMessage(topUp(TON));
  await chain.send({ from: stranger, to: channel.address, value, body, deploys: channel });
  const charge = scene.charge(TON, { channel: channel.address });
  const forged = { ...charge, clientSignature: signWithoutKey(payloadHash(charge.voucher)) };
  const act = (): Promise<Trace> =>
    chain.send({ from: operator, to: channel.address, value, body: encodeClientChannelMessage(forged) });
  await assertRefused(scene, channel, 403, act);
});

// ---- Charge, without a wallet ----

test("without a wallet the gateway pays the gas out of what it is credited", async () => {
  const scene = await openScene();
  const trace = await external(scene, scene.charge(4n * TON));
  assert.equal(typeof trace, "object");
  const { balance, charged } = await scene.clientState();
  assert.deepEqual([balance, charged], [DEPOSIT - 4n * TON, 4n * TON]);
  const { pool } = await scene.gatewayState();
  assert.ok(pool < 4n * TON && pool > 4n * TON - ATTACHED);
  assert.equal(await external(scene, scene.charge(4n * TON)), 406, "and only once");
});

for (const { name, prices } of BOTH_PRICES) {
  test(`a charge without a wallet costs the client nothing beside it, at the prices ${name}`, async () => {
    const scene = await openScene(prices);
    const alone = { clientKey: "nobody" as const };
    await scene.toClientChannel(setCreditLimit(TON));
    for (const message of [scene.charge(MIN_EXTERNAL_AMOUNT, alone), scene.charge(DEPOSIT + 5n * TON)]) {
      assert.equal(typeof (await external(scene, message)), "object");
      const { balance } = await scene.clientState();
      assert.ok((await coinsOf(scene)) >= balance + CHANNEL_RESERVE, "the reserve is whole");
    }
    assert.equal((await scene.clientState()).charged, DEPOSIT);
  });
}

test("without a wallet it is checked in order: gateway, network, channel, newness, client, balance, amount", async () => {
  const scene = await openScene();
  await scene.charged(TON);
  const [networkId, channel] = [OTHER_NETWORK, OTHER_ADDRESS];
  const clientKey = forger;
  const small = TON + MIN_EXTERNAL_AMOUNT - 1n;
  const before = [await scene.clientState(), await coinsOf(scene)];
  const steps = [
    { code: 403, message: scene.charge(TON, { key: forger, networkId, channel, clientKey }) },
    { code: 405, message: scene.charge(TON, { networkId, channel, clientKey }) },
    { code: 404, message: scene.charge(TON, { channel, clientKey }) },
    { code: 406, message: scene.charge(TON, { clientKey }) },
    { code: 403, message: scene.charge(small, { clientKey }) },
    { code: 407, message: scene.charge(small, { clientKey: "nobody" }) },
    { code: 414, message: scene.charge(small) },
  ];
  for (const { code, message } of steps) assert.equal(await external(scene, message), code);
  assert.deepEqual([await scene.clientState(), await coinsOf(scene)], before, "refusing costs nothing");
  await scene.charged(DEPOSIT);
  assert.equal(await external(scene, scene.charge(DEPOSIT + TON)), 409);
});

test("only a charge, and only one, is accepted without a wallet", async () => {
  const scene = await openScene();
  for (const message of [START_CLOSE, topUp(TON), FINISH_CLOSE]) assert.equal(await external(scene, message), 0xffff);
  const charge = toCell(encodeClientChannelMessage(scene.charge(TON))).beginParse();
  const longer = beginCell().storeSlice(charge).storeBit(1).endCell();
  assert.equal(await scene.chain.sendExternal(scene.clientChannel.address, toBoc(longer)), 9);
});

// ---- CloseCooperative ----

test("with the gateway's word for the last total the owner gets the rest at once", async () => {
  const scene = await openScene();
  await scene.charged(TON);
  const trace = await scene.toClientChannel(scene.closeVoucher(3n * TON, 0));
  const refund = only(trace, scene.payer, "refund");
  assert.ok(refund > DEPOSIT - 3n * TON && refund < DEPOSIT - 3n * TON + ATTACHED);
  const { status, balance, charged, acked, closeAt, closeSeq } = await scene.clientState();
  assert.deepEqual([status, balance, charged, acked, closeAt, closeSeq], ["open", 0n, 3n * TON, 3n * TON, 0, 1]);
  assert.equal((await scene.gatewayState()).pool, 3n * TON);
  assert.equal(await coinsOf(scene), CHANNEL_RESERVE);
});

test("a last total below what was charged takes nothing back, and one above the balance takes no more", async () => {
  const scene = await openScene();
  await scene.charged(3n * TON);
  const trace = await scene.toClientChannel(scene.closeVoucher(TON, 0));
  assert.ok(only(trace, scene.payer, "refund") > DEPOSIT - 3n * TON);
  assert.equal(trace.codeAt(scene.gateway.address), undefined, "there is nothing to credit");
  assert.deepEqual([(await scene.clientState()).charged, (await scene.gatewayState()).pool], [3n * TON, 3n * TON]);
  await scene.toClientChannel(open({ amount: 2n * TON }));
  await scene.toClientChannel(scene.closeVoucher(50n * TON, 1));
  assert.deepEqual([(await scene.clientState()).charged, (await scene.gatewayState()).pool], [5n * TON, 5n * TON]);
});

test("a cooperative close is checked in order: value, owner, signature, network, channel, closings so far", async () => {
  const scene = await openScene();
  const { chain, clientChannel, stranger, payer } = scene;
  const value = MINIMUM_VALUES.charge(chain.prices);
  const [networkId, channel] = [OTHER_NETWORK, OTHER_ADDRESS];
  const steps = [
    { code: 408, message: scene.closeVoucher(TON, 1, { key: forger, networkId, channel }), from: stranger, less: 1n },
    { code: 401, message: scene.closeVoucher(TON, 1, { key: forger, networkId, channel }), from: stranger, less: 0n },
    { code: 403, message: scene.closeVoucher(TON, 1, { key: forger, networkId, channel }), from: payer, less: 0n },
    { code: 405, message: scene.closeVoucher(TON, 1, { networkId, channel }), from: payer, less: 0n },
    { code: 404, message: scene.closeVoucher(TON, 1, { channel }), from: payer, less: 0n },
    { code: 412, message: scene.closeVoucher(TON, 1), from: payer, less: 0n },
  ];
  for (const { code, message, from, less } of steps) {
    await assertRefused(scene, clientChannel, code, () =>
      scene.toClientChannel(message, { from, value: value - less }),
    );
  }
  await scene.toClientChannel(scene.closeVoucher(TON, 0), { value });
  assert.equal((await scene.clientState()).closeSeq, 1);
});

test("a close voucher ends one life of a channel and not the next", async () => {
  const scene = await openScene();
  const message = scene.closeVoucher(TON, 0);
  await scene.toClientChannel(message);
  await scene.toClientChannel(open({ amount: 5n * TON }));
  await assertRefused(scene, scene.clientChannel, 412, () => scene.toClientChannel(message));
});

test("while the owner's own close is under way the gateway may still agree to one", async () => {
  const scene = await openScene();
  await scene.toClientChannel(START_CLOSE);
  only(await scene.toClientChannel(scene.closeVoucher(TON, 0)), scene.payer, "refund");
  const { status, closeAt, closeSeq } = await scene.clientState();
  assert.deepEqual([status, closeAt, closeSeq], ["open", 0, 1]);
  await assertRefused(scene, scene.clientChannel, 411, () => scene.toClientChannel(FINISH_CLOSE));
});

// ---- StartClose, FinishClose ----

test("the start of a close is checked in order: owner, value, status", async () => {
  const scene = await openScene();
  const { chain, clientChannel, stranger: from, payer } = scene;
  const value = MINIMUM_VALUES.simple(chain.prices);
  await assertRefused(scene, clientChannel, 401, () => scene.toClientChannel(START_CLOSE, { from, value: value - 1n }));
  await assertRefused(scene, clientChannel, 408, () => scene.toClientChannel(START_CLOSE, { value: value - 1n }));
  only(await scene.toClientChannel(START_CLOSE, { value }), payer, "excesses");
  const { status, closeAt } = await scene.clientState();
  assert.deepEqual([status, closeAt], ["closing", chain.now() + DAY]);
  await assertRefused(scene, clientChannel, 411, () => scene.toClientChannel(START_CLOSE));
});

test("a gateway that does not answer cannot hold a coin that it has not earned", async () => {
  const scene = await openScene();
  const { chain, payer, stranger } = scene;
  await scene.charged(TON);
  await scene.toClientChannel(START_CLOSE);
  await scene.charged(3n * TON); // the delay is for this
  chain.advance(DAY);
  const trace = await scene.toClientChannel(FINISH_CLOSE, { from: stranger });
  assert.ok(only(trace, payer, "refund") >= DEPOSIT - 3n * TON);
  const { status, balance, charged, closeAt, closeSeq } = await scene.clientState();
  assert.deepEqual([status, balance, charged, closeAt, closeSeq], ["open", 0n, 3n * TON, 0, 1]);
  assert.equal(await coinsOf(scene), CHANNEL_RESERVE);
});

test("the end of a close is checked in order: status, time, value", async () => {
  const scene = await openScene();
  const { chain, clientChannel } = scene;
  const value = MINIMUM_VALUES.simple(chain.prices);
  const finish = (coins: bigint): Promise<Trace> => scene.toClientChannel(FINISH_CLOSE, { value: coins });
  await assertRefused(scene, clientChannel, 411, () => finish(value - 1n));
  await scene.toClientChannel(START_CLOSE);
  chain.advance(DAY - 1);
  await assertRefused(scene, clientChannel, 410, () => finish(value - 1n));
  chain.advance(1);
  await assertRefused(scene, clientChannel, 408, () => finish(value - 1n));
  await finish(value);
  assert.equal((await scene.clientState()).closeSeq, 1);
});

test("vouchers of before a close are as stale after it, and what was confirmed can still be charged", async () => {
  const scene = await openScene();
  await scene.charged(2n * TON);
  await scene.toClientChannel(START_CLOSE);
  scene.chain.advance(DAY);
  await scene.toClientChannel(FINISH_CLOSE);
  await assertRefused(scene, scene.clientChannel, 409, () => scene.toClientChannel(scene.charge(3n * TON)));
  await scene.toClientChannel(open({ amount: 5n * TON }));
  await assertRefused(scene, scene.clientChannel, 406, () => scene.toClientChannel(scene.charge(2n * TON)));
  await scene.charged(3n * TON);
  assert.equal((await scene.clientState()).balance, 4n * TON);
});

test("a refund that finds nothing above the reserve leaves everything as it was", async () => {
  const scene = await openScene();
  const { chain, clientChannel } = scene;
  await scene.charged(DEPOSIT);
  await scene.toClientChannel(START_CLOSE);
  chain.advance(30 * YEAR);
  const value = MINIMUM_VALUES.simple(chain.prices);
  const before = await scene.clientState();
  const trace = await scene.toClientChannel(FINISH_CLOSE, { value });
  assert.equal(trace.codeAt(clientChannel.address), 37);
  assert.ok((trace.receivedBy(scene.payer.address)[0]?.value ?? 0n) > 0n, "and what was sent comes back");
  assert.deepEqual(await scene.clientState(), before);
  await scene.toClientChannel(FINISH_CLOSE, { value: value + CHANNEL_RESERVE });
  assert.equal((await scene.clientState()).closeSeq, 1);
});

// ---- SetCreditLimit ----

test("a credit limit is checked in order: owner, value, and not lower while there is a balance", async () => {
  const scene = await openScene();
  const { chain, clientChannel, stranger: from, payer } = scene;
  const value = MINIMUM_VALUES.simple(chain.prices);
  const lower = setCreditLimit(CREDIT_LIMIT - 1n);
  await assertRefused(scene, clientChannel, 401, () => scene.toClientChannel(lower, { from, value: value - 1n }));
  await assertRefused(scene, clientChannel, 408, () => scene.toClientChannel(lower, { value: value - 1n }));
  await assertRefused(scene, clientChannel, 413, () => scene.toClientChannel(lower, { value }));
  only(await scene.toClientChannel(setCreditLimit(TON), { value }), payer, "excesses");
  assert.equal((await scene.clientState()).creditLimit, TON);
});

test("an empty channel may have a lower limit", async () => {
  const scene = await openClosed();
  await scene.toClientChannel(setCreditLimit(0n));
  assert.equal((await scene.clientState()).creditLimit, 0n);
});

// ---- A credit that bounced ----

test("what a gateway that is not there cannot take is the client's again", async () => {
  const scene = await openScene();
  const { chain, payer, operator } = scene;
  const channel = clientChannelOf({ ...scene.clientChannel.terms, gateway: OTHER_ADDRESS });
  const send = (from: TestWallet, message: ClientChannelMessage): Promise<Trace> =>
    chain.send({
      from,
      to: channel.address,
      value: 5n * TON + valueToAttach(0n, CHANNEL_RESERVE),
      body: encodeClientChannelMessage(message),
      deploys: channel,
    });
  await send(payer, open({ amount: 5n * TON }));
  await send(operator, scene.charge(2n * TON, { channel: channel.address }));
  const { balance, charged } = await chain.ask(channel.address, CLIENT_CHANNEL_STATE);
  assert.equal(charged, 2n * TON);
  assert.ok(balance < 5n * TON && balance > 5n * TON - ATTACHED);
  assert.ok((await chain.balanceOf(channel.address)) >= balance + CHANNEL_RESERVE);
});

test("nobody but the gateway can make a credit bounce", async () => {
  const scene = await openScene();
  const { chain, clientChannel, stranger } = scene;
  const credit = beginCell().storeUint(0xffff_ffff, 32).storeUint(0x1c0c0001, 32).storeUint(0, 64).storeCoins(TON);
  const message = internal({
    from: toAddress(stranger.address),
    to: toAddress(clientChannel.address),
    value: TON,
    bounced: true,
    body: credit.endCell(),
  });
  await chain.blockchain.sendMessage(message);
  assert.equal((await scene.clientState()).balance, DEPOSIT);
});

// ---- Rent ----

test("after decades of rent the counter promises no more than there is, and all of it can be charged", async () => {
  const scene = await openScene();
  const { chain } = scene;
  chain.advance(40 * YEAR);
  await scene.charged(DEPOSIT);
  const { balance, charged } = await scene.clientState();
  assert.equal(balance, 0n);
  assert.ok(charged < DEPOSIT && charged > DEPOSIT - TON);
  assert.equal((await scene.gatewayState()).pool > 0n, true);
});

test("what a message brings never makes up for the rent that the deposit has paid", async () => {
  const scene = await openScene();
  const { chain, clientChannel } = scene;
  const messages = [open(), topUp(TON), setCreditLimit(TON), START_CLOSE, scene.charge(TON)];
  const snapshot = chain.blockchain.snapshot();
  for (const message of messages) {
    await chain.blockchain.loadFrom(snapshot);
    chain.advance(40 * YEAR);
    const trace = await scene.toClientChannel(message, { value: 5n * TON });
    const own = DEPOSIT + CHANNEL_RESERVE - trace.rentOf(clientChannel.address);
    assert.ok(own < DEPOSIT);
    const brought = "amount" in message ? message.amount : 0n;
    const { balance, charged } = await scene.clientState();
    assert.equal(balance, own + brought - charged, message.type);
  }
});

test("when all that is left of a message goes into the reserve, nothing comes back and it counts all the same", async () => {
  const scene = await openScene();
  const { chain, payer, clientChannel } = scene;
  chain.advance(9 * YEAR);
  const trace = await scene.toClientChannel(topUp(TON), { value: TON + MINIMUM_VALUES.simple(chain.prices) });
  assert.equal(trace.codeAt(clientChannel.address), 0);
  assert.deepEqual(trace.receivedBy(payer.address), []);
  assert.equal((await scene.clientState()).balance, DEPOSIT + TON);
});

test("the gateway's last total is paid of what rent has left", async () => {
  const scene = await openScene();
  const { chain, clientChannel } = scene;
  chain.advance(40 * YEAR);
  const trace = await scene.toClientChannel(scene.closeVoucher(DEPOSIT, 0), { value: 5n * TON });
  const own = DEPOSIT + CHANNEL_RESERVE - trace.rentOf(clientChannel.address);
  assert.equal((await scene.clientState()).charged, own);
});

test("after decades of rent the owner gets back what is left of the deposit", async () => {
  const scene = await openScene();
  const { chain, payer } = scene;
  chain.advance(40 * YEAR);
  await scene.toClientChannel(START_CLOSE, { value: ATTACHED });
  const { balance } = await scene.clientState();
  assert.ok(balance < DEPOSIT && (await coinsOf(scene)) >= balance);
  chain.advance(DAY);
  const gain = await gainOf(scene, payer.address, () => scene.toClientChannel(FINISH_CLOSE));
  assert.ok(gain > balance - CHANNEL_RESERVE - ATTACHED);
});

// ---- Everything else ----

test("what is no message of a channel is refused, and coins for the rent are taken", async () => {
  const scene = await openScene();
  const { chain, stranger: from, clientChannel } = scene;
  const { address: to } = clientChannel;
  for (const body of NO_MESSAGES) {
    await assertRefused(scene, clientChannel, 0xffff, () => chain.send({ from, to, value: TON, body }));
  }
  const [, received] = (await chain.send({ from, to, value: TON })).transactions;
  assert.equal(await coinsOf(scene), DEPOSIT + CHANNEL_RESERVE + TON - (received?.totalFees.coins ?? 0n));
  assert.equal((await scene.clientState()).balance, DEPOSIT);
});

for (const { name, prices } of BOTH_PRICES) {
  test(`the least accepted value pays for what it asks, at the prices ${name}`, async () => {
    const scene = await openScene(prices);
    const { operator } = scene;
    const [simple, charge] = [MINIMUM_VALUES.simple(prices), MINIMUM_VALUES.charge(prices)];
    const steps = [
      { message: open(), value: TON + simple + CHANNEL_RESERVE },
      { message: topUp(TON), value: TON + simple },
      { message: setCreditLimit(TON), value: simple },
      { message: scene.charge(TON), value: charge, from: operator },
      { message: scene.closeVoucher(2n * TON, 0), value: charge },
    ];
    for (const { message, value, from = scene.payer } of steps) {
      const trace = await scene.toClientChannel(message, { value, from });
      assert.equal(trace.codeAt(scene.clientChannel.address), 0);
      assert.equal(trace.receivedBy(from.address).length, 1, message.type);
      const { balance } = await scene.clientState();
      assert.equal(await coinsOf(scene), balance + CHANNEL_RESERVE);
    }
    assert.equal((await scene.gatewayState()).pool, 2n * TON);
  });
}

test("messages are read as they were written, and nothing else is read as one", () => {
  const [gatewaySignature, clientSignature] = [new Uint8Array(64).fill(3), new Uint8Array(64).fill(4)];
  const envelope = { networkId: 2 ** 31 - 1, channel: OTHER_ADDRESS, total: 2n ** 120n - 1n };
  const voucher = { type: "charge", ...envelope, receipt: hash(new Uint8Array(1)) } as const;
  const messages: readonly ClientChannelMessage[] = [
    open({ amount: 2n ** 120n - 1n }),
    topUp(0n),
    { type: "charge", queryId: 1n, gatewaySignature, clientSignature, voucher },
    { type: "charge", queryId: 1n, gatewaySignature, clientSignature: undefined, voucher },
    {
      type: "close-cooperative",
      queryId: 2n ** 64n - 1n,
      gatewaySignature,
      voucher: { type: "close", ...envelope, closeSeq: 0xffff_ffff },
    },
    START_CLOSE,
    FINISH_CLOSE,
    setCreditLimit(7n),
  ];
  for (const message of messages) {
    const body = encodeClientChannelMessage(message);
    assert.deepEqual(parseClientChannelMessage(body), message);
    const cell = toCell(body);
    const cut = beginCell()
      .storeBits(cell.beginParse().loadBits(cell.bits.length - 1))
      .endCell();
    assert.equal(parseClientChannelMessage(toBoc(cut)), undefined, `${message.type} cut short`);
  }
  for (const body of NO_MESSAGES) assert.equal(parseClientChannelMessage(body), undefined);
});

test("terms that no channel can have are refused before anything is deployed", () => {
  const ours = { owner: OTHER_ADDRESS, gateway: OTHER_ADDRESS, gatewayKey: forger.publicKey, closeDelaySeconds: DAY };
  assert.throws(() => clientChannelOf({ ...ours, owner: "" }), RangeError);
  assert.throws(() => clientChannelOf({ ...ours, closeDelaySeconds: 2 ** 32 }));
  assert.throws(() => clientChannelOf({ ...ours, closeDelaySeconds: -1 }));
  assert.throws(() => clientChannelOf({ ...ours, gatewayKey: new Uint8Array(16) }));
});

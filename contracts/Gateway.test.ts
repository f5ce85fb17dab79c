import assert from "node:assert/strict";
import test from "node:test";
import { beginCell } from "@ton/core";
import type { RawAddress } from "../protocol/index.ts";
import { toAddress, toBoc, toCell } from "./cells.ts";
import { ATTACHED, GATEWAY_RESERVE, MINIMUM_VALUES } from "./fees.ts";
import {
  encodeGatewayMessage,
  GATEWAY_STATE,
  gatewayOf,
  parseGatewayMessage,
  WITHDRAW_WINDOW_SECONDS,
  workerAddressGetter,
  type GatewayMessage,
} from "./Gateway.ts";
import type { TestWallet, Trace } from "./sandbox.fake.ts";
import {
  assertRefused,
  BOTH_PRICES,
  DAY,
  forger,
  gainOf,
  gatewayKey,
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

const addStake = (amount: bigint): GatewayMessage => ({ type: "add-stake", queryId: QUERY, amount });
const credit = (amount: bigint): GatewayMessage => ({ type: "credit", queryId: QUERY, amount });
const requestWithdraw = (amount: bigint): GatewayMessage => ({ type: "request-withdraw", queryId: QUERY, amount });
const COMPLETE_WITHDRAW: GatewayMessage = { type: "complete-withdraw", queryId: QUERY };
const START_CLOSE: GatewayMessage = { type: "start-close", queryId: QUERY };
const COMPLETE_CLOSE: GatewayMessage = { type: "complete-close", queryId: QUERY };

/** The four counters that move coins. */
async function counters(scene: Scene): Promise<{ pool: bigint; stake: bigint; drawn: bigint; pending: bigint }> {
  const { pool, stake, drawn, pending } = await scene.gatewayState();
  return { pool, stake, drawn, pending };
}

/** Closing, with the delay over. */
async function openDrained(): Promise<Scene> {
  const scene = await openScene();
  await scene.charged(TON);
  await scene.toGateway(START_CLOSE);
  scene.chain.advance(7 * DAY);
  return scene;
}

/** What a wallet got by name, all of it. */
function excesses(trace: Trace, { address }: TestWallet): bigint {
  const [message, ...more] = trace.receivedBy(address);
  assert.ok(message !== undefined && more.length === 0 && !message.mayBounce);
  assert.deepEqual(parseWalletMessage(message.body), { type: "excesses", queryId: QUERY });
  return message.value;
}

test("a new gateway is open, holds its stake and is what its terms say", async () => {
  const { gateway, gatewayState, chain } = await openScene();
  assert.deepEqual(await gatewayState(), {
    status: "open",
    pool: 0n,
    stake: STAKE,
    drawn: 0n,
    pending: 0n,
    unlockAt: 0,
    checkpoint: { seqno: 0, stateHash: new Uint8Array(32) },
    terms: gateway.terms,
  });
  assert.equal(gatewayOf(gateway.terms).address, gateway.address);
  assert.equal(await chain.balanceOf(gateway.address), STAKE + GATEWAY_RESERVE);
});

test("another instance of the same terms is another gateway with channels of its own", async () => {
  const { gateway, chain, earner } = await openScene();
  assert.notEqual(gatewayOf({ ...gateway.terms, instance: 2 }).address, gateway.address);
  const channels = await Promise.all(
    [earner.address, OTHER_ADDRESS].map((owner) => chain.ask(gateway.address, workerAddressGetter(owner))),
  );
  assert.equal(new Set<RawAddress>(channels).size, 2);
});

// ---- Credit ----

test("a charge comes into the pool whole", async () => {
  const scene = await openScene();
  await scene.charged(TON);
  assert.deepEqual(await counters(scene), { pool: TON, stake: STAKE, drawn: 0n, pending: 0n });
});

test("anyone may bring coins, and no more are booked than came", async () => {
  const scene = await openScene();
  const { chain, stranger: from } = scene;
  const gas = MINIMUM_VALUES.creditGas(chain.prices);
  await scene.toGateway(credit(TON), { from, value: TON + gas });
  assert.equal((await counters(scene)).pool, TON);
  await scene.toGateway(credit(9n * TON), { from, value: TON + gas });
  assert.equal((await counters(scene)).pool, 2n * TON);
  await scene.toGateway(credit(0n), { from, value: TON });
  assert.equal((await counters(scene)).pool, 2n * TON);
  const trace = await scene.toGateway(credit(2n ** 120n - 1n), { from, value: gas });
  assert.equal(trace.codeAt(scene.gateway.address), 0, "and none are refused");
  assert.equal((await counters(scene)).pool, 2n * TON);
});

test("credits fill the hole that payouts left in the stake before the pool sees a coin", async () => {
  const scene = await openScene();
  await scene.charged(TON);
  await scene.paid(3n * TON);
  assert.deepEqual(await counters(scene), { pool: 0n, stake: STAKE - 2n * TON, drawn: 2n * TON, pending: 0n });
  await scene.charged(2n * TON);
  assert.deepEqual(await counters(scene), { pool: 0n, stake: STAKE - TON, drawn: TON, pending: 0n });
  await scene.toGateway(credit(TON / 2n));
  assert.deepEqual(await counters(scene), { pool: 0n, stake: STAKE - TON / 2n, drawn: TON / 2n, pending: 0n });
  await scene.charged(3n * TON);
  assert.deepEqual(await counters(scene), { pool: TON / 2n, stake: STAKE, drawn: 0n, pending: 0n });
});

test("what rent has taken of the reserve is made up before a credit counts", async () => {
  const scene = await openScene();
  const { chain, gateway } = scene;
  chain.advance(10 * YEAR);
  const gas = MINIMUM_VALUES.creditGas(chain.prices);
  await scene.toGateway(credit(TON), { value: TON + gas });
  const { pool, stake } = await counters(scene);
  assert.ok(pool < TON && pool > TON - GATEWAY_RESERVE);
  const surplus = (await chain.balanceOf(gateway.address)) - pool - stake - GATEWAY_RESERVE;
  assert.ok(surplus >= 0n && surplus < gas);
});

// ---- PayoutRequest ----

test("nobody but the channel of an owner can ask for that owner's payout", async () => {
  const scene = await openScene();
  const { gateway, stranger, earner, operator } = scene;
  for (const workerOwner of [stranger.address, earner.address]) {
    for (const from of [stranger, earner, operator]) {
      const request: GatewayMessage = { type: "payout-request", queryId: QUERY, amount: 1n, workerOwner };
      await assertRefused(scene, gateway, 402, () => scene.toGateway(request, { from }));
    }
  }
});

test("a payout takes the pool, then the stake, to the last coin and no further", async () => {
  const scene = await openScene();
  await scene.charged(TON);
  const refused = await scene.toWorkerChannel(scene.cashOut(STAKE + TON + 1n));
  assert.equal(refused.codeAt(scene.gateway.address), 409);
  assert.deepEqual(await counters(scene), { pool: TON, stake: STAKE, drawn: 0n, pending: 0n });
  await scene.paid(TON / 2n);
  assert.deepEqual(await counters(scene), { pool: TON / 2n, stake: STAKE, drawn: 0n, pending: 0n });
  await scene.paid(STAKE + TON);
  assert.deepEqual(await counters(scene), { pool: 0n, stake: 0n, drawn: STAKE, pending: 0n });
  assert.ok((await scene.chain.balanceOf(scene.gateway.address)) >= GATEWAY_RESERVE);
});

test("a payout that the coins do not suffice for is refused, and the claim comes back", async () => {
  const scene = await openScene();
  const { chain, gateway } = scene;
  await scene.paid(TON);
  // What no message of ours can bring about: the gateway holds less than its counters say.
  (await chain.blockchain.getContract(toAddress(gateway.address))).balance = TON;
  const trace = await scene.toWorkerChannel(scene.cashOut(3n * TON));
  assert.equal(trace.codeAt(gateway.address), 37);
  assert.deepEqual(await counters(scene), { pool: 0n, stake: STAKE - TON, drawn: TON, pending: 0n });
  assert.equal((await scene.workerState()).paid, TON);
});

// ---- AddStake ----

test("anyone may add to the stake, and gets back what it did not take", async () => {
  const scene = await openScene();
  const { chain, stranger, gateway } = scene;
  const trace = await scene.toGateway(addStake(TON), { from: stranger, value: 2n * TON });
  assert.ok(excesses(trace, stranger) > TON - MINIMUM_VALUES.simple(chain.prices));
  assert.deepEqual(await counters(scene), { pool: 0n, stake: STAKE + TON, drawn: 0n, pending: 0n });
  assert.equal(await chain.balanceOf(gateway.address), STAKE + TON + GATEWAY_RESERVE);
});

test("more stake does not fill the hole that payouts left", async () => {
  const scene = await openScene();
  await scene.paid(2n * TON);
  await scene.toGateway(addStake(TON));
  assert.deepEqual(await counters(scene), { pool: 0n, stake: STAKE - TON, drawn: 2n * TON, pending: 0n });
});

test("a stake is refused with too few coins, and once the gateway is closed", async () => {
  const scene = await openDrained();
  const { chain, gateway } = scene;
  const value = TON + MINIMUM_VALUES.simple(chain.prices);
  await assertRefused(scene, gateway, 408, () => scene.toGateway(addStake(TON), { value: value - 1n }));
  await scene.toGateway(addStake(TON), { value });
  assert.equal((await counters(scene)).stake, STAKE + TON, "while it is closing it is welcome");
  await scene.toGateway(COMPLETE_CLOSE);
  await assertRefused(scene, gateway, 408, () => scene.toGateway(addStake(TON), { value: value - 1n }));
  await assertRefused(scene, gateway, 411, () => scene.toGateway(addStake(TON)));
});

test("the first stake also brings the gateway's rent, so that rent never eats what it promises", async () => {
  const scene = await openScene();
  const { chain, operator } = scene;
  const fresh = gatewayOf({ ...scene.gateway.terms, instance: 9 });
  const value = TON + MINIMUM_VALUES.simple(chain.prices) + GATEWAY_RESERVE;
  const body = encodeGatewayMessage(addStake(TON));
  const deploy = (coins: bigint): Promise<Trace> =>
    chain.send({ from: operator, to: fresh.address, value: coins, body, deploys: fresh });
  assert.equal((await deploy(value - 1n)).codeAt(fresh.address), 408);
  assert.equal((await deploy(value)).codeAt(fresh.address), 0);
  chain.advance(10 * YEAR);
  await chain.send({ from: operator, to: fresh.address, value: 1n });
  assert.ok((await chain.balanceOf(fresh.address)) >= (await chain.ask(fresh.address, GATEWAY_STATE)).stake);
});

test("a stake also brings the rent that the gateway owes", async () => {
  const scene = await openScene();
  const { chain, operator, gateway } = scene;
  const fresh = gatewayOf({ ...gateway.terms, instance: 9 });
  const coins = TON + MINIMUM_VALUES.simple(chain.prices) + GATEWAY_RESERVE;
  const body = encodeGatewayMessage(addStake(TON));
  const send = (value: bigint): Promise<Trace> =>
    chain.send({ from: operator, to: fresh.address, value, body, deploys: fresh });
  // A refused message deploys it with nothing, so that it owes rent from the first day.
  await send(coins - 1n);
  chain.advance(10 * YEAR);
  assert.equal((await send(coins)).codeAt(fresh.address), 408);
  assert.equal((await send(coins + GATEWAY_RESERVE)).codeAt(fresh.address), 0);
  await chain.send({ from: operator, to: fresh.address, value: 1n, bounce: false });
  const balance = await chain.balanceOf(fresh.address);
  assert.equal(balance, TON + GATEWAY_RESERVE + 1n, "which the next message pays");
});

// ---- Withdrawals ----

test("an announced withdrawal is of what is in the pool, and is paid to the owner when its time has come", async () => {
  const scene = await openScene();
  const { chain, operator } = scene;
  await scene.charged(2n * TON);
  const announced = await scene.toGateway(requestWithdraw(50n * TON));
  assert.ok(excesses(announced, operator) > ATTACHED - MINIMUM_VALUES.simple(chain.prices));
  assert.deepEqual(await counters(scene), { pool: 2n * TON, stake: STAKE, drawn: 0n, pending: 2n * TON });
  assert.equal((await scene.gatewayState()).unlockAt, chain.now() + DAY);
  await scene.charged(3n * TON);
  chain.advance(DAY);
  const trace = await scene.toGateway(COMPLETE_WITHDRAW);
  const [payout] = trace.receivedBy(operator.address);
  assert.ok(payout !== undefined && payout.value > 2n * TON && payout.value < 2n * TON + ATTACHED);
  assert.deepEqual(parseWalletMessage(payout.body), { type: "payout", queryId: QUERY });
  assert.deepEqual(await counters(scene), { pool: TON, stake: STAKE, drawn: 0n, pending: 0n });
});

test("a payout lowers the notice with the pool, and a newer notice replaces it", async () => {
  const scene = await openScene();
  const { chain } = scene;
  await scene.charged(2n * TON);
  await scene.toGateway(requestWithdraw(TON));
  await scene.paid(TON / 2n);
  assert.equal((await counters(scene)).pending, TON);
  await scene.paid((3n * TON) / 2n);
  assert.deepEqual(await counters(scene), { pool: TON / 2n, stake: STAKE, drawn: 0n, pending: TON / 2n });
  chain.advance(DAY);
  await scene.toGateway(requestWithdraw(TON / 4n));
  assert.equal((await counters(scene)).pending, TON / 4n);
  await assertRefused(scene, scene.gateway, 410, () => scene.toGateway(COMPLETE_WITHDRAW));
  await scene.toGateway(requestWithdraw(0n));
  await assertRefused(scene, scene.gateway, 416, () => scene.toGateway(COMPLETE_WITHDRAW));
});

test("a notice is checked in order: owner, value, status", async () => {
  const scene = await openDrained();
  const { chain, gateway, stranger } = scene;
  const value = MINIMUM_VALUES.simple(chain.prices);
  const message = requestWithdraw(TON);
  await assertRefused(scene, gateway, 401, () => scene.toGateway(message, { from: stranger, value: value - 1n }));
  await assertRefused(scene, gateway, 408, () => scene.toGateway(message, { value: value - 1n }));
  await assertRefused(scene, gateway, 411, () => scene.toGateway(message, { value }));
});

test("a withdrawal is refused to strangers, before its time and after its window", async () => {
  const scene = await openScene();
  const { chain, gateway, stranger } = scene;
  const complete = (from?: TestWallet): Promise<Trace> => scene.toGateway(COMPLETE_WITHDRAW, from && { from });
  await scene.charged(TON);
  await assertRefused(scene, gateway, 416, complete);
  await scene.toGateway(requestWithdraw(TON));
  await assertRefused(scene, gateway, 401, () => complete(stranger));
  chain.advance(DAY - 1);
  await assertRefused(scene, gateway, 410, complete);
  chain.advance(1 + WITHDRAW_WINDOW_SECONDS + 1);
  await assertRefused(scene, gateway, 417, complete);
  await scene.toGateway(requestWithdraw(TON));
  chain.advance(DAY + WITHDRAW_WINDOW_SECONDS);
  await complete();
  assert.equal((await counters(scene)).pool, 0n, "in the last second of its window it is paid");
});

test("a withdrawal that was announced does not survive the start of the close", async () => {
  const scene = await openScene();
  await scene.charged(TON);
  await scene.toGateway(requestWithdraw(TON));
  await scene.toGateway(START_CLOSE);
  assert.equal((await counters(scene)).pending, 0n);
  scene.chain.advance(DAY);
  await assertRefused(scene, scene.gateway, 411, () => scene.toGateway(COMPLETE_WITHDRAW));
});

// ---- Closing ----

test("the start of a close is checked in order: owner, value, status", async () => {
  const scene = await openScene();
  const { chain, gateway, stranger, operator } = scene;
  const value = MINIMUM_VALUES.simple(chain.prices);
  await assertRefused(scene, gateway, 401, () => scene.toGateway(START_CLOSE, { from: stranger, value: value - 1n }));
  await assertRefused(scene, gateway, 408, () => scene.toGateway(START_CLOSE, { value: value - 1n }));
  excesses(await scene.toGateway(START_CLOSE), operator);
  const { status, unlockAt } = await scene.gatewayState();
  assert.deepEqual([status, unlockAt], ["closing", chain.now() + 7 * DAY]);
  await assertRefused(scene, gateway, 411, () => scene.toGateway(START_CLOSE, { value }));
});

test("while a gateway is closing, clients are charged and workers paid", async () => {
  const scene = await openScene();
  await scene.toGateway(START_CLOSE);
  await scene.charged(TON);
  await scene.paid(2n * TON);
  assert.deepEqual(await counters(scene), { pool: 0n, stake: STAKE - TON, drawn: TON, pending: 0n });
});

test("a close is completed by the owner alone, after the delay, and pays everything out", async () => {
  const scene = await openScene();
  const { chain, gateway, stranger, operator } = scene;
  await scene.charged(TON);
  await scene.paid(2n * TON);
  await assertRefused(scene, gateway, 401, () => scene.toGateway(COMPLETE_CLOSE, { from: stranger }));
  await assertRefused(scene, gateway, 411, () => scene.toGateway(COMPLETE_CLOSE));
  await scene.toGateway(START_CLOSE);
  chain.advance(7 * DAY - 1);
  await assertRefused(scene, gateway, 410, () => scene.toGateway(COMPLETE_CLOSE));
  chain.advance(1);
  const gain = await gainOf(scene, operator.address, () => scene.toGateway(COMPLETE_CLOSE));
  assert.ok(gain > STAKE - TON - ATTACHED && gain < STAKE - TON);
  assert.equal((await scene.gatewayState()).status, "closed");
  assert.deepEqual(await counters(scene), { pool: 0n, stake: 0n, drawn: 0n, pending: 0n });
});

test("credits that come after the close still pay workers, and the rest is swept", async () => {
  const scene = await openDrained();
  const { operator } = scene;
  await scene.toGateway(COMPLETE_CLOSE);
  await scene.charged(3n * TON);
  assert.equal((await counters(scene)).pool, 2n * TON);
  await scene.paid(TON);
  assert.equal((await counters(scene)).pool, TON);
  const gain = await gainOf(scene, operator.address, () => scene.toGateway(COMPLETE_CLOSE));
  assert.ok(gain > TON - ATTACHED);
  assert.equal((await counters(scene)).pool, 0n);
  await assertRefused(scene, scene.gateway, 411, () => scene.toGateway(START_CLOSE));
});

// ---- Checkpoints ----

test("anyone may bring the gateway's newest checkpoint, and gets back what it did not cost", async () => {
  const scene = await openScene();
  const { stranger } = scene;
  const trace = await scene.toGateway(scene.checkpoint(7), { from: stranger });
  assert.ok(excesses(trace, stranger) > ATTACHED - MINIMUM_VALUES.simple(scene.chain.prices));
  const { checkpoint } = await scene.gatewayState();
  assert.deepEqual(checkpoint, { seqno: 7, stateHash: new Uint8Array(32).fill(7) });
});

test("a checkpoint is checked in order: value, signature, network, gateway, newness", async () => {
  const scene = await openScene();
  const { chain, gateway: contract } = scene;
  const value = MINIMUM_VALUES.simple(chain.prices);
  await scene.toGateway(scene.checkpoint(7));
  const gateway = OTHER_ADDRESS;
  const networkId = OTHER_NETWORK;
  const steps = [
    { code: 408, message: scene.checkpoint(7, { key: forger, networkId, gateway }), coins: value - 1n },
    { code: 403, message: scene.checkpoint(7, { key: forger, networkId, gateway }), coins: value },
    { code: 405, message: scene.checkpoint(7, { networkId, gateway }), coins: value },
    { code: 404, message: scene.checkpoint(7, { gateway }), coins: value },
    { code: 412, message: scene.checkpoint(7), coins: value },
    { code: 412, message: scene.checkpoint(6), coins: value },
  ];
  for (const { code, message, coins } of steps) {
    await assertRefused(scene, contract, code, () => scene.toGateway(message, { value: coins }));
  }
  await scene.toGateway(scene.checkpoint(8), { value });
  assert.equal((await scene.gatewayState()).checkpoint.seqno, 8);
});

// ---- Everything else ----

test("what is no message of a gateway is refused, and coins for the rent are taken", async () => {
  const scene = await openScene();
  const { chain, stranger: from, gateway } = scene;
  for (const body of NO_MESSAGES) {
    await assertRefused(scene, gateway, 0xffff, () => chain.send({ from, to: gateway.address, value: TON, body }));
  }
  const [, received] = (await chain.send({ from, to: gateway.address, value: TON })).transactions;
  const kept = STAKE + GATEWAY_RESERVE + TON - (received?.totalFees.coins ?? 0n);
  assert.equal(await chain.balanceOf(gateway.address), kept);
});

test("a gateway takes no message from nowhere", async () => {
  const { chain, gateway } = await openScene();
  assert.equal(await chain.sendExternal(gateway.address, encodeGatewayMessage(COMPLETE_WITHDRAW)), 11);
});

for (const { name, prices } of BOTH_PRICES) {
  test(`the least accepted value pays for what it asks, at the prices ${name}`, async () => {
    const scene = await openScene(prices);
    const value = MINIMUM_VALUES.simple(prices);
    const before = await scene.chain.balanceOf(scene.gateway.address);
    const messages = [addStake(0n), requestWithdraw(0n), scene.checkpoint(1), START_CLOSE];
    for (const message of messages) {
      const trace = await scene.toGateway(message, { value });
      assert.equal(trace.codeAt(scene.gateway.address), 0);
      assert.ok(excesses(trace, scene.operator) > 0n, message.type);
    }
    assert.equal(await scene.chain.balanceOf(scene.gateway.address), before);
  });
}

test("messages are read as they were written, and nothing else is read as one", () => {
  const signature = new Uint8Array(64).fill(3);
  const stateHash = new Uint8Array(32).fill(4);
  const messages: readonly GatewayMessage[] = [
    credit(2n ** 120n - 1n),
    { type: "payout-request", queryId: 1n, amount: 0n, workerOwner: OTHER_ADDRESS },
    addStake(5n),
    requestWithdraw(6n),
    COMPLETE_WITHDRAW,
    START_CLOSE,
    COMPLETE_CLOSE,
    {
      type: "commit-checkpoint",
      queryId: 2n,
      gatewaySignature: signature,
      checkpoint: { type: "checkpoint", networkId: -3, gateway: OTHER_ADDRESS, seqno: 0xffff_ffff, stateHash },
    },
  ];
  for (const message of messages) {
    const body = encodeGatewayMessage(message);
    assert.deepEqual(parseGatewayMessage(body), message);
    const cell = toCell(body);
    const cut = beginCell()
      .storeBits(cell.beginParse().loadBits(cell.bits.length - 1))
      .endCell();
    assert.equal(parseGatewayMessage(toBoc(cut)), undefined, `${message.type} cut short`);
  }
  for (const body of NO_MESSAGES) assert.equal(parseGatewayMessage(body), undefined);
});

test("terms that no gateway can have are refused before anything is deployed", () => {
  const terms = {
    owner: OTHER_ADDRESS,
    gatewayKey: gatewayKey.publicKey,
    registry: OTHER_ADDRESS,
    instance: 1,
    withdrawDelaySeconds: DAY,
    closeDelaySeconds: DAY,
  };
  assert.throws(() => gatewayOf({ ...terms, registry: "0:0d" }), RangeError);
  assert.throws(() => gatewayOf({ ...terms, instance: -1 }));
  assert.throws(() => gatewayOf({ ...terms, withdrawDelaySeconds: 2 ** 32 }));
  assert.throws(() => gatewayOf({ ...terms, gatewayKey: new Uint8Array(33) }));
});

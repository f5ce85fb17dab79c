import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Address, Cell, loadMessage, loadOutList, type MessageRelaxed } from "@ton/core";
import { encodeWorkerChannelMessage, workerChannelOf } from "../../contracts/WorkerChannel.ts";
import { DEVNET_NETWORK_ID, devnetAddress, devnetKey, WILLING } from "../../devnet/index.ts";
import { EMPTY_CHAIN, payloadHash, type Nanoton, type PayoutVoucher, type RawAddress } from "../../protocol/index.ts";
import type { Claim, Wallet, WalletState } from "../../worker/index.ts";
import { openWalletHouse, stateWhere, until, type WalletHouse } from "./wallet-house.ts";

/** An owner takes out what was earned: the request to the wallet app, bit for bit, and every way it can come to nothing. */

let house: WalletHouse;
beforeEach(async () => (house = await openWalletHouse()));
afterEach(() => house.close());

const TON = 1_000_000_000n;

function claim(owner: RawAddress, overrides: { gateway?: string; total?: Nanoton } & Partial<Claim> = {}): Claim {
  const { gateway = "gateway", total = 3n * TON, ...others } = overrides;
  const key = devnetKey(1, gateway);
  const terms = { owner, gateway: devnetAddress(1, gateway), gatewayKey: key.publicKey };
  const channel = workerChannelOf(terms).address;
  const voucher: PayoutVoucher = {
    type: "payout",
    networkId: DEVNET_NETWORK_ID,
    channel,
    total,
    receipt: EMPTY_CHAIN,
  };
  return {
    terms,
    voucher,
    signature: key.sign(payloadHash(voucher)),
    paid: 0n,
    isDeployed: false,
    cover: 100n * TON,
    ...others,
  };
}

/** What the newest external message makes the wallet send. */
function sentMessages(): readonly MessageRelaxed[] {
  const boc = house.sent.at(-1) ?? assert.fail("nothing was sent");
  const { body } = loadMessage(Cell.fromBoc(Buffer.from(boc))[0]?.beginParse() ?? assert.fail());
  const actions = body.beginParse().skip(128).loadMaybeRef() ?? assert.fail();
  return loadOutList(actions.beginParse()).map((action) => (action.type === "sendMsg" ? action.outMsg : assert.fail()));
}

function lastRequest(wallet: Wallet): Extract<WalletState, { phase: "connected" }>["request"] {
  const state = wallet.state();
  return state.phase === "connected" ? state.request : assert.fail(state.phase);
}

test("a withdrawal reaches the chain as the contract's own message, and brings the channel there", async () => {
  const { wallet, app } = await house.connected();
  const wanted = claim(app.address);
  const { messageHash, nanoton, channels } = await wallet.withdraw({ claims: [wanted], amount: "all" });
  assert.deepEqual([nanoton, channels], [3n * TON, [wanted.voucher.channel]]);
  const [message, ...more] = sentMessages();
  assert.ok(message?.info.type === "internal" && more.length === 0);
  const { info, body, init } = message;
  assert.deepEqual(
    [info.dest.toRawString(), info.bounce, info.value.coins],
    [wanted.voucher.channel, true, 70_000_000n],
  );
  const queryId = body.beginParse().skip(32).loadUintBig(64);
  const { voucher, signature } = wanted;
  const expected = encodeWorkerChannelMessage({
    type: "cash-out",
    queryId,
    limit: 0n,
    gatewaySignature: signature,
    voucher,
  });
  assert.deepEqual(new Uint8Array(body.toBoc()), expected);
  const { stateInit } = workerChannelOf(wanted.terms);
  const deployed = Cell.fromBoc(Buffer.from(stateInit))[0];
  assert.ok(
    deployed?.refs[0]?.equals(init?.code ?? assert.fail()) && deployed.refs[1]?.equals(init?.data ?? assert.fail()),
  );
  const request = lastRequest(wallet);
  assert.ok(request.phase === "accepted" && request.messageHash === messageHash);
  assert.match(messageHash, /^[0-9a-f]{64}$/);
});

test("a channel that is deployed is not brought again, and needs no reserve", async () => {
  const { wallet, app } = await house.connected();
  await wallet.withdraw({ claims: [claim(app.address, { isDeployed: true, paid: TON })], amount: "all" });
  const [message] = sentMessages();
  assert.ok(message?.info.type === "internal" && message.init === null);
  assert.equal(message.info.value.coins, 50_000_000n);
});

test("a part is asked for by its limit", async () => {
  const { wallet, app } = await house.connected();
  const { nanoton } = await wallet.withdraw({ claims: [claim(app.address)], amount: TON });
  assert.equal(nanoton, TON);
  const limit = sentMessages()[0]?.body.beginParse().skip(96).loadCoins();
  assert.equal(limit, TON);
});

test("several channels are asked in one transaction", async () => {
  const { wallet, app } = await house.connected();
  const claims = ["a", "b", "c"].map((gateway) => claim(app.address, { gateway }));
  const { channels } = await wallet.withdraw({ claims, amount: "all" });
  assert.deepEqual(
    sentMessages().map(({ info }) => Address.parse(String(info.dest)).toRawString()),
    channels,
  );
  assert.equal(new Set(channels).size, 3);
});

test("after a change of wallet the first one's earnings can still be taken out, to the first one", async () => {
  const { wallet, app: first } = await house.connected();
  const second = house.app("second");
  await second.open(await wallet.connect());
  await stateWhere(wallet, (state) => state.phase === "connected" && state.address === second.address);
  const old = claim(first.address);
  const { channels } = await wallet.withdraw({ claims: [old], amount: "all" });
  assert.deepEqual(channels, [workerChannelOf(old.terms).address]);
  assert.equal(old.terms.owner, first.address);
  assert.deepEqual(second.asked, ["connect", "sendTransaction"]);
});

test("an owner who declines has sent nothing, and may be asked again", async () => {
  const { wallet, app } = await house.connected();
  app.habits = { ...WILLING, transaction: "decline" };
  const claims = [claim(app.address)];
  await assert.rejects(wallet.withdraw({ claims, amount: "all" }), { code: "wallet_declined" });
  const request = lastRequest(wallet);
  assert.ok(request.phase === "failed" && request.code === "wallet_declined");
  assert.deepEqual(house.sent, []);
  app.habits = WILLING;
  await wallet.withdraw({ claims, amount: "all" });
  assert.equal(house.sent.length, 1);
});

test("a wallet that never answers is given up when nothing can be signed any more", async () => {
  const { wallet, app } = await house.connected();
  app.habits = { ...WILLING, transaction: "ignore" };
  const asking = wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
  await until(() => app.asked.includes("sendTransaction"));
  const request = lastRequest(wallet);
  assert.ok(request.phase === "asking" && request.nanoton === 3n * TON);
  await assert.rejects(wallet.withdraw({ claims: [claim(app.address)], amount: "all" }), { code: "wallet_busy" });
  house.clock.advance(306_000);
  await assert.rejects(asking, { code: "wallet_silent" });
  app.habits = WILLING;
  await wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
});

test("a wallet that says it sent from another account is not believed", async () => {
  const { wallet, app } = await house.connected();
  const stranger = house.app("stranger");
  const sentByStranger = new Promise<Uint8Array>((resolve) => {
    stranger.habits = { ...WILLING, alterResult: (boc) => (resolve(boc), boc) };
  });
  const other = house.wallet();
  await stranger.open(await other.connect());
  await stateWhere(other, ({ phase }) => phase === "connected");
  await other.withdraw({ claims: [claim(stranger.address)], amount: "all" });
  const boc = await sentByStranger;
  app.habits = { ...WILLING, alterResult: () => boc };
  await assert.rejects(wallet.withdraw({ claims: [claim(app.address)], amount: "all" }), { code: "wallet_address" });
});

test("a wallet that answers with what is no message is refused", async () => {
  const { wallet, app } = await house.connected();
  for (const result of [new Uint8Array(), new Uint8Array(40).fill(0xb5)]) {
    app.habits = { ...WILLING, alterResult: () => result };
    await assert.rejects(wallet.withdraw({ claims: [claim(app.address)], amount: "all" }), { code: "wallet_refused" });
  }
});

test("a wallet whose chain refuses says so", async () => {
  const [wallet, app] = [
    house.wallet(),
    house.app("owner", {
      chain: {
        account: () => Promise.reject(new Error("down")),
        get: async () => undefined,
        send: async () => undefined,
      },
    }),
  ];
  await app.open(await wallet.connect());
  await stateWhere(wallet, ({ phase }) => phase === "connected");
  await assert.rejects(wallet.withdraw({ claims: [claim(app.address)], amount: "all" }), { code: "wallet_refused" });
});

test("a bridge that is down when the owner withdraws, and comes back, loses no request", async () => {
  const { wallet, app } = await house.connected();
  await house.bridge.goDown();
  const asking = wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
  await stateWhere(wallet, (state) => state.phase === "connected" && !state.isReachable);
  await house.bridge.comeBack();
  await asking;
  assert.deepEqual([app.asked, house.sent.length], [["connect", "sendTransaction"], 1]);
});

test("a bridge that stays down is named as the reason", async () => {
  const { wallet, app } = await house.connected();
  await house.bridge.goDown();
  await stateWhere(wallet, (state) => state.phase === "connected" && !state.isReachable);
  const asking = wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
  await stateWhere(wallet, (state) => state.phase === "connected" && state.request.phase === "asking");
  house.clock.advance(306_000);
  await assert.rejects(asking, { code: "wallet_unreachable" });
});

test("a bridge that takes the request and cuts its answer off has the owner asked once", async () => {
  const { wallet, app } = await house.connected();
  house.bridge.faults.cutsAnswers = true;
  const asking = wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
  await until(() => app.asked.includes("sendTransaction"));
  house.bridge.faults.cutsAnswers = false;
  await asking;
  assert.deepEqual([app.asked, house.sent.length], [["connect", "sendTransaction"], 1]);
});

test("duplicates, disorder and delay on the bridge have the owner asked once", async () => {
  Object.assign(house.bridge.faults, { duplicates: true, reorders: true, delayMs: 50 });
  const { wallet, app } = await house.connected();
  await wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
  await wallet.withdraw({ claims: [claim(app.address, { paid: TON, isDeployed: true })], amount: "all" });
  assert.deepEqual([app.asked, house.sent.length], [["connect", "sendTransaction", "sendTransaction"], 2]);
});

test("a withdrawal after a restart is asked of the same wallet", async () => {
  const { wallet, app } = await house.connected();
  await wallet.close();
  const again = house.wallet();
  await again.restore();
  await again.withdraw({ claims: [claim(app.address)], amount: "all" });
  assert.equal(house.sent.length, 1);
});

test("without a wallet there is nobody to ask", async () => {
  await assert.rejects(house.wallet().withdraw({ claims: [], amount: "all" }), { code: "wallet_missing" });
});

test("an end of the connection ends what was asked", async () => {
  const { wallet, app } = await house.connected();
  app.habits = { ...WILLING, transaction: "ignore" };
  const asking = wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
  await until(() => app.asked.includes("sendTransaction"));
  await Promise.all([assert.rejects(asking, { code: "wallet_session" }), wallet.disconnect()]);
  assert.deepEqual(wallet.state(), { phase: "disconnected" });
});

/** The SDK sends what it has counted two seconds after it began to. */
const ANALYTICS_MS = 2_500;

test("nothing that is wanted of a wallet leaves the machine but to its bridge", async () => {
  const { wallet, app } = await house.connected();
  await wallet.withdraw({ claims: [claim(app.address)], amount: "all" });
  await new Promise((resolve) => setTimeout(resolve, ANALYTICS_MS));
  await wallet.disconnect();
  assert.deepEqual(house.refusedFetches, []);
});

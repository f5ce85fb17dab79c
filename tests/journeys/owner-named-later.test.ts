import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createTestWallet,
  devnetKey,
  DEVNET_MANIFEST,
  DEVNET_NETWORK_ID,
  startBridge,
  type Bridge,
  type Devnet,
  type TestWallet,
} from "../../devnet/index.ts";
import type { KnownWallet, Worker } from "../../worker/index.ts";
import { echoEngine, type EchoEngine } from "./echo-engine.ts";
import { atEnd, devnetFor, until, type Scope } from "./house.ts";

/** Earn first, connect a wallet later (NETWORK §4.7), with a real gateway and TON Connect's own SDK. */

const PRICE = { prompt: 1_000_000n, cached: 1_000_000n, completion: 1_000_000n };
const BODY = { model: "echo", max_tokens: 8, messages: [{ role: "user" as const, content: "hello" }] };

async function unnamed(scope: Scope, engine: EchoEngine = echoEngine()) {
  const bridge = await startBridge();
  atEnd(scope, () => bridge.close());
  const devnet = await devnetFor(scope, {
    model: { id: "echo", engine: () => engine },
    price: PRICE,
    owners: "later",
    wallets: [listed(bridge)],
  });
  const [first] = devnet.workers;
  if (first === undefined) throw new Error("a devnet without a worker");
  const { client } = await devnet.client("asker");
  const app = (name: string, key = devnetKey(1, name)): TestWallet => {
    const wallet = createTestWallet({
      key,
      networkId: DEVNET_NETWORK_ID,
      bridgeUrl: bridge.url,
      readManifest: async () => DEVNET_MANIFEST,
      chain: {
        account: () => Promise.reject(new Error("no chain")),
        get: () => Promise.reject(new Error("no chain")),
        send: () => Promise.reject(new Error("no chain")),
      },
    });
    atEnd(scope, () => wallet.close());
    return wallet;
  };
  return { devnet, worker: first.worker, ownersApp: app("owner", first.walletKey), app, client, engine };
}

function listed(bridge: Bridge): KnownWallet {
  return {
    appName: "test-wallet",
    name: "Test wallet",
    aboutUrl: "https://wallet.example",
    universalLink: "https://wallet.example/ton-connect",
    bridgeUrl: bridge.url,
    platforms: ["linux"],
    maxMessages: 255,
  };
}

async function connect(worker: Worker, app: TestWallet): Promise<void> {
  await app.open(await worker.wallet.connect());
  await until("the wallet is connected", () => {
    const state = worker.wallet.state();
    return state.phase === "connected" && state.address === app.address;
  });
  await until("the gateway has named the owner", () => {
    const { owner, gateways } = worker.status();
    const link = gateways[0]?.link;
    return owner === app.address && link?.phase === "ready" && link.ownerNamed;
  });
  await worker.untilOffered();
}

const reportOf = (worker: Worker) => worker.status().gateways[0]?.vouchers ?? assert.fail("no gateway");
const earnedBy = (devnet: Devnet) => devnet.workers[0]?.worker.status().totals.earned ?? 0n;

test("a worker earns before it has an owner, and all of it is vouchered to the wallet that is connected later", async (context) => {
  const { devnet, worker, ownersApp, client } = await unnamed(context);
  for (let at = 0; at < 3; at++) await client.complete(BODY);
  await until("the answers are counted", () => worker.status().totals.answered === 3);
  const earned = earnedBy(devnet);
  assert.ok(earned > 0n);
  assert.deepEqual([reportOf(worker).voucheredTotal, reportOf(worker).behind], [0n, earned]);

  await connect(worker, ownersApp);

  await until("what was earned is vouchered", () => reportOf(worker).voucheredTotal === earned);
  assert.equal(reportOf(worker).behind, 0n);
  await client.complete(BODY);
  await until("the next answer is vouchered too", () => reportOf(worker).voucheredTotal > earned);
  assert.deepEqual(
    worker.vouchers().map(({ owner }) => owner),
    [ownersApp.address],
  );
});

test("a change of wallet lets running answers end, and each owner keeps what was earned for it", async (context) => {
  const engine = echoEngine({ isHeld: true });
  const { worker, ownersApp, app, client } = await unnamed(context, engine);
  await connect(worker, ownersApp);
  const running = client.complete(BODY);
  await until("the answer is begun", () => engine.held === 1);
  const second = app("second owner");
  await second.open(await worker.wallet.connect());
  await until("the second owner is taken on", () => worker.status().owner === second.address);
  engine.release();
  assert.equal((await running).text, "hello");
  await until("the gateway has named the second owner", () => {
    const link = worker.status().gateways[0]?.link;
    return (
      link?.phase === "ready" && link.ownerNamed && worker.vouchers().some(({ owner }) => owner === ownersApp.address)
    );
  });
  await worker.untilOffered();
  await client.complete(BODY);
  await until("both owners have vouchers", () => worker.vouchers().length === 2);
  assert.deepEqual(
    worker.vouchers().map(({ owner }) => owner),
    [second.address, ownersApp.address],
  );
});

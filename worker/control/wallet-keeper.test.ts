import assert from "node:assert/strict";
import test from "node:test";
import { inspect } from "node:util";
import { fakeDisk } from "../serving/disk.fake.ts";
import { fakeSecrets, type FakeSecrets } from "./secret-storage.fake.ts";
import { secretsOnDisk } from "./secret-storage.ts";
import { KNOWN_WALLETS } from "./ton-connect/known-wallets.ts";
import { createWalletKeeper, type KeptWallet, type WalletKeeper } from "./wallet-keeper.ts";

const SECRET_KEY = "5e".repeat(32);
const ADDRESS = `0:${"11".repeat(32)}`;
const CONNECTION = {
  type: "http",
  session: {
    sessionKeyPair: { publicKey: "aa".repeat(32), secretKey: SECRET_KEY },
    walletPublicKey: "bb".repeat(32),
    bridgeUrl: "https://bridge.tonapi.io/bridge",
  },
  lastWalletEventId: 1,
  nextRpcRequestId: 0,
  connectEvent: { event: "connect", id: 1, payload: { items: [{ name: "ton_addr", address: ADDRESS }] } },
};
const KEPT: KeptWallet = {
  address: ADDRESS,
  appName: "tonkeeper",
  walletName: "Tonkeeper",
  networkId: -239,
  maxMessages: 255,
  entries: { "ton-connect-storage_bridge-connection": JSON.stringify(CONNECTION) },
};

function keeper(secrets: Parameters<typeof createWalletKeeper>[0]["secrets"] = fakeSecrets()): WalletKeeper {
  return createWalletKeeper({ secrets, networkId: -239, wallets: KNOWN_WALLETS });
}

async function withKept(text: string): Promise<{ secrets: FakeSecrets; error: unknown }> {
  const secrets = fakeSecrets(text);
  const error = await keeper(secrets)
    .load()
    .catch((failure: unknown) => failure);
  return { secrets, error };
}

test("what is saved is loaded, until it is forgotten", async () => {
  const secrets = fakeSecrets();
  assert.equal(await keeper(secrets).load(), undefined);
  assert.equal(await keeper(secrets).save(KEPT), true);
  assert.deepEqual(await keeper(secrets).load(), KEPT);
  await keeper(secrets).forget();
  assert.equal(await keeper(secrets).load(), undefined);
});

test("without a keychain it is a file of the data folder, and an empty one is none", async () => {
  const disk = fakeDisk();
  const onDisk = keeper(secretsOnDisk(disk));
  assert.equal(await onDisk.load(), undefined);
  await onDisk.save(KEPT);
  assert.deepEqual(await onDisk.load(), KEPT);
  await onDisk.forget();
  assert.deepEqual([...disk.files.values()], [new Uint8Array()]);
  assert.equal(await onDisk.load(), undefined);
});

test("the last one that was asked for is what is kept, however slow the first is", async () => {
  const order: string[] = [];
  const release: PromiseWithResolvers<void> = Promise.withResolvers();
  const slow = keeper({
    read: async () => undefined,
    async write(text) {
      if (order.length === 0) await release.promise;
      order.push(text.includes("Tonhub") ? "Tonhub" : "Tonkeeper");
    },
    remove: async () => void order.push("forgotten"),
  });
  const done = [slow.save(KEPT), slow.save({ ...KEPT, walletName: "Tonhub" }), slow.forget()];
  release.resolve();
  await Promise.all(done);
  assert.deepEqual(order, ["Tonkeeper", "Tonhub", "forgotten"]);
});

test("a keychain that is locked keeps nothing, and says so when it is read", async () => {
  const secrets = fakeSecrets();
  secrets.isLocked = true;
  assert.equal(await keeper(secrets).save(KEPT), false);
  await keeper(secrets).forget();
  await assert.rejects(keeper(secrets).load(), { code: "storage_failed" });
});

test("what is damaged is forgotten, and its refusal holds no key", async () => {
  const whole = JSON.stringify({ v: 1, ...KEPT });
  for (const text of [
    whole.slice(0, 300),
    whole.replace('"v":1', '"v":2'),
    whole.replace("walletName", "name"),
    JSON.stringify({ v: 1, ...KEPT, address: `0:${"22".repeat(32)}` }),
    JSON.stringify({ v: 1, ...KEPT, entries: {} }),
    JSON.stringify({ v: 1, ...KEPT, appName: "gone", entries: bridgeAt("https://evil.example/bridge") }),
  ]) {
    const { secrets, error } = await withKept(text);
    assert.equal((error as { code?: string }).code, "wallet_session", text.slice(0, 60));
    assert.equal(secrets.secret, undefined);
    assert.ok(!inspect(error).includes(SECRET_KEY.slice(0, 16)));
  }
});

function bridgeAt(bridgeUrl: string): Record<string, string> {
  const session = { ...CONNECTION.session, bridgeUrl };
  return { "ton-connect-storage_bridge-connection": JSON.stringify({ ...CONNECTION, session }) };
}

test("a wallet app that is known may have moved to another bridge", async () => {
  const secrets = fakeSecrets(JSON.stringify({ v: 1, ...KEPT, entries: bridgeAt("https://old.example/bridge") }));
  assert.equal((await keeper(secrets).load())?.walletName, "Tonkeeper");
});

test("a connection of another network is kept for when that network is chosen again", async () => {
  const { secrets, error } = await withKept(JSON.stringify({ v: 1, ...KEPT, networkId: -3 }));
  assert.equal((error as { code?: string }).code, "wallet_network");
  assert.notEqual(secrets.secret, undefined);
});

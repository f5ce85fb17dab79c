import assert from "node:assert/strict";
import test from "node:test";
import { Failure, keyPairFromSeed } from "../../protocol/index.ts";
import { fakeClock } from "../serving/clock.fake.ts";
import { fakeSecrets } from "./secret-storage.fake.ts";
import { fakeAnswer } from "./ton-connect/answer.fake.ts";
import { fakeSessions, type FakeSession } from "./ton-connect/session.fake.ts";
import { KNOWN_WALLETS } from "./ton-connect/known-wallets.ts";
import { createWallet } from "./wallet.ts";

/** What TON Connect does not do to us in tests/journeys: threads that end, and times. */

function set() {
  const { open, sessions } = fakeSessions();
  const clock = fakeClock();
  const secrets = fakeSecrets();
  const wallet = createWallet({
    identityKey: keyPairFromSeed(new Uint8Array(32).fill(3)).publicKey,
    networkId: -239,
    wallets: KNOWN_WALLETS,
    manifest: { manifestUrl: "https://app.example/tonconnect-manifest.json", domain: "app.example" },
    secrets,
    openSession: open,
    clock,
    randomBytes: (length) => new Uint8Array(length),
    onOwner: () => Promise.resolve(),
  });
  const newest = (): FakeSession => sessions.at(-1) ?? assert.fail("no session");
  return { wallet, sessions, clock, secrets, newest };
}

test("nothing of a wallet is loaded before one is wanted", async () => {
  const { wallet, sessions } = set();
  await wallet.restore();
  await wallet.disconnect();
  await wallet.close();
  assert.equal(sessions.length, 0);
});

test("one link for all asks each known bridge once, one app's link only its own", async () => {
  const { wallet, newest } = set();
  await wallet.connect();
  const to = newest().connects[0]?.to ?? assert.fail();
  const urls = Array.isArray(to) ? to.map(({ bridgeUrl }: { bridgeUrl: string }) => bridgeUrl) : assert.fail();
  assert.deepEqual(new Set(urls), new Set(KNOWN_WALLETS.map(({ bridgeUrl }) => bridgeUrl)));
  assert.equal(new Set(urls).size, urls.length);
  await wallet.connect({ appName: "tonhub" });
  const one = newest().connects[0]?.to;
  assert.ok(one !== undefined && "bridgeUrl" in one && one.bridgeUrl === "https://connect.tonhubapi.com/tonconnect");
});

test("a thread that ends while a wallet is asked is a failure, not a crash", async () => {
  const { wallet, newest } = set();
  await wallet.connect();
  newest().events.onCrash();
  const state = wallet.state();
  assert.ok(state.phase === "failing" && state.code === "wallet_session");
  assert.deepEqual(newest().heard, []);
});

test("words of a session that was given up are nobody's", async () => {
  const { wallet, sessions } = set();
  await wallet.connect();
  const [first] = sessions;
  await wallet.connect();
  first?.events.onRefusal("wallet_declined", "late");
  first?.events.onGone();
  first?.events.onCrash();
  assert.equal(wallet.state().phase, "connecting");
});

test("of two connections begun at once only the last one is left open", async () => {
  const { wallet, sessions } = set();
  const [first, second] = await Promise.allSettled([wallet.connect(), wallet.connect()]);
  assert.deepEqual([first.status, second.status], ["rejected", "fulfilled"]);
  assert.deepEqual(
    sessions.map(({ heard }) => heard),
    [["end"], []],
  );
  assert.equal(wallet.state().phase, "connecting");
});

test("a connection that was kept is gone on with, but not after the end of the program", async () => {
  for (const isClosed of [false, true]) {
    const { open, sessions } = fakeSessions();
    const wallet = createWallet({ ...optionsOf(), secrets: fakeSecrets(keptText()), openSession: open });
    const restored = wallet.restore();
    if (isClosed) await wallet.close();
    await restored;
    assert.equal(sessions.length, isClosed ? 0 : 1);
  }
});

test("a refusal ends the session that was asked for, with a goodbye", async () => {
  const { wallet, newest } = set();
  await wallet.connect();
  newest().events.onRefusal("wallet_network", "the wallet is on another network");
  const state = wallet.state();
  assert.ok(state.phase === "failing" && state.code === "wallet_network");
  assert.deepEqual(newest().heard, ["disconnect"]);
});

test("the time of a link is over when an attempt has ended before", async () => {
  const { wallet, newest, clock } = set();
  await wallet.connect();
  newest().events.onRefusal("wallet_declined", "declined");
  clock.advance(600_000);
  const state = wallet.state();
  assert.ok(state.phase === "failing" && state.code === "wallet_declined");
});

test("a connection that is given up while its owner is taken on is not accepted after all", async () => {
  const { open, sessions } = fakeSessions();
  const taken: PromiseWithResolvers<void> = Promise.withResolvers();
  const asked: PromiseWithResolvers<void> = Promise.withResolvers();
  const options = optionsOf();
  const wallet = createWallet({
    ...options,
    openSession: open,
    onOwner() {
      asked.resolve();
      return taken.promise;
    },
  });
  await wallet.connect();
  const timestamp = Math.floor(options.clock.now() / 1000);
  sessions[0]?.events.onAnswer(fakeAnswer({ identityKey: options.identityKey, timestamp }));
  await asked.promise;
  await wallet.disconnect();
  taken.resolve();
  await new Promise(setImmediate);
  assert.deepEqual(wallet.state(), { phase: "disconnected" });
});

test("a wallet that proves its address is connected, by the name that is known of its app", async () => {
  const { open, sessions } = fakeSessions();
  const owners: string[] = [];
  const options = optionsOf();
  const connected: PromiseWithResolvers<void> = Promise.withResolvers();
  const wallet = createWallet({
    ...options,
    openSession: open,
    onOwner: async ({ address }) => void owners.push(address),
  });
  wallet.onState(({ phase }) => {
    if (phase === "connected") connected.resolve();
  });
  await wallet.connect();
  const timestamp = Math.floor(options.clock.now() / 1000);
  const answer = fakeAnswer({ identityKey: options.identityKey, timestamp });
  sessions[0]?.events.onAnswer(answer);
  await connected.promise;
  const state = wallet.state();
  assert.ok(state.phase === "connected" && state.walletName === "Tonkeeper");
  assert.deepEqual(owners, [answer.address]);
});

test("after the end of the program nothing is told to anybody", async () => {
  const { wallet, newest } = set();
  const states: string[] = [];
  wallet.onState(({ phase }) => states.push(phase));
  await wallet.connect();
  const session = newest();
  await wallet.close();
  session.events.onRefusal("wallet_declined", "late");
  assert.deepEqual([states, session.heard], [["connecting"], ["end"]]);
});

test("a connection that cannot begin is told to who asked for it", async () => {
  const { wallet } = set();
  const broken = createWallet({
    ...optionsOf(),
    openSession: (options, events) => ({
      ...fakeSessions().open(options, events),
      connect: () => Promise.reject(new Failure("wallet_session", "the thread ended")),
    }),
  });
  await assert.rejects(broken.connect(), { code: "wallet_session" });
  await wallet.close();
});

function keptText(): string {
  const address = `0:${"11".repeat(32)}`;
  const key = "aa".repeat(32);
  const session = {
    sessionKeyPair: { publicKey: key, secretKey: key },
    walletPublicKey: key,
    bridgeUrl: KNOWN_WALLETS[0]?.bridgeUrl,
  };
  const connectEvent = { payload: { items: [{ name: "ton_addr", address }] } };
  const connection = { type: "http", session, lastWalletEventId: 1, nextRpcRequestId: 0, connectEvent };
  return JSON.stringify({
    v: 1,
    address,
    appName: "tonkeeper",
    walletName: "Tonkeeper",
    networkId: -239,
    maxMessages: 4,
    entries: { "ton-connect-storage_bridge-connection": JSON.stringify(connection) },
  });
}

function optionsOf(): Parameters<typeof createWallet>[0] {
  return {
    identityKey: new Uint8Array(32),
    networkId: -239,
    wallets: KNOWN_WALLETS,
    manifest: { manifestUrl: "https://app.example/tonconnect-manifest.json", domain: "app.example" },
    secrets: fakeSecrets(),
    openSession: fakeSessions().open,
    clock: fakeClock(),
    randomBytes: (length) => new Uint8Array(length),
    onOwner: () => Promise.resolve(),
  };
}

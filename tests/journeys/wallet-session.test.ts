import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Base64, SessionCrypto, hexToByteArray } from "@tonconnect/protocol";
import { WILLING } from "../../devnet/index.ts";
import type { Wallet } from "../../worker/index.ts";
import { openWalletHouse, stateWhere, until, type WalletHouse } from "./wallet-house.ts";

/** What happens to a connection after it was agreed: restarts, ends, changes of mind, a bad bridge, strangers. */

let house: WalletHouse;
beforeEach(async () => (house = await openWalletHouse()));
afterEach(() => house.close());

const CONNECTION = "ton-connect-storage_bridge-connection";

test("a connection outlives a restart of the program", async () => {
  const { wallet, app } = await house.connected();
  await wallet.close();
  const again = house.wallet();
  await again.restore();
  const state = again.state();
  assert.ok(state.phase === "connected" && state.isKept);
  assert.deepEqual([state.address, state.walletName], [app.address, "Test wallet"]);
  await until(() => house.bridge.listening === 2);
  await app.disconnect();
  await stateWhere(again, ({ phase }) => phase === "disconnected");
});

test("nothing to restore is nothing to say", async () => {
  const wallet = house.wallet();
  await wallet.restore();
  assert.deepEqual(wallet.state(), { phase: "disconnected" });
});

test("an end by the owner is told to the wallet, and forgotten here", async () => {
  const { wallet, app } = await house.connected();
  await wallet.disconnect();
  assert.deepEqual(wallet.state(), { phase: "disconnected" });
  assert.equal(house.secrets.secret, undefined);
  await until(() => app.asked.includes("disconnect"));
});

test("an end by the wallet is heard", async () => {
  const { wallet, app } = await house.connected();
  await app.disconnect();
  await stateWhere(wallet, ({ phase }) => phase === "disconnected");
  await until(() => house.secrets.secret === undefined);
});

test("an end while the bridge is down is an end all the same", async () => {
  const { wallet } = await house.connected();
  await house.bridge.goDown();
  await wallet.disconnect();
  assert.deepEqual([wallet.state(), house.secrets.secret], [{ phase: "disconnected" }, undefined]);
});

test("a bridge that breaks is shown, and comes back by itself", async () => {
  const { wallet, app } = await house.connected();
  await house.bridge.goDown();
  await stateWhere(wallet, (state) => state.phase === "connected" && !state.isReachable);
  await house.bridge.comeBack();
  await stateWhere(wallet, (state) => state.phase === "connected" && state.isReachable);
  await app.disconnect();
  await stateWhere(wallet, ({ phase }) => phase === "disconnected");
});

test("another wallet becomes the owner's once it has proved itself, and the first is told goodbye", async () => {
  const { wallet, app: first } = await house.connected();
  const second = house.app("second");
  await second.open(await wallet.connect());
  const state = await stateWhere(wallet, (now) => now.phase === "connected" && now.address === second.address);
  assert.equal(state.phase, "connected");
  assert.deepEqual(
    house.owners.map(({ address }) => address),
    [first.address, second.address],
  );
  await until(() => first.asked.includes("disconnect"));
});

test("a change of wallet that is declined leaves the first one connected", async () => {
  const { wallet, app: first } = await house.connected();
  const second = house.app("second");
  second.habits = { ...WILLING, connect: "decline" };
  await second.open(await wallet.connect());
  const state = await stateWhere(wallet, ({ phase }) => phase === "connected");
  assert.ok(state.phase === "connected" && state.request.phase === "failed");
  assert.deepEqual([state.address, state.request.code], [first.address, "wallet_declined"]);
  await first.disconnect();
  await stateWhere(wallet, ({ phase }) => phase === "disconnected");
});

test("events that come twice and out of order change nothing", async () => {
  Object.assign(house.bridge.faults, { duplicates: true, reorders: true });
  const { wallet, app } = await house.connected();
  assert.equal(house.owners.length, 1);
  await wallet.close();
  const again = house.wallet();
  await again.restore();
  assert.equal(again.state().phase, "connected");
  await app.disconnect();
  await stateWhere(again, ({ phase }) => phase === "disconnected");
});

test("a goodbye that overtakes the greeting ends the connection after it", async () => {
  house.bridge.faults.reorders = true;
  const [wallet, app] = [house.wallet(), house.app("owner")];
  const link = await wallet.connect();
  await until(() => house.bridge.listening === 1);
  await app.open(link);
  await app.disconnect();
  // Depending on who is faster, the worker has taken the owner on by then, or has not yet.
  await stateWhere(wallet, ({ phase }) => phase === "disconnected" || phase === "failing");
});

test("a locked keychain costs the comfort of being connected after a restart, nothing else", async () => {
  house.secrets.isLocked = true;
  const { wallet } = await house.connected();
  const state = await stateWhere(wallet, (now) => now.phase === "connected" && !now.isKept);
  assert.equal(state.phase, "connected");
  await wallet.close();
  const again = house.wallet();
  await again.restore();
  const failing = again.state();
  assert.equal(failing.phase, "failing");
  house.secrets.isLocked = false;
  await house.app("owner").open(await again.connect());
  await stateWhere(again, ({ phase }) => phase === "connected");
});

function damaged(
  secret: string,
  change: (kept: { entries: Record<string, string> } & Record<string, unknown>) => void,
) {
  const kept = JSON.parse(secret) as Parameters<typeof change>[0];
  change(kept);
  return JSON.stringify(kept);
}

const DAMAGES: Record<string, (secret: string) => string> = {
  "cut off": (secret) => secret.slice(0, secret.length / 2),
  "of other bytes": () => "\u0000\u0001not json",
  "of another version": (secret) => damaged(secret, (kept) => (kept.v = 2)),
  "without a session": (secret) => damaged(secret, (kept) => (kept.entries = {})),
  "with another address than its session": (secret) =>
    damaged(secret, (kept) => (kept.address = `0:${"00".repeat(32)}`)),
  "with a damaged session": (secret) =>
    damaged(secret, ({ entries }) => (entries[CONNECTION] = entries[CONNECTION]?.slice(0, 100) ?? "")),
  "with half a key": (secret) =>
    damaged(secret, ({ entries }) => {
      const connection = JSON.parse(entries[CONNECTION] ?? "") as {
        session: { sessionKeyPair: { secretKey: string } };
      };
      connection.session.sessionKeyPair.secretKey = connection.session.sessionKeyPair.secretKey.slice(2);
      entries[CONNECTION] = JSON.stringify(connection);
    }),
  "over a bridge that is no longer known": (secret) =>
    damaged(secret, (kept) => {
      kept.appName = "gone";
      const connection = JSON.parse(kept.entries[CONNECTION] ?? "") as { session: { bridgeUrl: string } };
      connection.session.bridgeUrl = "https://evil.example/bridge";
      kept.entries[CONNECTION] = JSON.stringify(connection);
    }),
};

for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`a kept connection ${what} asks to connect again, and is gone`, async () => {
    const { wallet, app } = await house.connected();
    await wallet.close();
    house.secrets.secret = damage(house.secrets.secret ?? assert.fail());
    const again = house.wallet();
    await again.restore();
    const state = again.state();
    assert.ok(state.phase === "failing" && state.code === "wallet_session");
    assert.equal(house.secrets.secret, undefined);
    await app.open(await again.connect());
    await stateWhere(again, ({ phase }) => phase === "connected");
  });
}

test("a connection that was kept for another network is not used on this one", async () => {
  const { wallet } = await house.connected();
  await wallet.close();
  const again = house.wallet({ networkId: -239 });
  await again.restore();
  const state = again.state();
  assert.ok(state.phase === "failing" && state.code === "wallet_network");
});

/** Somebody who saw the code on the screen and the bridge's address. */
async function strangerAt(link: string): Promise<(message: unknown) => Promise<void>> {
  const session = new SessionCrypto();
  const ours = new URL(link).searchParams.get("id") ?? "";
  return async (message) => {
    const sealed =
      message instanceof Uint8Array
        ? Base64.encode(message)
        : Base64.encode(session.encrypt(JSON.stringify(message), hexToByteArray(ours)));
    const query = new URLSearchParams({ client_id: session.sessionId, to: ours, ttl: "300" });
    await fetch(`${house.bridge.url}/message?${query.toString()}`, { method: "POST", body: sealed });
  };
}

const NO_MESSAGES: readonly unknown[] = [
  new Uint8Array(),
  new Uint8Array(3),
  new Uint8Array(200).fill(7),
  null,
  [],
  "connect",
  {},
  { id: 0 },
  { event: "connect", id: 9 },
  { event: "connect", id: 9, payload: { items: [], device: { appName: "x", features: [] } } },
  { event: "connect", id: 9, payload: { items: [null], device: { appName: "x", features: [] } } },
  { event: "disconnect", id: 9, payload: {} },
  { id: "0", result: "te6cc" },
  { id: "0", error: { code: 300, message: "declined" } },
];

test("what no wallet says is passed over, before an answer and after", async () => {
  const [wallet, app] = [house.wallet(), house.app("owner")];
  const link = await wallet.connect();
  const say = await strangerAt(link);
  for (const message of NO_MESSAGES) await say(message);
  await app.open(link);
  await stateWhere(wallet, ({ phase }) => phase === "connected");
  for (const message of NO_MESSAGES) await say(message);
  await app.disconnect();
  await stateWhere(wallet, ({ phase }) => phase === "disconnected");
});

test("nobody takes a connection over, ends it or answers in the wallet's name", async () => {
  const [wallet, app] = [house.wallet(), house.app("owner")];
  const link = await wallet.connect();
  await app.open(link);
  await stateWhere(wallet, ({ phase }) => phase === "connected");
  const thief = house.app("thief");
  await thief.open(link);
  await (
    await strangerAt(link)
  )({ event: "disconnect", id: 1000, payload: {} });
  assert.deepEqual(
    house.owners.map(({ address }) => address),
    [app.address],
  );
  await assertStillConnectedTo(wallet, app.address);
  await app.disconnect();
  await stateWhere(wallet, ({ phase }) => phase === "disconnected");
});

async function assertStillConnectedTo(wallet: Wallet, address: string): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 100));
  const state = wallet.state();
  assert.ok(state.phase === "connected" && state.address === address);
}

test("the session's secret is in no line that is printed", async () => {
  const printed: string[] = [];
  const streams = [process.stdout, process.stderr];
  const writes = streams.map((stream) => stream.write.bind(stream));
  for (const [at, stream] of streams.entries()) {
    // What a test prints is also how its runner hears of it.
    stream.write = (chunk: string | Uint8Array) => {
      printed.push(Buffer.from(chunk).toString("latin1"));
      return writes[at]?.(chunk) ?? true;
    };
  }
  try {
    const [wallet, app] = [house.wallet(), house.app("owner")];
    const link = await wallet.connect();
    await (
      await strangerAt(link)
    )(new Uint8Array(200).fill(7));
    await app.open(link);
    await stateWhere(wallet, ({ phase }) => phase === "connected");
    await wallet.disconnect();
  } finally {
    for (const [at, stream] of streams.entries()) stream.write = writes[at] ?? stream.write;
  }
  assert.deepEqual(
    printed.filter((line) => line.includes("TON_CONNECT") || line.includes("secretKey")),
    [],
  );
});

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { verifyOwnerProof, walletOf } from "../../contracts/owner-proof.ts";
import {
  devnetKey,
  DEVNET_NETWORK_ID,
  WILLING,
  type TestWalletOptions,
  type WalletHabits,
} from "../../devnet/index.ts";
import type { WalletState } from "../../worker/index.ts";
import { IDENTITY_KEY, openWalletHouse, stateWhere, until, type WalletHouse } from "./wallet-house.ts";

/** TON Connect's own SDK on our side, a bridge on loopback, and a wallet that speaks the protocol. */

let house: WalletHouse;
beforeEach(async () => (house = await openWalletHouse()));
afterEach(() => house.close());

const settled = ({ phase }: WalletState): boolean => phase === "connected" || phase === "failing";

async function outcomeOf(
  habits: Partial<WalletHabits>,
  overrides: Partial<TestWalletOptions> = {},
): Promise<WalletState> {
  const [wallet, app] = [house.wallet(), house.app("owner", overrides)];
  app.habits = { ...WILLING, ...habits };
  await app.open(await wallet.connect());
  return stateWhere(wallet, settled);
}

const codeOf = (state: WalletState): string => (state.phase === "failing" ? state.code : state.phase);

test("an owner scans the code, agrees, and the proof names the owner to every gateway", async () => {
  const [wallet, app] = [house.wallet(), house.app("owner")];
  const link = await wallet.connect({ appName: "test-wallet" });
  assert.ok(link.startsWith("https://wallet.example/ton-connect?v=2&id="));
  const connecting = wallet.state();
  assert.ok(connecting.phase === "connecting" && connecting.link === link && connecting.walletName === "Test wallet");
  await app.open(link);
  const state = await stateWhere(wallet, settled);
  assert.ok(state.phase === "connected" && state.isReachable && state.request.phase === "none");
  assert.deepEqual([state.address, state.walletName, state.networkId], [app.address, "Test wallet", DEVNET_NETWORK_ID]);
  const [owner, ...others] = house.owners;
  assert.ok(owner !== undefined && others.length === 0);
  const expected = { identityKey: IDENTITY_KEY, networkId: DEVNET_NETWORK_ID, domains: ["app.example"] };
  assert.equal(verifyOwnerProof(owner.proof, { ...expected, now: Math.floor(Date.now() / 1000) }), app.address);
  assert.deepEqual(house.refusedFetches, []);
});

test("one link for every app names no app", async () => {
  const link = await house.wallet().connect();
  assert.match(link, /^tc:\/\/\?v=2&id=[0-9a-f]{64}&/);
});

const OTHER = devnetKey(1, "somebody else");
const other = walletOf(OTHER.publicKey, DEVNET_NETWORK_ID);
const flipped = (base64: string): string => {
  const bytes = Buffer.from(base64, "base64");
  bytes[7] = (bytes[7] ?? 0) ^ 1;
  return bytes.toString("base64");
};

const TAMPERED: Record<string, WalletHabits["alterItems"]> = {
  "a signature with one bit changed": ({ address, proof: { name, proof } }) => [
    address,
    { name, proof: { ...proof, signature: flipped(proof.signature) } },
  ],
  "a proof for another app": ({ address, proof: { name, proof } }) => [
    address,
    { name, proof: { ...proof, domain: { lengthBytes: 12, value: "evil.example" } } },
  ],
  "a proof with another time": ({ address, proof: { name, proof } }) => [
    address,
    { name, proof: { ...proof, timestamp: proof.timestamp - 1 } },
  ],
  "a proof for another worker": ({ address, proof: { name, proof } }) => [
    address,
    { name, proof: { ...proof, payload: "ab".repeat(32) } },
  ],
  "somebody else's address beside one's own state init": ({ address, proof }) => [
    { ...address, address: other.address },
    proof,
  ],
  "somebody else's address and state init": ({ address, proof }) => [
    { ...address, address: other.address, walletStateInit: Buffer.from(other.stateInit).toString("base64") },
    proof,
  ],
  "a state init that is none": ({ address, proof }) => [{ ...address, walletStateInit: "AAAA" }, proof],
  "no proof": ({ address }) => [address],
  "an error in the place of a proof": ({ address }) => [
    address,
    { name: "ton_proof", error: { code: 400, message: "not supported" } },
  ],
};

for (const [what, alterItems] of Object.entries(TAMPERED)) {
  test(`${what} is refused, and the owner stays unnamed`, async () => {
    assert.equal(codeOf(await outcomeOf({ alterItems })), "wallet_proof");
    assert.deepEqual([house.owners, house.secrets.secret], [[], undefined]);
  });
}

test("a proof from an earlier day is refused", async () => {
  const state = await outcomeOf({}, { now: () => Date.now() - 86_400_000 });
  assert.equal(codeOf(state), "wallet_proof");
});

test("a proof from the future is refused", async () => {
  assert.equal(codeOf(await outcomeOf({}, { now: () => Date.now() + 3_600_000 })), "wallet_proof");
});

test("an owner who declines is not connected, and may try again", async () => {
  const [wallet, app] = [house.wallet(), house.app("owner")];
  app.habits = { ...WILLING, connect: "decline" };
  await app.open(await wallet.connect());
  assert.equal(codeOf(await stateWhere(wallet, settled)), "wallet_declined");
  app.habits = WILLING;
  await app.open(await wallet.connect());
  assert.equal((await stateWhere(wallet, ({ phase }) => phase !== "connecting")).phase, "connected");
});

test("a wallet that never answers is given up when the link is no longer good", async () => {
  const [wallet, app] = [house.wallet(), house.app("owner")];
  app.habits = { ...WILLING, connect: "ignore" };
  await app.open(await wallet.connect());
  house.clock.advance(299_000);
  assert.equal(wallet.state().phase, "connecting");
  house.clock.advance(2_000);
  assert.equal(codeOf(wallet.state()), "wallet_silent");
});

test("a wallet on another network is refused", async () => {
  assert.equal(codeOf(await outcomeOf({}, { networkId: -239 })), "wallet_network");
  assert.deepEqual(house.owners, []);
});

test("another account than the one asked for is refused, and told so", async () => {
  const [wallet, app] = [house.wallet(), house.app("somebody else")];
  await app.open(await wallet.connect({ address: house.app("owner").address }));
  assert.equal(codeOf(await stateWhere(wallet, settled)), "wallet_address");
  await until(() => app.asked.includes("disconnect"));
});

test("a wallet that cannot read our manifest says so, and nothing ends", async () => {
  for (const readManifest of [async () => undefined, () => Promise.reject(new Error("offline"))])
    assert.equal(codeOf(await outcomeOf({}, { readManifest })), "wallet_manifest");
});

test("a wallet that nobody knows can answer the link of all", async () => {
  const state = await outcomeOf({}, { appName: "<b>new</b> wallet" });
  assert.ok(state.phase === "connected" && state.walletName === "bnewb wallet");
});

test("an owner whom the worker cannot take on is not connected", async () => {
  const wallet = house.wallet({ onOwner: () => Promise.reject(new Error("the disk is full")) });
  const app = house.app("owner");
  await app.open(await wallet.connect());
  assert.equal((await stateWhere(wallet, settled)).phase, "failing");
  assert.equal(house.secrets.secret, undefined);
});

test("a bridge that is down when the code is shown answers when it is back", async () => {
  await house.bridge.goDown();
  const [wallet, app] = [house.wallet(), house.app("owner")];
  const link = await wallet.connect();
  await stateWhere(wallet, (state) => state.phase === "connecting" && !state.isReachable);
  const opening = app.open(link);
  await house.bridge.comeBack();
  await opening;
  assert.equal((await stateWhere(wallet, settled)).phase, "connected");
});

test("a bridge that stays down is named as the reason", async () => {
  await house.bridge.goDown();
  const wallet = house.wallet();
  await wallet.connect();
  await stateWhere(wallet, (state) => state.phase === "connecting" && !state.isReachable);
  house.clock.advance(301_000);
  assert.equal(codeOf(wallet.state()), "wallet_unreachable");
});

test("a bridge that breaks between the code and the answer loses nothing", async () => {
  const [wallet, app] = [house.wallet(), house.app("owner")];
  const link = await wallet.connect();
  await until(() => house.bridge.listening === 1);
  await house.bridge.goDown();
  const opening = app.open(link);
  await stateWhere(wallet, (state) => state.phase === "connecting" && !state.isReachable);
  await house.bridge.comeBack();
  await opening;
  const state = await stateWhere(wallet, settled);
  assert.ok(state.phase === "connected" && state.isReachable);
});

test("a connection is given up by the owner's wish while it is being asked for", async () => {
  const wallet = house.wallet();
  await wallet.connect();
  await wallet.disconnect();
  assert.deepEqual(wallet.state(), { phase: "disconnected" });
});

test("a second code replaces the first", async () => {
  const [wallet, app] = [house.wallet(), house.app("owner")];
  const first = await wallet.connect();
  const second = await wallet.connect();
  await app.open(first);
  assert.equal(wallet.state().phase, "connecting");
  await app.open(second);
  assert.equal((await stateWhere(wallet, settled)).phase, "connected");
  assert.equal(house.owners.length, 1);
});

test("an app that is not known is refused by name", async () => {
  await assert.rejects(house.wallet().connect({ appName: "evil" }), { code: "bad_configuration" });
});

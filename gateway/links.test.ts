import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import {
  linkMessage,
  parseGatewayToClient,
  parseGatewayToWorker,
  payloadHash,
  type GatewayToClient,
  type MessageOf,
} from "../protocol/index.ts";
import { NETWORK_ID, OWNER, scene } from "./gateway.fake.ts";
import { startGateway } from "./gateway.ts";
import { localChannels } from "./channels.ts";
import { dialClient, dialWorker, offer, RawPeer, refused, reserve, reserved, ROOT } from "./peers.fake.ts";
import { signerFromSeed } from "./signatures.ts";

const NOW = (): number => Math.floor(Date.now() / 1000);

test("a login with a signature of another key is bad_login, and the link is closed", async (t) => {
  const { gateway } = await scene(t);
  const client = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  const { gatewayKey, nonce } = await client.next("challenge");
  const [signer, other] = [signerFromSeed(randomBytes(32)), signerFromSeed(randomBytes(32))];
  const time = NOW();
  const signature = other.sign(linkMessage({ role: "client", gatewayKey, nonce, time, address: "" }));
  client.send({ type: "login", protocol: 1, key: signer.publicKey, address: "", time, signature });
  assert.equal((await client.next("error")).code, "bad_login");
  await client.closed;
});

test("a worker's login does not pass as a client's", async (t) => {
  const { gateway } = await scene(t);
  const client = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  const { gatewayKey, nonce } = await client.next("challenge");
  const signer = signerFromSeed(randomBytes(32));
  const time = NOW();
  const signature = signer.sign(linkMessage({ role: "worker", gatewayKey, nonce, time, address: "" }));
  client.send({ type: "login", protocol: 1, key: signer.publicKey, address: "", time, signature });
  assert.equal((await client.next("error")).code, "bad_login");
});

test("a login recorded on one link is refused on another", async (t) => {
  const { gateway } = await scene(t);
  const first = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  const { gatewayKey, nonce } = await first.next("challenge");
  const signer = signerFromSeed(randomBytes(32));
  const time = NOW();
  const signature = signer.sign(linkMessage({ role: "client", gatewayKey, nonce, time, address: "" }));
  const login = { type: "login", protocol: 1, key: signer.publicKey, address: "", time, signature } as const;
  first.send(login);
  await first.next("welcome");
  const second = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  await second.next("challenge");
  second.send(login);
  assert.equal((await second.next("error")).code, "bad_login");
  first.send(login);
  assert.equal((await first.next("error")).code, "replay");
  first.close();
});

test("every challenge has a nonce of its own, whatever the peer would like to have signed", async (t) => {
  const { gateway } = await scene(t);
  const peers = Array.from({ length: 8 }, () => new RawPeer(`${gateway.url}/v1/worker`, parseGatewayToWorker));
  const nonces = await Promise.all(
    peers.map(async (peer) => Buffer.from((await peer.next("challenge")).nonce).toString("hex")),
  );
  assert.equal(new Set(nonces).size, 8);
  for (const peer of peers) peer.close();
});

test("a signature over a voucher's hash, taken as the nonce or as the message, logs nobody in", async (t) => {
  const { gateway } = await scene(t);
  const hash = payloadHash({
    type: "charge",
    networkId: NETWORK_ID,
    channel: OWNER,
    total: 5n,
    receipt: new Uint8Array(32),
  });
  const asNonce = await dialClient(gateway, { nonce: hash });
  assert.equal((await asNonce.next("error")).code, "bad_login");
  const client = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  await client.next("challenge");
  const signer = signerFromSeed(randomBytes(32));
  client.send({
    type: "login",
    protocol: 1,
    key: signer.publicKey,
    address: "",
    time: NOW(),
    signature: signer.sign(hash),
  });
  assert.equal((await client.next("error")).code, "bad_login");
});

test("a clock ten minutes off is told so, either way", async (t) => {
  const { gateway } = await scene(t);
  for (const time of [NOW() - 600, NOW() + 600]) {
    const client = await dialClient(gateway, { time });
    assert.equal((await client.next("error")).code, "clock_skew");
    await client.closed;
  }
});

const NO_LOGINS: readonly string[] = [
  "",
  "not JSON",
  "null",
  '{"type":"heartbeat"}',
  '{"type":"login"}',
  '{"type":"login","protocol":1,"key":"AA","address":"","time":0,"signature":"AA"}',
];

for (const text of NO_LOGINS) {
  test(`${text === "" ? "an empty message" : text} instead of a login is bad_login`, async (t) => {
    const { gateway } = await scene(t);
    const client = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
    await client.next("challenge");
    client.raw(text);
    assert.equal((await client.next("error")).code, "bad_login");
    await client.closed;
  });
}

test("another protocol version is bad_login", async (t) => {
  const { gateway } = await scene(t);
  const client = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  const { gatewayKey, nonce, protocol } = await client.next("challenge");
  assert.deepEqual(protocol, { min: 1, max: 1 });
  const signer = signerFromSeed(randomBytes(32));
  const time = NOW();
  const signature = signer.sign(linkMessage({ role: "client", gatewayKey, nonce, time, address: "" }));
  client.send({ type: "login", protocol: 2, key: signer.publicKey, address: "", time, signature });
  assert.equal((await client.next("error")).code, "bad_login");
});

test("a peer that never logs in is sent away after five seconds", async (t) => {
  const { gateway, clock } = await scene(t);
  const client = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  await client.next("challenge");
  clock.advance(5001);
  assert.equal((await client.next("error")).code, "bad_login");
  await client.closed;
});

const NO_MESSAGES: readonly (readonly [string, string])[] = [
  ["not JSON", "hello"],
  ["an array", "[]"],
  ["an unknown type", '{"type":"gift","amount":"1"}'],
  ["an extra key", '{"type":"heartbeat","extra":1}'],
  ["a duplicate key", '{"type":"heartbeat","type":"heartbeat"}'],
  ["a missing key", '{"type":"release"}'],
  ["a wrong type", '{"type":"release","reservationId":7}'],
  ["a negative number", reserveText({ maxPromptBytes: -1 })],
  ["a fraction", reserveText({ maxPromptBytes: 1.5 })],
  ["a huge number", reserveText({ maxCompletionTokens: 1e300 })],
  ["a number beyond its limit", reserveText({ maxPromptBytes: 16_777_217 })],
  ["a price that is negative", reserveText({ maxPrice: { prompt: "-1", cached: "0", completion: "0" } })],
  ["a price of 40 digits", reserveText({ maxPrice: { prompt: "9".repeat(40), cached: "0", completion: "0" } })],
  ["a price as a number", reserveText({ maxPrice: { prompt: 1, cached: 0, completion: 0 } })],
  ["70 KB of text", JSON.stringify({ type: "release", reservationId: "x".repeat(70_000) })],
];

function reserveText(overrides: Record<string, unknown>): string {
  return JSON.stringify({
    type: "reserve",
    id: "r",
    model: "m",
    manifestRoot: ROOT,
    maxPromptBytes: 1,
    maxCompletionTokens: 1,
    maxPrice: null,
    minTier: "software",
    candidates: 1,
    ...overrides,
  });
}

for (const [what, text] of NO_MESSAGES) {
  test(`${what} is answered with bad_message, and the link goes on`, async (t) => {
    const stage = await scene(t);
    const client = await stage.client();
    client.raw(text);
    assert.equal((await client.next("error")).code, "bad_message");
    assert.equal((await refused(client)).code, "model_unavailable");
  });
}

test("a message of 10 MB closes the link it came on and no other", async (t) => {
  const stage = await scene(t);
  const [sender, other] = [await stage.client(), await stage.client()];
  sender.raw("x".repeat(10 * 1024 * 1024));
  await sender.closed;
  assert.equal((await refused(other)).code, "model_unavailable");
});

test("binary messages without a route, or of a route that never was, are bad_frame", async (t) => {
  const stage = await scene(t);
  const client = await stage.client();
  client.ws.send(new Uint8Array(7));
  assert.equal((await client.next("error")).code, "bad_frame");
  client.frame(99, new Uint8Array(85));
  assert.equal((await client.next("error")).code, "bad_frame");
  assert.equal((await refused(client)).code, "model_unavailable");
});

test("more than 50 idle messages a second are rate_limited, and the link goes on", async (t) => {
  const stage = await scene(t);
  const client = await stage.client();
  for (let i = 0; i < 200; i++) client.send({ type: "release", reservationId: "none" });
  const { retryAfterMs } = await client.next("error", ({ code }) => code === "rate_limited");
  assert.equal(retryAfterMs, 1000);
  stage.clock.advance(1000);
  client.received.length = 0;
  reserve(client);
  await client.next("refused");
});

test("links of one address are limited", async (t) => {
  const stage = await scene(t, { limits: { linksPerAddress: 2 } });
  await stage.client();
  await stage.client();
  const third = new RawPeer(`${stage.gateway.url}/v1/client`, parseGatewayToClient);
  assert.equal((await third.next("error")).code, "rate_limited");
  await third.closed;
});

test("logins beyond those a second are told when to come back", async (t) => {
  const { gateway } = await scene(t, { limits: { loginsPerSecond: 3 } });
  const answers = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const peer = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
      const first = await Promise.race([peer.next("challenge"), peer.next("error")]).catch(() => peer.next("error"));
      peer.close();
      return first;
    }),
  );
  const refusals = answers.filter((one): one is MessageOf<GatewayToClient, "error"> => one.type === "error");
  assert.equal(refusals.length, 3);
  assert.ok(refusals.every(({ code, retryAfterMs }) => code === "rate_limited" && (retryAfterMs ?? 0) >= 250));
});

test("a second link of a worker that is there is bad_login, and the first goes on", async (t) => {
  const stage = await scene(t);
  const seed = randomBytes(32);
  const first = await stage.worker({ seed });
  const second = await stage.idleWorker({ seed });
  assert.equal((await second.next("error")).code, "bad_login");
  await second.closed;
  const client = await stage.client();
  assert.equal((await reserved(client)).candidates[0]?.workerId, first.workerId);
});

test("a worker whose old link no longer answers takes its place within half a second", async (t) => {
  const stage = await scene(t);
  const seed = randomBytes(32);
  const first = await stage.worker({ seed });
  first.ws.pause(); // a peer that is gone without a word: no pong
  const before = performance.now();
  const second = await stage.idleWorker({ seed });
  await second.next("welcome");
  assert.ok(performance.now() - before < 1000);
  await offer(second);
  await second.next("offer_accepted");
});

test("a link that is silent for 25 seconds is gone, one with heartbeats stays", async (t) => {
  const { clock, gateway, ...stage } = await scene(t);
  const [silent, living] = [await stage.client(), await stage.client()];
  clock.advance(20_000);
  living.send({ type: "heartbeat" });
  await living.next("heartbeat");
  clock.advance(10_000);
  await silent.closed;
  assert.equal(gateway.status().clients, 1);
});

test("64 workers of one owner are let in, the next is rate_limited", async (t) => {
  const stage = await scene(t, { limits: { workersPerOwner: 2 } });
  await stage.worker();
  await stage.worker();
  const third = await stage.idleWorker();
  assert.equal((await third.next("error")).code, "rate_limited");
});

test("a worker is welcomed by name only with a proof of its owner, and then without one again", async (t) => {
  const stage = await scene(t);
  const seed = randomBytes(32);
  const unproved = await dialWorker(stage.gateway, { seed, address: OWNER });
  assert.equal((await unproved.next("welcome")).ownerNamed, false);
  unproved.close();
  const proved = await stage.idleWorker({ seed });
  assert.equal((await proved.next("welcome")).ownerNamed, true);
  proved.close();
  const again = await dialWorker(stage.gateway, { seed, address: OWNER });
  assert.equal((await again.next("welcome")).ownerNamed, true);
  again.close();
});

test("a proof that does not hold, or names another owner, is bad_login", async (t) => {
  const other = `0:${"cd".repeat(32)}`;
  const proof = {
    address: OWNER,
    stateInit: new Uint8Array(1),
    domain: "t",
    timestamp: 0,
    signature: new Uint8Array(64),
  };
  const stage = await scene(t);
  const liar = await dialWorker(stage.gateway, { address: other, ownerProof: proof });
  assert.equal((await liar.next("error")).code, "bad_login");
  const strict = await scene(t, {
    verifyOwnerProof: () => {
      throw new Error("no");
    },
  });
  const refusedWorker = await strict.idleWorker();
  assert.equal((await refusedWorker.next("error")).code, "bad_login");
});

test("a port that is taken is a failure with a code, and the folder is free again", async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const stage = await scene(t);
  const dataDir = `${stage.dataDir}/other`;
  const options = { dataDir, networkId: NETWORK_ID, channels: localChannels() };
  await assert.rejects(startGateway({ ...options, port }), { code: "port_taken" });
  const second = await startGateway(options);
  await second.close();
});

test("a folder that cannot be made is a failure with a code", async () => {
  const options = { dataDir: "/dev/null/gateway", networkId: NETWORK_ID, channels: localChannels() };
  await assert.rejects(startGateway(options), { code: "bad_configuration" });
});

test("the gateway keeps its key over a restart", async (t) => {
  const stage = await scene(t);
  const before = stage.gateway.gatewayKey;
  await stage.restart();
  assert.deepEqual(stage.gateway.gatewayKey, before);
});

test("a closing gateway says so, takes nothing new and waits for what runs", async (t) => {
  const stage = await scene(t);
  await stage.worker();
  const client = await stage.client();
  const { reservationId } = await reserved(client);
  const closing = stage.gateway.close(5000);
  await client.next("drain");
  assert.equal((await refused(client)).code, "busy");
  client.send({ type: "release", reservationId });
  await closing;
});

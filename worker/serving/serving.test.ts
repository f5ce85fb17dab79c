import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { afterEach, test } from "node:test";
import { chargeFor, hash, parseOffer, parseReceipt, toHex, verifySignature } from "../../protocol/index.ts";
import { ask, greet, joinFrames, openStream, requestFor } from "./client.fake.ts";
import { systemClock } from "./clock.ts";
import { fakeDisk } from "./disk.fake.ts";
import { fakeEngine, sayWords } from "./engine.fake.ts";
import { putEvidenceByHttp, softwareAttester } from "./evidence.ts";
import { startFakeGateway, type FakeGateway } from "./gateway.fake.ts";
import { createVerifier, identityOf } from "./identity.ts";
import { startServing, type Serving, type ServingOptions } from "./serving.ts";
import { dialWebSocket } from "./socket.ts";

const PRICE = { prompt: 1_000_000_000n, cached: 500_000_000n, completion: 3_000_000_000n };
const ROOT = toHex(hash(new Uint8Array([1])));

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(overrides: Partial<ServingOptions> = {}) {
  const gateway = await startFakeGateway();
  cleanups.push(() => gateway.stop());
  return { gateway, ...(await startAt([gateway], overrides)) };
}

async function startAt(gateways: readonly FakeGateway[], overrides: Partial<ServingOptions> = {}) {
  const engine = fakeEngine();
  const disk = fakeDisk();
  const serving: Serving = await startServing({
    identity: identityOf(randomBytes(32)),
    gateways,
    models: [{ id: "scripted", manifestRoot: ROOT, bytes: 10, price: PRICE, engine }],
    networkId: -3,
    owner: undefined,
    channelAt: () => undefined,
    attester: softwareAttester,
    release: null,
    clock: systemClock,
    randomBytes,
    random: Math.random,
    dial: dialWebSocket,
    putEvidence: putEvidenceByHttp,
    disk,
    verify: createVerifier(),
    ...overrides,
  });
  cleanups.push(() => serving.stop(0));
  return { engine, disk, serving };
}

test("a worker logs in, leaves its evidence, offers, and answers a sealed request with a receipt over every frame", async () => {
  const { gateway, engine, serving } = await start();
  engine.onJob = sayWords("Once ", "upon ", "a ", "time.");

  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  stream.sendRequest(requestFor(session, stream));
  const reply = await stream.reply();

  assert.equal(reply.text, "Once upon a time.");
  const usage = { promptTokens: 10, cachedTokens: 0, completionTokens: 5 };
  assert.deepEqual(reply.end, { finish_reason: "stop", usage, manifestRoot: ROOT, offerHash: session.offerHash });
  const { receipt, signature, reservationId } = await gateway.heardOne("receipt");
  const login = await gateway.heardOne("login");
  assert.ok(verifySignature(signature, receipt, login.key));
  assert.equal(reservationId, stream.reservationId);
  const { requestHash, responseHash, ...said } = parseReceipt(receipt);
  assert.deepEqual(requestHash, hash(joinFrames(stream.sent)));
  assert.deepEqual(responseHash, hash(joinFrames(reply.frames)));
  assert.deepEqual(said, {
    sessionId: session.session.sessionId,
    streamId: 1,
    manifestRoot: ROOT,
    offerHash: session.offerHash,
    usage,
    finish: "stop",
  });
  assert.equal(serving.status().totals.earned, chargeFor(usage, PRICE, 0).earned);
});

test("a session serves one request after another, and several at once", async () => {
  const { gateway, engine } = await start();
  engine.onJob = sayWords("yes");
  const session = await greet(gateway);
  assert.equal((await ask(gateway, session)).text, "yes");
  const replies = await Promise.all([ask(gateway, session), ask(gateway, session), ask(gateway, session)]);
  assert.deepEqual(
    replies.map((reply) => reply.text),
    ["yes", "yes", "yes"],
  );
  assert.equal(new Set(engine.jobs.map(({ job }) => job.partition)).size, 1);
});

test("the offer names price, model and context, and a share of the slots for each gateway", async () => {
  const gateways = [await startFakeGateway(), await startFakeGateway(), await startFakeGateway()];
  cleanups.push(...gateways.map((gateway) => () => gateway.stop()));
  await startAt(gateways, {});
  for (const gateway of gateways) {
    const message = await gateway.heardOne("offer");
    const { gatewayKey, price, contextTokens, manifestRoot } = parseOffer(message.offer);
    assert.deepEqual(gatewayKey, gateway.key);
    assert.deepEqual({ price, contextTokens, manifestRoot }, { price: PRICE, contextTokens: 2048, manifestRoot: ROOT });
    assert.equal(message.slots, 2, "four slots at three gateways");
  }
});

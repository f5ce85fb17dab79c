import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  createEvidence,
  MAX_EVIDENCE_BYTES,
  offerMessage,
  parseEvidence,
  utf8,
  type HardwareEvidence,
} from "../protocol/index.ts";
import { Documents } from "./documents.ts";
import { OWNER, scene } from "./gateway.fake.ts";
import { dialWorker, evidenceOf, hashOf, offer, offerOf, putEvidence, ROOT, refused, reserved } from "./peers.fake.ts";
import { signerFromSeed } from "./signatures.ts";

const NOW = Math.floor(Date.now() / 1000);
const SIGNER = signerFromSeed(new Uint8Array(32).fill(4));

function room(limit = 1_000_000): Documents {
  return new Documents(limit);
}

test("evidence is kept under its hash, with what matching needs of it", () => {
  const documents = room();
  const evidence = evidenceOf(SIGNER, ROOT);
  documents.put("evidence", hashOf(evidence), evidence, NOW);
  assert.deepEqual(documents.get("evidence", hashOf(evidence)), evidence);
  const facts = documents.facts(hashOf(evidence));
  assert.equal(facts?.tier, "software");
  assert.deepEqual(facts.manifestRoots, [ROOT]);
});

test("a claim without hardware evidence counts as software", () => {
  const documents = room();
  const evidence = evidenceOf(SIGNER, ROOT, { tier: "tee" });
  documents.put("evidence", hashOf(evidence), evidence, NOW);
  assert.equal(documents.facts(hashOf(evidence))?.tier, "software");
});

test("a claim counts as far as its kind of hardware evidence could support it, and an upstream never", () => {
  const { claims } = parseEvidence(evidenceOf(SIGNER, ROOT, { tier: "tee" }));
  const one = new Uint8Array(1);
  const tdx: HardwareEvidence = { type: "tdx", quote: one };
  const quoted = { attest: one, sig: one, akPub: one, ekPub: one, ekCert: one, eventLog: one };
  const tpm: HardwareEvidence = { type: "tpm", ...quoted, ekChain: [], pcrs: {} };
  const upstream = { ...claims, engine: { ...claims.engine, backend: "upstream" } };
  const cases = [
    [createEvidence(claims, tdx, SIGNER.sign), "tee"],
    [createEvidence({ ...claims, notAfter: claims.notAfter - 1 }, tpm, SIGNER.sign), "tpm"],
    [createEvidence({ ...claims, tier: "software" }, tpm, SIGNER.sign), "software"],
    [createEvidence(upstream, tdx, SIGNER.sign), "software"],
  ] as const;
  for (const [evidence, tier] of cases) {
    const documents = room();
    documents.put("evidence", hashOf(evidence), evidence, NOW);
    assert.equal(documents.facts(hashOf(evidence))?.tier, tier);
  }
});

const EVIDENCE = evidenceOf(SIGNER, ROOT);
const REFUSED: readonly (readonly [string, string, Uint8Array, string?])[] = [
  ["evidence_format", "not JSON", utf8("{"), "00".repeat(32)],
  ["evidence_format", "with unknown keys", utf8('{"v":"acn1","x":1}'), "00".repeat(32)],
  ["evidence_format", "over 256 KiB", new Uint8Array(MAX_EVIDENCE_BYTES + 1), "00".repeat(32)],
  ["evidence_binding", "of another hash", EVIDENCE, "00".repeat(32)],
  ["evidence_expired", "that has expired", evidenceOf(SIGNER, ROOT, { notBefore: NOW - 7200, notAfter: NOW - 1 })],
  ["evidence_expired", "of the future", evidenceOf(SIGNER, ROOT, { notBefore: NOW + 600 })],
  ["evidence_expired", "that lasts too long", evidenceOf(SIGNER, ROOT, { notBefore: NOW, notAfter: NOW + 86_401 })],
  [
    "evidence_expired",
    "that lasts too long for its tier",
    evidenceOf(SIGNER, ROOT, { tier: "tee", notBefore: NOW, notAfter: NOW + 3601 }),
  ],
  ["evidence_sig", "that another key signed", evidenceSignedBy(signerFromSeed(new Uint8Array(32).fill(6)))],
];

function evidenceSignedBy(other: typeof SIGNER): Uint8Array {
  return evidenceOf({ publicKey: SIGNER.publicKey, sign: other.sign }, ROOT);
}

for (const [code, what, bytes, hashHex] of REFUSED) {
  test(`evidence ${what} is refused as ${code} and not kept`, () => {
    const documents = room();
    const name = hashHex ?? hashOf(bytes);
    assert.throws(() => documents.put("evidence", name, bytes, NOW), { code });
    assert.equal(documents.get("evidence", name), undefined);
  });
}

test("collateral is any JSON under its own hash, and nothing else", () => {
  const documents = room();
  const bytes = utf8('{"crl":"AA"}');
  const hashHex = createHash("sha256").update(bytes).digest("hex");
  documents.put("collateral", hashHex, bytes, NOW);
  assert.deepEqual(documents.get("collateral", hashHex), bytes);
  assert.equal(documents.get("evidence", hashHex), undefined);
  assert.throws(() => documents.put("collateral", "00".repeat(32), bytes, NOW), { code: "evidence_binding" });
  const text = utf8("no JSON");
  const textHash = createHash("sha256").update(text).digest("hex");
  assert.throws(() => documents.put("collateral", textHash, text, NOW), { code: "evidence_format" });
});

test("the room is bounded: the oldest that no offer names goes first, and what offers name stays", () => {
  const [first, second, third] = [0, 1, 2].map((i) => evidenceOf(SIGNER, ROOT, { notBefore: NOW - i }));
  if (first === undefined || second === undefined || third === undefined) throw new Error("three");
  const documents = room(Math.floor(first.length * 2.5));
  documents.put("evidence", hashOf(first), first, NOW);
  documents.hold(hashOf(first));
  documents.put("evidence", hashOf(second), second, NOW);
  documents.put("evidence", hashOf(third), third, NOW);
  assert.notEqual(documents.get("evidence", hashOf(first)), undefined);
  assert.equal(documents.get("evidence", hashOf(second)), undefined);
  documents.hold(hashOf(third));
  assert.throws(() => documents.put("evidence", hashOf(second), second, NOW), { code: "rate_limited" });
  documents.release(hashOf(first));
  documents.put("evidence", hashOf(second), second, NOW);
  assert.ok(documents.bytes <= first.length * 2.5);
});

test("over HTTP evidence is put and got, by any origin, and refusals have a code", async (t) => {
  const { gateway } = await scene(t);
  assert.equal(await putEvidence(gateway, EVIDENCE), 204);
  const url = `${gateway.httpUrl}/v1/evidence/${hashOf(EVIDENCE)}`;
  const got = await fetch(url);
  assert.equal(got.headers.get("access-control-allow-origin"), "*");
  assert.deepEqual(new Uint8Array(await got.arrayBuffer()), EVIDENCE);
  const preflight = await fetch(url, { method: "OPTIONS" });
  assert.equal(preflight.headers.get("access-control-allow-methods"), "GET, PUT");
  const refusedPut = await fetch(url.replace(hashOf(EVIDENCE), "00".repeat(32)), {
    method: "PUT",
    body: Buffer.from(EVIDENCE),
  });
  assert.deepEqual([refusedPut.status, await refusedPut.json()], [400, { code: "evidence_binding" }]);
  const missing = await fetch(url.replace(hashOf(EVIDENCE), "00".repeat(32)));
  assert.deepEqual([missing.status, await missing.json()], [404, { code: "evidence_stale" }]);
  const huge = await fetch(url, { method: "PUT", body: Buffer.alloc(MAX_EVIDENCE_BYTES + 1) });
  assert.equal(huge.status, 413);
  assert.equal((await fetch(url, { method: "DELETE" })).status, 405);
  assert.equal((await fetch(`${gateway.httpUrl}/v1/evidence/..%2f`)).status, 404);
});

test("more puts a second than one address may make are told so", async (t) => {
  const { gateway } = await scene(t, { limits: { putsPerSecond: 2 } });
  const statuses = [];
  for (let i = 0; i < 4; i++) statuses.push(await putEvidence(gateway, EVIDENCE));
  assert.deepEqual(statuses, [204, 204, 429, 429]);
});

test("status and metrics name no worker and no client", async (t) => {
  const stage = await scene(t);
  const worker = await stage.worker();
  const client = await stage.client();
  const status = await (await fetch(`${stage.gateway.httpUrl}/v1/status`)).text();
  const metrics = await (await fetch(`${stage.gateway.httpUrl}/metrics`)).text();
  assert.equal((JSON.parse(status) as { workers: number }).workers, 1);
  assert.match(metrics, /^cocoon_workers 1$/m);
  for (const text of [status, metrics]) {
    for (const name of [worker.workerId, client.channel.slice(2), OWNER.slice(2)]) assert.ok(!text.includes(name));
  }
});

test("an offer whose evidence is missing, foreign, expired or about another model is refused with its code", async (t) => {
  const stage = await scene(t);
  const worker = await stage.idleWorker();
  await worker.next("welcome");
  const bytes = offerOf(worker);
  const send = (evidenceHash: string, offerBytes = bytes): void => {
    worker.send({
      type: "offer",
      id: "o",
      offer: offerBytes,
      offerSignature: worker.signer.sign(offerMessage(offerBytes)),
      evidenceHash,
      slots: 1,
    });
  };
  const code = async (): Promise<string> => (await worker.next("error")).code;
  send("00".repeat(32));
  assert.equal(await code(), "evidence_stale");
  await putEvidence(stage.gateway, EVIDENCE);
  send(hashOf(EVIDENCE));
  assert.equal(await code(), "evidence_binding");
  const otherModel = evidenceOf(worker.signer, "99".repeat(32));
  await putEvidence(stage.gateway, otherModel);
  send(hashOf(otherModel));
  assert.equal(await code(), "model_unavailable");
  const short = evidenceOf(worker.signer, ROOT, { notAfter: NOW + 5 });
  await putEvidence(stage.gateway, short);
  stage.clock.advance(6000);
  send(hashOf(short));
  assert.equal(await code(), "evidence_expired");
});

test("an offer of another worker, to another gateway, or signed by another key is bad_offer", async (t) => {
  const stage = await scene(t);
  const worker = await stage.idleWorker();
  await worker.next("welcome");
  const other = await dialWorker(stage.gateway, { seed: randomBytes(32) });
  t.after(() => other.close());
  const evidence = evidenceOf(worker.signer, ROOT);
  await putEvidence(stage.gateway, evidence);
  const own = offerOf(worker);
  const gateway = { ...worker.gateway, gatewayKey: new Uint8Array(32) };
  const elsewhere = offerOf({ signer: worker.signer, gateway });
  const cases: readonly (readonly [Uint8Array, Uint8Array])[] = [
    [offerOf(other), worker.signer.sign(offerMessage(offerOf(other)))],
    [elsewhere, worker.signer.sign(offerMessage(elsewhere))],
    [own, other.signer.sign(offerMessage(own))],
    [utf8("{}"), worker.signer.sign(offerMessage(utf8("{}")))],
  ];
  for (const [bytes, offerSignature] of cases) {
    worker.send({ type: "offer", id: "o", offer: bytes, offerSignature, evidenceHash: hashOf(evidence), slots: 1 });
    assert.equal((await worker.next("error")).code, "bad_offer");
  }
});

test("a withdrawn offer gets nothing, until it is offered again", async (t) => {
  const stage = await scene(t);
  const worker = await stage.worker();
  const client = await stage.client();
  worker.send({ type: "withdraw_offer", manifestRoot: ROOT });
  worker.send({ type: "redeem_request", id: "1", total: 0n, maxDeduction: 0n, signature: new Uint8Array(64) });
  await worker.next("error");
  assert.equal((await refused(client)).code, "no_worker");
  await offer(worker);
  await worker.next("offer_accepted");
  await reserved(client);
});

test("a worker whose evidence expires while it is linked gets nothing more", async (t) => {
  const stage = await scene(t);
  const worker = await stage.idleWorker();
  await worker.next("welcome");
  const evidence = evidenceOf(worker.signer, ROOT, { notAfter: NOW + 60 });
  await putEvidence(stage.gateway, evidence);
  const bytes = offerOf(worker);
  const offerSignature = worker.signer.sign(offerMessage(bytes));
  worker.send({ type: "offer", id: "o", offer: bytes, offerSignature, evidenceHash: hashOf(evidence), slots: 1 });
  await worker.next("offer_accepted");
  const client = await stage.client();
  await reserved(client);
  for (let i = 0; i < 4; i++) {
    stage.clock.advance(16_000);
    for (const peer of [worker, client]) peer.send({ type: "heartbeat" });
    await Promise.all([worker.heard(), client.heard()]);
  }
  assert.equal((await refused(client)).code, "no_worker");
});

test("what is refused says how many workers there are of each tier, and the price that would do", async (t) => {
  const stage = await scene(t);
  await stage.worker();
  const client = await stage.client();
  const tier = await refused(client, { minTier: "tee" });
  assert.deepEqual([tier.code, tier.tiersOffered], ["tier_too_low", { software: 1, tpm: 0, tee: 0 }]);
  const poor = { prompt: 1n, cached: 1n, completion: 1n };
  const price = await refused(client, { maxPrice: poor });
  assert.equal(price.code, "price_too_low");
  await reserved(client, { maxPrice: price.lowestPrice ?? poor });
  assert.equal((await refused(client, { maxCompletionTokens: 8192 })).code, "context_overflow");
  assert.equal((await refused(client, { manifestRoot: "00".repeat(32) })).code, "model_unavailable");
});

import assert from "node:assert/strict";
import test from "node:test";
import { fromUtf8, toBase64url, toHex, utf8 } from "../bytes.ts";
import { Failure } from "../failure.ts";
import { hasCode } from "../failure.fake.ts";
import { evidenceMessage, keyPairFromSeed, workerIdOf } from "../keys.ts";
import { claims, client, evidence, MANIFEST_ROOT, NOW, seededRandom, worker, WORKER_ID } from "../parties.fake.ts";
import {
  createEvidence,
  evidenceHashOf,
  parseEvidence,
  type EvidenceClaims,
  type HardwareEvidence,
} from "./document.ts";
import { DEFAULT_POLICY, DEMO_POLICY, parsePolicy, type Policy } from "./policy.ts";
import { verifyEvidence, type EvidenceContext, type HardwareVerifiers, type VerifiedWorker } from "./verify.ts";

const TDX: HardwareEvidence = { type: "tdx", quote: new Uint8Array(8) };
const BEACON = { chain: "-1", seqno: 7, rootHash: "be".repeat(32) };
const RELEASE = { name: "app", version: "1", platform: "linux", sha256: "00".repeat(32), sigstore: {} };
/** A stand-in for a hardware verifier that is content with every quote. */
const CONTENT: HardwareVerifiers = {
  tdx: () => Promise.resolve({ tier: "tee", measurement: "m", platformId: "p" }),
};

interface Case {
  readonly claims?: Partial<EvidenceClaims>;
  readonly hw?: HardwareEvidence;
  readonly policy?: Record<string, unknown>;
  readonly context?: Partial<EvidenceContext>;
  readonly expected?: Partial<EvidenceContext["expected"]>;
  readonly change?: (document: Uint8Array) => Uint8Array;
}

/** Signs, perhaps tampers, and verifies under the demo's policy with overrides. */
async function verified(each: Case = {}): Promise<VerifiedWorker> {
  const document = createEvidence(claims(each.claims), each.hw ?? { type: "none" }, worker.sign);
  const expected = {
    evidenceHash: evidenceHashOf(parseEvidence(document).claimsBytes),
    workerId: WORKER_ID,
    ...each.expected,
  };
  const context = { now: NOW, beacon: null, ...each.context, expected };
  return verifyEvidence(each.change?.(document) ?? document, policy(each.policy), context);
}

function policy(overrides: Record<string, unknown> = {}): Policy {
  const software = { pinWorkers: [], requireSigstoreRelease: false };
  return parsePolicy({ v: "acn1-policy", minTier: "software", beacon: "ifAvailable", software, ...overrides });
}

test("evidence without hardware proves a key, at tier software, and says what was not checked", async () => {
  const result = await verified();
  assert.equal(result.tier, "software");
  assert.equal(result.workerId, WORKER_ID);
  assert.deepEqual(result.identityKey, worker.publicKey);
  assert.deepEqual(result.manifestRoots, [MANIFEST_ROOT]);
  assert.deepEqual(result.warnings, ["beacon_unchecked", "release_unchecked"]);
  assert.equal(result.notAfter, NOW + 3540);
  assert.equal(result.measurement, undefined);
});

test("a document that is not exactly one is evidence_format", async () => {
  const text = fromUtf8(evidence().document);
  const { claims: inner } = JSON.parse(text) as { claims: string };
  const encoded = (from: string, to: string): string => {
    const original = fromUtf8(evidenceClaimsBytes());
    assert.ok(original.includes(from), from);
    return text.replace(inner, toBase64url(utf8(original.replace(from, to))));
  };
  const wrong = [
    "",
    "[]",
    text.replace("acn1", "acn2"),
    text.replace("{", '{"more":1,'),
    text.replace('"collateral":null,', ""),
    text.replace("{", '{"v":"acn1",'),
    text.replace(inner, `${inner}=`),
    text.replace(inner, "!"),
    encoded('"tier":"software"', '"tier":"trusted"'),
    encoded('"v":"acn1"', '"v":"acn1","secure":true'),
    encoded('"v":"acn1"', '"v":"acn1","v":"acn1"'),
    encoded('"gpuCc":null', '"gpuCc":{"mode":"off","driver":"1","vbios":"1","evidenceSha256":""}'),
    encoded('"bytes":1000000', '"bytes":-1'),
    encoded(`"notBefore":${NOW - 60}`, '"notBefore":-1'),
    encoded('"backend":"cpu"', '"backend":"cpu","owner":"me"'),
    encoded(`"beacon":null,`, ""),
  ];
  for (const document of wrong)
    await assert.rejects(verified({ change: () => utf8(document) }), hasCode("evidence_format"), document);
  await assert.rejects(verified({ change: () => Uint8Array.of(0xff) }), hasCode("evidence_format"));
  await assert.rejects(verified({ change: (bytes) => bytes.subarray(0, -1) }), hasCode("evidence_format"));
});

test("hardware evidence of an unknown kind is evidence_format", async () => {
  const sealed = (hw: string): Uint8Array => {
    const claimsBytes = evidenceClaimsBytes();
    const sig = toBase64url(worker.sign(evidenceMessage(claimsBytes, utf8(hw))));
    return utf8(
      `{"v":"acn1","claims":"${toBase64url(claimsBytes)}","hw":"${toBase64url(utf8(hw))}","collateral":null,"sig":"${sig}"}`,
    );
  };
  for (const hw of ['{"type":"sgx"}', '{"type":"none","quote":"AA"}', '{"type":"tdx"}', "{}"])
    await assert.rejects(verified({ change: () => sealed(hw) }), hasCode("evidence_format"), hw);
  assert.equal((await verified({ change: () => sealed('{ "type": "none" }') })).tier, "software");
});

test("evidence under another hash, of another worker or to another challenge is evidence_binding", async () => {
  const challenge = new Uint8Array(32).fill(4);
  const other = workerIdOf(client.publicKey);
  for (const each of [
    { expected: { evidenceHash: "00".repeat(32) } },
    { expected: { workerId: other } },
    { expected: { challenge } },
    { expected: { challenge }, claims: { challenge: new Uint8Array(32).fill(5) } },
  ])
    await assert.rejects(verified(each), hasCode("evidence_binding"));
  assert.equal((await verified({ expected: { challenge }, claims: { challenge } })).tier, "software");
});

test("evidence counts from its first second to its last, and is never too young by more than two minutes", async () => {
  const window = { notBefore: NOW, notAfter: NOW + 3600 };
  const at = (now: number): Promise<VerifiedWorker> => verified({ claims: window, context: { now } });
  for (const now of [NOW - 120, NOW, NOW + 3599]) assert.equal((await at(now)).tier, "software");
  for (const now of [NOW - 121, NOW + 3600, NOW + 100_000, 0])
    await assert.rejects(at(now), hasCode("evidence_expired"));
});

test("a document lasts a day at most, an hour where hardware backs it", async () => {
  const lasting = (tier: EvidenceClaims["tier"], seconds: number): Promise<VerifiedWorker> =>
    verified({
      claims: { tier, notBefore: NOW, notAfter: NOW + seconds, beacon: BEACON },
      hw: TDX,
      context: { hardwareVerifiers: CONTENT, beacon: { rootHash: BEACON.rootHash, generatedAt: NOW } },
    });
  await lasting("software", 86_400);
  await lasting("tee", 3600);
  for (const [tier, seconds] of [
    ["software", 86_401],
    ["tpm", 3601],
    ["tee", 3601],
    ["software", 0],
    ["tee", -1],
  ] as const)
    await assert.rejects(lasting(tier, seconds), hasCode("evidence_expired"), `${tier} ${seconds}`);
});

test("hardware evidence grows old by the policy, before it expires", async () => {
  const aged = (tier: "software" | "tee"): Promise<VerifiedWorker> =>
    verified({
      claims: { tier, notBefore: NOW - 601, notAfter: NOW + 2000, beacon: BEACON },
      hw: TDX,
      policy: { maxEvidenceAgeSec: 600 },
      context: { hardwareVerifiers: CONTENT, beacon: { rootHash: BEACON.rootHash, generatedAt: NOW - 601 } },
    });
  await assert.rejects(aged("tee"), hasCode("evidence_expired"));
  assert.equal((await aged("software")).tier, "software");
});

test("evidence that another key signed, or whose hardware part was exchanged, is evidence_sig", async () => {
  const thief = createEvidence(claims(), { type: "none" }, client.sign);
  await assert.rejects(verified({ change: () => thief }), hasCode("evidence_sig"));
  const exchanged = (document: Uint8Array): Uint8Array => {
    const parts = JSON.parse(fromUtf8(document)) as Record<string, unknown>;
    return utf8(JSON.stringify({ ...parts, hw: toBase64url(utf8('{"type":"none" }')) }));
  };
  await assert.rejects(verified({ change: exchanged }), hasCode("evidence_sig"));
});

test("a claim under the tier that is asked for is tier_too_low, before anything else is looked at", async () => {
  for (const minTier of ["tpm", "tee"])
    await assert.rejects(verified({ policy: { minTier, beacon: "require" } }), hasCode("tier_too_low"));
  const document = evidence();
  const context = { now: NOW, beacon: null, expected: { ...document, workerId: WORKER_ID } };
  await assert.rejects(verifyEvidence(document.document, DEFAULT_POLICY, context), hasCode("tier_too_low"));
});

test("a tier is what was proved: a claim without hardware is software, and hardware never lifts a lesser claim", async () => {
  const boast = {
    claims: { tier: "tee", beacon: BEACON },
    context: { beacon: { rootHash: BEACON.rootHash, generatedAt: NOW } },
  } as const;
  assert.equal((await verified(boast)).tier, "software");
  await assert.rejects(verified({ ...boast, policy: { minTier: "tee" } }), hasCode("tier_too_low"));
  const modest = { hw: TDX, context: { hardwareVerifiers: CONTENT } };
  assert.equal((await verified(modest)).tier, "software");
  const both = { ...boast, hw: TDX, context: { ...boast.context, hardwareVerifiers: CONTENT } };
  const proved = await verified({ ...both, policy: { minTier: "tee" } });
  assert.deepEqual([proved.tier, proved.measurement, proved.platformId], ["tee", "m", "p"]);
});

test("a beacon must be the looked-up block, and no older than ten minutes before the document", async () => {
  const seen = (rootHash: string, generatedAt: number): Promise<VerifiedWorker> =>
    verified({
      claims: { beacon: BEACON, notBefore: NOW },
      context: { beacon: { rootHash, generatedAt } },
      policy: { beacon: "require" },
    });
  assert.deepEqual((await seen(BEACON.rootHash, NOW - 600)).warnings, ["release_unchecked"]);
  await assert.rejects(seen(BEACON.rootHash, NOW - 601), hasCode("beacon_stale"));
  await assert.rejects(seen("00".repeat(32), NOW), hasCode("beacon_stale"));
});

test("a beacon that is absent or cannot be looked up is beacon_stale where it is required, else a warning", async () => {
  const looked = { rootHash: BEACON.rootHash, generatedAt: NOW };
  const required = { policy: { beacon: "require" } };
  await assert.rejects(verified(required), hasCode("beacon_stale"));
  await assert.rejects(verified({ ...required, context: { beacon: looked } }), hasCode("beacon_stale"));
  await assert.rejects(verified({ ...required, claims: { beacon: BEACON } }), hasCode("beacon_stale"));
  assert.ok((await verified({ claims: { beacon: BEACON } })).warnings.includes("beacon_unchecked"));
  const tee = { hw: TDX, context: { hardwareVerifiers: CONTENT } };
  await assert.rejects(verified({ ...tee, claims: { tier: "tee" } }), hasCode("beacon_stale"));
  assert.equal((await verified({ ...tee, claims: { tier: "tee", beacon: BEACON } })).tier, "tee");
});

test("hardware evidence of a kind that cannot be checked here is refused, never taken on trust", async () => {
  const binary = new Uint8Array(4);
  const kinds: readonly HardwareEvidence[] = [
    TDX,
    { type: "snp", report: binary, vcek: binary, askArk: binary },
    {
      type: "tpm",
      attest: binary,
      sig: binary,
      akPub: binary,
      ekPub: binary,
      ekCert: binary,
      ekChain: [],
      pcrs: { "0": "00" },
      eventLog: binary,
    },
  ];
  for (const hw of kinds) await assert.rejects(verified({ hw }), hasCode("policy_denied"), hw.type);
});

test("a hardware verifier sees the document, and its code is the verdict", async () => {
  const seen: string[] = [];
  const hardwareVerifiers: HardwareVerifiers = {
    tdx: (hw, document, _policy, now) => {
      seen.push(hw.type, toHex(document.hwBytes.subarray(0, 1)), String(now));
      return Promise.reject(new Failure("evidence_binding"));
    },
  };
  await assert.rejects(verified({ hw: TDX, context: { hardwareVerifiers } }), hasCode("evidence_binding"));
  assert.deepEqual(seen, ["tdx", "7b", String(NOW)]);
});

test("a release that the policy requires and nobody can check is release_unchecked", async () => {
  const required = { policy: { software: { requireSigstoreRelease: true } }, claims: { release: RELEASE } };
  await assert.rejects(verified(required), hasCode("release_unchecked"));
  const checked: string[] = [];
  const releaseVerifier = {
    verify: (release: { readonly version: string }) => {
      checked.push(release.version);
      return Promise.resolve();
    },
  };
  assert.deepEqual((await verified({ ...required, context: { releaseVerifier } })).warnings, ["beacon_unchecked"]);
  assert.deepEqual(checked, ["1"]);
});

test("a release that is absent or bad is sigstore's code where it is required; a bad one is never waved through", async () => {
  const releaseVerifier = { verify: () => Promise.reject(new Failure("sigstore_signer")) };
  const context = { releaseVerifier };
  const required = { policy: { software: { requireSigstoreRelease: true } }, context };
  for (const release of [null, { ...RELEASE, sigstore: null }]) {
    await assert.rejects(verified({ ...required, claims: { release } }), hasCode("sigstore_bundle"));
    assert.ok((await verified({ context, claims: { release } })).warnings.includes("release_unchecked"));
  }
  await assert.rejects(verified({ ...required, claims: { release: RELEASE } }), hasCode("sigstore_signer"));
  await assert.rejects(verified({ context, claims: { release: RELEASE } }), hasCode("sigstore_signer"));
});

test("a worker that is not among the pinned, or a model that is not allowed, is policy_denied", async () => {
  const software = { requireSigstoreRelease: false };
  const pinned = (id: string): Record<string, unknown> => ({ software: { ...software, pinWorkers: [id] } });
  await assert.rejects(verified({ policy: pinned("00".repeat(32)) }), hasCode("policy_denied"));
  assert.equal((await verified({ policy: pinned(WORKER_ID) })).workerId, WORKER_ID);
  for (const name of ["practice", MANIFEST_ROOT, "*"])
    assert.ok(await verified({ policy: { models: { allow: [name] } } }));
  for (const allow of [[], ["other"]])
    await assert.rejects(verified({ policy: { models: { allow } } }), hasCode("policy_denied"));
});

test("the model that is asked for must itself be served and allowed", async () => {
  const second = { id: "second", manifestRoot: "22".repeat(32), quant: "Q4", bytes: 1 };
  const models = [...claims().models, second];
  const asked = (manifestRoot: string, allow: readonly string[]): Promise<VerifiedWorker> =>
    verified({ claims: { models }, policy: { models: { allow } }, expected: { manifestRoot } });
  assert.ok(await asked(second.manifestRoot, ["*"]));
  assert.ok(await asked(second.manifestRoot, ["second"]));
  await assert.rejects(asked(second.manifestRoot, ["practice"]), hasCode("policy_denied"));
  await assert.rejects(asked("33".repeat(32), ["*"]), hasCode("policy_denied"));
});

test("the first rule that fails names the code", async () => {
  // Each case breaks one rule more than the one before it, from the last check to the first.
  const order: readonly (readonly [string, Case])[] = [
    ["policy_denied", { policy: { models: { allow: [] } } }],
    ["release_unchecked", { policy: { models: { allow: [] }, software: { requireSigstoreRelease: true } } }],
    [
      "beacon_stale",
      { policy: { models: { allow: [] }, software: { requireSigstoreRelease: true }, beacon: "require" } },
    ],
    ["tier_too_low", { policy: { minTier: "tee", beacon: "require" } }],
    ["evidence_sig", { policy: { minTier: "tee", beacon: "require" }, change: badSignature }],
    ["evidence_expired", { policy: { minTier: "tee" }, context: { now: 0 }, change: badSignature }],
    [
      "evidence_binding",
      {
        policy: { minTier: "tee" },
        context: { now: 0 },
        change: badSignature,
        expected: { workerId: "00".repeat(32) },
      },
    ],
    ["evidence_format", { context: { now: 0 }, expected: { workerId: "00".repeat(32) }, change: () => utf8("{}") }],
  ];
  for (const [code, each] of order)
    await assert.rejects(verified(each), (error) => error instanceof Failure && error.code === code, code);
});

test("no changed bit of a document leaves it accepted as the same", async () => {
  const { document, evidenceHash } = evidence();
  const context = { now: NOW, beacon: null, expected: { evidenceHash, workerId: WORKER_ID } };
  const random = seededRandom(31);
  for (let at = 0; at < document.length; at++) {
    const changed = document.slice();
    changed[at] = (changed[at] ?? 0) ^ (1 << ((random(1)[0] ?? 0) % 7));
    await assert.rejects(verifyEvidence(changed, DEMO_POLICY, context), Failure, `byte ${at}`);
  }
});

test("evidence of a stranger's key passes for the stranger only", async () => {
  const stranger = keyPairFromSeed(new Uint8Array(32).fill(77));
  const document = createEvidence(claims({ ik: stranger.publicKey }), { type: "none" }, stranger.sign);
  const evidenceHash = evidenceHashOf(parseEvidence(document).claimsBytes);
  const context = { now: NOW, beacon: null };
  const asWorker = verifyEvidence(document, DEMO_POLICY, {
    ...context,
    expected: { evidenceHash, workerId: WORKER_ID },
  });
  await assert.rejects(asWorker, hasCode("evidence_binding"));
  const expected = { evidenceHash, workerId: workerIdOf(stranger.publicKey) };
  assert.deepEqual(
    (await verifyEvidence(document, DEMO_POLICY, { ...context, expected })).identityKey,
    stranger.publicKey,
  );
});

function evidenceClaimsBytes(): Uint8Array {
  return parseEvidence(evidence().document).claimsBytes;
}

function badSignature(document: Uint8Array): Uint8Array {
  const parts = JSON.parse(fromUtf8(document)) as Record<string, unknown>;
  return utf8(JSON.stringify({ ...parts, sig: toBase64url(new Uint8Array(64)) }));
}

import assert from "node:assert/strict";
import test from "node:test";
import { sha512 } from "@noble/hashes/sha2.js";
import { concat, toHex, utf8 } from "../bytes.ts";
import { hasCode } from "../failure.fake.ts";
import { hash } from "../keys.ts";
import { claims, worker } from "../parties.fake.ts";
import {
  createEvidence,
  evidenceHashOf,
  parseEvidence,
  tierReaches,
  TIERS,
  tpmExtraOf,
  type HardwareEvidence,
} from "./document.ts";
import { reportDataOf } from "./report-data.ts";

const BINARY = Uint8Array.of(1, 2, 3);

const KINDS: readonly HardwareEvidence[] = [
  { type: "none" },
  { type: "tdx", quote: BINARY },
  { type: "tdx", quote: BINARY, eventLog: BINARY },
  { type: "snp", report: BINARY, vcek: BINARY, askArk: BINARY },
  {
    type: "tpm",
    attest: BINARY,
    sig: BINARY,
    akPub: BINARY,
    ekPub: BINARY,
    ekCert: BINARY,
    ekChain: [BINARY, BINARY],
    pcrs: { "0": "00ff", "23": "aa" },
    eventLog: BINARY,
  },
];

test("a document of every kind of hardware comes back as it was", () => {
  for (const hw of KINDS) {
    const document = parseEvidence(createEvidence(claims(), hw, worker.sign));
    assert.deepEqual(document.hw, hw);
    assert.deepEqual(document.claims, claims());
    assert.equal(document.collateral, null);
  }
});

test("claims with every field filled come back as they were", () => {
  const full = claims({
    tier: "tee",
    beacon: { chain: "-1", seqno: 1, rootHash: "be".repeat(32) },
    challenge: new Uint8Array(32),
    release: { name: "a", version: "1", platform: "linux", sha256: "00".repeat(32), sigstore: { mediaType: "x" } },
    gpuCc: { mode: "on", driver: "570", vbios: "96", evidenceSha256: "00".repeat(32) },
    models: [],
  });
  assert.deepEqual(parseEvidence(createEvidence(full, { type: "none" }, worker.sign)).claims, full);
});

test("the three hashes of claims each have a label of their own", () => {
  const bytes = utf8("{}");
  assert.equal(evidenceHashOf(bytes), toHex(hash(utf8("ACN1 evidence hash\0"), bytes)));
  assert.deepEqual(tpmExtraOf(bytes), hash(utf8("ACN1 tpm-extra\0"), bytes));
  assert.deepEqual(reportDataOf(bytes), sha512(concat(utf8("ACN1 report-data\0"), bytes)));
});

test("a field of a document beyond its bound is refused", () => {
  const large = new Uint8Array(262_145);
  assert.throws(
    () => parseEvidence(createEvidence(claims(), { type: "tdx", quote: large }, worker.sign)),
    hasCode("evidence_format"),
  );
  const many = claims({ models: Array.from({ length: 65 }, () => claims().models).flat() });
  assert.throws(() => parseEvidence(createEvidence(many, { type: "none" }, worker.sign)), hasCode("evidence_format"));
});

test("tiers are ordered: software, tpm, tee", () => {
  for (const [index, tier] of TIERS.entries())
    for (const [least, minimum] of TIERS.entries()) assert.equal(tierReaches(tier, minimum), index >= least);
});

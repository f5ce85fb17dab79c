import assert from "node:assert/strict";
import test from "node:test";
import { utf8 } from "../bytes.ts";
import { hasCode } from "../failure.fake.ts";
import { DEFAULT_POLICY, DEMO_POLICY, parsePolicy } from "./policy.ts";

/** ACN/1 §3.7, word for word. */
const SPECIFIED = `{"v":"acn1-policy","minTier":"tee","beacon":"require","maxEvidenceAgeSec":3600,
 "tee":{"types":["tdx","snp"],"tdxTcb":["UpToDate"],"allowAdvisories":[],"snpMinTcb":{"genoa":{"bl":10,"tee":0,"snp":23,"ucode":84}},
  "requireGpuCc":true,"measurements":[],"knownPlatforms":null,"maxCollateralAgeDays":14,"minTcbEvaluationNumber":0},
 "tpm":{"requireSecureBoot":true,"ekRoots":"bundled","credential":"session","pcrs":[0,2,4,7]},
 "software":{"pinWorkers":[],"requireSigstoreRelease":true},
 "release":{"sanRegex":"^https://github\\\\.com/ORG/REPO/\\\\.github/workflows/release\\\\.yml@refs/tags/v","issuer":"https://token.actions.githubusercontent.com","requireRegistry":false},
 "models":{"allow":["*"]},"requireReceipt":true}`;

test("a policy that says nothing is the strict one of the specification", () => {
  assert.deepEqual(DEFAULT_POLICY, JSON.parse(SPECIFIED));
  assert.deepEqual(parsePolicy({ v: "acn1-policy" }), DEFAULT_POLICY);
  assert.deepEqual(parsePolicy(SPECIFIED), DEFAULT_POLICY);
});

test("a policy in part takes the rest from the default", () => {
  const policy = parsePolicy({ v: "acn1-policy", minTier: "tpm", tpm: { requireSecureBoot: false } });
  assert.deepEqual(policy, {
    ...DEFAULT_POLICY,
    minTier: "tpm",
    tpm: { ...DEFAULT_POLICY.tpm, requireSecureBoot: false },
  });
});

test("the demo's policy accepts software workers and says so, and nothing else changes", () => {
  assert.deepEqual(DEMO_POLICY, {
    ...DEFAULT_POLICY,
    minTier: "software",
    beacon: "ifAvailable",
    software: { pinWorkers: [], requireSigstoreRelease: false },
  });
});

test("an unknown key is refused by its name, wherever it stands", () => {
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ minTeir: "tee" }, /"minTeir"/],
    [{ tee: { requireGpu: true } }, /tee.*"requireGpu"/],
    [{ software: { pinWorker: [] } }, /software.*"pinWorker"/],
    [{ release: { san: "" } }, /release.*"san"/],
    [{ models: { deny: [] } }, /models.*"deny"/],
  ];
  for (const [extra, named] of wrong)
    assert.throws(() => parsePolicy({ v: "acn1-policy", ...extra }), hasCode("policy_format", named));
});

test("a value that is no rule is refused by its key", () => {
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ v: "acn2-policy" }, /v: /],
    [{ minTier: "secure" }, /minTier/],
    [{ beacon: false }, /beacon/],
    [{ maxEvidenceAgeSec: -1 }, /maxEvidenceAgeSec/],
    [{ maxEvidenceAgeSec: "3600" }, /maxEvidenceAgeSec/],
    [{ tee: { types: ["sgx"] } }, /tee\.types/],
    [{ tee: null }, /tee/],
    [{ tpm: { pcrs: [24] } }, /tpm\.pcrs/],
    [{ software: { pinWorkers: ["me"] } }, /software\.pinWorkers/],
    [{ models: { allow: "*" } }, /models\.allow/],
  ];
  for (const [part, named] of wrong)
    assert.throws(() => parsePolicy({ v: "acn1-policy", ...part }), hasCode("policy_format", named));
});

test("a policy file that is not JSON, or names a rule twice, is policy_format", () => {
  for (const source of [
    "",
    "{",
    '{"v":"acn1-policy","minTier":"tee","minTier":"software"}',
    utf8("{}"),
    Uint8Array.of(0xff),
    null,
    [],
    1,
  ])
    assert.throws(() => parsePolicy(source), hasCode("policy_format"));
});

test("the defaults cannot be changed through a policy that was read", () => {
  const policy = parsePolicy({ v: "acn1-policy" });
  policy.tee.measurements.push("mine");
  assert.deepEqual(parsePolicy({ v: "acn1-policy" }).tee.measurements, []);
  assert.deepEqual(DEFAULT_POLICY.tee.measurements, []);
});

import { z } from "../schema.ts";
import { count, hashHex, parseStrict, parseStrictJson } from "../strict-json.ts";
import { TIERS } from "./document.ts";

const strings = z.array(z.string());

/** A client's rules for which workers may see a prompt (ACN/1 §3.7). Missing keys take the strict default. */
const policySchema = z.strictObject({
  v: z.literal("acn1-policy"),
  minTier: z.enum(TIERS).default("tee"),
  beacon: z.enum(["require", "ifAvailable"]).default("require"),
  maxEvidenceAgeSec: count.default(3600),
  tee: z
    .strictObject({
      types: z.array(z.enum(["tdx", "snp"])).default(["tdx", "snp"]),
      tdxTcb: strings.default(["UpToDate"]),
      allowAdvisories: strings.default([]),
      snpMinTcb: z
        .record(z.string(), z.strictObject({ bl: count, tee: count, snp: count, ucode: count }))
        .default({ genoa: { bl: 10, tee: 0, snp: 23, ucode: 84 } }),
      requireGpuCc: z.boolean().default(true),
      measurements: strings.default([]),
      knownPlatforms: strings.nullable().default(null),
      maxCollateralAgeDays: count.default(14),
      minTcbEvaluationNumber: count.default(0),
    })
    .prefault({}),
  tpm: z
    .strictObject({
      requireSecureBoot: z.boolean().default(true),
      ekRoots: z.literal("bundled").default("bundled"),
      credential: z.enum(["session", "never"]).default("session"),
      pcrs: z.array(z.int().min(0).max(23)).default([0, 2, 4, 7]),
    })
    .prefault({}),
  software: z
    .strictObject({
      /** Worker ids; when any are named, no other software worker is accepted. */
      pinWorkers: z.array(hashHex).default([]),
      requireSigstoreRelease: z.boolean().default(true),
    })
    .prefault({}),
  release: z
    .strictObject({
      sanRegex: z.string().default("^https://github\\.com/ORG/REPO/\\.github/workflows/release\\.yml@refs/tags/v"),
      issuer: z.string().default("https://token.actions.githubusercontent.com"),
      requireRegistry: z.boolean().default(false),
    })
    .prefault({}),
  models: z.strictObject({ allow: strings.default(["*"]) }).prefault({}),
  requireReceipt: z.boolean().default(true),
});

export type Policy = z.output<typeof policySchema>;

/** Only hardware-isolated workers, current firmware, a fresh beacon: what a client has when it says nothing. */
export const DEFAULT_POLICY: Policy = policySchema.parse({ v: "acn1-policy" });

/** What `npm run demo` uses and prints: any worker, which means that its operator can read the prompt. */
export const DEMO_POLICY: Policy = policySchema.parse({
  v: "acn1-policy",
  minTier: "software",
  beacon: "ifAvailable",
  software: { pinWorkers: [], requireSigstoreRelease: false },
});

/** @throws {Failure} `policy_format`, naming the key: an unknown key may be a rule somebody relies on. */
export function parsePolicy(source: unknown): Policy {
  if (typeof source === "string" || source instanceof Uint8Array) {
    return parseStrictJson(policySchema, source, "policy_format");
  }
  return parseStrict(policySchema, source, "policy_format");
}

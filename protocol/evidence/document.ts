import { z } from "../schema.ts";
import { label, toHex, utf8 } from "../bytes.ts";
import { evidenceMessage, hash, type Sign } from "../keys.ts";
import {
  bytesField,
  count,
  hashHex,
  key32,
  parseStrictJson,
  signature,
  stringify,
  unixSeconds,
} from "../strict-json.ts";

/** What backs a worker's evidence, weakest first. */
export const TIERS = ["software", "tpm", "tee"] as const;
export type Tier = (typeof TIERS)[number];

/** Whether `tier` is at least `minimum`. */
export function tierReaches(tier: Tier, minimum: Tier): boolean {
  return TIERS.indexOf(tier) >= TIERS.indexOf(minimum);
}

/** An evidence document is fetched by hash and may not be larger. */
export const MAX_EVIDENCE_BYTES = 262_144;

const shortText = z.string().min(1).max(200);

const releaseSchema = z.strictObject({
  name: shortText,
  version: shortText,
  platform: shortText,
  sha256: hashHex,
  sigstore: z.union([z.record(z.string(), z.unknown()), z.null()]),
});

const claimsSchema = z.strictObject({
  v: z.literal("acn1"),
  ik: key32,
  tier: z.enum(TIERS),
  notBefore: unixSeconds,
  notAfter: unixSeconds,
  beacon: z.strictObject({ chain: shortText, seqno: count, rootHash: hashHex }).nullable(),
  challenge: bytesField(32).nullable(),
  release: releaseSchema.nullable(),
  models: z
    .array(z.strictObject({ id: shortText, manifestRoot: hashHex, quant: shortText, bytes: z.int().min(0) }))
    .max(64),
  engine: z.strictObject({ name: shortText, version: shortText, backend: shortText }),
  gpuCc: z
    .strictObject({ mode: z.literal("on"), driver: shortText, vbios: shortText, evidenceSha256: hashHex })
    .nullable(),
});

/** What a worker says of itself; its hardware, where it has any, signs the hash of these exact bytes. */
export type EvidenceClaims = z.output<typeof claimsSchema>;

const binary = bytesField(undefined, MAX_EVIDENCE_BYTES);

/** What proves the claims: a quote of the machine's hardware, or nothing (ACN/1 §3.2). */
const hardwareSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("none") }),
  z.strictObject({ type: z.literal("tdx"), quote: binary, eventLog: binary.optional() }),
  z.strictObject({ type: z.literal("snp"), report: binary, vcek: binary, askArk: binary }),
  z.strictObject({
    type: z.literal("tpm"),
    attest: binary,
    sig: binary,
    akPub: binary,
    ekPub: binary,
    ekCert: binary,
    ekChain: z.array(binary).max(8),
    pcrs: z.record(z.string().regex(/^\d{1,2}$/), z.string().regex(/^([0-9a-f]{2})+$/)),
    eventLog: binary,
  }),
]);

export type HardwareEvidence = z.output<typeof hardwareSchema>;

const documentSchema = z.strictObject({
  v: z.literal("acn1"),
  claims: binary,
  hw: binary,
  collateral: z.union([hashHex, z.record(z.string(), z.unknown()), z.null()]),
  sig: signature,
});

/** A parsed evidence document; `claimsBytes` and `hwBytes` are what was signed, never serialised again. */
export interface EvidenceDocument {
  readonly claims: EvidenceClaims;
  readonly claimsBytes: Uint8Array;
  readonly hw: HardwareEvidence;
  readonly hwBytes: Uint8Array;
  readonly collateral: string | Readonly<Record<string, unknown>> | null;
  readonly signature: Uint8Array;
}

/** @throws {Failure} `evidence_format`. */
export function parseEvidence(source: string | Uint8Array): EvidenceDocument {
  const document = parseStrictJson(documentSchema, source, "evidence_format");
  return {
    claims: parseStrictJson(claimsSchema, document.claims, "evidence_format"),
    claimsBytes: document.claims,
    hw: parseStrictJson(hardwareSchema, document.hw, "evidence_format"),
    hwBytes: document.hw,
    collateral: document.collateral,
    signature: document.sig,
  };
}

/** The document's JSON bytes, signed with the worker's identity key. */
export function createEvidence(claims: EvidenceClaims, hw: HardwareEvidence, sign: Sign): Uint8Array {
  const claimsBytes = utf8(stringify(claims));
  const hwBytes = utf8(stringify(hw));
  const sig = sign(evidenceMessage(claimsBytes, hwBytes));
  return utf8(stringify({ v: "acn1", claims: claimsBytes, hw: hwBytes, collateral: null, sig }));
}

/** The name of an evidence document, lowercase hex: what a ClientHello carries and a gateway stores it under. */
export function evidenceHashOf(claimsBytes: Uint8Array): string {
  return toHex(hash(label("evidence hash"), claimsBytes));
}

/** 32 bytes for a TPM quote's qualifyingData. */
export function tpmExtraOf(claimsBytes: Uint8Array): Uint8Array {
  return hash(label("tpm-extra"), claimsBytes);
}

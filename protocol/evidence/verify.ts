import { equalBytes } from "../bytes.ts";
import { Failure, type FailureCode } from "../failure.ts";
import { evidenceMessage, verifySignature, workerIdOf } from "../keys.ts";
import {
  evidenceHashOf,
  parseEvidence,
  tierReaches,
  type EvidenceClaims,
  type EvidenceDocument,
  type HardwareEvidence,
  type Tier,
} from "./document.ts";
import type { Policy } from "./policy.ts";

const verified: unique symbol = Symbol("verified");

/** A worker that passed a policy. Only {@link verifyEvidence} makes one: holding it is the proof. */
export interface VerifiedWorker {
  readonly [verified]: true;
  /** Lowercase hex. */
  readonly workerId: string;
  /** Lowercase hex of the document that was checked. */
  readonly evidenceHash: string;
  /** 32 bytes. */
  readonly identityKey: Uint8Array;
  /** What was proved, never what was claimed. */
  readonly tier: Tier;
  /** Manifest roots this worker says it serves. */
  readonly manifestRoots: readonly string[];
  /** `upstream` means that the operator's cluster sees the prompt too. */
  readonly backend: string;
  /** Hash of what runs, where hardware signed it. */
  readonly measurement: string | undefined;
  /** PPID, CHIP_ID or EK, where hardware signed it. */
  readonly platformId: string | undefined;
  readonly warnings: readonly EvidenceWarning[];
  /** Unix seconds; the verdict may be cached until then. */
  readonly notAfter: number;
}

export type EvidenceWarning = "beacon_unchecked" | "release_unchecked";

/** A block of the TON masterchain as the client looked it up itself. */
export interface Beacon {
  /** Lowercase hex. */
  readonly rootHash: string;
  /** Unix seconds. */
  readonly generatedAt: number;
}

/** Checks release provenance; Sigstore in Node, absent in a browser. */
export interface ReleaseVerifier {
  /** @throws {Failure} `sigstore_bundle` or `sigstore_signer`. */
  verify(release: NonNullable<EvidenceClaims["release"]>, policy: Policy["release"]): Promise<void>;
}

export interface EvidenceContext {
  /** Unix seconds. */
  readonly now: number;
  /** What the client asked for: the hash names the document, the worker id its key. Lowercase hex. */
  readonly expected: {
    readonly evidenceHash: string;
    readonly workerId: string;
    readonly challenge?: Uint8Array;
    /** The model that will be asked for: then this one must be served and allowed, not just any. */
    readonly manifestRoot?: string;
  };
  /** The looked-up block, or null when it could not be. */
  readonly beacon: Beacon | null;
  readonly releaseVerifier?: ReleaseVerifier;
  /** What can be proved here; a type without a verifier is refused, never taken on trust. */
  readonly hardwareVerifiers?: HardwareVerifiers;
}

/** What a hardware verifier found. */
export interface HardwareVerdict {
  readonly tier: Tier;
  readonly measurement: string | undefined;
  readonly platformId: string | undefined;
}

/** One verifier a kind of hardware evidence; each throws the codes of its own row of ACN/1 §3.6. */
export type HardwareVerifiers = {
  readonly [Type in HardwareEvidence["type"]]?: (
    hw: Extract<HardwareEvidence, { type: Type }>,
    document: EvidenceDocument,
    policy: Policy,
    now: number,
  ) => Promise<HardwareVerdict>;
};

/** Evidence without hardware proves the key and nothing more. */
const SOFTWARE_ONLY: HardwareVerifiers = {
  none: () => Promise.resolve({ tier: "software", measurement: undefined, platformId: undefined }),
};

/**
 * The one way to a {@link VerifiedWorker}: checks a document against a policy in the order of ACN/1 §3.6; the first rule
 * that fails names the code. No clock and no network inside.
 *
 * @throws {Failure} `evidence_format`, `evidence_binding`, `evidence_expired`, `evidence_sig`, `tier_too_low`,
 *   `beacon_stale`, a hardware code, `release_unchecked`, `sigstore_*`, `policy_denied`.
 */
export async function verifyEvidence(
  source: string | Uint8Array,
  policy: Policy,
  context: EvidenceContext,
): Promise<VerifiedWorker> {
  const document = parseEvidence(source);
  const { claims } = document;
  checkBinding(document, context);
  checkWindow(claims, policy, context.now);
  refuseUnless(signatureHolds(document), "evidence_sig");
  refuseUnless(tierReaches(claims.tier, policy.minTier), "tier_too_low");
  const beaconWarnings = checkBeacon(claims, policy, context.beacon);
  const verdict = await verifyHardware(document, policy, context);
  // Never above the claim either: age, span and beacon were judged by what the worker called itself.
  const tier = tierReaches(verdict.tier, claims.tier) ? claims.tier : verdict.tier;
  const releaseWarnings = await checkRelease(claims, tier, policy, context.releaseVerifier);
  checkPolicy(claims, tier, policy, context.expected.manifestRoot);
  refuseUnless(tierReaches(tier, policy.minTier), "tier_too_low");
  return {
    [verified]: true,
    workerId: context.expected.workerId,
    evidenceHash: context.expected.evidenceHash,
    identityKey: claims.ik,
    tier,
    manifestRoots: claims.models.map((model) => model.manifestRoot),
    backend: claims.engine.backend,
    measurement: verdict.measurement,
    platformId: verdict.platformId,
    warnings: [...beaconWarnings, ...releaseWarnings],
    notAfter: claims.notAfter,
  };
}

const MAX_SPAN_SECONDS = { software: 86_400, tpm: 3600, tee: 3600 } as const;
/** A document made a moment ahead of our clock is not refused for it; the handshake's own window is the same. */
const CLOCK_TOLERANCE_SECONDS = 120;
const BEACON_LEAD_SECONDS = 600;

function checkBinding(document: EvidenceDocument, { expected }: EvidenceContext): void {
  const { claims } = document;
  refuseUnless(evidenceHashOf(document.claimsBytes) === expected.evidenceHash, "evidence_binding");
  refuseUnless(workerIdOf(claims.ik) === expected.workerId, "evidence_binding");
  if (expected.challenge === undefined) return;
  refuseUnless(claims.challenge !== null && equalBytes(claims.challenge, expected.challenge), "evidence_binding");
}

function checkWindow(claims: EvidenceClaims, policy: Policy, now: number): void {
  const span = claims.notAfter - claims.notBefore;
  const isOpen = claims.notBefore <= now + CLOCK_TOLERANCE_SECONDS && now < claims.notAfter;
  const isYoung = claims.tier === "software" || now - claims.notBefore <= policy.maxEvidenceAgeSec;
  refuseUnless(isOpen && span > 0 && span <= MAX_SPAN_SECONDS[claims.tier] && isYoung, "evidence_expired");
}

function signatureHolds(document: EvidenceDocument): boolean {
  const message = evidenceMessage(document.claimsBytes, document.hwBytes);
  return verifySignature(document.signature, message, document.claims.ik);
}

function checkBeacon(claims: EvidenceClaims, policy: Policy, block: Beacon | null): readonly EvidenceWarning[] {
  if (claims.beacon === null || block === null) {
    const isNeeded = policy.beacon === "require" || (claims.tier === "tee" && claims.beacon === null);
    refuseUnless(!isNeeded, "beacon_stale");
    return ["beacon_unchecked"];
  }
  const isSameBlock = block.rootHash === claims.beacon.rootHash;
  refuseUnless(isSameBlock && block.generatedAt >= claims.notBefore - BEACON_LEAD_SECONDS, "beacon_stale");
  return [];
}

function verifyHardware(
  document: EvidenceDocument,
  policy: Policy,
  context: EvidenceContext,
): Promise<HardwareVerdict> {
  const verifiers = { ...SOFTWARE_ONLY, ...context.hardwareVerifiers };
  const { hw } = document;
  const { now } = context;
  switch (hw.type) {
    case "none":
      return verifiers.none?.(hw, document, policy, now) ?? noVerifier();
    case "tdx":
      return verifiers.tdx?.(hw, document, policy, now) ?? noVerifier();
    case "snp":
      return verifiers.snp?.(hw, document, policy, now) ?? noVerifier();
    case "tpm":
      return verifiers.tpm?.(hw, document, policy, now) ?? noVerifier();
  }
}

function noVerifier(): Promise<never> {
  return Promise.reject(new Failure("policy_denied", "this build cannot check that kind of hardware evidence"));
}

async function checkRelease(
  claims: EvidenceClaims,
  tier: Tier,
  policy: Policy,
  verifier: ReleaseVerifier | undefined,
): Promise<readonly EvidenceWarning[]> {
  const isRequired = tier === "software" && policy.software.requireSigstoreRelease;
  if (verifier === undefined) {
    refuseUnless(!isRequired, "release_unchecked");
    return ["release_unchecked"];
  }
  if (!claims.release?.sigstore) {
    refuseUnless(!isRequired, "sigstore_bundle");
    return ["release_unchecked"];
  }
  await verifier.verify(claims.release, policy.release);
  return [];
}

function checkPolicy(claims: EvidenceClaims, tier: Tier, policy: Policy, manifestRoot: string | undefined): void {
  const { pinWorkers } = policy.software;
  const isPinned = tier !== "software" || pinWorkers.length === 0 || pinWorkers.includes(workerIdOf(claims.ik));
  const { allow } = policy.models;
  const asked = claims.models.filter((model) => manifestRoot === undefined || model.manifestRoot === manifestRoot);
  const isModelAllowed =
    (allow.includes("*") && (manifestRoot === undefined || asked.length > 0)) ||
    asked.some((model) => allow.includes(model.id) || allow.includes(model.manifestRoot));
  refuseUnless(isPinned && isModelAllowed, "policy_denied");
}

function refuseUnless(holds: boolean, code: FailureCode): void {
  if (!holds) throw new Failure(code);
}

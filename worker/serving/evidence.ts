import {
  createEvidence,
  evidenceHashOf,
  Failure,
  parseEvidence,
  stringify,
  type EvidenceClaims,
  type HardwareEvidence,
  type Tier,
} from "../../protocol/index.ts";
import { unixSeconds, type Clock } from "./clock.ts";
import { evidenceUrl, type GatewayAddress } from "./gateway-address.ts";
import type { Identity } from "./identity.ts";

/** What backs this worker's evidence. Tier software has nothing; tdx, snp and tpm ask their hardware for a quote. */
export interface Attester {
  readonly tier: Tier;
  /** How long evidence may stand: 86 400 s for software, 3600 s for the others (ACN/1 §3.2). */
  readonly spanSeconds: number;
  /** A quote over these claims. @throws {Failure} when the hardware refuses. */
  quote(claims: EvidenceClaims): Promise<HardwareEvidence>;
}

export const softwareAttester: Attester = {
  tier: "software",
  spanSeconds: 86_400,
  quote: () => Promise.resolve({ type: "none" }),
};

/** What this worker says of itself; the rest of the claims follows from the key and the time. */
export interface EvidenceFacts {
  readonly models: EvidenceClaims["models"];
  readonly engine: EvidenceClaims["engine"];
  readonly release: EvidenceClaims["release"];
}

export interface IssuedEvidence {
  /** Lowercase hex. */
  readonly hash: string;
  readonly document: Uint8Array;
  /** Unix seconds. */
  readonly notAfter: number;
}

/** The evidence that stands and the one before it: a client may still hold the latter (ACN/1 §3.3). */
export interface EvidenceIssuer {
  /** The standing document; a new one when the facts changed or a quarter of its time is left. */
  current(facts: EvidenceFacts): Promise<IssuedEvidence>;
  /** Whether a client may greet with this hash. */
  isKnown(evidenceHash: string): boolean;
  readonly tier: Tier;
}

/** Clients whose clock is a little behind must not find the evidence to begin tomorrow; CH allows as much. */
const CLOCK_TOLERANCE_SECONDS = 120;

export function createEvidenceIssuer(identity: Identity, attester: Attester, clock: Clock): EvidenceIssuer {
  let issued: readonly (IssuedEvidence & { readonly about: string })[] = [];
  let issuing: Promise<IssuedEvidence> | undefined;
  const issue = async (facts: EvidenceFacts): Promise<IssuedEvidence> => {
    const evidence = await issueEvidence(identity, attester, facts, unixSeconds(clock));
    issued = [{ ...evidence, about: stringify(facts) }, ...issued].slice(0, 2);
    return evidence;
  };
  return {
    tier: attester.tier,
    async current(facts) {
      await issuing?.catch(() => undefined);
      const [standing] = issued;
      const isFresh = standing !== undefined && standing.notAfter - unixSeconds(clock) > attester.spanSeconds / 4;
      if (isFresh && standing.about === stringify(facts)) return standing;
      issuing = issue(facts).finally(() => {
        issuing = undefined;
      });
      return issuing;
    },
    isKnown: (evidenceHash) => {
      const now = unixSeconds(clock);
      return issued.some((evidence) => evidence.hash === evidenceHash && evidence.notAfter > now);
    },
  };
}

async function issueEvidence(
  identity: Identity,
  attester: Attester,
  facts: EvidenceFacts,
  now: number,
): Promise<IssuedEvidence> {
  const notBefore = now - CLOCK_TOLERANCE_SECONDS;
  const notAfter = notBefore + attester.spanSeconds;
  const claims: EvidenceClaims = {
    v: "acn1",
    ik: identity.publicKey,
    tier: attester.tier,
    notBefore,
    notAfter,
    beacon: null,
    challenge: null,
    release: facts.release,
    models: facts.models,
    engine: facts.engine,
    gpuCc: null,
  };
  const document = createEvidence(claims, await attester.quote(claims), identity.sign);
  return { document, hash: evidenceHashOf(parseEvidence(document).claimsBytes), notAfter };
}

/** Leaves a document at a gateway, where anyone may fetch it. */
export type PutEvidence = (gateway: GatewayAddress, evidence: IssuedEvidence) => Promise<void>;

const PUT_TIMEOUT_MS = 10_000;

/** @throws {Failure} `gateway_unreachable`. */
export const putEvidenceByHttp: PutEvidence = async (gateway, evidence) => {
  const signal = AbortSignal.timeout(PUT_TIMEOUT_MS);
  let status: number;
  try {
    const body = Buffer.from(evidence.document);
    const response = await fetch(evidenceUrl(gateway, evidence.hash), { method: "PUT", body, signal });
    await response.body?.cancel();
    status = response.status;
  } catch (cause) {
    throw new Failure("gateway_unreachable", "the evidence could not be left at the gateway", { cause });
  }
  if (status >= 300) throw new Failure("gateway_unreachable", `the gateway did not take the evidence (HTTP ${status})`);
};

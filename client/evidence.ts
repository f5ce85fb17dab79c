import {
  concat,
  Failure,
  MAX_EVIDENCE_BYTES,
  parseEvidence,
  verifyEvidence,
  type Beacon,
  type Candidate,
  type HardwareVerifiers,
  type Policy,
  type ReleaseVerifier,
  type Tier,
  type VerifiedWorker,
} from "../protocol/index.ts";

/** What is needed to judge evidence beyond the document itself. */
export interface EvidencePorts {
  readonly fetch: typeof fetch;
  /** Unix ms. */
  readonly now: () => number;
  /** The masterchain block of a seqno as this client looks it up itself; undefined when it cannot be. */
  readonly lookUpBlock?: (seqno: number) => Promise<Beacon | undefined>;
  readonly releaseVerifier?: ReleaseVerifier;
  readonly hardwareVerifiers?: HardwareVerifiers;
}

/** Fetches evidence by its hash and verifies it against the policy, once while it is valid. */
export interface EvidenceDesk {
  /** @throws {Failure} any code of the evidence group; `gateway_unreachable` when the document cannot be had. */
  verify(candidate: Candidate, minTier: Tier): Promise<VerifiedWorker>;
}

const FETCH_TIMEOUT_MS = 10_000;
const MAX_VERDICTS = 4096;

/** `baseUrl` is the gateway's, with http or https and no path. */
export function createEvidenceDesk(baseUrl: string, policy: Policy, ports: EvidencePorts): EvidenceDesk {
  const verdicts = new Map<string, Promise<VerifiedWorker>>();

  async function judge(candidate: Candidate, minTier: Tier): Promise<VerifiedWorker> {
    const source = await fetchEvidence(ports.fetch, `${baseUrl}/v1/evidence/${candidate.evidenceHash}`);
    const { claims } = parseEvidence(source);
    const beacon = claims.beacon === null ? undefined : await ports.lookUpBlock?.(claims.beacon.seqno);
    const { releaseVerifier, hardwareVerifiers } = ports;
    return verifyEvidence(
      source,
      { ...policy, minTier },
      {
        now: Math.floor(ports.now() / 1000),
        expected: { evidenceHash: candidate.evidenceHash, workerId: candidate.workerId },
        beacon: beacon ?? null,
        ...(releaseVerifier === undefined ? {} : { releaseVerifier }),
        ...(hardwareVerifiers === undefined ? {} : { hardwareVerifiers }),
      },
    );
  }

  return {
    async verify(candidate, minTier) {
      const name = `${candidate.evidenceHash}/${candidate.workerId}/${minTier}`;
      const pending = verdicts.get(name);
      if (pending !== undefined) {
        const known = await pending;
        if (known.notAfter * 1000 > ports.now()) return known;
      }
      const verdict = judge(candidate, minTier);
      if (verdicts.size >= MAX_VERDICTS) verdicts.clear();
      verdicts.set(name, verdict);
      // A refusal is not kept: the next reservation may find the document fetched, or the clock set right.
      verdict.catch(() => {
        if (verdicts.get(name) === verdict) verdicts.delete(name);
      });
      return verdict;
    },
  };
}

async function fetchEvidence(fetchUrl: typeof fetch, url: string): Promise<Uint8Array> {
  try {
    const response = await fetchUrl(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
    if (!response.ok || response.body === null)
      throw new Failure("evidence_format", `the gateway answered ${response.status}`);
    return await readAtMost(response.body, MAX_EVIDENCE_BYTES);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure("gateway_unreachable", "the worker's evidence could not be fetched", { cause });
  }
}

async function readAtMost(body: ReadableStream<Uint8Array>, limit: number): Promise<Uint8Array> {
  const reader = body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    length += part.value.length;
    if (length > limit) {
      await reader.cancel();
      throw new Failure("evidence_format", "the document is too long");
    }
    parts.push(part.value);
  }
  return concat(...parts);
}

import { createHash } from "node:crypto";
import {
  evidenceHashOf,
  evidenceMessage,
  Failure,
  MAX_EVIDENCE_BYTES,
  parseEvidence,
  readJson,
  utf8,
  workerIdOf,
  type EvidenceDocument,
  type Tier,
} from "../protocol/index.ts";
import { verifyByOpenSsl } from "./signatures.ts";

/** What matching needs of an evidence document; the client verifies it, the gateway only sorts by it. */
export interface EvidenceFacts {
  readonly workerId: string;
  /** The claim, as far as the kind of hardware evidence could support it. */
  readonly tier: Tier;
  /** Unix seconds. */
  readonly notAfter: number;
  readonly manifestRoots: readonly string[];
}

export type DocumentKind = "evidence" | "collateral";

const MAX_SPAN_SECONDS = { software: 86_400, tpm: 3600, tee: 3600 } as const;
const CLOCK_TOLERANCE_SECONDS = 120;

interface Stored {
  readonly bytes: Uint8Array;
  readonly facts: EvidenceFacts | undefined;
}

/**
 * Evidence and collateral by hash, in memory: workers put them again when they link. Bounded; the oldest that no offer
 * names goes first.
 */
export class Documents {
  readonly #limit: number;
  readonly #stored = new Map<string, Stored>();
  /** Evidence hashes that live offers name, and how many. */
  readonly #named = new Map<string, number>();
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(kind: DocumentKind, hashHex: string): Uint8Array | undefined {
    return this.#stored.get(keyOf(kind, hashHex))?.bytes;
  }

  facts(evidenceHash: string): EvidenceFacts | undefined {
    return this.#stored.get(keyOf("evidence", evidenceHash))?.facts;
  }

  /**
   * @throws {Failure} `evidence_format`, `evidence_binding` (not the document of that hash), `evidence_expired`,
   *   `evidence_sig`; `rate_limited` when there is no room.
   */
  put(kind: DocumentKind, hashHex: string, bytes: Uint8Array, now: number): void {
    const key = keyOf(kind, hashHex);
    if (this.#stored.has(key)) return;
    let facts: EvidenceFacts | undefined;
    if (kind === "evidence") facts = checkEvidence(bytes, hashHex, now);
    else checkCollateral(bytes, hashHex);
    this.#makeRoom(bytes.length);
    this.#stored.set(key, { bytes, facts });
    this.#bytes += bytes.length;
  }

  /** Keeps a document while an offer names it. */
  hold(evidenceHash: string): void {
    this.#named.set(evidenceHash, (this.#named.get(evidenceHash) ?? 0) + 1);
  }

  release(evidenceHash: string): void {
    const names = (this.#named.get(evidenceHash) ?? 0) - 1;
    if (names > 0) this.#named.set(evidenceHash, names);
    else this.#named.delete(evidenceHash);
  }

  #makeRoom(bytes: number): void {
    for (const [key, stored] of this.#stored) {
      if (this.#bytes + bytes <= this.#limit) return;
      if (this.#named.has(key.slice("evidence ".length))) continue;
      this.#stored.delete(key);
      this.#bytes -= stored.bytes.length;
    }
    if (this.#bytes + bytes > this.#limit) throw new Failure("rate_limited", "no room for another document");
  }
}

function keyOf(kind: DocumentKind, hashHex: string): string {
  return `${kind} ${hashHex}`;
}

function checkEvidence(bytes: Uint8Array, hashHex: string, now: number): EvidenceFacts {
  refuseUnless(bytes.length <= MAX_EVIDENCE_BYTES, "evidence_format");
  const document = parseEvidence(bytes);
  const { claims } = document;
  refuseUnless(evidenceHashOf(document.claimsBytes) === hashHex, "evidence_binding");
  const span = claims.notAfter - claims.notBefore;
  const isOpen = claims.notBefore <= now + CLOCK_TOLERANCE_SECONDS && now < claims.notAfter;
  refuseUnless(isOpen && span > 0 && span <= MAX_SPAN_SECONDS[claims.tier], "evidence_expired");
  const message = evidenceMessage(document.claimsBytes, document.hwBytes);
  refuseUnless(verifyByOpenSsl(document.signature, message, claims.ik), "evidence_sig");
  return {
    workerId: workerIdOf(claims.ik),
    tier: supportedTier(document),
    notAfter: claims.notAfter,
    manifestRoots: claims.models.map((model) => model.manifestRoot),
  };
}

function supportedTier({ claims, hw }: EvidenceDocument): Tier {
  if (claims.engine.backend === "upstream") return "software";
  switch (hw.type) {
    case "none":
      return "software";
    case "tpm":
      return claims.tier === "software" ? "software" : "tpm";
    case "tdx":
    case "snp":
      return claims.tier;
  }
}

function checkCollateral(bytes: Uint8Array, hashHex: string): void {
  refuseUnless(bytes.length <= MAX_EVIDENCE_BYTES, "evidence_format");
  const digest = createHash("sha256").update(bytes).digest("hex");
  refuseUnless(digest === hashHex, "evidence_binding");
  readJson(new TextDecoder().decode(bytes), "evidence_format");
}

function refuseUnless(
  holds: boolean,
  code: "evidence_format" | "evidence_binding" | "evidence_expired" | "evidence_sig",
): void {
  if (!holds) throw new Failure(code);
}

/** The body of an HTTP refusal. */
export function refusalBody(code: string): Uint8Array {
  return utf8(JSON.stringify({ code }));
}

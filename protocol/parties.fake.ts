import { encodeClientHello, answerHello, openSession, type ClientHello, type Session } from "./sealed.ts";
import { createEvidence, evidenceHashOf, parseEvidence, type EvidenceClaims } from "./evidence/document.ts";
import { DEMO_POLICY } from "./evidence/policy.ts";
import { verifyEvidence, type VerifiedWorker } from "./evidence/verify.ts";
import { keyPairFromSeed, workerIdOf } from "./keys.ts";

/** A made-up worker and client with fixed keys, for tests: everything they say to each other is real. */

/** Unix seconds at which the made-up parties live. */
export const NOW = 1_700_000_000;

/** Bytes that repeat for a seed (xorshift32): a failing case can be run again. */
export function seededRandom(seed: number): (length: number) => Uint8Array {
  let state = seed * 0x9e3779b1 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  return (length) => Uint8Array.from({ length }, () => next() >>> 24);
}

/** A whole number in [0, limit) drawn from a seeded source. */
export function pick(random: (length: number) => Uint8Array, limit: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = random(4);
  return (((a << 24) | (b << 16) | (c << 8) | d) >>> 0) % limit;
}

export const worker = keyPairFromSeed(new Uint8Array(32).fill(1));
export const client = keyPairFromSeed(new Uint8Array(32).fill(2));
export const gateway = keyPairFromSeed(new Uint8Array(32).fill(3));

export const WORKER_ID = workerIdOf(worker.publicKey);
export const MANIFEST_ROOT = "6a".repeat(32);

/** What the made-up worker says of itself. */
export function claims(overrides: Partial<EvidenceClaims> = {}): EvidenceClaims {
  return {
    v: "acn1",
    ik: worker.publicKey,
    tier: "software",
    notBefore: NOW - 60,
    notAfter: NOW + 3540,
    beacon: null,
    challenge: null,
    release: null,
    models: [{ id: "practice", manifestRoot: MANIFEST_ROOT, quant: "Q8_0", bytes: 1_000_000 }],
    engine: { name: "node-llama-cpp", version: "3.21.1", backend: "cpu" },
    gpuCc: null,
    ...overrides,
  };
}

/** A signed evidence document and the hash that names it. */
export function evidence(overrides: Partial<EvidenceClaims> = {}): {
  readonly document: Uint8Array;
  readonly evidenceHash: string;
} {
  const document = createEvidence(claims(overrides), { type: "none" }, worker.sign);
  return { document, evidenceHash: evidenceHashOf(parseEvidence(document).claimsBytes) };
}

export async function verifiedWorker(): Promise<VerifiedWorker> {
  const { document, evidenceHash } = evidence();
  const expected = { evidenceHash, workerId: WORKER_ID };
  return verifyEvidence(document, DEMO_POLICY, { now: NOW, expected, beacon: null });
}

export function clientHello(overrides: Partial<ClientHello> = {}): Uint8Array {
  return encodeClientHello({
    clientNonce: new Uint8Array(32).fill(7),
    workerId: WORKER_ID,
    evidenceHash: evidence().evidenceHash,
    manifestRoot: MANIFEST_ROOT,
    time: NOW,
    tpmChallenge: new Uint8Array(),
    ...overrides,
  });
}

/** Both ends of one session, and the bytes that made it. */
export async function openedSessions(seed = 1): Promise<{
  readonly client: Session;
  readonly worker: Session;
  readonly hello: Uint8Array;
  readonly answer: Uint8Array;
  readonly enc: Uint8Array;
}> {
  const hello = clientHello();
  const pending = await answerHello(hello, { sign: worker.sign, now: NOW, random: seededRandom(seed) });
  const { enc, session } = await openSession(await verifiedWorker(), hello, pending.message, NOW);
  return { client: session, worker: await pending.complete(enc), hello, answer: pending.message, enc };
}

import { generateKeyPairSync, randomBytes, sign, verify } from "node:crypto";
import { parseArgs } from "node:util";
import {
  answerHello,
  createEvidence,
  DEMO_POLICY,
  encodeClientHello,
  evidenceHashOf,
  FrameOpener,
  FrameSealer,
  MAX_FRAME_DATA,
  openSession,
  parseEvidence,
  type Session,
  type Sign,
  type Verify,
  verifyEvidence,
  type VerifiedWorker,
  workerIdOf,
} from "../protocol/index.ts";
import type { Benchmark, Figures } from "./benchmark.ts";
import { median, rounded } from "./statistics.ts";

/** A streamed piece of a completion: a token or two with the JSON around them. */
const SMALL_DATA_BYTES = 48;
const SMALL_BATCH = 2_000;
const LARGE_BATCH = 64;
const MIB = 2 ** 20;
const MANIFEST_ROOT = "00".repeat(32);

/** Handshakes and frames; both sides run in this one process, so on one core. */
export const seal: Benchmark = {
  purpose: "handshakes and frames a second, both sides on one core [--rounds N] [--seconds S]",
  run: async (args) => {
    const { values } = parseArgs({
      args: [...args],
      options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "1" } },
    });
    const rounds = positive("--rounds", values.rounds);
    const roundMs = 1000 * positive("--seconds", values.seconds);
    const worker = await madeUpWorker();
    const session = await handshake(worker);

    const handshakes: number[] = [];
    const small: FrameRates[] = [];
    const large: FrameRates[] = [];
    for (let round = 1; round <= rounds; round++) {
      handshakes.push(await handshakeRate(worker, roundMs));
      small.push(await frameRates(session, SMALL_DATA_BYTES, SMALL_BATCH, roundMs));
      large.push(await frameRates(session, MAX_FRAME_DATA, LARGE_BATCH, roundMs));
      process.stderr.write(`round ${round} of ${rounds}\n`);
    }
    return {
      rounds,
      handshakesPerSecond: rounded(median(handshakes)),
      smallFrames: { dataBytes: SMALL_DATA_BYTES, ...perSecond("framesPerSecond", small, 1) },
      largeFrames: { dataBytes: MAX_FRAME_DATA, ...perSecond("mibPerSecond", large, MAX_FRAME_DATA / MIB) },
    };
  },
};

/** Frames a second. */
interface FrameRates {
  readonly sealed: number;
  readonly opened: number;
  /** Sealed and then opened, one side after the other on the same core. */
  readonly both: number;
}

async function handshakeRate(worker: MadeUpWorker, roundMs: number): Promise<number> {
  const startedAt = performance.now();
  let count = 0;
  while (performance.now() - startedAt < roundMs) {
    await handshake(worker);
    count++;
  }
  return (1000 * count) / (performance.now() - startedAt);
}

async function frameRates(session: Session, dataBytes: number, batch: number, roundMs: number): Promise<FrameRates> {
  const keys = await session.streamKeys(0, 1);
  const sealer = new FrameSealer(keys);
  const opener = new FrameOpener(keys);
  const data = new Uint8Array(randomBytes(dataBytes));
  let sealMs = 0;
  let openMs = 0;
  let count = 0;
  while (sealMs + openMs < roundMs) {
    const startedAt = performance.now();
    const frames = Array.from({ length: batch }, () => sealer.seal(data));
    const sealedAt = performance.now();
    for (const frame of frames) opener.open(frame);
    openMs += performance.now() - sealedAt;
    sealMs += sealedAt - startedAt;
    count += batch;
  }
  const rate = (ms: number): number => (1000 * count) / ms;
  return { sealed: rate(sealMs), opened: rate(openMs), both: rate(sealMs + openMs) };
}

function perSecond(unit: string, rates: readonly FrameRates[], scale: number): Figures {
  const of = (pick: (rate: FrameRates) => number): number => rounded(median(rates.map(pick)) * scale);
  return {
    [unit]: { sealed: of((rate) => rate.sealed), opened: of((rate) => rate.opened), both: of((rate) => rate.both) },
  };
}

interface MadeUpWorker {
  readonly verified: VerifiedWorker;
  readonly sign: Sign;
  readonly verify: Verify;
}

async function madeUpWorker(): Promise<MadeUpWorker> {
  // By the platform, as worker and client do on Node; the rest of a handshake is noble's everywhere.
  const pair = generateKeyPairSync("ed25519");
  const publicKey = new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32));
  const signByPlatform = (message: Uint8Array): Uint8Array => new Uint8Array(sign(null, message, pair.privateKey));
  const verifyByPlatform = (signature: Uint8Array, message: Uint8Array): boolean =>
    verify(null, message, pair.publicKey, signature);
  const now = unixSeconds();
  const document = createEvidence(
    {
      v: "acn1",
      ik: publicKey,
      tier: "software",
      notBefore: now - 60,
      notAfter: now + 3_540,
      beacon: null,
      challenge: null,
      release: null,
      models: [{ id: "none", manifestRoot: MANIFEST_ROOT, quant: "Q8_0", bytes: 1 }],
      engine: { name: "none", version: "0", backend: "cpu" },
      gpuCc: null,
    },
    { type: "none" },
    signByPlatform,
  );
  const expected = {
    evidenceHash: evidenceHashOf(parseEvidence(document).claimsBytes),
    workerId: workerIdOf(publicKey),
  };
  return {
    sign: signByPlatform,
    verify: verifyByPlatform,
    verified: await verifyEvidence(document, DEMO_POLICY, { now, expected, beacon: null }),
  };
}

/** All of ACN/1 §3.3 but the network: hello, answer, encapsulation and decapsulation. */
async function handshake({ verified, sign, verify }: MadeUpWorker): Promise<Session> {
  const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
  const now = unixSeconds();
  const hello = encodeClientHello({
    clientNonce: random(32),
    workerId: verified.workerId,
    evidenceHash: verified.evidenceHash,
    manifestRoot: MANIFEST_ROOT,
    time: now,
    tpmChallenge: new Uint8Array(),
  });
  const pending = await answerHello(hello, { sign, now, random });
  const { enc, session } = await openSession(verified, hello, pending.message, now, verify);
  await pending.complete(enc);
  return session;
}

function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new RangeError(`${flag} takes a positive number, not ${text}`);
  return value;
}

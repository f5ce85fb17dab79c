/** `node tests/vectors/generate.ts` writes `session.json`: one session between made-up parties, with all its bytes. */
import { writeFileSync } from "node:fs";
import { AEAD_ChaCha20Poly1305, KDF_HKDF_SHA256, KEM_MLKEM768_X25519 } from "@panva/hpke-noble";
import { CipherSuite } from "hpke";
import {
  ABORT,
  answerHello,
  concat,
  createEvidence,
  DATA,
  disputeMessage,
  encodeClientHello,
  encodeOffer,
  encodeReceipt,
  encodeSealedEnd,
  encodeSealedEvent,
  encodeSealedRequest,
  evidenceHashOf,
  FIN,
  FrameSealer,
  fromHex,
  fromUtf8,
  hash,
  keyPairFromSeed,
  label,
  lengthPrefixed,
  linkMessage,
  offerHashOf,
  offerMessage,
  openSession,
  parseEvidence,
  parsePolicy,
  receiptHashOf,
  reportDataOf,
  rotateMessage,
  toHex,
  tpmExtraOf,
  utf8,
  verifyEvidence,
  workerIdOf,
  type EvidenceClaims,
  type FailureCode,
  type FrameType,
  type SealedEvent,
  type SealedRequest,
  type Session,
  type TokenUsage,
} from "../../protocol/index.ts";
import type { SessionVector, StreamVector } from "./session-vector.ts";

const NOW = 1_750_000_000;
const seed = (first: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => first + i);
const worker = keyPairFromSeed(seed(0x31));
const payer = keyPairFromSeed(seed(0x41));
const successor = keyPairFromSeed(seed(0x51));
const gatewayKey = keyPairFromSeed(seed(0x61)).publicKey;
const MANIFEST_ROOT = toHex(seed(0x80));
const CHANNEL = `0:${toHex(seed(0x90))}`;
const EPHEMERAL_SEED = seed(0xa1);

/** A recorded session; encapsulation is random, so a fixed one is an argument. */
export async function recordSession(recordedEnc?: string): Promise<SessionVector> {
  const workerId = workerIdOf(worker.publicKey);
  const document = createEvidence(CLAIMS, { type: "none" }, worker.sign);
  const { claimsBytes } = parseEvidence(document);
  const evidenceHash = evidenceHashOf(claimsBytes);
  const offer = encodeOffer({
    v: "acn1",
    ik: worker.publicKey,
    gatewayKey,
    manifestRoot: MANIFEST_ROOT,
    price: { prompt: 10_000_000_000n, cached: 1_000_000_000n, completion: 2_000_000_000_000n },
    contextTokens: 4096,
    notAfter: NOW + 600,
  });
  const hello = encodeClientHello({
    clientNonce: seed(0x01),
    workerId,
    evidenceHash,
    manifestRoot: MANIFEST_ROOT,
    time: NOW,
    tpmChallenge: new Uint8Array(),
  });
  const drawn = [EPHEMERAL_SEED, seed(0xc1), seed(0xe0).slice(0, 16)];
  const random = (): Uint8Array => drawn.shift() ?? new Uint8Array();
  const pending = await answerHello(hello, { sign: worker.sign, now: NOW, random });
  const workerHello = pending.message.slice(0, -64);
  const enc = recordedEnc === undefined ? await encapsulated(document, hello, pending.message) : fromHex(recordedEnc);
  const session = await pending.complete(enc);
  const terms = { offerHash: offerHashOf(offer), sessionId: session.sessionId };
  const streams = [await wholeStream(session, terms), await abortedStream(session, terms)];
  const rotation = rotateMessage(worker.publicKey, successor.publicKey, NOW);
  return {
    now: NOW,
    ikSeed: toHex(seed(0x31)),
    ikPub: toHex(worker.publicKey),
    paymentSeed: toHex(seed(0x41)),
    paymentPub: toHex(payer.publicKey),
    gatewayKey: toHex(gatewayKey),
    newIkSeed: toHex(seed(0x51)),
    workerId,
    manifestRoot: MANIFEST_ROOT,
    linkWorker: link("worker", worker.sign, ""),
    linkClient: link("client", payer.sign, CHANNEL),
    rotate: {
      message: toHex(rotation),
      oldSig: toHex(worker.sign(rotation)),
      newSig: toHex(successor.sign(rotation)),
    },
    evidence: JSON.parse(fromUtf8(document)) as object,
    claims: fromUtf8(claimsBytes),
    evidenceHash,
    reportData: toHex(reportDataOf(claimsBytes)),
    tpmExtra: toHex(tpmExtraOf(claimsBytes)),
    offer: fromUtf8(offer),
    offerHash: terms.offerHash,
    offerSig: toHex(worker.sign(offerMessage(offer))),
    ephIkm: toHex(EPHEMERAL_SEED),
    ephSecretKey: await ephemeralSecretKey(),
    clientHello: toHex(hello),
    workerHello: toHex(workerHello),
    workerHelloSig: toHex(pending.message.slice(-64)),
    th: toHex(hash(label("transcript"), lengthPrefixed(hello), lengthPrefixed(workerHello))),
    enc: toHex(enc),
    streams,
    dispute: disputeOf(streams[1]),
    refused: await refusedSequences(session, streams[0]),
  };
}

const CLAIMS: EvidenceClaims = {
  v: "acn1",
  ik: worker.publicKey,
  tier: "software",
  notBefore: NOW - 60,
  notAfter: NOW + 3540,
  beacon: null,
  challenge: null,
  release: null,
  models: [{ id: "practice", manifestRoot: MANIFEST_ROOT, quant: "F16", bytes: 1_048_576 }],
  engine: { name: "node-llama-cpp", version: "3.21.1", backend: "cpu" },
  gpuCc: null,
};

interface Terms {
  readonly offerHash: string;
  readonly sessionId: string;
}

async function wholeStream(session: Session, { offerHash, sessionId }: Terms): Promise<StreamVector> {
  const usage = { promptTokens: 21, cachedTokens: 5, completionTokens: 6 };
  const end = { finish_reason: "stop", usage, manifestRoot: MANIFEST_ROOT, offerHash } as const;
  return recordStream(session, sessionId, {
    streamId: 1,
    request: {
      v: 1,
      path: "/v1/chat/completions",
      body: { model: "practice", messages: [{ role: "user", content: "Расскажи сказку." }], seed: 3 },
      maxTokens: 64,
      reservationId: "reservation-1",
      offerHash,
    },
    events: [
      { t: "delta", text: "hm", tokenIds: [11], reasoning: true },
      { t: "delta", text: "There was a", tokenIds: [12, 13, 14] },
      { t: "delta", text: " 🐈", tokenIds: [15] },
    ],
    end: "fin",
    endData: encodeSealedEnd(end),
    usage,
    clientCompletionTokens: 6,
  });
}

async function abortedStream(session: Session, { offerHash, sessionId }: Terms): Promise<StreamVector> {
  return recordStream(session, sessionId, {
    streamId: 2,
    request: {
      v: 1,
      path: "/v1/completions",
      body: { model: "practice", prompt: "Once upon a time", max_tokens: 8 },
      maxTokens: 8,
      reservationId: "reservation-2",
      offerHash,
    },
    events: [{ t: "tool_call", index: 0, id: "call-1", name: "weather", arguments: "{", tokenIds: [16, 17] }],
    end: "abort",
    endData: utf8("worker_crashed" satisfies FailureCode),
    usage: { promptTokens: 4, cachedTokens: 0, completionTokens: 3 }, // one more than was sent: the client disputes it
    clientCompletionTokens: 2,
  });
}

interface Script {
  readonly streamId: number;
  readonly request: SealedRequest;
  readonly events: readonly SealedEvent[];
  readonly end: "fin" | "abort";
  readonly endData: Uint8Array;
  readonly usage: TokenUsage;
  readonly clientCompletionTokens: number;
}

async function recordStream(session: Session, sessionId: string, script: Script): Promise<StreamVector> {
  const { streamId, end, endData, usage } = script;
  const [upKeys, downKeys] = [await session.streamKeys(0, streamId), await session.streamKeys(1, streamId)];
  const up = new FrameSealer(upKeys);
  const requestBytes = encodeSealedRequest(script.request);
  const requestFrames = [up.seal(requestBytes), up.seal(new Uint8Array(), FIN)];
  const down = new FrameSealer(downKeys);
  const events = script.events.map(encodeSealedEvent);
  const responseFrames = [...events.map((event) => down.seal(event)), down.seal(endData, end === "fin" ? FIN : ABORT)];
  const [requestHash, responseHash] = [hash(...requestFrames), hash(...responseFrames)];
  const receipt = encodeReceipt({
    sessionId,
    streamId,
    requestHash,
    responseHash,
    manifestRoot: MANIFEST_ROOT,
    offerHash: script.request.offerHash,
    usage,
    finish: end === "fin" ? "stop" : "failed",
  });
  return {
    streamId,
    c2wKey: toHex(upKeys.key),
    c2wIv: toHex(upKeys.iv),
    w2cKey: toHex(downKeys.key),
    w2cIv: toHex(downKeys.iv),
    request: fromUtf8(requestBytes),
    requestFrames: requestFrames.map(toHex),
    events: events.map((event) => fromUtf8(event)),
    end,
    endData: fromUtf8(endData),
    responseFrames: responseFrames.map(toHex),
    requestHash: toHex(requestHash),
    responseHash: toHex(responseHash),
    receipt: toHex(receipt),
    receiptSig: toHex(worker.sign(receipt)),
    receiptHash: toHex(receiptHashOf(receipt)),
    clientCompletionTokens: script.clientCompletionTokens,
  };
}

function link(
  role: "worker" | "client",
  sign: (message: Uint8Array) => Uint8Array,
  address: string,
): SessionVector["linkWorker"] {
  const nonce = seed(role === "worker" ? 0xb0 : 0xb1);
  const message = linkMessage({ role, gatewayKey, nonce, time: NOW, address });
  return { nonce: toHex(nonce), address, message: toHex(message), sig: toHex(sign(message)) };
}

function disputeOf(stream: StreamVector | undefined): SessionVector["dispute"] {
  if (stream === undefined) throw new Error("no stream to dispute");
  const counts = { completionTokens: stream.clientCompletionTokens, promptTokens: 4 };
  const message = disputeMessage(fromHex(stream.receiptHash), counts);
  return { streamId: stream.streamId, ...counts, message: toHex(message), sig: toHex(payer.sign(message)) };
}

/** What a cut, turned or doubled stream looks like to its reader; each code is the only right one. */
async function refusedSequences(session: Session, other: StreamVector | undefined): Promise<SessionVector["refused"]> {
  const keys = await session.streamKeys(1, 3);
  const sealer = new FrameSealer(keys);
  const [first, second] = [sealer.seal(utf8("first")), sealer.seal(utf8("second"))];
  const fin = sealer.seal(new Uint8Array(), FIN);
  const reflected = new FrameSealer(await session.streamKeys(0, 3)).seal(utf8("first"));
  const sequences: readonly (readonly [string, readonly Uint8Array[], FailureCode])[] = [
    ["bit-flip", [changed(first, 40)], "decrypt_failed"],
    ["tag-flip", [changed(first, first.length - 1)], "decrypt_failed"],
    ["reorder", [second, first], "decrypt_failed"],
    ["duplicate", [first, first], "decrypt_failed"],
    ["data-as-fin", [retyped(first, FIN)], "decrypt_failed"],
    ["fin-as-data", [first, second, retyped(fin, DATA)], "decrypt_failed"],
    ["reflected", [reflected], "decrypt_failed"],
    ["other-stream", [fromHex(other?.responseFrames[0] ?? "")], "decrypt_failed"],
    ["type-3", [retyped(first, 3)], "bad_frame"],
    ["short-message", [first.subarray(0, -1)], "bad_frame"],
    ["empty", [new Uint8Array()], "bad_frame"],
    ["two-in-one", [concat(first, second)], "bad_frame"],
    ["after-fin", [first, second, fin, first], "data_after_fin"],
    ["truncated", [first, second], "truncated"],
    ["nothing", [], "truncated"],
  ];
  return sequences.map(([id, messages, code]) => ({ id, messages: messages.map(toHex), code }));
}

function changed(frame: Uint8Array, at: number): Uint8Array {
  const copy = frame.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

function retyped(frame: Uint8Array, type: FrameType | 3): Uint8Array {
  const copy = frame.slice();
  copy[4] = type;
  return copy;
}

async function encapsulated(document: Uint8Array, hello: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
  const software = { requireSigstoreRelease: false };
  const policy = parsePolicy({ v: "acn1-policy", minTier: "software", beacon: "ifAvailable", software });
  const expected = {
    evidenceHash: evidenceHashOf(parseEvidence(document).claimsBytes),
    workerId: workerIdOf(worker.publicKey),
  };
  const verified = await verifyEvidence(document, policy, { now: NOW, expected, beacon: null });
  return (await openSession(verified, hello, message, NOW)).enc;
}

/** The seed form, which other libraries take: they derive key pairs in their own ways. */
async function ephemeralSecretKey(): Promise<string> {
  const suite = new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_ChaCha20Poly1305);
  const pair = await suite.DeriveKeyPair(EPHEMERAL_SEED, true);
  return toHex(await suite.SerializePrivateKey(pair.privateKey));
}

if (import.meta.main) {
  writeFileSync(new URL("session.json", import.meta.url), `${JSON.stringify(await recordSession(), undefined, 2)}\n`);
}

import assert from "node:assert/strict";
import * as oracle from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import {
  ABORT,
  answerHello,
  CompletionCounter,
  DATA,
  disputeMessage,
  encodeReceipt,
  encodeSealedEnd,
  encodeSealedEvent,
  evidenceHashOf,
  Failure,
  FIN,
  FrameOpener,
  FrameSealer,
  fromHex,
  hash,
  keyPairFromSeed,
  linkMessage,
  openSession,
  parseClientHello,
  parseEvidence,
  parsePolicy,
  parseReceipt,
  parseRequestBody,
  parseRequestEnvelope,
  parseSealedEnd,
  parseSealedEvent,
  receiptHashOf,
  reportDataOf,
  rotateMessage,
  toHex,
  tpmExtraOf,
  utf8,
  verifyEvidence,
  verifyOffer,
  verifySignature,
  workerHelloMessage,
  workerIdOf,
  offerHashOf,
  type FailureCode,
  type Session,
  type VerifiedWorker,
} from "../../protocol/index.ts";

/** A recorded session, all bytes in hex: the shape of `session.json` here and of the specification's `session-1.json`. */
export interface SessionVector {
  readonly now: number;
  readonly ikSeed: string;
  readonly ikPub: string;
  readonly paymentSeed: string;
  readonly paymentPub: string;
  readonly gatewayKey: string;
  readonly newIkSeed: string;
  readonly workerId: string;
  readonly manifestRoot: string;
  readonly linkWorker: LinkVector;
  readonly linkClient: LinkVector;
  readonly rotate: { readonly message: string; readonly oldSig: string; readonly newSig: string };
  readonly evidence: object;
  readonly claims: string;
  readonly evidenceHash: string;
  readonly reportData: string;
  readonly tpmExtra: string;
  readonly offer: string;
  readonly offerHash: string;
  readonly offerSig: string;
  readonly ephIkm: string;
  readonly ephSecretKey: string;
  readonly clientHello: string;
  readonly workerHello: string;
  readonly workerHelloSig: string;
  readonly th: string;
  readonly enc: string;
  readonly streams: readonly StreamVector[];
  readonly dispute: {
    readonly streamId: number;
    readonly completionTokens: number;
    readonly promptTokens: number;
    readonly message: string;
    readonly sig: string;
  };
  /** Message sequences of stream 3, direction 1, with the code a reader ends in. */
  readonly refused: readonly {
    readonly id: string;
    readonly messages: readonly string[];
    readonly code: FailureCode;
  }[];
}

interface LinkVector {
  readonly nonce: string;
  readonly address: string;
  readonly message: string;
  readonly sig: string;
}

export interface StreamVector {
  readonly streamId: number;
  readonly c2wKey: string;
  readonly c2wIv: string;
  readonly w2cKey: string;
  readonly w2cIv: string;
  readonly request: string;
  readonly requestFrames: readonly string[];
  readonly events: readonly string[];
  readonly end: "fin" | "abort";
  readonly endData: string;
  readonly responseFrames: readonly string[];
  readonly requestHash: string;
  readonly responseHash: string;
  readonly receipt: string;
  readonly receiptSig: string;
  readonly receiptHash: string;
  readonly clientCompletionTokens: number;
}

/** The checks of one recorded session, each a claim that a test can carry as its name. */
export const SESSION_CHECKS: Readonly<Record<string, (vector: SessionVector) => void | Promise<void>>> = {
  "both logins and a rotation are byte for byte what was signed": (vector) => {
    const worker = keyPairFromSeed(fromHex(vector.ikSeed));
    const payer = keyPairFromSeed(fromHex(vector.paymentSeed));
    assert.equal(toHex(worker.publicKey), vector.ikPub);
    assert.equal(toHex(payer.publicKey), vector.paymentPub);
    assert.equal(workerIdOf(worker.publicKey), vector.workerId);
    for (const [role, pair, link] of [
      ["worker", worker, vector.linkWorker],
      ["client", payer, vector.linkClient],
    ] as const) {
      const { nonce, address } = link;
      const gatewayKey = fromHex(vector.gatewayKey);
      const message = linkMessage({ role, gatewayKey, nonce: fromHex(nonce), time: vector.now, address });
      assert.equal(toHex(message), link.message);
      assert.equal(toHex(pair.sign(message)), link.sig);
    }
    const next = keyPairFromSeed(fromHex(vector.newIkSeed));
    const rotation = rotateMessage(worker.publicKey, next.publicKey, vector.now);
    assert.equal(toHex(rotation), vector.rotate.message);
    assert.equal(toHex(worker.sign(rotation)), vector.rotate.oldSig);
    assert.equal(toHex(next.sign(rotation)), vector.rotate.newSig);
  },

  "the evidence verifies, and its three hashes are as recorded": async (vector) => {
    const { claimsBytes } = parseEvidence(JSON.stringify(vector.evidence));
    assert.deepEqual(claimsBytes, utf8(vector.claims));
    assert.equal(evidenceHashOf(claimsBytes), vector.evidenceHash);
    assert.equal(toHex(reportDataOf(claimsBytes)), vector.reportData);
    assert.equal(toHex(tpmExtraOf(claimsBytes)), vector.tpmExtra);
    assert.equal((await verifiedWorker(vector)).tier, "software");
  },

  "the offer verifies by its exact bytes": (vector) => {
    const bytes = utf8(vector.offer);
    const identityKey = fromHex(vector.ikPub);
    const gatewayKey = fromHex(vector.gatewayKey);
    const expected = { identityKey, gatewayKey, manifestRoot: vector.manifestRoot, now: vector.now };
    assert.equal(
      verifyOffer(bytes, fromHex(vector.offerSig), expected, verifySignature).manifestRoot,
      vector.manifestRoot,
    );
    assert.equal(offerHashOf(bytes), vector.offerHash);
  },

  "the worker answers the recorded hello with the recorded bytes": async (vector) => {
    const { message } = await pendingOf(vector);
    assert.equal(toHex(message), vector.workerHello + vector.workerHelloSig);
    assert.equal(parseClientHello(fromHex(vector.clientHello)).evidenceHash, vector.evidenceHash);
    const signature = fromHex(vector.workerHelloSig);
    assert.ok(verifySignature(signature, workerHelloMessage(fromHex(vector.th)), fromHex(vector.ikPub)));
    const opened = await openSession(await verifiedWorker(vector), fromHex(vector.clientHello), message, vector.now);
    assert.equal(opened.session.sessionId, vector.workerHello.slice(74, 106));
  },

  "every stream has the recorded keys, by our HPKE and by an independent one": async (vector) => {
    const session = await sessionOf(vector);
    const recipient = await independentRecipient(vector);
    for (const stream of vector.streams)
      for (const [direction, key, iv] of [
        [0, stream.c2wKey, stream.c2wIv],
        [1, stream.w2cKey, stream.w2cIv],
      ] as const) {
        const keys = await session.streamKeys(direction, stream.streamId);
        assert.deepEqual([toHex(keys.key), toHex(keys.iv)], [key, iv]);
        const context = new Uint8Array([...utf8("ACN1 stream key\0"), direction, 0, 0, 0, 0, 0, 0, 0, stream.streamId]);
        assert.equal(toHex(new Uint8Array(await recipient.export(context.buffer, 44))), key + iv);
      }
  },

  "every request and answer seals to the recorded frames": async (vector) => {
    const session = await sessionOf(vector);
    for (const stream of vector.streams) {
      const up = new FrameSealer(await session.streamKeys(0, stream.streamId));
      // The recorded bytes, since a parsed body may list its keys in another order.
      const request = utf8(stream.request);
      assert.equal(parseRequestBody(parseRequestEnvelope(request)).offerHash, vector.offerHash);
      assert.deepEqual([toHex(up.seal(request)), toHex(up.seal(new Uint8Array(), FIN))], stream.requestFrames);
      const down = new FrameSealer(await session.streamKeys(1, stream.streamId));
      const frames = stream.events.map((event) => toHex(down.seal(encodeSealedEvent(parseSealedEvent(utf8(event))))));
      const isWhole = stream.end === "fin";
      const end = isWhole ? encodeSealedEnd(parseSealedEnd(utf8(stream.endData))) : utf8(stream.endData);
      frames.push(toHex(down.seal(end, isWhole ? FIN : ABORT)));
      assert.deepEqual(frames, stream.responseFrames);
    }
  },

  "every recorded frame opens to what was said, and the client counts as it did": async (vector) => {
    const session = await sessionOf(vector);
    for (const stream of vector.streams) {
      const opener = new FrameOpener(await session.streamKeys(1, stream.streamId));
      const opened = stream.responseFrames.map((frame) => opener.open(fromHex(frame)));
      const counter = new CompletionCounter();
      for (const { type, data } of opened) if (type === DATA) counter.add(parseSealedEvent(data));
      assert.deepEqual(
        opened.map(({ data }) => new TextDecoder().decode(data)),
        [...stream.events, stream.endData],
      );
      assert.equal(opener.end(), stream.end === "fin" ? FIN : ABORT);
      const finish = stream.end === "fin" ? parseSealedEnd(utf8(stream.endData)).finish_reason : "failed";
      assert.equal(counter.count(finish), stream.clientCompletionTokens);
      assert.ok(counter.count(finish) <= counter.bound);
    }
  },

  "every receipt is over the recorded frames, and signed": (vector) => {
    for (const stream of vector.streams) {
      const bytes = fromHex(stream.receipt);
      const receipt = parseReceipt(bytes);
      assert.deepEqual(encodeReceipt(receipt), bytes);
      assert.equal(toHex(hash(...stream.requestFrames.map(fromHex))), stream.requestHash);
      assert.equal(toHex(hash(...stream.responseFrames.map(fromHex))), stream.responseHash);
      assert.deepEqual(
        [toHex(receipt.requestHash), toHex(receipt.responseHash)],
        [stream.requestHash, stream.responseHash],
      );
      assert.equal(receipt.offerHash, vector.offerHash);
      assert.equal(receipt.finish, stream.end === "fin" ? "stop" : "failed");
      assert.equal(toHex(receiptHashOf(bytes)), stream.receiptHash);
      assert.ok(verifySignature(fromHex(stream.receiptSig), bytes, fromHex(vector.ikPub)));
    }
  },

  "the dispute is over the receipt's hash, with the client's counts": (vector) => {
    const { streamId, message, sig, ...counts } = vector.dispute;
    const stream = vector.streams.find((candidate) => candidate.streamId === streamId);
    assert.ok(stream);
    assert.equal(toHex(disputeMessage(fromHex(stream.receiptHash), counts)), message);
    assert.equal(toHex(keyPairFromSeed(fromHex(vector.paymentSeed)).sign(fromHex(message))), sig);
    assert.notEqual(parseReceipt(fromHex(stream.receipt)).usage.completionTokens, counts.completionTokens);
  },

  "every refused sequence of frames ends in its code": async (vector) => {
    const session = await sessionOf(vector);
    for (const { id, messages, code } of vector.refused) {
      const opener = new FrameOpener(await session.streamKeys(1, 3));
      assert.throws(
        () => {
          for (const message of messages) opener.open(fromHex(message));
          opener.end();
        },
        (error) => error instanceof Failure && error.code === code,
        id,
      );
    }
  },
};

export async function sessionOf(vector: SessionVector): Promise<Session> {
  return (await pendingOf(vector)).complete(fromHex(vector.enc));
}

/** The worker's half, its randomness taken from the record. */
async function pendingOf(vector: SessionVector): ReturnType<typeof answerHello> {
  const hello = fromHex(vector.workerHello);
  const drawn = [fromHex(vector.ephIkm), hello.slice(5, 37), hello.slice(37, 53)];
  const { sign } = keyPairFromSeed(fromHex(vector.ikSeed));
  const random = (length: number): Uint8Array => {
    const bytes = drawn.shift() ?? new Uint8Array();
    assert.equal(bytes.length, length);
    return bytes;
  };
  return answerHello(fromHex(vector.clientHello), { sign, now: vector.now, random });
}

async function verifiedWorker(vector: SessionVector): Promise<VerifiedWorker> {
  const software = { requireSigstoreRelease: false };
  const policy = parsePolicy({ v: "acn1-policy", minTier: "software", beacon: "ifAvailable", software });
  const expected = { evidenceHash: vector.evidenceHash, workerId: vector.workerId, manifestRoot: vector.manifestRoot };
  return verifyEvidence(JSON.stringify(vector.evidence), policy, { now: vector.now, expected, beacon: null });
}

async function independentRecipient(vector: SessionVector): Promise<oracle.RecipientContext> {
  const suite = new oracle.CipherSuite({ kem: new XWing(), kdf: new oracle.HkdfSha256(), aead: exportOnlyChaCha });
  const recipientKey = await suite.kem.deserializePrivateKey(new Uint8Array(fromHex(vector.ephSecretKey)).buffer);
  const enc = new Uint8Array(fromHex(vector.enc)).buffer;
  const info = new Uint8Array([...utf8("ACN1 session\0"), ...fromHex(vector.th)]).buffer;
  return suite.createRecipientContext({ recipientKey, enc, info });
}

/** Only the AEAD's number enters into exported keys; ACN/1 seals nothing with HPKE itself. */
const exportOnlyChaCha: oracle.AeadInterface = {
  id: oracle.AeadId.Chacha20Poly1305,
  keySize: 32,
  nonceSize: 12,
  tagSize: 16,
  createEncryptionContext: () => ({
    seal: () => Promise.reject(new Error("nothing is sealed with HPKE itself")),
    open: () => Promise.reject(new Error("nothing is sealed with HPKE itself")),
  }),
};

import { AEAD_ChaCha20Poly1305, KDF_HKDF_SHA256, KEM_MLKEM768_X25519 } from "@panva/hpke-noble";
import { CipherSuite, type KeyPair } from "hpke";
import { concat, equalBytes, fromHex, label, lengthPrefixed, readU32, readU64, toHex, u8, u64, utf8 } from "./bytes.ts";
import type { VerifiedWorker } from "./evidence/verify.ts";
import { Failure } from "./failure.ts";
import { streamKeysOf, type Direction, type StreamKeys } from "./frames.ts";
import { hash, verifySignature, workerHelloMessage, type Sign, type Verify } from "./keys.ts";

/** ACN/1 §3.3, the client's first bytes. */
export interface ClientHello {
  /** 32 bytes. */
  readonly clientNonce: Uint8Array;
  /** Lowercase hex. */
  readonly workerId: string;
  /** Lowercase hex. */
  readonly evidenceHash: string;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  /** Unix seconds. */
  readonly time: number;
  /** LV(credentialBlob) ‖ LV(encryptedSecret) for tier tpm, else empty. */
  readonly tpmChallenge: Uint8Array;
}

/** A session's shared secret, from which each stream's keys come. Lives in memory only; secrets print as `[secret]`. */
export interface Session {
  /** 16 bytes, lowercase hex. */
  readonly sessionId: string;
  /** Unix seconds; at most an hour ahead. */
  readonly expiresAt: number;
  /** Keys of one direction of one stream. */
  streamKeys(direction: Direction, streamId: number): Promise<StreamKeys>;
  toJSON(): string;
  toString(): string;
}

/** A WorkerHello that waits for its `enc`; decapsulates once, then forgets the key (forward secrecy). */
export interface PendingSession {
  readonly sessionId: string;
  /** WH ‖ helloSig, to be sent as one message. */
  readonly message: Uint8Array;
  /** @throws {Failure} `bad_frame` for a wrong size, `decrypt_failed`, `replay` at a second call. */
  complete(enc: Uint8Array): Promise<Session>;
}

export interface HelloContext {
  /** Signs with the worker's identity key. */
  readonly sign: Sign;
  /** Unix seconds. */
  readonly now: number;
  /** Fresh random bytes. */
  readonly random: (length: number) => Uint8Array;
  /** HMAC of the activated credential for tier tpm, computed by the caller; absent otherwise. */
  readonly tpmProof?: (input: {
    clientHelloHash: Uint8Array;
    workerNonce: Uint8Array;
    ephemeralKey: Uint8Array;
  }) => Uint8Array;
}

/** Sizes of ACN/1 §3.3. */
export const ENC_BYTES = 1120;
export const SESSION_LIFETIME_SECONDS = 3600;
export const STREAMS_PER_SESSION = 1024;

const EPHEMERAL_KEY_BYTES = 1216;
const SIGNATURE_BYTES = 64;
const SESSION_ID_AT = 37;
const EPHEMERAL_KEY_AT = 53;
const EXPIRES_AT = EPHEMERAL_KEY_AT + EPHEMERAL_KEY_BYTES;
const PROOF_LENGTH_AT = EXPIRES_AT + 8;
const WORKER_HELLO_BYTES = PROOF_LENGTH_AT + 4;
const CLIENT_HELLO_BYTES = 145;
const MAX_TPM_CHALLENGE_BYTES = 2048;
const TPM_PROOF_BYTES = 32;
const VERSION = utf8("ACN1");
const CLIENT_HELLO = 1;
const WORKER_HELLO = 2;

/** @throws {RangeError} for a field of the wrong length. */
export function encodeClientHello(hello: ClientHello): Uint8Array {
  const bytes = concat(
    VERSION,
    u8(CLIENT_HELLO),
    hello.clientNonce,
    fromHex(hello.workerId),
    fromHex(hello.evidenceHash),
    fromHex(hello.manifestRoot),
    u64(hello.time),
    lengthPrefixed(hello.tpmChallenge),
  );
  if (bytes.length !== CLIENT_HELLO_BYTES + hello.tpmChallenge.length)
    throw new RangeError("a field has the wrong length");
  return bytes;
}

/** @throws {Failure} `bad_hello`; `clock_skew` for a time beyond every clock. */
export function parseClientHello(bytes: Uint8Array): ClientHello {
  const hasShape =
    bytes.length >= CLIENT_HELLO_BYTES &&
    bytes.length <= CLIENT_HELLO_BYTES + MAX_TPM_CHALLENGE_BYTES &&
    startsAs(bytes, CLIENT_HELLO) &&
    readU32(bytes, CLIENT_HELLO_BYTES - 4) === bytes.length - CLIENT_HELLO_BYTES;
  if (!hasShape) throw new Failure("bad_hello");
  return {
    clientNonce: bytes.slice(5, 37),
    workerId: toHex(bytes.subarray(37, 69)),
    evidenceHash: toHex(bytes.subarray(69, 101)),
    manifestRoot: toHex(bytes.subarray(101, 133)),
    time: readU64(bytes, 133, "clock_skew"),
    tpmChallenge: bytes.slice(CLIENT_HELLO_BYTES),
  };
}

/** The worker's half: a fresh key for this session only, bound by signature to every byte of the ClientHello. */
export async function answerHello(clientHello: Uint8Array, context: HelloContext): Promise<PendingSession> {
  const suite = acnSuite();
  const keyPair = await suite.DeriveKeyPair(context.random(32), true);
  const ephemeralKey = await suite.SerializePublicKey(keyPair.publicKey);
  const workerNonce = context.random(32);
  const sessionId = context.random(16);
  const expiresAt = context.now + SESSION_LIFETIME_SECONDS;
  const proof =
    context.tpmProof?.({ clientHelloHash: hash(clientHello), workerNonce, ephemeralKey }) ?? new Uint8Array();
  const hello = concat(
    VERSION,
    u8(WORKER_HELLO),
    workerNonce,
    sessionId,
    ephemeralKey,
    u64(expiresAt),
    lengthPrefixed(proof),
  );
  const transcript = transcriptOf(clientHello, hello);
  const message = concat(hello, context.sign(workerHelloMessage(transcript)));
  return pendingSession(message, keyPair, { sessionId, expiresAt, transcript });
}

/**
 * The client's half. Takes a {@link VerifiedWorker}: to seal to a worker whose evidence nobody checked does not compile.
 * `verify` may be the platform's, which is ten times faster.
 *
 * @throws {Failure} in this order: `bad_hello`, `bad_hello_sig`, `session_expired`.
 */
export async function openSession(
  worker: VerifiedWorker,
  clientHello: Uint8Array,
  message: Uint8Array,
  now: number,
  verify: (...signed: Parameters<Verify>) => boolean | Promise<boolean> = verifySignature,
): Promise<{ readonly enc: Uint8Array; readonly tpmProof: Uint8Array; readonly session: Session }> {
  const hello = message.subarray(0, Math.max(0, message.length - SIGNATURE_BYTES));
  if (!isWorkerHello(hello)) throw new Failure("bad_hello");
  const transcript = transcriptOf(clientHello, hello);
  const signature = message.subarray(-SIGNATURE_BYTES);
  if (!(await verify(signature, workerHelloMessage(transcript), worker.identityKey)))
    throw new Failure("bad_hello_sig");
  const expiresAt = readU64(hello, EXPIRES_AT, "session_expired");
  if (expiresAt <= now || expiresAt > now + SESSION_LIFETIME_SECONDS) throw new Failure("session_expired");
  const { enc, exporter } = await encapsulate(hello.slice(EPHEMERAL_KEY_AT, EXPIRES_AT), transcript);
  const sessionId = hello.slice(SESSION_ID_AT, EPHEMERAL_KEY_AT);
  return { enc, tpmProof: hello.slice(WORKER_HELLO_BYTES), session: sessionOf(exporter, sessionId, expiresAt) };
}

interface Exporter {
  Export(context: Uint8Array, length: number): Promise<Uint8Array>;
}

/** KEM 0x647a (X-Wing), KDF 0x0001, AEAD 0x0003. No negotiation: another suite is another protocol. */
function acnSuite(): CipherSuite {
  return new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_ChaCha20Poly1305);
}

function transcriptOf(clientHello: Uint8Array, workerHello: Uint8Array): Uint8Array {
  return hash(label("transcript"), lengthPrefixed(clientHello), lengthPrefixed(workerHello));
}

function isWorkerHello(hello: Uint8Array): boolean {
  const proofBytes = hello.length - WORKER_HELLO_BYTES;
  return (
    (proofBytes === 0 || proofBytes === TPM_PROOF_BYTES) &&
    startsAs(hello, WORKER_HELLO) &&
    readU32(hello, PROOF_LENGTH_AT) === proofBytes
  );
}

function startsAs(bytes: Uint8Array, kind: number): boolean {
  return equalBytes(bytes.subarray(0, 4), VERSION) && bytes[4] === kind;
}

async function encapsulate(key: Uint8Array, transcript: Uint8Array): Promise<{ enc: Uint8Array; exporter: Exporter }> {
  const suite = acnSuite();
  try {
    const publicKey = await suite.DeserializePublicKey(key);
    const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, { info: sessionInfo(transcript) });
    return { enc: encapsulatedSecret, exporter: ctx };
  } catch (cause) {
    throw new Failure("bad_hello", "not an X-Wing key", { cause });
  }
}

function pendingSession(
  message: Uint8Array,
  keyPair: KeyPair,
  facts: { readonly sessionId: Uint8Array; readonly expiresAt: number; readonly transcript: Uint8Array },
): PendingSession {
  let unused: KeyPair | undefined = keyPair;
  return {
    sessionId: toHex(facts.sessionId),
    message,
    async complete(enc) {
      if (enc.length !== ENC_BYTES) throw new Failure("bad_frame");
      if (unused === undefined) throw new Failure("replay");
      const once = unused;
      unused = undefined;
      try {
        const exporter = await acnSuite().SetupRecipient(once, enc, { info: sessionInfo(facts.transcript) });
        return sessionOf(exporter, facts.sessionId, facts.expiresAt);
      } catch (cause) {
        throw new Failure("decrypt_failed", undefined, { cause });
      }
    },
  };
}

function sessionInfo(transcript: Uint8Array): Uint8Array {
  return concat(label("session"), transcript);
}

function sessionOf(exporter: Exporter, sessionId: Uint8Array, expiresAt: number): Session {
  return {
    sessionId: toHex(sessionId),
    expiresAt,
    async streamKeys(direction, streamId) {
      const secret = await exporter.Export(concat(label("stream key"), u8(direction), u64(streamId)), 44);
      const key = secret.slice(0, 32);
      const iv = secret.slice(32);
      return streamKeysOf({ key, iv, sessionId, direction, streamId });
    },
    toJSON: () => "[secret]",
    toString: () => "[secret]",
  };
}

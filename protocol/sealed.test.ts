import assert from "node:assert/strict";
import test from "node:test";
import { inspect } from "node:util";
import * as oracle from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import { concat, fromHex, label, lengthPrefixed, toHex, u64, u8, utf8 } from "./bytes.ts";
import { hasCode } from "./failure.fake.ts";
import { DATA, FrameOpener, FrameSealer } from "./frames.ts";
import { hash, keyPairFromSeed, workerHelloMessage } from "./keys.ts";
import {
  clientHello,
  MANIFEST_ROOT,
  NOW,
  openedSessions,
  seededRandom,
  verifiedWorker,
  WORKER_ID,
  worker,
} from "./parties.fake.ts";
import { answerHello, ENC_BYTES, openSession, parseClientHello, SESSION_LIFETIME_SECONDS } from "./sealed.ts";

const HELLO = clientHello();
const WORKER_HELLO_BYTES = 1281;

async function answered(seed = 1, hello = HELLO): Promise<Awaited<ReturnType<typeof answerHello>>> {
  return answerHello(hello, { sign: worker.sign, now: NOW, random: seededRandom(seed) });
}

/** A WorkerHello whose fields are changed and which the worker's own key signs again. */
async function resigned(change: (workerHello: Uint8Array) => Uint8Array, seed?: number): Promise<Uint8Array> {
  const hello = change((await answered(seed)).message.slice(0, WORKER_HELLO_BYTES));
  const transcript = hash(label("transcript"), lengthPrefixed(HELLO), lengthPrefixed(hello));
  return concat(hello, worker.sign(workerHelloMessage(transcript)));
}

test("both ends of a session have the same keys, and a stream's two directions do not", async () => {
  const { client, worker: served } = await openedSessions();
  assert.equal(client.sessionId, served.sessionId);
  assert.equal(client.expiresAt, NOW + SESSION_LIFETIME_SECONDS);
  const seen = new Set<string>();
  for (const direction of [0, 1] as const)
    for (const streamId of [1, 2, 1024]) {
      const [ours, theirs] = [
        await client.streamKeys(direction, streamId),
        await served.streamKeys(direction, streamId),
      ];
      assert.deepEqual([ours.key, ours.iv], [theirs.key, theirs.iv]);
      seen.add(toHex(ours.key)).add(toHex(ours.iv));
    }
  assert.equal(seen.size, 12);
});

test("a prompt sealed by the client opens at the worker, and the answer at the client", async () => {
  const { client, worker: served } = await openedSessions();
  const up = new FrameSealer(await client.streamKeys(0, 1)).seal(utf8("Once"));
  assert.deepEqual(new FrameOpener(await served.streamKeys(0, 1)).open(up), { type: DATA, data: utf8("Once") });
  const down = new FrameSealer(await served.streamKeys(1, 1)).seal(utf8(" upon"));
  assert.deepEqual(new FrameOpener(await client.streamKeys(1, 1)).open(down).data, utf8(" upon"));
});

test("a frame that is sent back to its sender does not open", async () => {
  const { client } = await openedSessions();
  const frame = new FrameSealer(await client.streamKeys(0, 1)).seal(utf8("Once"));
  const reflected = new FrameOpener(await client.streamKeys(1, 1));
  assert.throws(() => reflected.open(frame), hasCode("decrypt_failed"));
});

test("a ClientHello is 145 bytes and comes back as it was", () => {
  assert.equal(HELLO.length, 145);
  const parsed = parseClientHello(HELLO);
  assert.deepEqual([parsed.workerId, parsed.manifestRoot, parsed.time], [WORKER_ID, MANIFEST_ROOT, NOW]);
  const tpmChallenge = seededRandom(4)(336);
  assert.deepEqual(parseClientHello(clientHello({ tpmChallenge })).tpmChallenge, tpmChallenge);
});

test("a ClientHello of another shape is bad_hello, a time beyond every clock is clock_skew", () => {
  const wrong = [
    new Uint8Array(),
    HELLO.subarray(1),
    HELLO.subarray(0, 144),
    concat(HELLO, u8(0)),
    concat(utf8("ACN2"), HELLO.subarray(4)),
    concat(HELLO.subarray(0, 4), u8(2), HELLO.subarray(5)),
    clientHello({ tpmChallenge: new Uint8Array(2049) }),
  ];
  for (const bytes of wrong) assert.throws(() => parseClientHello(bytes), hasCode("bad_hello"));
  const late = concat(HELLO.subarray(0, 133), u64(2n ** 64n - 1n), HELLO.subarray(141));
  assert.throws(() => parseClientHello(late), hasCode("clock_skew"));
});

test("the answer is 1281 bytes and a signature, and new for every hello", async () => {
  const [one, two] = [await answered(1), await answered(2)];
  assert.equal(one.message.length, WORKER_HELLO_BYTES + 64);
  assert.notEqual(one.sessionId, two.sessionId);
});

test("an answer to another hello is refused: the signature binds every byte of both", async () => {
  const { message } = await answered();
  const verified = await verifiedWorker();
  for (let at = 0; at < HELLO.length; at += 7) {
    const other = HELLO.slice();
    other[at] = (other[at] ?? 0) ^ 1;
    await assert.rejects(openSession(verified, other, message, NOW), hasCode("bad_hello_sig"));
  }
});

test("an answer that was changed on the way is refused", async () => {
  const { message } = await answered();
  const verified = await verifiedWorker();
  for (let at = 5; at < message.length; at += 61) {
    const changed = message.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    const isLength = at >= WORKER_HELLO_BYTES - 4 && at < WORKER_HELLO_BYTES;
    await assert.rejects(openSession(verified, HELLO, changed, NOW), hasCode(isLength ? "bad_hello" : "bad_hello_sig"));
  }
});

test("a gateway cannot put another worker's answer in the place of the verified one", async () => {
  const other = keyPairFromSeed(new Uint8Array(32).fill(9));
  const swapped = await answerHello(HELLO, { sign: other.sign, now: NOW, random: seededRandom(1) });
  await assert.rejects(openSession(await verifiedWorker(), HELLO, swapped.message, NOW), hasCode("bad_hello_sig"));
});

test("an answer of another shape is bad_hello", async () => {
  const { message } = await answered();
  const verified = await verifiedWorker();
  const wrong = [
    new Uint8Array(),
    new Uint8Array(63),
    message.subarray(1),
    message.subarray(0, 200),
    HELLO,
    concat(message, u8(0)),
  ];
  for (const bytes of wrong) await assert.rejects(openSession(verified, HELLO, bytes, NOW), hasCode("bad_hello"));
  const odd = await resigned((hello) => concat(hello.subarray(0, 1277), lengthPrefixed(new Uint8Array(31))));
  await assert.rejects(openSession(verified, HELLO, odd, NOW), hasCode("bad_hello"));
});

test("a session that has ended, or would last beyond an hour, is session_expired", async () => {
  const verified = await verifiedWorker();
  const expiring = (at: number | bigint): Promise<Uint8Array> =>
    resigned((hello) => concat(hello.subarray(0, 1269), u64(at), hello.subarray(1277)));
  for (const at of [0, NOW - 1, NOW, NOW + 3601, 2 ** 53, 2n ** 64n - 1n])
    await assert.rejects(openSession(verified, HELLO, await expiring(at), NOW), hasCode("session_expired"), String(at));
  for (const at of [NOW + 1, NOW + 3600])
    assert.equal((await openSession(verified, HELLO, await expiring(at), NOW)).session.expiresAt, at);
});

test("the signature is checked before the time, so that the code is right", async () => {
  const late = (await resigned((hello) => concat(hello.subarray(0, 1269), u64(NOW), hello.subarray(1277)))).slice();
  late[late.length - 1] = (late.at(-1) ?? 0) ^ 1;
  await assert.rejects(openSession(await verifiedWorker(), HELLO, late, NOW), hasCode("bad_hello_sig"));
});

test("a proof of the TPM is bound to the hello, the nonce and the key, and reaches the client", async () => {
  const seen: Uint8Array[] = [];
  const pending = await answerHello(HELLO, {
    sign: worker.sign,
    now: NOW,
    random: seededRandom(1),
    tpmProof: ({ clientHelloHash, workerNonce, ephemeralKey }) => {
      seen.push(clientHelloHash, workerNonce, ephemeralKey);
      return new Uint8Array(32).fill(8);
    },
  });
  assert.deepEqual(seen[0], hash(HELLO));
  assert.deepEqual(seen[1], pending.message.slice(5, 37));
  assert.deepEqual(seen[2], pending.message.slice(53, 1269));
  const { tpmProof } = await openSession(await verifiedWorker(), HELLO, pending.message, NOW);
  assert.deepEqual(tpmProof, new Uint8Array(32).fill(8));
});

test("one enc opens one session, once", async () => {
  const pending = await answered();
  const { enc } = await openSession(await verifiedWorker(), HELLO, pending.message, NOW);
  await pending.complete(enc);
  await assert.rejects(pending.complete(enc), hasCode("replay"));
});

test("an enc of the wrong size is bad_frame and costs nothing", async () => {
  const pending = await answered();
  for (const length of [0, 1119, 1121, 1125])
    await assert.rejects(pending.complete(new Uint8Array(length)), hasCode("bad_frame"));
  const { enc } = await openSession(await verifiedWorker(), HELLO, pending.message, NOW);
  assert.equal(enc.length, ENC_BYTES);
  await pending.complete(enc);
});

test("an enc of another session, or a changed one, gives keys that open nothing", async () => {
  const { enc: recorded } = await openedSessions(1);
  const { client } = await openedSessions(2);
  const frame = new FrameSealer(await client.streamKeys(0, 1)).seal(utf8("Once"));
  const changed = recorded.slice();
  changed[0] = (changed[0] ?? 0) ^ 1;
  for (const enc of [recorded, changed]) {
    const served = await (await answered(2)).complete(enc);
    const opener = new FrameOpener(await served.streamKeys(0, 1));
    assert.throws(() => opener.open(frame), hasCode("decrypt_failed"));
  }
  await assert.rejects((await answered(2)).complete(new Uint8Array(ENC_BYTES)), hasCode("decrypt_failed"));
});

test("a worker whose key would give everybody the same X25519 secret is bad_hello", async () => {
  const message = await resigned((hello) => {
    hello.fill(0, 53 + 1184, 53 + 1216); // a point of small order
    return hello;
  });
  await assert.rejects(openSession(await verifiedWorker(), HELLO, message, NOW), hasCode("bad_hello"));
});

test("a session and what waits for one print as secret", async () => {
  const { client } = await openedSessions();
  const pending = await answered();
  assert.equal(JSON.stringify(client), '"[secret]"');
  assert.equal(client.toString(), "[secret]");
  const seed = toHex(seededRandom(1)(32));
  for (const shown of [inspect(client, { depth: 9 }), inspect(pending, { depth: 9 })]) {
    assert.doesNotMatch(shown, /secretKey|privateKey|exporter/i);
    assert.ok(!shown.includes(seed));
  }
});

// An independent implementation of the same suite reads what we write, and the other way round.

/** The suite's AEAD, which only its number enters into: streams take exported keys. */
const chacha20Poly1305: oracle.AeadInterface = {
  id: oracle.AeadId.Chacha20Poly1305,
  keySize: 32,
  nonceSize: 12,
  tagSize: 16,
  createEncryptionContext: () => ({
    seal: () => Promise.reject(new Error("nothing is sealed with HPKE itself")),
    open: () => Promise.reject(new Error("nothing is sealed with HPKE itself")),
  }),
};

const independent = new oracle.CipherSuite({
  kem: new XWing(),
  kdf: new oracle.HkdfSha256(),
  aead: chacha20Poly1305,
});

function buffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function sessionInfo(message: Uint8Array): ArrayBuffer {
  const workerHello = message.subarray(0, -64);
  const transcript = hash(label("transcript"), lengthPrefixed(HELLO), lengthPrefixed(workerHello));
  return buffer(concat(label("session"), transcript));
}

function streamKeyContext(direction: number, streamId: number): ArrayBuffer {
  return buffer(concat(label("stream key"), u8(direction), u64(streamId)));
}

test("an independent client opens a session with our worker", async () => {
  const pending = await answered();
  const recipientPublicKey = await independent.kem.deserializePublicKey(buffer(pending.message.subarray(53, 1269)));
  const sender = await independent.createSenderContext({ recipientPublicKey, info: sessionInfo(pending.message) });
  const session = await pending.complete(new Uint8Array(sender.enc));
  for (const direction of [0, 1] as const) {
    const { key, iv } = await session.streamKeys(direction, 3);
    assert.deepEqual(concat(key, iv), new Uint8Array(await sender.export(streamKeyContext(direction, 3), 44)));
  }
});

test("an independent worker opens a session with our client", async () => {
  const pair = await independent.kem.generateKeyPair();
  const publicKey = new Uint8Array(await independent.kem.serializePublicKey(pair.publicKey));
  const message = await resigned((hello) => concat(hello.subarray(0, 53), publicKey, hello.subarray(1269)));
  const { enc, session } = await openSession(await verifiedWorker(), HELLO, message, NOW);
  const recipient = await independent.createRecipientContext({
    recipientKey: pair.privateKey,
    enc: buffer(enc),
    info: sessionInfo(message),
  });
  for (const direction of [0, 1] as const) {
    const { key, iv } = await session.streamKeys(direction, 7);
    assert.deepEqual(concat(key, iv), new Uint8Array(await recipient.export(streamKeyContext(direction, 7), 44)));
  }
});

test("hex in a hello must be whole: a caller's mistake is not sent", () => {
  assert.throws(() => clientHello({ workerId: "ab" }), RangeError);
  assert.throws(() => clientHello({ clientNonce: new Uint8Array(31) }), RangeError);
  assert.equal(fromHex("00ff").length, 2);
});

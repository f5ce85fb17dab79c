import assert from "node:assert/strict";
import test from "node:test";
import { concat, fromHex, label, toHex, utf8 } from "./bytes.ts";
import {
  disputeMessage,
  evidenceMessage,
  hash,
  keyPairFromSeed,
  linkMessage,
  offerMessage,
  ownerProofPayload,
  redeemMessage,
  rotateMessage,
  verifySignature,
  workerHelloMessage,
  workerIdOf,
  type LinkLogin,
} from "./keys.ts";
import { clientHello, gateway, NOW, seededRandom, worker } from "./parties.fake.ts";
import { encodeReceipt } from "./receipt.ts";
import { EMPTY_CHAIN, payloadHash, type SignedPayload } from "./voucher.ts";

const BYTES_32 = seededRandom(3)(32);
const RECEIPT = encodeReceipt({
  sessionId: "00".repeat(16),
  streamId: 1,
  requestHash: BYTES_32,
  responseHash: BYTES_32,
  manifestRoot: "00".repeat(32),
  offerHash: "00".repeat(32),
  usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 1 },
  finish: "stop",
});

/** Every message an identity or payment key signs, made with 32 chosen bytes wherever a stranger may choose some. */
function everySignedMessage(chosen: Uint8Array): Readonly<Record<string, Uint8Array>> {
  return {
    link: linkMessage(login({ nonce: chosen })),
    rotate: rotateMessage(chosen, chosen, NOW),
    evidence: evidenceMessage(chosen, chosen),
    offer: offerMessage(chosen),
    "worker hello": workerHelloMessage(chosen),
    receipt: RECEIPT,
    dispute: disputeMessage(chosen, { completionTokens: 1, promptTokens: 1 }),
    redeem: redeemMessage({ gatewayKey: chosen, networkId: -239, owner: "", total: 0n, maxDeduction: 0n }),
  };
}

/** Labels of hashes and keys, which are never signed bare. */
const OTHER_LABELS = [
  "worker id",
  "evidence hash",
  "report-data",
  "tpm-extra",
  "gpu-nonce",
  "transcript",
  "tpm proof",
  "session",
  "stream key",
  "charge chain",
  "payout chain",
  "owner",
  "ledger",
  "pop index",
];

function login(overrides: Partial<LinkLogin> = {}): LinkLogin {
  return { role: "worker", gatewayKey: gateway.publicKey, nonce: BYTES_32, time: NOW, address: "", ...overrides };
}

test("each signed message starts with its own label", () => {
  for (const [name, message] of Object.entries(everySignedMessage(BYTES_32)))
    assert.deepEqual(message.subarray(0, label(name).length), label(name));
});

test("no label is the beginning of another", () => {
  const labels = [...Object.keys(everySignedMessage(BYTES_32)), ...OTHER_LABELS].map((name) => toHex(label(name)));
  for (const one of labels)
    assert.deepEqual(
      labels.filter((other) => other.startsWith(one)),
      [one],
    );
});

test("no labelled message is 32 bytes long, as a voucher's hash is", () => {
  for (const message of Object.values(everySignedMessage(BYTES_32))) assert.notEqual(message.length, 32);
});

const VOUCHER: SignedPayload = {
  type: "charge",
  networkId: -3,
  channel: `0:${"ab".repeat(32)}`,
  total: 1_000_000_000n,
  receipt: EMPTY_CHAIN,
};

test("a login whose nonce is the hash of a voucher never signs that voucher", () => {
  const voucherHash = payloadHash(VOUCHER);
  const signature = worker.sign(linkMessage(login({ nonce: voucherHash })));
  assert.ok(!verifySignature(signature, voucherHash, worker.publicKey));
});

test("a login whose nonce is a transcript, an evidence hash or a receipt's hash signs none of them", () => {
  const transcript = hash(label("transcript"), clientHello());
  for (const chosen of [transcript, hash(RECEIPT), BYTES_32]) {
    const signature = worker.sign(linkMessage(login({ nonce: chosen })));
    for (const [name, message] of Object.entries(everySignedMessage(chosen)))
      assert.equal(verifySignature(signature, message, worker.publicKey), name === "link", name);
    assert.ok(!verifySignature(signature, chosen, worker.publicKey));
  }
});

test("a login counts for one role, gateway, nonce, time and address only", () => {
  const signature = worker.sign(linkMessage(login()));
  const others: readonly Partial<LinkLogin>[] = [
    { role: "client" },
    { gatewayKey: worker.publicKey },
    { nonce: new Uint8Array(32) },
    { time: NOW + 1 },
    { address: `0:${"00".repeat(32)}` },
  ];
  assert.ok(verifySignature(signature, linkMessage(login()), worker.publicKey));
  for (const other of others) assert.ok(!verifySignature(signature, linkMessage(login(other)), worker.publicKey));
});

test("a rotation names both keys in order", () => {
  assert.notDeepEqual(rotateMessage(BYTES_32, EMPTY_CHAIN, NOW), rotateMessage(EMPTY_CHAIN, BYTES_32, NOW));
});

test("a dispute names completion tokens first", () => {
  const message = disputeMessage(BYTES_32, { completionTokens: 2, promptTokens: 30 });
  assert.deepEqual(message, concat(label("dispute"), BYTES_32, fromHex("000000020000001e")));
});

test("a leave to deduct counts for one gateway, network, owner, total and amount only", () => {
  const owner = `0:${"ab".repeat(32)}`;
  const request = { gatewayKey: BYTES_32, networkId: -3, owner, total: 2n ** 64n + 5n, maxDeduction: 7n };
  const [network, high, low] = ["fffffffd", "0000000000000001", "0000000000000005"];
  const bytes = concat(
    utf8("ACN1 redeem\0"),
    BYTES_32,
    fromHex(network),
    fromHex("00000042"),
    utf8(owner),
    fromHex(`${high}${low}${"00".repeat(15)}07`),
  );
  assert.deepEqual(redeemMessage(request), bytes);
  const others = [
    { ...request, gatewayKey: EMPTY_CHAIN },
    { ...request, networkId: -239 },
    { ...request, owner: "" },
    { ...request, total: 5n },
    { ...request, maxDeduction: 8n },
  ];
  for (const other of others) assert.notDeepEqual(redeemMessage(other), bytes);
});

test("a signature is checked strictly and never throws", () => {
  const message = utf8("message");
  const signature = worker.sign(message);
  assert.equal(signature.length, 64);
  assert.ok(verifySignature(signature, message, worker.publicKey));
  const malformed: readonly (readonly [Uint8Array, Uint8Array])[] = [
    [signature.subarray(1), worker.publicKey],
    [signature, worker.publicKey.subarray(1)],
    [new Uint8Array(64), worker.publicKey],
    [new Uint8Array(64).fill(0xff), worker.publicKey],
    [signature, new Uint8Array(32)],
    [signature, new Uint8Array(32).fill(0xff)],
    [new Uint8Array(), new Uint8Array()],
  ];
  for (const [bytes, key] of malformed) assert.ok(!verifySignature(bytes, message, key));
});

test("a key of small order, which would verify anything, verifies nothing", () => {
  // The identity point: with R = identity and S = 0 a lax verifier accepts every message.
  const identity = fromHex(`01${"00".repeat(31)}`);
  assert.ok(!verifySignature(concat(identity, new Uint8Array(32)), utf8("anything"), identity));
});

test("a signature has one form: S plus the group's order is refused", () => {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const signature = worker.sign(utf8("m"));
  let s = [...signature.subarray(32)].reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n) + order;
  const malleable = signature.slice();
  for (let i = 32; i < 64; i++, s /= 256n) malleable[i] = Number(s % 256n);
  assert.ok(!verifySignature(malleable, utf8("m"), worker.publicKey));
});

test("a key pair comes from its seed (RFC 8032, test 1)", () => {
  const pair = keyPairFromSeed(fromHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
  assert.equal(toHex(pair.publicKey), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  assert.match(toHex(pair.sign(new Uint8Array())), /^e5564300c360ac729086e2cc806e828a/);
});

test("a worker's id is a hash of its key under a label", () => {
  assert.equal(workerIdOf(worker.publicKey), toHex(hash(utf8("ACN1 worker id\0"), worker.publicKey)));
});

test("an owner's proof is for one worker on one network, whose number may be negative", () => {
  const payloads = [-239, -3, 0, 1].map((network) => toHex(ownerProofPayload(worker.publicKey, network)));
  assert.equal(new Set(payloads).size, 4);
  const bytes = concat(utf8("ACN1 owner\0"), worker.publicKey, fromHex("ffffff11"));
  assert.equal(payloads[0], toHex(hash(bytes)));
});

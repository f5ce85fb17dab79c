import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { fromHex, keyPairFromSeed, toHex, utf8, verifySignature } from "../protocol/index.ts";
import { importPublicKey, isSignedBy, signerFromSeed, verifyByOpenSsl } from "./signatures.ts";

const MESSAGE = utf8("one message");
const L = (1n << 252n) + 27742317777372353535851937790883648493n;
const P = (1n << 255n) - 19n;

function littleEndian(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));
}

test("the gateway's signer makes the same keys and signatures as the protocol's", () => {
  const seed = new Uint8Array(randomBytes(32));
  const ours = signerFromSeed(seed);
  const theirs = keyPairFromSeed(seed);
  assert.deepEqual(ours.publicKey, theirs.publicKey);
  assert.deepEqual(ours.sign(MESSAGE), theirs.sign(MESSAGE));
});

test("a good signature holds, and neither for another message, nor key, nor with a bit changed", () => {
  const signer = signerFromSeed(new Uint8Array(randomBytes(32)));
  const signature = signer.sign(MESSAGE);
  assert.ok(verifyByOpenSsl(signature, MESSAGE, signer.publicKey));
  assert.ok(!verifyByOpenSsl(signature, utf8("another"), signer.publicKey));
  assert.ok(!verifyByOpenSsl(signature, MESSAGE, signerFromSeed(new Uint8Array(randomBytes(32))).publicKey));
  assert.ok(!verifyByOpenSsl(signature.subarray(1), MESSAGE, signer.publicKey));
  for (const at of [0, 31, 32, 63]) {
    const changed = signature.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.ok(!verifyByOpenSsl(changed, MESSAGE, signer.publicKey), `byte ${at}`);
  }
});

test("a second form of the same signature, S + L, is refused as the protocol refuses it", () => {
  const signer = signerFromSeed(new Uint8Array(randomBytes(32)));
  const signature = signer.sign(MESSAGE);
  const s = BigInt(`0x${toHex(signature.slice(32).reverse())}`);
  const second = new Uint8Array([...signature.slice(0, 32), ...littleEndian(s + L)]);
  assert.ok(!verifyByOpenSsl(second, MESSAGE, signer.publicKey));
  assert.ok(!verifySignature(second, MESSAGE, signer.publicKey));
});

test("keys of the small subgroup, which sign everything, are no keys", () => {
  const anySignature = new Uint8Array(64);
  anySignature[0] = 1;
  const small = [
    littleEndian(0n),
    littleEndian(1n),
    littleEndian(P - 1n),
    fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
  ];
  for (const key of small) {
    for (const sign of [0, 0x80]) {
      const encoded = key.slice();
      encoded[31] = (encoded[31] ?? 0) | sign;
      assert.equal(importPublicKey(encoded), undefined, toHex(encoded));
      assert.ok(!verifySignature(anySignature, MESSAGE, encoded), toHex(encoded));
    }
  }
});

test("a second encoding of a point, y ≥ p, is no key", () => {
  for (let over = 0n; over < 19n; over++) assert.equal(importPublicKey(littleEndian(P + over)), undefined);
});

test("bytes that are no key are refused without an error", () => {
  for (const length of [0, 31, 33, 64]) assert.equal(importPublicKey(new Uint8Array(length).fill(7)), undefined);
});

test("a ready key checks as often as it is asked", () => {
  const signer = signerFromSeed(new Uint8Array(randomBytes(32)));
  const key = importPublicKey(signer.publicKey);
  assert.ok(key !== undefined && isSignedBy(key, MESSAGE, signer.sign(MESSAGE)));
  assert.ok(isSignedBy(key, new Uint8Array(), signer.sign(new Uint8Array())));
});

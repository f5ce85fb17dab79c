import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { beginCell, Cell, storeStateInit } from "@ton/core";
import { Failure, keyPairFromSeed, toHex, type OwnerProof } from "../protocol/index.ts";
import {
  MAX_PROOF_AGE_SECONDS,
  signOwnerProof,
  verifyOwnerProof,
  walletOf,
  type OwnerProofExpectation,
} from "./owner-proof.ts";

const NOW = 1_750_000_000;
const wallet = keyPairFromSeed(new Uint8Array(32).fill(21));
const identityKey = keyPairFromSeed(new Uint8Array(32).fill(22)).publicKey;
const FACTS = { identityKey, networkId: -239, domain: "cocoon.example", timestamp: NOW - 60 };
const EXPECTED: OwnerProofExpectation = {
  identityKey,
  networkId: -239,
  now: NOW,
  domains: ["localhost", "cocoon.example"],
};

interface WalletVector {
  readonly wallet: string;
  readonly publicKey: string;
  readonly address: string;
  readonly code: string;
  readonly data: string;
}

const { wallets } = JSON.parse(readFileSync(new URL("../tests/vectors/wallets.json", import.meta.url), "utf8")) as {
  readonly wallets: readonly WalletVector[];
};

function proof(overrides: Partial<OwnerProof> = {}): OwnerProof {
  return { ...signOwnerProof(wallet, FACTS), ...overrides };
}

function refused(given: OwnerProof, expected: Partial<OwnerProofExpectation> = {}, why = /./): void {
  assert.throws(
    () => verifyOwnerProof(given, { ...EXPECTED, ...expected }),
    (error) => error instanceof Failure && error.code === "bad_login" && why.test(error.message),
  );
}

/** A state init of these cells, and the address it has. */
function initOf(code: Cell, data: Cell): Pick<OwnerProof, "address" | "stateInit"> {
  const cell = beginCell().store(storeStateInit({ code, data })).endCell();
  return { address: `0:${cell.hash().toString("hex")}`, stateInit: new Uint8Array(cell.toBoc()) };
}

/** The wallet of a vector with our key in the place of its key, and a proof that our key signs for it. */
function proofOfWallet({ code, data, publicKey }: WalletVector): OwnerProof {
  const bits = Cell.fromBase64(data).bits.toString();
  const ours = Cell.fromBase64(data).bits.length;
  const source = Cell.fromBase64(data).beginParse();
  const target = beginCell();
  const offset = keyOffset(data, publicKey);
  target.storeBits(source.loadBits(offset)).storeBuffer(Buffer.from(wallet.publicKey));
  target.storeSlice(source.skip(256));
  const cell = target.endCell();
  assert.notEqual(cell.bits.toString(), bits);
  assert.equal(cell.bits.length, ours);
  return resigned(initOf(Cell.fromBase64(code), cell));
}

function keyOffset(data: string, publicKey: string): number {
  const cell = Cell.fromBase64(data);
  for (let offset = 0; offset + 256 <= cell.bits.length; offset++)
    if (cell.beginParse().skip(offset).loadBuffer(32).toString("hex") === publicKey) return offset;
  throw new Error("no key in the data");
}

/** A proof for another wallet, signed by our key as that wallet's app would. */
function resigned(init: Pick<OwnerProof, "address" | "stateInit">): OwnerProof {
  const signed: Uint8Array[] = [];
  const original = signOwnerProof(
    { ...wallet, sign: (message) => (signed.push(message), wallet.sign(message)) },
    FACTS,
  );
  assert.equal(signed.length, 1);
  return { ...original, ...init, signature: wallet.sign(proofHashFor(init.address)) };
}

/** TON Connect's address proof, written a second time from its specification. */
function proofHashFor(address: string, { domain, timestamp } = FACTS): Uint8Array {
  const { createHash } = process.getBuiltinModule("node:crypto");
  const sha256 = (...parts: readonly (Buffer | string)[]): Buffer =>
    parts.reduce((sum, part) => sum.update(part), createHash("sha256")).digest();
  const network = Buffer.alloc(4);
  network.writeInt32BE(FACTS.networkId);
  const payload = sha256("ACN1 owner\0", Buffer.from(identityKey), network).toString("hex");
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(domain));
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE(BigInt(timestamp));
  const inner = sha256(
    "ton-proof-item-v2/",
    Buffer.alloc(4),
    Buffer.from(address.slice(2), "hex"),
    length,
    domain,
    time,
    payload,
  );
  return new Uint8Array(sha256(Buffer.from([0xff, 0xff]), "ton-connect", inner));
}

test("a wallet names the owner of a worker", () => {
  assert.equal(verifyOwnerProof(proof(), EXPECTED), proof().address);
});

test("what the wallet signs is TON Connect's address proof", () => {
  const { address } = proof();
  assert.deepEqual(proof().signature, wallet.sign(proofHashFor(address)));
});

test("the test wallet is the V5R1 that wallet apps make of a key", () => {
  const vector = wallets.find((each) => each.wallet === "v5r1");
  assert.ok(vector);
  const { address, stateInit } = walletOf(Buffer.from(vector.publicKey, "hex"), -239);
  assert.equal(address, vector.address);
  assert.deepEqual(stateInit, initOf(Cell.fromBase64(vector.code), Cell.fromBase64(vector.data)).stateInit);
  assert.notEqual(walletOf(Buffer.from(vector.publicKey, "hex"), -3).address, vector.address);
});

test("v3, v4 and v5 wallets can name an owner; a wallet whose code is not known cannot", () => {
  const known = ["v3r1", "v3r2", "v4r2", "v5r1"];
  for (const vector of wallets) {
    const given = proofOfWallet(vector);
    if (known.includes(vector.wallet)) assert.equal(verifyOwnerProof(given, EXPECTED), given.address, vector.wallet);
    else refused(given, {}, /code is not known|not a wallet/); // the beta of v5 is a library cell
  }
  assert.ok(wallets.length > known.length);
});

test("a proof counts for one worker and one network", () => {
  refused(proof(), { identityKey: wallet.publicKey }, /not signed/);
  refused(proof(), { networkId: -3 }, /not signed/);
});

test("a proof made for another app is refused", () => {
  refused(proof(), { domains: [] }, /another app/);
  refused(proof(), { domains: ["cocoon.example.attacker.net", "COCOON.EXAMPLE", "example"] }, /another app/);
  refused(proof({ domain: "localhost" }), {}, /not signed/);
});

test("a proof of the future, or older than a month, is refused", () => {
  refused(signOwnerProof(wallet, { ...FACTS, timestamp: NOW + 121 }), {}, /future/);
  refused(signOwnerProof(wallet, { ...FACTS, timestamp: NOW - MAX_PROOF_AGE_SECONDS - 1 }), {}, /too old/);
  refused(proof(), { maxAgeSeconds: 59 }, /too old/);
  for (const timestamp of [NOW + 120, NOW - MAX_PROOF_AGE_SECONDS])
    assert.ok(verifyOwnerProof(signOwnerProof(wallet, { ...FACTS, timestamp }), EXPECTED));
  refused(proof({ timestamp: NOW - 61 }), {}, /not signed/);
});

test("a stranger cannot name somebody else's wallet", () => {
  const stranger = keyPairFromSeed(new Uint8Array(32).fill(23));
  const theirs = signOwnerProof(stranger, FACTS);
  refused({ ...theirs, address: proof().address }, {}, /another address/);
  refused({ ...theirs, address: proof().address, stateInit: proof().stateInit }, {}, /not signed/);
  refused({ ...proof(), stateInit: theirs.stateInit }, {}, /another address/);
});

test("a signature that is not one is refused", () => {
  for (const signature of [
    new Uint8Array(64),
    new Uint8Array(),
    proof().signature.slice(1),
    wallet.sign(new Uint8Array()),
  ])
    refused(proof({ signature }), {}, /not signed/);
});

test("a V5 wallet whose key may not sign any more names nobody", () => {
  const vector = wallets.find((each) => each.wallet === "v5r1");
  assert.ok(vector);
  const data = beginCell().storeBit(false).storeSlice(Cell.fromBase64(vector.data).beginParse().skip(1)).endCell();
  refused(resigned(initOf(Cell.fromBase64(vector.code), data)), {}, /may not sign/);
});

test("a known code with data that holds no key is refused", () => {
  for (const { wallet: name, code } of wallets) {
    if (!["v3r2", "v4r2", "v5r1"].includes(name)) continue;
    for (const data of [new Cell(), beginCell().storeBit(true).storeUint(1, 200).endCell()])
      refused(resigned(initOf(Cell.fromBase64(code), data)), {}, /state init|may not sign/);
  }
});

test("a state init that is not one is refused, whatever its bytes", () => {
  const { stateInit } = proof();
  const cell = Cell.fromBoc(Buffer.from(stateInit))[0];
  assert.ok(cell);
  for (const bytes of [
    new Uint8Array(),
    new Uint8Array(100),
    stateInit.slice(1),
    stateInit.slice(0, -1),
    new Uint8Array(8192).fill(0xb5),
  ])
    refused(proof({ stateInit: bytes }), {}, /state init/);
  for (let at = 0; at < stateInit.length; at += 3) {
    const changed = stateInit.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    refused(proof({ stateInit: changed }));
  }
  const empty = beginCell().storeUint(0, 5).endCell();
  const address = `0:${empty.hash().toString("hex")}`;
  refused(resigned({ address, stateInit: new Uint8Array(empty.toBoc()) }), {}, /not a wallet/);
});

test("a library cell in the place of the code is refused: it could stand for anything", () => {
  const vector = wallets.find((each) => each.wallet === "v5r1");
  assert.ok(vector);
  const library = beginCell()
    .storeUint(2, 8)
    .storeBuffer(Cell.fromBase64(vector.code).hash())
    .endCell({ exotic: true });
  refused(resigned(initOf(library, Cell.fromBase64(vector.data))));
});

test("a refusal names no key and no signature", () => {
  const theirs = proof({ signature: new Uint8Array(64) });
  assert.throws(
    () => verifyOwnerProof(theirs, EXPECTED),
    (error) => error instanceof Error && !error.message.includes(toHex(wallet.publicKey).slice(0, 8)),
  );
});

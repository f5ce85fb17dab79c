import assert from "node:assert/strict";
import test from "node:test";
import { Address, beginCell, type Builder, type Cell } from "@ton/core";
import { concat, label, toHex } from "./bytes.ts";
import { Failure } from "./failure.ts";
import { hasCode } from "./failure.fake.ts";
import { hash } from "./keys.ts";
import { pick, seededRandom } from "./parties.fake.ts";
import {
  EMPTY_CHAIN,
  encodePayload,
  nextChargeChain,
  nextPayoutChain,
  parsePayload,
  payloadHash,
  type SignedPayload,
} from "./voucher.ts";

const CHANNEL = `0:${"ab".repeat(32)}`;
const CHARGE: SignedPayload = { type: "charge", networkId: -3, channel: CHANNEL, total: 2394n, receipt: EMPTY_CHAIN };
const LARGEST = 2n ** 120n - 1n;

/** The same payload as TL-B says it, by the chain's own library. */
function tonCell(payload: SignedPayload): Cell {
  const start = (tag: number, address: string): Builder =>
    beginCell().storeUint(tag, 32).storeInt(payload.networkId, 32).storeAddress(Address.parseRaw(address));
  switch (payload.type) {
    case "charge":
      return start(0x43483031, payload.channel)
        .storeCoins(payload.total)
        .storeBuffer(Buffer.from(payload.receipt))
        .endCell();
    case "payout":
      return start(0x50593031, payload.channel)
        .storeCoins(payload.total)
        .storeBuffer(Buffer.from(payload.receipt))
        .endCell();
    case "close":
      return start(0x434c3031, payload.channel).storeCoins(payload.total).storeUint(payload.closeSeq, 32).endCell();
    case "checkpoint":
      return start(0x434b3031, payload.gateway)
        .storeUint(payload.seqno, 32)
        .storeBuffer(Buffer.from(payload.stateHash))
        .endCell();
  }
}

/** Any payload a key may sign, drawn from a seed; totals of every length. */
function randomPayload(random: (length: number) => Uint8Array, kind: number): SignedPayload {
  const networkId = pick(random, 2 ** 32) - 2 ** 31;
  const address = `0:${toHex(random(32))}`;
  const total = BigInt(`0x0${toHex(random(pick(random, 16)))}`);
  const number = pick(random, 2 ** 32);
  switch (kind % 4) {
    case 0:
      return { type: "charge", networkId, channel: address, total, receipt: random(32) };
    case 1:
      return { type: "payout", networkId, channel: address, total, receipt: random(32) };
    case 2:
      return { type: "close", networkId, channel: address, total, closeSeq: number };
    default:
      return { type: "checkpoint", networkId, gateway: address, seqno: number, stateHash: random(32) };
  }
}

test("a payload's hash and bag of cells are those of the chain's own library", () => {
  const random = seededRandom(21);
  for (let i = 0; i < 500; i++) {
    const payload = randomPayload(random, i);
    const cell = tonCell(payload);
    assert.equal(toHex(payloadHash(payload)), cell.hash().toString("hex"));
    assert.equal(toHex(encodePayload(payload)), cell.toBoc().toString("hex"));
    assert.deepEqual(parsePayload(encodePayload(payload)), payload);
  }
});

test("totals at the borders of their length bytes are written as the chain does", () => {
  for (const total of [0n, 1n, 255n, 256n, 2n ** 64n - 1n, 2n ** 64n, LARGEST]) {
    const payload: SignedPayload = { ...CHARGE, total };
    assert.equal(toHex(encodePayload(payload)), tonCell(payload).toBoc().toString("hex"));
    assert.deepEqual(parsePayload(encodePayload(payload)), payload);
  }
});

test("no changed byte of a bag of cells is read as the same payload", () => {
  const random = seededRandom(22);
  for (let kind = 0; kind < 4; kind++) {
    const payload = randomPayload(random, kind);
    const boc = encodePayload(payload);
    for (let at = 0; at < boc.length; at++) {
      const changed = boc.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 + ((random(1)[0] ?? 0) % 255));
      assert.throws(() => parsePayload(changed), hasCode("bad_message"), `byte ${at}`);
    }
  }
});

test("a bag with its checksum mended holds another payload, never the same", () => {
  const boc = encodePayload(CHARGE);
  for (let at = 13; at < boc.length - 4; at++) {
    const cellBytes = boc.slice(13, -4);
    cellBytes[at - 13] = (cellBytes[at - 13] ?? 0) ^ 4;
    let changed: SignedPayload;
    try {
      changed = parsePayload(withChecksum(concat(boc.subarray(0, 13), cellBytes)));
    } catch (error) {
      assert.ok(error instanceof Failure && error.code === "bad_message");
      continue;
    }
    assert.notDeepEqual(changed, CHARGE);
    assert.notDeepEqual(payloadHash(changed), payloadHash(CHARGE));
  }
});

test("a bag that is cut, longer, of many cells or of another tag is refused", () => {
  const boc = encodePayload(CHARGE);
  for (let length = 0; length < boc.length; length++)
    assert.throws(() => parsePayload(boc.subarray(0, length)), hasCode("bad_message"));
  const others = [
    concat(boc, Uint8Array.of(0)),
    new Uint8Array(500),
    new Uint8Array(beginCell().storeUint(0x11111111, 32).storeRef(tonCell(CHARGE)).endCell().toBoc()),
    new Uint8Array(tonCell(CHARGE).toBoc({ idx: true })),
    new Uint8Array(tonCell(CHARGE).toBoc({ crc32: false })),
    new Uint8Array(
      beginCell().storeUint(0x43483032, 32).storeSlice(tonCell(CHARGE).beginParse().skip(32)).endCell().toBoc(),
    ),
    new Uint8Array(beginCell().storeSlice(tonCell(CHARGE).beginParse()).storeBit(1).endCell().toBoc()),
  ];
  for (const other of others) assert.throws(() => parsePayload(other), hasCode("bad_message"));
});

test("a total spelled with a leading zero byte, or an address off workchain 0, is refused", () => {
  const start = beginCell().storeUint(0x43483031, 32).storeInt(-3, 32);
  const longer = beginCell()
    .storeBuilder(start)
    .storeAddress(Address.parseRaw(CHANNEL))
    .storeUint(2, 4)
    .storeUint(7, 16)
    .storeUint(0, 256);
  const masterchain = beginCell()
    .storeBuilder(start)
    .storeAddress(Address.parseRaw(`-1:${"ab".repeat(32)}`))
    .storeCoins(7)
    .storeUint(0, 256);
  const none = beginCell().storeBuilder(start).storeAddress(null).storeCoins(7).storeUint(0, 256);
  for (const builder of [longer, masterchain, none])
    assert.throws(() => parsePayload(new Uint8Array(builder.endCell().toBoc())), hasCode("bad_message"));
});

test("random bytes are refused, never a crash", () => {
  const random = seededRandom(23);
  const boc = encodePayload(CHARGE);
  for (let i = 0; i < 5000; i++) {
    const bytes =
      i % 2 === 0 ? random(pick(random, 200)) : concat(boc.subarray(0, pick(random, 120)), random(pick(random, 120)));
    if (toHex(bytes) !== toHex(boc)) assert.throws(() => parsePayload(bytes), hasCode("bad_message"));
  }
});

test("what no cell can hold is a bug of the caller", () => {
  const bad: readonly SignedPayload[] = [
    { ...CHARGE, total: -1n },
    { ...CHARGE, total: LARGEST + 1n },
    { ...CHARGE, channel: "EQA" },
    { ...CHARGE, channel: "" },
    { ...CHARGE, channel: `0:${"AB".repeat(32)}` },
    { ...CHARGE, networkId: 2 ** 31 },
    { ...CHARGE, networkId: 0.5 },
    { ...CHARGE, receipt: new Uint8Array(31) },
    { type: "close", networkId: -3, channel: CHANNEL, total: 1n, closeSeq: -1 },
    { type: "close", networkId: -3, channel: CHANNEL, total: 1n, closeSeq: 2 ** 32 },
    { type: "checkpoint", networkId: -3, gateway: CHANNEL, seqno: 2 ** 32, stateHash: EMPTY_CHAIN },
  ];
  for (const payload of bad) assert.throws(() => payloadHash(payload), RangeError);
});

test("two payloads of the same fields and another type or network have other hashes", () => {
  const hashes = [
    CHARGE,
    { ...CHARGE, type: "payout" as const },
    { ...CHARGE, networkId: -239 },
    { ...CHARGE, total: 2395n },
  ];
  assert.equal(new Set(hashes.map((payload) => toHex(payloadHash(payload)))).size, hashes.length);
});

test("the receipt chains hash label, chain and receipt, and are two", () => {
  const receiptHash = new Uint8Array(32).fill(5);
  assert.deepEqual(nextChargeChain(EMPTY_CHAIN, receiptHash), hash(label("charge chain"), EMPTY_CHAIN, receiptHash));
  assert.deepEqual(nextPayoutChain(EMPTY_CHAIN, receiptHash), hash(label("payout chain"), EMPTY_CHAIN, receiptHash));
});

/** The checksum the chain's library puts under these bytes: CRC-32C, little-endian. */
function withChecksum(body: Uint8Array): Uint8Array {
  let crc = 0xffffffff;
  for (const byte of body) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  const checksum = new Uint8Array(4);
  new DataView(checksum.buffer).setUint32(0, ~crc >>> 0, true);
  return concat(body, checksum);
}

import { concat, equalBytes, label, u32 } from "./bytes.ts";
import { Failure } from "./failure.ts";
import { hash } from "./keys.ts";
import type { Nanoton } from "./units.ts";

/** A TON standard address in workchain 0: `0:` and 64 lowercase hex digits. */
export type RawAddress = string;

/**
 * The four payloads a key signs for the chain (TON §2). Each is one cell without references; a signature is over the
 * cell's hash, 32 bytes, which no labelled message of ACN/1 is.
 */
export type SignedPayload =
  | {
      readonly type: "charge";
      readonly networkId: number;
      readonly channel: RawAddress;
      readonly total: Nanoton;
      /** 32 bytes: the chain over every receipt charged so far. */
      readonly receipt: Uint8Array;
    }
  | {
      readonly type: "payout";
      readonly networkId: number;
      readonly channel: RawAddress;
      readonly total: Nanoton;
      /** 32 bytes: the chain over every receipt paid so far. */
      readonly receipt: Uint8Array;
    }
  | {
      readonly type: "close";
      readonly networkId: number;
      readonly channel: RawAddress;
      readonly total: Nanoton;
      readonly closeSeq: number;
    }
  | {
      readonly type: "checkpoint";
      readonly networkId: number;
      readonly gateway: RawAddress;
      readonly seqno: number;
      /** 32 bytes. */
      readonly stateHash: Uint8Array;
    };

export type ChargeVoucher = Extract<SignedPayload, { type: "charge" }>;
export type PayoutVoucher = Extract<SignedPayload, { type: "payout" }>;

const TAGS = { charge: 0x43483031, payout: 0x50593031, close: 0x434c3031, checkpoint: 0x434b3031 } as const;

/** c₀ of both receipt chains. */
export const EMPTY_CHAIN = new Uint8Array(32);

/** cₙ = H(label ‖ cₙ₋₁ ‖ H(receiptₙ)) over the receipts charged to a client's channel. */
export function nextChargeChain(chain: Uint8Array, receiptHash: Uint8Array): Uint8Array {
  return hash(label("charge chain"), chain, receiptHash);
}

/** The same over the receipts paid into a worker's channel. */
export function nextPayoutChain(chain: Uint8Array, receiptHash: Uint8Array): Uint8Array {
  return hash(label("payout chain"), chain, receiptHash);
}

/** The cell hash both `@ton/core` and a contract compute: what is signed. 32 bytes. */
export function payloadHash(payload: SignedPayload): Uint8Array {
  return hash(cellRepresentation(cellBits(payload)));
}

/** A bag of cells with this one cell and a CRC, as `@ton/core` writes it. */
export function encodePayload(payload: SignedPayload): Uint8Array {
  const cell = cellRepresentation(cellBits(payload));
  const body = concat(BOC_MAGIC, Uint8Array.of(HAS_CRC | SIZE_BYTES, OFFSET_BYTES, 1, 1, 0, cell.length, 0), cell);
  return concat(body, crc32cLittleEndian(body));
}

/** @throws {Failure} `bad_message` unless the bytes are exactly what {@link encodePayload} writes for some payload. */
export function parsePayload(boc: Uint8Array): SignedPayload {
  const cell = boc.subarray(BOC_HEADER_BYTES, boc.length - CRC_BYTES);
  const data = cell.subarray(2);
  if (boc.length < BOC_HEADER_BYTES + CRC_BYTES + 2) throw notAPayload();
  const payload = readPayload(new BitReader(data));
  if (!equalBytes(encodePayload(payload), boc)) throw notAPayload();
  return payload;
}

const BOC_MAGIC = Uint8Array.of(0xb5, 0xee, 0x9c, 0x72);
const HAS_CRC = 0x40;
const SIZE_BYTES = 1;
const OFFSET_BYTES = 1;
const BOC_HEADER_BYTES = 11;
const CRC_BYTES = 4;
const ADDRESS = /^0:([0-9a-f]{64})$/;
const MAX_COINS_BYTES = 15;

function cellBits(payload: SignedPayload): BitWriter {
  const bits = new BitWriter();
  bits.uint(BigInt(TAGS[payload.type]), 32);
  bits.uint(BigInt.asUintN(32, BigInt(payload.networkId)), 32);
  bits.address(payload.type === "checkpoint" ? payload.gateway : payload.channel);
  switch (payload.type) {
    case "charge":
    case "payout":
      bits.coins(payload.total);
      bits.bytes(payload.receipt);
      return bits;
    case "close":
      bits.coins(payload.total);
      bits.uint(BigInt(payload.closeSeq), 32);
      return bits;
    case "checkpoint":
      bits.uint(BigInt(payload.seqno), 32);
      bits.bytes(payload.stateHash);
      return bits;
  }
}

function readPayload(bits: BitReader): SignedPayload {
  const tag = Number(bits.uint(32));
  const networkId = Number(BigInt.asIntN(32, bits.uint(32)));
  const channel = bits.address();
  switch (tag) {
    case TAGS.charge:
      return { type: "charge", networkId, channel, total: bits.coins(), receipt: bits.bytes(32) };
    case TAGS.payout:
      return { type: "payout", networkId, channel, total: bits.coins(), receipt: bits.bytes(32) };
    case TAGS.close:
      return { type: "close", networkId, channel, total: bits.coins(), closeSeq: Number(bits.uint(32)) };
    case TAGS.checkpoint:
      return {
        type: "checkpoint",
        networkId,
        gateway: channel,
        seqno: Number(bits.uint(32)),
        stateHash: bits.bytes(32),
      };
    default:
      throw notAPayload();
  }
}

/** Descriptors and data of an ordinary cell without references (TON "Cells and bags of cells"). */
function cellRepresentation(bits: BitWriter): Uint8Array {
  const full = Math.floor(bits.length / 8);
  const descriptor = full + Math.ceil(bits.length / 8);
  return concat(Uint8Array.of(0, descriptor), bits.padded());
}

/** Bits, most significant first, as TL-B writes them. */
class BitWriter {
  readonly #bits: number[] = [];

  get length(): number {
    return this.#bits.length;
  }

  uint(value: bigint, width: number): void {
    for (let i = width - 1; i >= 0; i--) this.#bits.push(Number((value >> BigInt(i)) & 1n));
  }

  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.uint(BigInt(byte), 8);
  }

  /** VarUInteger 16: four bits of length in bytes, then the bytes. */
  coins(amount: Nanoton): void {
    const bytes = amount === 0n ? 0 : Math.ceil(amount.toString(16).length / 2);
    if (amount < 0n || bytes > MAX_COINS_BYTES) throw new RangeError("coins out of range");
    this.uint(BigInt(bytes), 4);
    this.uint(amount, bytes * 8);
  }

  /** addr_std$10, no anycast, workchain 0. */
  address(address: RawAddress): void {
    const [, hex] = ADDRESS.exec(address) ?? [];
    if (hex === undefined) throw new RangeError("not a raw address in workchain 0");
    this.uint(0b100n, 3);
    this.uint(0n, 8);
    this.uint(BigInt(`0x${hex}`), 256);
  }

  /** Whole bytes; an unfinished one is closed by a 1 and zeros. */
  padded(): Uint8Array {
    const bits = this.#bits.length % 8 === 0 ? this.#bits : [...this.#bits, 1];
    const bytes = new Uint8Array(Math.ceil(bits.length / 8));
    bits.forEach((bit, i) => {
      bytes[i >> 3] = (bytes[i >> 3] ?? 0) | (bit << (7 - (i & 7)));
    });
    return bytes;
  }
}

class BitReader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  uint(width: number): bigint {
    let value = 0n;
    for (let i = 0; i < width; i++) value = (value << 1n) | BigInt(this.#bit());
    return value;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => Number(this.uint(8)));
  }

  coins(): Nanoton {
    return this.uint(Number(this.uint(4)) * 8);
  }

  address(): RawAddress {
    if (this.uint(11) !== 0b100_0000_0000n) throw notAPayload();
    return `0:${this.uint(256).toString(16).padStart(64, "0")}`;
  }

  #bit(): number {
    const byte = this.#data[this.#at >> 3];
    if (byte === undefined) throw notAPayload();
    const bit = (byte >> (7 - (this.#at & 7))) & 1;
    this.#at++;
    return bit;
  }
}

const CRC32C_POLYNOMIAL = 0x82f63b78;

function crc32cLittleEndian(bytes: Uint8Array): Uint8Array {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CRC32C_POLYNOMIAL : crc >>> 1;
  }
  return u32(~crc >>> 0).reverse();
}

function notAPayload(): Failure {
  return new Failure("bad_message", "not a signed payload");
}

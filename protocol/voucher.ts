import { concat, equalBytes, fromHex, label, toHex, u32 } from "./bytes.ts";
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

/**
 * The cell hash both `@ton/core` and a contract compute: what is signed. 32 bytes.
 *
 * @throws {RangeError} for a field that no cell holds: a total of more than 120 bits, an address off workchain 0.
 */
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
const HASH_BYTES = 32;

function cellBits(payload: SignedPayload): BitWriter {
  const bits = new BitWriter();
  bits.u32(TAGS[payload.type]);
  bits.i32(payload.networkId);
  bits.address(payload.type === "checkpoint" ? payload.gateway : payload.channel);
  switch (payload.type) {
    case "charge":
    case "payout":
      bits.coins(payload.total);
      bits.hash(payload.receipt);
      return bits;
    case "close":
      bits.coins(payload.total);
      bits.u32(payload.closeSeq);
      return bits;
    case "checkpoint":
      bits.u32(payload.seqno);
      bits.hash(payload.stateHash);
      return bits;
  }
}

function readPayload(bits: BitReader): SignedPayload {
  const tag = bits.uint(32);
  const networkId = bits.uint(32) | 0;
  const channel = bits.address();
  switch (tag) {
    case TAGS.charge:
      return { type: "charge", networkId, channel, total: bits.coins(), receipt: bits.bytes(32) };
    case TAGS.payout:
      return { type: "payout", networkId, channel, total: bits.coins(), receipt: bits.bytes(32) };
    case TAGS.close:
      return { type: "close", networkId, channel, total: bits.coins(), closeSeq: bits.uint(32) };
    case TAGS.checkpoint:
      return {
        type: "checkpoint",
        networkId,
        gateway: channel,
        seqno: bits.uint(32),
        stateHash: bits.bytes(32),
      };
    default:
      throw notAPayload();
  }
}

/** Descriptors and data of an ordinary cell without references (TON "Cells and bags of cells"). */
function cellRepresentation(bits: BitWriter): Uint8Array {
  const descriptor = Math.floor(bits.length / 8) + Math.ceil(bits.length / 8);
  return concat(Uint8Array.of(0, descriptor), bits.padded());
}

const MAX_CELL_BYTES = 128;

/** Bits, most significant first, as TL-B writes them. Runs once for every charge, so it writes bytes, not bits. */
class BitWriter {
  readonly #bytes = new Uint8Array(MAX_CELL_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The low `width` ≤ 8 bits of a number. */
  bits(value: number, width: number): void {
    const at = this.#length >> 3;
    const spare = 16 - (this.#length & 7) - width;
    const shifted = (value & ((1 << width) - 1)) << spare;
    this.#bytes[at] = (this.#bytes[at] ?? 0) | (shifted >> 8);
    this.#bytes[at + 1] = shifted;
    this.#length += width;
  }

  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.bits(byte, 8);
  }

  u32(value: number): void {
    this.bytes(u32(value));
  }

  i32(value: number): void {
    if ((value | 0) !== value) throw new RangeError("not an int32");
    this.bytes(u32(value >>> 0));
  }

  hash(bytes: Uint8Array): void {
    if (bytes.length !== HASH_BYTES) throw new RangeError("not 32 bytes");
    this.bytes(bytes);
  }

  /** VarUInteger 16: four bits of length in bytes, then the bytes. */
  coins(amount: Nanoton): void {
    const hex = amount === 0n ? "" : amount.toString(16);
    const length = Math.ceil(hex.length / 2);
    if (amount < 0n || length > MAX_COINS_BYTES) throw new RangeError("coins out of range");
    this.bits(length, 4);
    this.bytes(fromHex(hex.padStart(length * 2, "0")));
  }

  /** addr_std$10, no anycast, workchain 0. */
  address(address: RawAddress): void {
    const [, hex] = ADDRESS.exec(address) ?? [];
    if (hex === undefined) throw new RangeError("not a raw address in workchain 0");
    this.bits(0b100, 3);
    this.bits(0, 8);
    this.bytes(fromHex(hex));
  }

  /** Whole bytes; an unfinished one is closed by a 1 and zeros. */
  padded(): Uint8Array {
    const padding = -this.#length & 7;
    if (padding > 0) this.bits(1 << (padding - 1), padding);
    return this.#bytes.slice(0, this.#length >> 3);
  }
}

class BitReader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  /** The next `width` ≤ 32 bits. */
  uint(width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 2 + this.#bit();
    return value;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.uint(8));
  }

  coins(): Nanoton {
    return BigInt(`0x0${toHex(this.bytes(this.uint(4)))}`);
  }

  address(): RawAddress {
    if (this.uint(11) !== 0b100_0000_0000) throw notAPayload();
    return `0:${toHex(this.bytes(HASH_BYTES))}`;
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

const CRC32C = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
  return crc;
});

function crc32cLittleEndian(bytes: Uint8Array): Uint8Array {
  let crc = ~0;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC32C[(crc ^ byte) & 0xff] ?? 0);
  return u32(~crc >>> 0).reverse();
}

function notAPayload(): Failure {
  return new Failure("bad_message", "not a signed payload");
}

import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js";
import { Failure, type FailureCode } from "./failure.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 bytes of a string. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The string of UTF-8 bytes; invalid UTF-8 is a failure, never U+FFFD. */
export function fromUtf8(bytes: Uint8Array, code: FailureCode = "bad_message"): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new Failure(code, "not UTF-8", { cause });
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** One byte. @throws {RangeError} for a number that does not fit: cut to size, it would sign something else. */
export function u8(value: number): Uint8Array {
  refuseUnlessUnsigned(value, 0xff);
  return Uint8Array.of(value);
}

/** Four bytes, big-endian. @throws {RangeError} for a number that does not fit. */
export function u32(value: number): Uint8Array {
  refuseUnlessUnsigned(value, 0xffff_ffff);
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, value);
  return bytes;
}

/** Eight bytes, big-endian. @throws {RangeError} for a number that does not fit. */
export function u64(value: number | bigint): Uint8Array {
  refuseUnlessUnsigned(value, 0xffff_ffff_ffff_ffffn);
  const bytes = new Uint8Array(8);
  writeU64(bytes, 0, value);
  return bytes;
}

/** Sixteen bytes, big-endian. @throws {RangeError} for a number that does not fit. */
export function u128(value: bigint): Uint8Array {
  refuseUnlessUnsigned(value, (1n << 128n) - 1n);
  return concat(u64(value >> 64n), u64(value & 0xffff_ffff_ffff_ffffn));
}

/** The low 32 bits of a whole number, big-endian, unchecked: for loops that know their numbers. */
export function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

/** The low 64 bits of a whole number, big-endian, unchecked. */
export function writeU64(target: Uint8Array, at: number, value: number | bigint): void {
  new DataView(target.buffer, target.byteOffset, target.byteLength).setBigUint64(at, BigInt(value));
}

export function readU32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);
}

/** An unsigned 64-bit number that fits a double exactly; a larger one is `code`: no time, id or count of ours is. */
export function readU64(bytes: Uint8Array, at: number, code: FailureCode = "bad_message"): number {
  const value = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Failure(code, "number out of range");
  return Number(value);
}

/** LV(x) of ACN/1: the length as u32, then the bytes. */
export function lengthPrefixed(bytes: Uint8Array): Uint8Array {
  return concat(u32(bytes.length), bytes);
}

/** An ASCII label of ACN/1 with its closing zero byte. */
export function label(name: string): Uint8Array {
  return utf8(`ACN1 ${name}\0`);
}

/** Equality in constant time for equal lengths. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

/** Lowercase hex, as hashes and roots are written. */
export function toHex(bytes: Uint8Array): string {
  return bytesToHex(bytes);
}

export function fromHex(hex: string): Uint8Array {
  return hexToBytes(hex);
}

const BASE64URL = utf8("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const NOT_BASE64URL = 0xff;
const BASE64URL_VALUES = new Uint8Array(128).fill(NOT_BASE64URL);
BASE64URL.forEach((character, value) => {
  BASE64URL_VALUES[character] = value;
});

/** base64url without padding (RFC 4648 §5), as binary is written in JSON. */
export function toBase64url(bytes: Uint8Array): string {
  const characters = new Uint8Array(Math.ceil((bytes.length * 4) / 3));
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    // A write past the end of a typed array does nothing: the last group may need only two or three.
    for (let shift = 18; shift >= 0; shift -= 6) characters[at++] = BASE64URL[(group >> shift) & 63] ?? 0;
  }
  return decoder.decode(characters);
}

/** The inverse, strict: padding, other characters and non-zero spare bits give undefined. */
export function fromBase64url(text: string): Uint8Array | undefined {
  if (text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const value = BASE64URL_VALUES[text.charCodeAt(i)] ?? NOT_BASE64URL;
    if (value === NOT_BASE64URL) return undefined;
    held = (held << 6) | value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = held >> bits;
    held &= (1 << bits) - 1;
  }
  return held === 0 ? bytes : undefined;
}

function refuseUnlessUnsigned(value: number | bigint, maximum: number | bigint): void {
  const isWhole = typeof value === "bigint" || Number.isInteger(value);
  if (!isWhole || value < 0 || value > maximum) throw new RangeError("not an unsigned number that fits");
}

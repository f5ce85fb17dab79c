import assert from "node:assert/strict";
import test from "node:test";
import {
  concat,
  equalBytes,
  fromBase64url,
  fromHex,
  fromUtf8,
  label,
  lengthPrefixed,
  readU32,
  readU64,
  toBase64url,
  toHex,
  u128,
  u32,
  u64,
  u8,
  utf8,
  writeU64,
} from "./bytes.ts";
import { hasCode } from "./failure.fake.ts";
import { seededRandom } from "./parties.fake.ts";

test("numbers are written big-endian", () => {
  assert.equal(toHex(u8(255)), "ff");
  assert.equal(toHex(u32(0x01020304)), "01020304");
  assert.equal(toHex(u32(0xffff_ffff)), "ffffffff");
  assert.equal(toHex(u64(0x0102_0304_0506)), "0000010203040506");
  assert.equal(toHex(u64(2n ** 64n - 1n)), "ffffffffffffffff");
  assert.equal(toHex(u128(2n ** 64n + 258n)), `${"0".repeat(15)}1${"0".repeat(12)}0102`);
  assert.equal(toHex(u128(2n ** 128n - 1n)), "f".repeat(32));
});

test("a number that does not fit is refused, never cut", () => {
  for (const value of [-1, 2 ** 32, 0.5, NaN, Infinity]) assert.throws(() => u32(value), RangeError);
  for (const value of [-1, -1n, 2n ** 64n, 0.5, NaN, Infinity]) assert.throws(() => u64(value), RangeError);
  for (const value of [-1, 256]) assert.throws(() => u8(value), RangeError);
  for (const value of [-1n, 2n ** 128n]) assert.throws(() => u128(value), RangeError);
});

test("a number is read from any offset of a larger buffer", () => {
  const whole = concat(u8(9), u32(0xfffe_fdfc), u64(77));
  assert.equal(readU32(whole.subarray(1), 0), 0xfffe_fdfc);
  assert.equal(readU64(whole.subarray(5), 0), 77);
});

test("a u64 beyond what counts exactly is refused", () => {
  assert.equal(readU64(u64(Number.MAX_SAFE_INTEGER), 0), Number.MAX_SAFE_INTEGER);
  assert.throws(() => readU64(u64(2n ** 53n), 0, "bad_frame"), hasCode("bad_frame"));
});

test("a view never writes past its own end", () => {
  const whole = new Uint8Array(16);
  assert.throws(() => writeU64(whole.subarray(0, 8), 4, 1), RangeError);
  assert.deepEqual(whole, new Uint8Array(16));
});

test("LV is the length, then the bytes; a label ends in zero", () => {
  assert.equal(toHex(lengthPrefixed(utf8("ab"))), "000000026162");
  assert.equal(toHex(label("link")), "41434e31206c696e6b00");
});

test("text that is not UTF-8 is a failure, never U+FFFD", () => {
  for (const hex of ["ff", "c080", "eda080", "f4908080", "e28"]) {
    const bytes = fromHex(hex.length % 2 === 0 ? hex : `${hex}2`).subarray(0, Math.ceil(hex.length / 2));
    assert.throws(() => fromUtf8(bytes), hasCode("bad_message"));
  }
  assert.equal(fromUtf8(utf8("\u{feff}ж🙂")), "\u{feff}ж🙂");
});

test("equality sees every byte and the length", () => {
  const bytes = seededRandom(1)(64);
  assert.ok(equalBytes(bytes, bytes.slice()));
  assert.ok(!equalBytes(bytes, bytes.subarray(1)));
  for (let i = 0; i < bytes.length; i++) {
    const other = bytes.slice();
    other[i] = (other[i] ?? 0) ^ 1;
    assert.ok(!equalBytes(bytes, other));
  }
});

test("base64url is RFC 4648's, without padding", () => {
  const table = { "": "", f: "Zg", fo: "Zm8", foo: "Zm9v", foob: "Zm9vYg", fooba: "Zm9vYmE", foobar: "Zm9vYmFy" };
  for (const [text, encoded] of Object.entries(table)) {
    assert.equal(toBase64url(utf8(text)), encoded);
    assert.deepEqual(fromBase64url(encoded), utf8(text));
  }
  assert.equal(toBase64url(fromHex("fbff")), "-_8");
});

test("any bytes survive base64url, as Node's own codec has it", () => {
  const random = seededRandom(2);
  for (let length = 0; length < 300; length++) {
    const bytes = random(length);
    const encoded = toBase64url(bytes);
    assert.equal(encoded, Buffer.from(bytes).toString("base64url"));
    assert.deepEqual(fromBase64url(encoded), bytes);
  }
  const large = random(200_000);
  assert.equal(toBase64url(large), Buffer.from(large).toString("base64url"));
  assert.deepEqual(fromBase64url(toBase64url(large)), large);
});

test("base64url has one spelling: padding, other alphabets, spaces and spare bits are refused", () => {
  for (const text of [
    "Zg==",
    "Zh",
    "Zm9",
    "A",
    "AAAAA",
    "+/8A",
    "Zg\n",
    " Zg",
    "Z g",
    "Zm9v=",
    "Zжg",
    "Zg\u0100A",
    "🙂A",
  ])
    assert.equal(fromBase64url(text), undefined, text);
});

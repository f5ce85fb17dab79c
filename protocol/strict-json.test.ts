import assert from "node:assert/strict";
import test from "node:test";
import { z } from "./schema.ts";
import { utf8 } from "./bytes.ts";
import { hasCode } from "./failure.fake.ts";
import {
  bytesField,
  count,
  hashHex,
  key32,
  nanoton,
  parseStrict,
  parseStrictJson,
  priceSheet,
  readJson,
  stringify,
  unixSeconds,
} from "./strict-json.ts";

const schema = z.strictObject({ a: z.number(), b: z.strictObject({ c: z.string() }).optional() });

test("exactly the keys of the schema are accepted", () => {
  assert.deepEqual(parseStrictJson(schema, '{"a":1,"b":{"c":"x"}}'), { a: 1, b: { c: "x" } });
  assert.throws(() => parseStrictJson(schema, "{}"), hasCode("bad_message", /a: /));
  assert.throws(() => parseStrictJson(schema, '{"a":1,"d":2}'), hasCode("bad_message", /"d"/));
  assert.throws(() => parseStrictJson(schema, '{"a":1,"b":{"c":"x","e":1}}'), hasCode("bad_message", /b: .*"e"/));
  assert.throws(() => parseStrictJson(schema, '{"a":"1"}'), hasCode("bad_message", /a: /));
});

test("a key named twice is refused at any depth, however it is spelled", () => {
  const twice = [
    '{"a":1,"a":1}',
    '{"a":1, "a" : 2}',
    '{"x":{"y":{"z":1,"z":2}}}',
    '[[{"a":1,"a":2}]]',
    '{"x":[{"a":[{}],"b":1,"a":0}]}',
    '{"a":1,"\\u0061":2}',
    '{"a\\"b":1,"a\\u0022b":2}',
    '{"\\\\":1,"\\u005c":2}',
    '{"":1,"":2}',
    '{"a"\t:1,"a"\r\n:2}',
  ];
  for (const text of twice) assert.throws(() => readJson(text), hasCode("bad_message", /twice/), text);
});

test("equal keys of different objects, and equal values, are no duplicates", () => {
  const fine = [
    '[{"a":1},{"a":1}]',
    '{"a":{"a":{"a":1}}}',
    '{"a":"a","b":"a"}',
    '{"a":["a","a",":"],"b":":"}',
    '{"a":"\\",\\"a\\":1","b":"{\\"a\\":1,\\"a\\":2}"}',
    '{"a\\\\":1,"a":2}',
  ];
  for (const text of fine) assert.deepEqual(readJson(text), JSON.parse(text), text);
});

test("__proto__ is never a key", () => {
  for (const text of ['{"__proto__":{"a":1}}', '{"x":[{"__proto__":1}]}', '{"\\u005f_proto__":1}'])
    assert.throws(() => readJson(text), hasCode("bad_message"), text);
  assert.equal(readJson('"__proto__"'), "__proto__");
});

test("text that is not JSON is refused", () => {
  for (const text of [
    "",
    " ",
    "{",
    '{"a":1}}',
    "{'a':1}",
    "{a:1}",
    '{"a":1,}',
    "[1,]",
    "NaN",
    "01",
    "\u{feff}{}",
    "undefined",
    '"\n"',
  ])
    assert.throws(() => readJson(text), hasCode("bad_message"), text);
});

test("bytes that are not UTF-8 are refused", () => {
  assert.throws(() => parseStrictJson(schema, Uint8Array.of(0x22, 0xff, 0x22)), hasCode("bad_message", /UTF-8/));
  assert.deepEqual(parseStrictJson(z.string(), utf8('"ж"')), "ж");
});

test("JSON nested beyond any use is refused before anything walks it", () => {
  for (const depth of [65, 1000, 200_000])
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
    ] as const)
      assert.throws(() => readJson(`${open.repeat(depth)}1${close.repeat(depth)}`), hasCode("bad_message", /deep/));
  assert.ok(readJson(`${"[".repeat(64)}1${"]".repeat(64)}`));
});

test("each kind of failure carries the code that the caller names", () => {
  for (const text of ["{", '{"a":1,"a":1}', "{}"])
    assert.throws(() => parseStrictJson(schema, text, "evidence_format"), hasCode("evidence_format"));
  assert.throws(() => parseStrict(schema, { a: "x" }, "policy_format"), hasCode("policy_format"));
});

test("a failure never repeats the text it refused", () => {
  const prompt = "my secret prompt";
  for (const text of [`{"a":"${prompt}"}`, `{"a":1,"a":"${prompt}"}`, `{"a":"${prompt}`])
    assert.throws(
      () => parseStrictJson(schema, text),
      (error) => hasCode("bad_message")(error) && error instanceof Error && !error.message.includes(prompt),
    );
});

test("an amount is decimal digits, in one spelling, within 120 bits", () => {
  const most = 2n ** 120n - 1n;
  assert.equal(nanoton.parse("0"), 0n);
  assert.equal(nanoton.parse(most.toString()), most);
  for (const bad of [
    "",
    "-1",
    "+1",
    "01",
    "1.0",
    "1e3",
    "0x1",
    " 1",
    "1 ",
    "1_000",
    "١",
    (most + 1n).toString(),
    "9".repeat(1_000_000),
  ])
    assert.ok(!nanoton.safeParse(bad).success, bad.slice(0, 50));
  for (const bad of [1, 1n, null, undefined, {}, []]) assert.ok(!nanoton.safeParse(bad).success);
});

test("counts and times are whole, in range and never huge", () => {
  for (const field of [count, unixSeconds]) {
    assert.ok(field.safeParse(0).success);
    for (const bad of [-1, 0.5, 2 ** 53, 1e300, NaN, Infinity, "1", null]) assert.ok(!field.safeParse(bad).success);
  }
  assert.ok(count.safeParse(0xffff_ffff).success && !count.safeParse(2 ** 32).success);
  assert.throws(() => parseStrictJson(z.strictObject({ n: count }), '{"n":1e400}'), hasCode("bad_message"));
  assert.throws(() => parseStrictJson(z.strictObject({ n: count }), '{"n":9007199254740993}'), hasCode("bad_message"));
});

test("a hash is 64 lowercase hex digits, a key 32 bytes in base64url", () => {
  assert.ok(hashHex.safeParse("0".repeat(64)).success);
  for (const bad of ["", "0".repeat(63), "0".repeat(65), "A".repeat(64), `${"0".repeat(64)}\n`, "g".repeat(64)])
    assert.ok(!hashHex.safeParse(bad).success);
  assert.deepEqual(key32.parse("A".repeat(43)), new Uint8Array(32));
  for (const bad of ["A".repeat(42), "A".repeat(44), `${"A".repeat(42)}B`, `${"A".repeat(43)}=`, 1])
    assert.ok(!key32.safeParse(bad).success);
});

test("a bytes field keeps to its length", () => {
  assert.deepEqual(bytesField(undefined, 4).parse("AAAAAA"), new Uint8Array(4));
  assert.ok(!bytesField(undefined, 4).safeParse("AAAAAAA").success);
  assert.ok(!bytesField(undefined, 4).safeParse("A".repeat(1_000_000)).success);
});

test("a price sheet never asks more for cached tokens", () => {
  assert.ok(priceSheet.safeParse({ prompt: "2", cached: "2", completion: "1" }).success);
  assert.ok(!priceSheet.safeParse({ prompt: "1", cached: "2", completion: "1" }).success);
  assert.ok(!priceSheet.safeParse({ prompt: "1", cached: "-1", completion: "1" }).success);
});

test("amounts and bytes of any platform become text and come back", () => {
  const value = { n: 2n ** 100n, b: Uint8Array.of(1, 2, 3), o: Buffer.from([1, 2, 3]), list: [1n], plain: "x" };
  assert.equal(
    stringify(value),
    '{"n":"1267650600228229401496703205376","b":"AQID","o":"AQID","list":["1"],"plain":"x"}',
  );
});

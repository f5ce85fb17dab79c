import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

const folder = import.meta.dirname;
const errors = readFileSync(join(folder, "errors.tolk"), "utf8");
const codes = [...errors.matchAll(/^const (ERR_\w+) = (\w+)/gm)].map(
  ([, name = "", code]) => [name, Number(code)] as const,
);
const sources = readdirSync(folder)
  .filter((file) => file.endsWith(".tolk"))
  .map((file) => readFileSync(join(folder, file), "utf8"));
const tests = readdirSync(folder)
  .filter((file) => /^[A-Z].*\.test\.ts$/.test(file))
  .map((file) => readFileSync(join(folder, file), "utf8"));

test("each exit code has one number, and the two reserved ones none", () => {
  const numbers = codes.map(([, code]) => code);
  assert.deepEqual(numbers, [
    ...[401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 416, 417],
    0xffff,
  ]);
});

test("nothing is thrown but a code of the table", () => {
  for (const source of sources) {
    for (const [, thrown = ""] of source.matchAll(/\bthrow(?:IfOpcodeDoesNotMatch:)? (\S+?);/g)) {
      assert.ok(
        codes.some(([name]) => name === thrown),
        thrown,
      );
    }
  }
});

test("each code is thrown by a contract and provoked by a test", () => {
  for (const [name, code] of codes) {
    assert.ok(
      sources.some((source) => new RegExp(`(throw|throwIfOpcodeDoesNotMatch:) ${name}\\b`).test(source)),
      name,
    );
    const written = code === 0xffff ? "0xffff" : String(code);
    assert.ok(
      tests.some((text) => new RegExp(`\\b${written}\\b`).test(text)),
      `no test expects ${code}`,
    );
  }
});

test("no contract can be destroyed: a channel deployed anew would take its old vouchers again", () => {
  for (const source of sources) assert.doesNotMatch(source, /SEND_MODE_DESTROY|sendRawMessage|\.send\(\d/);
});

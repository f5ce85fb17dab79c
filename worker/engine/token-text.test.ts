import assert from "node:assert/strict";
import test from "node:test";
import type { Token, Tokenizer } from "node-llama-cpp";
import { TokenText } from "./token-text.ts";

/** A vocabulary of single bytes, and above them a control token. */
const CONTROL = 256;
function detokenize(tokens: readonly Token[], special = false): string {
  const bytes = tokens.flatMap((token): readonly number[] =>
    token < 256 ? [token] : special ? [...Buffer.from("<turn>")] : [],
  );
  return Buffer.from(bytes).toString("utf8");
}
const tokenizer = {
  detokenize: (tokens: readonly Token[], special?: boolean, before: readonly Token[] = []) =>
    detokenize([...before, ...tokens], special).slice(detokenize(before, special).length),
  isSpecialToken: (token: Token) => token === CONTROL,
} as unknown as Tokenizer;

function pieces(tokens: readonly number[], marks: readonly string[] = []): string[] {
  const text = new TokenText(tokenizer, [], marks);
  return [...tokens.map((token) => text.push(token as Token)), text.end()];
}

test("a character comes whole, with its last byte", () => {
  assert.deepEqual(pieces([...Buffer.from("aé漢🙂")]), ["a", "", "é", "", "", "漢", "", "", "", "🙂", ""]);
});

test("bytes that make no character are shown as such in the end", () => {
  assert.equal(pieces([0x61, 0xf0, 0x9f]).join(""), "a\uFFFD");
  const broken = pieces([0xff, 0xff, 0xff, 0xff, 0x62]).join("");
  assert.ok(broken.startsWith("\uFFFD") && broken.endsWith("b"));
});

test("a control token is shown only where it is a mark", () => {
  assert.equal(pieces([0x61, CONTROL, 0x62]).join(""), "ab");
  assert.equal(pieces([0x61, CONTROL, 0x62], ["<turn>user"]).join(""), "a<turn>b");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultMaxTokens, findModel, parseCatalogue } from "./catalogue.ts";

const ROOT = "11".repeat(32);
const OTHER = "22".repeat(32);
const entry = { id: "practice", manifestRoot: ROOT };

test("a name, and a root that has one, is its entry; another root is a model of its own", () => {
  assert.deepEqual(findModel([entry], "practice"), entry);
  assert.deepEqual(findModel([entry], ROOT), entry);
  assert.deepEqual(findModel([entry], OTHER), { id: OTHER, manifestRoot: OTHER });
});

for (const name of ["other", "Practice", ROOT.slice(1), "AA".repeat(32), ""]) {
  test(`${JSON.stringify(name)} is no model, and the answer names those that are`, () => {
    assert.throws(() => findModel([entry], name), { code: "model_unavailable", message: /which has "practice"/ });
  });
}

test("a catalogue is strict", () => {
  const whole = { v: "acn1-catalogue", models: [{ ...entry, contextTokens: 4096, defaultMaxTokens: 5 }] };
  assert.deepEqual(parseCatalogue(JSON.stringify(whole)), whole.models);
  for (const wrong of [
    {},
    { models: [] },
    { ...whole, extra: 1 },
    { ...whole, models: [entry, entry] },
    { ...whole, models: [{ ...entry, manifestRoot: "x" }] },
    { ...whole, models: [{ ...entry, contextTokens: 0 }] },
    { ...whole, models: [{ ...entry, url: "https://x" }] },
  ]) {
    assert.throws(() => parseCatalogue(wrong), { code: "bad_configuration" }, JSON.stringify(wrong));
  }
  assert.throws(() => parseCatalogue("{"), { code: "bad_configuration" });
});

test("a request without a limit leaves half of the context to its prompt", () => {
  assert.equal(defaultMaxTokens(entry, undefined), 1024);
  assert.equal(defaultMaxTokens(entry, 512), 256);
  assert.equal(defaultMaxTokens(entry, 100_000), 2048);
  assert.equal(defaultMaxTokens({ ...entry, contextTokens: 1000 }, 512), 500);
  assert.equal(defaultMaxTokens({ ...entry, contextTokens: 1000, defaultMaxTokens: 9 }, 512), 9);
  assert.equal(defaultMaxTokens(entry, 1), 1);
});

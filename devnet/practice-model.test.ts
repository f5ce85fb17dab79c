import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { encodeGguf, f16Bits, type Gguf, writeGguf } from "./gguf-writer.ts";
import { ensurePracticeModel, practiceModel } from "./practice-model.ts";
import { randomModel, TINY_SHAPE } from "./random-model.ts";

function sha256(model: Gguf): string {
  const hash = createHash("sha256");
  for (const piece of encodeGguf(model)) hash.update(piece);
  return hash.digest("hex");
}

test("the practice model has the same bytes on every machine", () => {
  assert.equal(sha256(practiceModel()), "96624f19cb661b2baa4f69e73cc3ada0d17e98ff46af19f1570cb3f9bf2117e6");
});

const random = (architecture: "qwen2" | "qwen3" | "deepseek2", type: "F16" | "Q8_0" | "Q4_0") =>
  sha256(randomModel({ architecture, type, shape: TINY_SHAPE, seed: 42 })).slice(0, 12);

test("a random model depends on its seed alone", () => {
  assert.equal(random("qwen2", "F16"), "e10a4bd324f4");
  assert.equal(random("qwen3", "Q8_0"), "665f2a21219c");
  assert.equal(random("qwen3", "Q4_0"), "31de658ec7b2");
  assert.equal(random("deepseek2", "F16"), "147315bf01ac");
});

test("the practice model is written once, and again when the copy was damaged", async () => {
  const path = await ensurePracticeModel();
  const whole = readFileSync(path);
  const writtenAt = statSync(path).mtimeMs;
  assert.equal(statSync(await ensurePracticeModel()).mtimeMs, writtenAt);
  assert.ok(whole.length < 3_000_000);

  const folder = mkdtempSync(join(tmpdir(), "cocoon-"));
  try {
    const copy = join(folder, "copy.gguf");
    writeFileSync(copy, whole.subarray(0, 1000));
    writeGguf(copy, practiceModel());
    assert.deepEqual(readFileSync(copy), whole);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("half-precision numbers round to the nearest", () => {
  const cases: readonly (readonly [number, number])[] = [
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [1e6, 0x7c00],
    [2 ** -24, 1],
    [2 ** -14, 0x0400],
    [0, 0],
    [0.1, 0x2e66],
  ];
  for (const [value, bits] of cases) assert.equal(f16Bits(value), bits, `${value}`);
});

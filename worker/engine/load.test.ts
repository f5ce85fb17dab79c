import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { encodeGguf, type Gguf, string, u32, writeGguf } from "../../devnet/gguf-writer.ts";
import { practiceModel } from "../../devnet/practice-model.ts";
import { Engine } from "./engine.ts";
import { EngineDriver, planFor } from "./engine-driver.fake.ts";
import { LlamaRunner } from "./llama-runner.ts";
import { memoryBytes } from "./memory.ts";

const folder = mkdtempSync(join(tmpdir(), "cocoon-load-"));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const whole = Buffer.concat([...encodeGguf(practiceModel())]);

function withMetadata(name: string, change: (metadata: Gguf["metadata"]) => Gguf["metadata"]): string {
  const { metadata, tensors } = practiceModel();
  const path = join(folder, name);
  writeGguf(path, { metadata: change(metadata), tensors });
  return path;
}

/** A header that promises more than any machine has, and a file as long as it says, with nothing in it. */
function enormous(): string {
  const { metadata } = practiceModel();
  const shape = [65_536, 65_536, 1000];
  const [header = new Uint8Array()] = encodeGguf({
    metadata,
    tensors: [{ name: "token_embd.weight", type: "F32", shape, encode: () => new Uint8Array() }],
  });
  const path = file("enormous.gguf", header);
  truncateSync(path, header.length + 64 + shape.reduce((a, b) => a * b, 4));
  return path;
}

const damaged = Uint8Array.from(whole, (byte, i) => (i >= 8 && i < 24 ? 255 : byte));

const cases: readonly (readonly [string, () => string, string, RegExp])[] = [
  ["a file that is not there", () => join(folder, "absent.gguf"), "model_invalid", /no file/u],
  ["a folder", () => folder, "model_invalid", /no readable GGUF/u],
  ["an empty file", () => file("empty.gguf", new Uint8Array()), "model_invalid", /no readable GGUF/u],
  [
    "a text",
    () => file("text.gguf", Buffer.from("Not a model at all.\n".repeat(50))),
    "model_invalid",
    /no readable GGUF/u,
  ],
  [
    "a header cut short",
    () => file("header.gguf", whole.subarray(0, 300)),
    "model_invalid",
    /no readable GGUF|cut off/u,
  ],
  ["weights cut short", () => file("cut.gguf", whole.subarray(0, whole.length - 100_000)), "model_invalid", /cut off/u],
  ["impossible counts", () => file("counts.gguf", damaged), "model_invalid", /no readable GGUF/u],
  [
    "an unknown architecture",
    () => withMetadata("unknown.gguf", (metadata) => ({ ...metadata, "general.architecture": string("perceptron") })),
    "model_invalid",
    /perceptron/u,
  ],
  [
    "a shape that its tensors do not have",
    () => withMetadata("shape.gguf", (metadata) => ({ ...metadata, "qwen3.block_count": u32(9) })),
    "model_invalid",
    /could not load/u,
  ],
  ["a model larger than memory", enormous, "out_of_memory", /smaller model/u],
];

for (const [name, path, code, sentence] of cases) {
  test(`${name} is told as ${code}, with what to do`, async () => {
    const driver: EngineDriver = new EngineDriver((message) => engine.handle(message));
    const engine = new Engine(
      (message) => driver.receive(message),
      (plan) => LlamaRunner.load(plan),
    );
    const reply = await driver.load(planFor(path()));
    assert.ok(reply.type === "load_failed");
    assert.equal(reply.code, code, reply.message);
    assert.match(reply.message, sentence);
    const refused = await driver.answer({ messages: [{ role: "user", content: "anyone?" }] });
    assert.ok(refused.end.type === "failed" && refused.end.code === "model_unavailable");
  });
}

test("a context larger than memory is out_of_memory before anything is loaded", async () => {
  const driver: EngineDriver = new EngineDriver((message) => engine.handle(message));
  const engine = new Engine(
    (message) => driver.receive(message),
    (plan) => LlamaRunner.load(plan),
  );
  const path = withMetadata("long.gguf", (metadata) => ({ ...metadata, "qwen3.context_length": u32(2 ** 31) }));
  const reply = await driver.load(planFor(path, { contextTokens: 2 ** 30, slots: 16 }));
  assert.ok(reply.type === "load_failed");
  assert.equal(reply.code, "out_of_memory");
});

test("memory is estimated as llama.cpp allocates it", () => {
  // Qwen3-8B at 8192 tokens: 1,207,959,552 bytes of cache and 311 MB of scores (ENGINE.md §1.5).
  const qwen = {
    weightBytes: 0,
    layers: 36,
    keyValueHeads: 8,
    keyLength: 128,
    valueLength: 128,
    vocabularySize: 151_936,
  };
  const demand = { contextTokens: 8192, slots: 1, batchTokens: 512, kvCache: "f16" } as const;
  assert.equal(memoryBytes(qwen, demand), 1_207_959_552 + 512 * 151_936 * 4 + 16 * 2 ** 20);
  const four = memoryBytes(qwen, { ...demand, slots: 4 }) - memoryBytes(qwen, demand);
  assert.equal(four, 3 * 1_207_959_552);
  assert.ok(memoryBytes(qwen, { ...demand, kvCache: "q8_0" }) < memoryBytes(qwen, demand) * 0.65);
});

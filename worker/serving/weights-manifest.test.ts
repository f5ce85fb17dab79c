import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { Failure } from "../../protocol/index.ts";
import { LEAF_BYTES, LEAVES_PER_BLOCK } from "./merkle.ts";
import { isLeafOf, proveLeaf, readManifest } from "./weights-manifest.ts";

const folder = mkdtempSync(join(tmpdir(), "cocoon-weights-"));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** Bytes that differ from leaf to leaf. */
function weights(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + Math.floor(i / LEAF_BYTES) * seed) & 0xff);
}

const H = (...parts: readonly Uint8Array[]): Uint8Array => createHash("sha256").update(Buffer.concat(parts)).digest();
const leaf = (data: Uint8Array): Uint8Array => H(Uint8Array.of(0), data);
const node = (left: Uint8Array, right: Uint8Array): Uint8Array => H(Uint8Array.of(1), left, right);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** The definition, written down once more: level by level over all leaves at once. */
function rootByDefinition(data: Uint8Array): string {
  let level: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += LEAF_BYTES) level.push(leaf(data.subarray(at, at + LEAF_BYTES)));
  while (level.length > 1) {
    level = level.flatMap((left, i) => {
      const right = level[i + 1];
      if (i % 2 === 1) return [];
      return [right === undefined ? left : node(left, right)];
    });
  }
  return hex(level[0] ?? new Uint8Array());
}

async function refused(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return error instanceof Failure ? error.code : "a bug";
  }
  return "nothing";
}

test("the root is the hash tree over leaves of 4 KiB", async () => {
  const [a, b, c] = [weights(LEAF_BYTES, 1), weights(LEAF_BYTES, 2), weights(100, 3)];
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ["one short leaf", c, hex(leaf(c))],
    ["one whole leaf", a, hex(leaf(a))],
    ["two leaves", Buffer.concat([a, b]), hex(node(leaf(a), leaf(b)))],
    ["three leaves, the odd one goes up", Buffer.concat([a, b, c]), hex(node(node(leaf(a), leaf(b)), leaf(c)))],
  ];
  for (const [name, data, root] of cases) {
    const manifest = await readManifest(file("case.gguf", data));
    assert.equal(manifest.root, root, name);
    assert.equal(manifest.bytes, data.length, name);
  }
});

test("blocks change nothing about the root", async () => {
  const block = LEAF_BYTES * LEAVES_PER_BLOCK;
  for (const length of [block, block + 1, 2 * block + 3 * LEAF_BYTES - 7, 3 * block - LEAF_BYTES]) {
    const data = weights(length);
    assert.equal((await readManifest(file("blocks.gguf", data))).root, rootByDefinition(data), `${length}`);
  }
});

test("a model of several files has the tree over their roots", async () => {
  const parts = [weights(5000, 1), weights(9000, 2), weights(10, 3)];
  const paths = parts.map((part, i) => file(`split-0000${i + 1}-of-00003.gguf`, part));
  const [a, b, c] = parts.map((part) => Buffer.from(rootByDefinition(part), "hex"));
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const expected = hex(node(node(a, b), c));
  assert.equal((await readManifest(paths)).root, expected);
  assert.equal((await readManifest(paths[0] ?? "")).root, expected, "found from the first part");
  assert.equal((await readManifest(paths)).leafCount, 6);
});

test("any leaf is proved by its block alone, and the proof is of no other leaf", async () => {
  const sizes = [LEAF_BYTES * LEAVES_PER_BLOCK * 2 + LEAF_BYTES * 5 + 9, 3 * LEAF_BYTES];
  const paths = sizes.map((size, i) => file(`proof-${i}.gguf`, weights(size, i + 1)));
  const manifest = await readManifest(paths);
  for (const index of [0, 1, 255, 256, 511, 512, 517, 518, 520]) {
    const proof = await proveLeaf(manifest, index);
    assert.ok(isLeafOf(manifest.root, sizes, proof), `leaf ${index}`);
    assert.ok(!isLeafOf(manifest.root, sizes, { ...proof, index: index ^ 1 }), `leaf ${index} elsewhere`);
    const tampered = Uint8Array.from(proof.leaf, (byte, i) => (i === 0 ? byte ^ 1 : byte));
    assert.ok(!isLeafOf(manifest.root, sizes, { ...proof, leaf: tampered }), `leaf ${index} changed`);
    assert.ok(!isLeafOf(manifest.root, sizes, { ...proof, path: proof.path.slice(1) }), `leaf ${index} shortened`);
  }
  await assert.rejects(proveLeaf(manifest, 521), RangeError);
});

test("a leaf of a file that has changed is not proved", async () => {
  const path = file("changed.gguf", weights(3 * LEAF_BYTES));
  const manifest = await readManifest(path);
  file("changed.gguf", weights(3 * LEAF_BYTES, 9));
  assert.equal(await refused(proveLeaf(manifest, 1)), "model_invalid");
});

test("a file is read once, and again when it has changed", async () => {
  const cacheFolder = join(folder, "cache");
  const path = file("cached.gguf", weights(3 * LEAF_BYTES));
  const before = await readManifest(path, { cacheFolder });
  const [entry = ""] = readdirSync(cacheFolder);
  const kept = readFileSync(join(cacheFolder, entry), "utf8");

  // An entry that says something else shows where the answer came from.
  const other = rootByDefinition(weights(10));
  writeFileSync(
    join(cacheFolder, entry),
    kept.replace(/"hashes":"[^"]*"/u, `"hashes":"${Buffer.from(other, "hex").toString("base64")}"`),
  );
  assert.equal((await readManifest(path, { cacheFolder })).root, other, "from the cache");

  utimesSync(path, 1, 1);
  assert.equal((await readManifest(path, { cacheFolder })).root, before.root, "touched, so read again");
  truncateSync(path, 2 * LEAF_BYTES);
  assert.notEqual((await readManifest(path, { cacheFolder })).root, before.root, "cut");
});

test("a damaged cache is no cache", async () => {
  const cacheFolder = join(folder, "damaged");
  const path = file("damaged.gguf", weights(2 * LEAF_BYTES));
  const { root } = await readManifest(path, { cacheFolder });
  const [entry = ""] = readdirSync(cacheFolder);
  for (const text of ["", "{", "[]", '{"version":1,"hashes":"AAAA"}']) {
    writeFileSync(join(cacheFolder, entry), text);
    assert.equal((await readManifest(path, { cacheFolder })).root, root, text);
  }
});

test("a file that is absent, empty or a folder is a failure", async () => {
  assert.equal(await refused(readManifest(join(folder, "nowhere.gguf"))), "model_invalid");
  assert.equal(await refused(readManifest(file("empty.gguf", new Uint8Array()))), "model_invalid");
  assert.equal(await refused(readManifest(folder)), "model_invalid");
  assert.equal(await refused(readManifest([])), "model_invalid");
});

test("hashing a large file leaves the event loop free", async () => {
  const path = file("large.gguf", Buffer.alloc(128 * 2 ** 20, 7));
  let longestMs = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - last - 5);
    last = performance.now();
  }, 5);
  await readManifest(path);
  clearInterval(timer);
  // Its hashes take some 200 ms; a busy machine may still keep a timer waiting.
  assert.ok(longestMs < 150, `${longestMs} ms`);
});

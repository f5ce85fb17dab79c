import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import { Failure, toHex } from "../../protocol/index.ts";
import { LEAF_BYTES, leafHash, leafHashes, LEAVES_PER_BLOCK, rootFromPath, treePath, treeRoot } from "./merkle.ts";

/** What names a model in the network: the root of a hash tree over its files (ACN/1 §4.1). */
export interface WeightsManifest {
  /** 32 bytes, lowercase hex. */
  readonly root: string;
  /** Of all files together. */
  readonly bytes: number;
  /** Of all files together: what a challenge draws from. */
  readonly leafCount: number;
  readonly files: readonly ManifestFile[];
}

export interface ManifestFile {
  readonly path: string;
  readonly bytes: number;
  /** The node over each block of leaves, from which any path can be made by reading that block alone. */
  readonly blocks: readonly Uint8Array[];
}

/** One leaf with the path to the root: shows that its holder has the leaf, at that moment. */
export interface LeafProof {
  /** Among all leaves of all files. */
  readonly index: number;
  readonly leaf: Uint8Array;
  /** Siblings within the file, the lowest first. */
  readonly path: readonly Uint8Array[];
  /** Siblings among the files' roots; empty for a single file. */
  readonly filePath: readonly Uint8Array[];
}

export interface ManifestOptions {
  /** Where hashes are kept between starts; without it every start reads the files whole. */
  readonly cacheFolder?: string;
}

/**
 * The manifest of a model: one file, several in catalogue order, or the first of the parts of a split GGUF.
 *
 * @throws {Failure} `model_invalid` for a file that is absent, empty, or changes while it is read.
 */
export async function readManifest(
  model: string | readonly string[],
  { cacheFolder }: ManifestOptions = {},
): Promise<WeightsManifest> {
  const paths = typeof model === "string" ? partsOf(model) : model;
  const files: ManifestFile[] = [];
  for (const path of paths) files.push(await manifestFile(resolve(path), cacheFolder));
  const root = treeRoot(files.map(fileRoot));
  if (root === undefined) throw new Failure("model_invalid", "a model without files");
  return {
    root: toHex(root),
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    leafCount: files.reduce((sum, file) => sum + leavesOf(file), 0),
    files,
  };
}

/**
 * Proves one leaf by reading its block.
 *
 * @throws {Failure} `model_invalid` when the file is not the one the manifest was made of.
 */
export async function proveLeaf({ files }: WeightsManifest, index: number): Promise<LeafProof> {
  const { file, fileIndex, leafIndex } = fileOfLeaf(files, index);
  const blockIndex = Math.floor(leafIndex / LEAVES_PER_BLOCK);
  const inBlock = leafIndex % LEAVES_PER_BLOCK;
  const block = await readBlock(file, blockIndex);
  const hashes = leafHashes(block);
  if (!sameBytes(treeRoot(hashes), file.blocks[blockIndex])) {
    throw new Failure("model_invalid", `${file.path} has changed since it was hashed. Restart the worker.`);
  }
  return {
    index,
    leaf: block.subarray(inBlock * LEAF_BYTES, (inBlock + 1) * LEAF_BYTES),
    path: [...treePath(hashes, inBlock), ...treePath(file.blocks, blockIndex)],
    filePath: treePath(files.map(fileRoot), fileIndex),
  };
}

/** Whether a proof holds for a root, given the sizes of the model's files in order. */
export function isLeafOf(root: string, fileBytes: readonly number[], proof: LeafProof): boolean {
  const counts = fileBytes.map((bytes) => Math.ceil(bytes / LEAF_BYTES));
  let leafIndex = proof.index;
  let fileIndex = 0;
  for (; leafIndex >= (counts[fileIndex] ?? Infinity); fileIndex++) leafIndex -= counts[fileIndex] ?? 0;
  const count = counts[fileIndex];
  if (count === undefined || leafIndex < 0) return false;
  const ofFile = rootFromPath(leafHash(proof.leaf), { index: leafIndex, count, path: proof.path });
  if (ofFile === undefined) return false;
  const whole = rootFromPath(ofFile, { index: fileIndex, count: counts.length, path: proof.filePath });
  return whole !== undefined && toHex(whole) === root;
}

/** `name-00001-of-00003.gguf` stands for all its parts (llama.cpp's gguf-split). */
function partsOf(path: string): string[] {
  const [, name, count] = /^(.*)-00001-of-(\d{5})\.gguf$/u.exec(basename(path)) ?? [];
  if (name === undefined || count === undefined) return [path];
  return Array.from({ length: Number(count) }, (_, i) =>
    join(dirname(path), `${name}-${String(i + 1).padStart(5, "0")}-of-${count}.gguf`),
  );
}

function leavesOf({ bytes }: ManifestFile): number {
  return Math.ceil(bytes / LEAF_BYTES);
}

function fileRoot({ path, blocks }: ManifestFile): Uint8Array {
  const root = treeRoot(blocks);
  if (root === undefined) throw new Failure("model_invalid", `${path} is empty`);
  return root;
}

function fileOfLeaf(
  files: readonly ManifestFile[],
  index: number,
): { file: ManifestFile; fileIndex: number; leafIndex: number } {
  let leafIndex = index;
  for (const [fileIndex, file] of files.entries()) {
    if (leafIndex >= 0 && leafIndex < leavesOf(file)) return { file, fileIndex, leafIndex };
    leafIndex -= leavesOf(file);
  }
  throw new RangeError(`no leaf ${index}`);
}

async function readBlock({ path, bytes }: ManifestFile, index: number): Promise<Buffer> {
  const start = index * LEAVES_PER_BLOCK * LEAF_BYTES;
  const block = Buffer.alloc(Math.min(LEAVES_PER_BLOCK * LEAF_BYTES, bytes - start));
  const file = await opened(path);
  try {
    await file.read(block, 0, block.length, start);
    return block;
  } finally {
    await file.close();
  }
}

async function opened(path: string): ReturnType<typeof open> {
  try {
    return await open(path, "r");
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** What tells a file from the one that was hashed without reading it. */
interface FileStamp {
  readonly path: string;
  readonly bytes: number;
  readonly modifiedNs: string;
  readonly inode: string;
}

async function stampOf(path: string): Promise<FileStamp> {
  try {
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    return { path, bytes: Number(size), modifiedNs: mtimeNs.toString(), inode: ino.toString() };
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function isSameFile(a: FileStamp, b: FileStamp): boolean {
  return a.path === b.path && a.bytes === b.bytes && a.modifiedNs === b.modifiedNs && a.inode === b.inode;
}

async function manifestFile(path: string, cacheFolder: string | undefined): Promise<ManifestFile> {
  const stamp = await stampOf(path);
  const cached = cacheFolder === undefined ? undefined : await readCache(cachePath(cacheFolder, path), stamp);
  if (cached !== undefined) return { path, bytes: stamp.bytes, blocks: cached };
  const hashes = await hashedInThread(path);
  if (!isSameFile(stamp, await stampOf(path))) {
    throw new Failure("model_invalid", `${path} changed while it was read. Try again when it is complete.`);
  }
  if (cacheFolder !== undefined) await writeCache(cachePath(cacheFolder, path), stamp, hashes);
  return { path, bytes: stamp.bytes, blocks: split(hashes) };
}

function hashedInThread(path: string): Promise<Uint8Array> {
  const { promise, resolve: done, reject } = Promise.withResolvers<Uint8Array>();
  const thread = new Worker(new URL("./weights-hasher.ts", import.meta.url), { workerData: { path } });
  thread.once("message", (hashes: Uint8Array) => done(hashes));
  thread.once("error", (cause) => reject(unreadable(path, cause)));
  thread.once("exit", () => reject(unreadable(path, new Error("the hashing thread ended"))));
  return promise;
}

interface CacheEntry extends FileStamp {
  readonly version: 1;
  /** The block hashes one after another, base64. */
  readonly hashes: string;
}

function cachePath(folder: string, path: string): string {
  return join(folder, `weights-${createHash("sha256").update(path).digest("hex").slice(0, 32)}.json`);
}

/** An entry that is absent, damaged or of another file is no entry: the file is hashed again. */
async function readCache(path: string, stamp: FileStamp): Promise<Uint8Array[] | undefined> {
  try {
    const entry = JSON.parse(await readFile(path, "utf8")) as Partial<CacheEntry>;
    const { version, hashes, path: of, bytes, modifiedNs, inode } = entry;
    if (version !== 1 || typeof hashes !== "string" || of === undefined) return undefined;
    if (bytes === undefined || modifiedNs === undefined || inode === undefined) return undefined;
    if (!isSameFile({ path: of, bytes, modifiedNs, inode }, stamp)) return undefined;
    const blocks = split(Buffer.from(hashes, "base64"));
    return blocks.length === Math.ceil(bytes / (LEAF_BYTES * LEAVES_PER_BLOCK)) ? blocks : undefined;
  } catch {
    return undefined;
  }
}

/** A cache that cannot be written costs time at the next start and nothing else. */
async function writeCache(path: string, stamp: FileStamp, hashes: Uint8Array): Promise<void> {
  const entry: CacheEntry = { version: 1, ...stamp, hashes: Buffer.from(hashes).toString("base64") };
  const unfinished = `${path}.${process.pid}.part`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(unfinished, JSON.stringify(entry));
    await rename(unfinished, path);
  } catch {
    return;
  }
}

const HASH_BYTES = 32;

function split(hashes: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.floor(hashes.length / HASH_BYTES) }, (_, i) =>
    hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  );
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}

function unreadable(path: string, cause: unknown): Failure {
  return new Failure("model_invalid", `${path} cannot be read. Choose another file, or download it again.`, { cause });
}

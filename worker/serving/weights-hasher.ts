import { open } from "node:fs/promises";
import { parentPort, workerData } from "node:worker_threads";
import { LEAF_BYTES, leafHashes, LEAVES_PER_BLOCK, treeRoot } from "./merkle.ts";

/** The thread that reads a model file once and keeps a hash of each block of it: gigabytes must not stop the links. */

/** 32 bytes a block, in order. */
async function blockHashes(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  const blocks: Uint8Array[] = [];
  try {
    const buffer = Buffer.alloc(LEAF_BYTES * LEAVES_PER_BLOCK);
    for (;;) {
      const length = await fill(file, buffer);
      const root = treeRoot(leafHashes(buffer.subarray(0, length)));
      if (root !== undefined) blocks.push(root);
      if (length < buffer.length) return Buffer.concat(blocks);
    }
  } finally {
    await file.close();
  }
}

/** Reads until the buffer is full or the file ends: a short read must not shift the leaves. */
async function fill(file: Awaited<ReturnType<typeof open>>, buffer: Buffer): Promise<number> {
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}

const { path } = workerData as { readonly path: string };
parentPort?.postMessage(await blockHashes(path));

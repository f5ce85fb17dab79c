import { hash } from "node:crypto";

/**
 * The tree behind a model's manifest root (ACN/1 §4.1): leaves of 4 KiB, the last one shorter; a leaf's hash is
 * H(00 ‖ data), a node's H(01 ‖ left ‖ right); an odd node goes up unchanged.
 */
export const LEAF_BYTES = 4096;

/** Leaves below one kept node: a megabyte is read and hashed to prove a leaf, not the file. */
export const LEAVES_PER_BLOCK = 256;

export function leafHash(data: Uint8Array): Uint8Array {
  return sha256(Buffer.concat([Uint8Array.of(0), data]));
}

function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(Buffer.concat([Uint8Array.of(1), left, right]));
}

/** The node over hashes that stand side by side; `undefined` over none. */
export function treeRoot(hashes: readonly Uint8Array[]): Uint8Array | undefined {
  let level = hashes;
  while (level.length > 1) level = levelAbove(level);
  return level[0];
}

/** The siblings from one of the hashes up to the root, the lowest first; where there is none, nothing stands for it. */
export function treePath(hashes: readonly Uint8Array[], index: number): Uint8Array[] {
  const path: Uint8Array[] = [];
  let level = hashes;
  for (let at = index; level.length > 1; at = Math.floor(at / 2)) {
    const sibling = level[at ^ 1];
    if (sibling !== undefined) path.push(sibling);
    level = levelAbove(level);
  }
  return path;
}

/** The root a path leads to from one of `count` hashes; `undefined` for a path of another length. */
export function rootFromPath(
  start: Uint8Array,
  { index, count, path }: { index: number; count: number; path: readonly Uint8Array[] },
): Uint8Array | undefined {
  let root = start;
  let used = 0;
  for (let at = index, width = count; width > 1; at = Math.floor(at / 2), width = Math.ceil(width / 2)) {
    if ((at ^ 1) >= width) continue;
    const sibling = path[used++];
    if (sibling === undefined) return undefined;
    root = at % 2 === 0 ? nodeHash(root, sibling) : nodeHash(sibling, root);
  }
  return used === path.length ? root : undefined;
}

/** The hashes of a block's leaves. */
export function leafHashes(block: Uint8Array): Uint8Array[] {
  // One copy with a byte before it, which is set to the prefix in front of each leaf in turn: that byte is the last of
  // the leaf hashed before. Twice as fast as joining prefix and leaf 4096 bytes at a time.
  const bytes = Buffer.allocUnsafe(block.length + 1);
  bytes.set(block, 1);
  return Array.from({ length: Math.ceil(block.length / LEAF_BYTES) }, (_, i) => {
    const start = i * LEAF_BYTES;
    bytes[start] = 0;
    return sha256(bytes.subarray(start, start + 1 + LEAF_BYTES));
  });
}

function levelAbove(level: readonly Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = [];
  for (let i = 0; i < level.length; i += 2) {
    const [left, right] = [level[i], level[i + 1]];
    if (left !== undefined) above.push(right === undefined ? left : nodeHash(left, right));
  }
  return above;
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash("sha256", bytes, "buffer");
}

import { createHash } from "node:crypto";

/** A masterchain block. The shard has one beside it, of the same number. */
export interface ChainBlock {
  readonly seqno: number;
  /** Base64, 32 bytes. */
  readonly rootHash: string;
  /** Unix seconds; never less than the one before. */
  readonly genUtime: number;
}

/** Hours of them: what a beacon or a test may still ask for. */
const KEPT_BLOCKS = 20_000;

/**
 * The next block of a line. Its hash depends on every block before it and on chance, so that nobody can name it before
 * it is made: what evidence proves its freshness with.
 *
 * @param chance 32 bytes.
 */
export function nextBlock(
  networkId: number,
  previous: ChainBlock | undefined,
  { utime, chance }: { readonly utime: number; readonly chance: Uint8Array },
): ChainBlock {
  const seqno = (previous?.seqno ?? 0) + 1;
  const genUtime = Math.max(utime, previous?.genUtime ?? 0);
  const hash = createHash("sha256").update(`${networkId} ${previous?.rootHash ?? ""} ${seqno} ${genUtime} `);
  return { seqno, genUtime, rootHash: hash.update(chance).digest("base64") };
}

/** Adds the newest, forgets the oldest. */
export function appendBlock(blocks: ChainBlock[], block: ChainBlock): void {
  blocks.push(block);
  if (blocks.length > KEPT_BLOCKS) blocks.shift();
}

export function blockOfSeqno(blocks: readonly ChainBlock[], seqno: number): ChainBlock | undefined {
  const [oldest] = blocks;
  return oldest === undefined ? undefined : blocks[seqno - oldest.seqno];
}

/** The newest block that was made at that time or before. */
export function blockAtTime(blocks: readonly ChainBlock[], utime: number): ChainBlock | undefined {
  return blocks.findLast((block) => block.genUtime <= utime);
}

export const MASTERCHAIN = -1;
export const WORKCHAIN = 0;
export const SHARD = "-9223372036854775808";

/** How toncenter names a block. */
export interface BlockId {
  readonly "@type": "ton.blockIdExt";
  readonly workchain: number;
  readonly shard: string;
  readonly seqno: number;
  readonly root_hash: string;
  readonly file_hash: string;
}

export function blockId(block: ChainBlock, workchain: number): BlockId {
  const hash = (what: string): string => createHash("sha256").update(`${what} ${block.rootHash}`).digest("base64");
  return {
    "@type": "ton.blockIdExt",
    workchain,
    shard: SHARD,
    seqno: block.seqno,
    root_hash: workchain === MASTERCHAIN ? block.rootHash : hash("shard"),
    file_hash: hash(`file ${workchain}`),
  };
}

/** A sequence of the context, and whose text it holds. */
export interface Slot {
  readonly index: number;
  isBusy: boolean;
  /** Whose prefix stands in it; undefined when it is empty. */
  partition: string | undefined;
  lastUsedAt: number;
}

/** Reusing fewer tokens than this is not worth a gap between sequence ids. */
const WORTHWHILE_PREFIX_TOKENS = 32;

/**
 * The free slot for a job: where its own partition's prefix stands, else the one that keeps busy ids together (a gap
 * splits every batch in two), else an empty one, else the one that rested longest.
 */
export function chooseSlot<S extends Slot>(
  slots: readonly S[],
  partition: string,
  commonPrefix: (slot: S) => number,
): S | undefined {
  const free = slots.filter((slot) => !slot.isBusy);
  const reusable = free
    .filter((slot) => slot.partition === partition)
    .map((slot) => ({ slot, tokens: commonPrefix(slot) }))
    .filter(({ tokens }) => tokens >= WORTHWHILE_PREFIX_TOKENS)
    .sort((a, b) => b.tokens - a.tokens);
  if (reusable[0] !== undefined) return reusable[0].slot;
  const busy = slots.filter((slot) => slot.isBusy).map((slot) => slot.index);
  const rank = (slot: S): number[] => [
    gapsAmong([...busy, slot.index]),
    slot.partition === partition ? 0 : slot.partition === undefined ? 1 : 2,
    slot.lastUsedAt,
    slot.index,
  ];
  return free.sort((a, b) => compare(rank(a), rank(b)))[0];
}

function gapsAmong(indexes: readonly number[]): number {
  const sorted = [...indexes].sort((a, b) => a - b);
  return sorted.filter((index, i) => i > 0 && index !== (sorted[i - 1] ?? 0) + 1).length;
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at === -1 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

/** What a GGUF header says about the size of a model's memory while it runs. */
export interface ModelSizes {
  readonly weightBytes: number;
  readonly layers: number;
  /** Key-value heads of each layer, or the one number for all. */
  readonly keyValueHeads: number;
  readonly keyLength: number;
  readonly valueLength: number;
  readonly vocabularySize: number;
}

export interface MemoryDemand {
  readonly contextTokens: number;
  readonly slots: number;
  readonly batchTokens: number;
  readonly kvCache: "f16" | "q8_0";
}

const BYTES_PER_VALUE = { f16: 2, q8_0: 34 / 32 } as const;
/** Graph and buffers beside the scores of a batch (ENGINE.md §1.5). */
const COMPUTE_BYTES = 16 * 2 ** 20;

/** An estimate of all memory a loaded model takes, weights, cache and buffers together. */
export function memoryBytes(sizes: ModelSizes, { contextTokens, slots, batchTokens, kvCache }: MemoryDemand): number {
  const valuesPerToken = sizes.layers * sizes.keyValueHeads * (sizes.keyLength + sizes.valueLength);
  const cacheBytes = valuesPerToken * contextTokens * slots * BYTES_PER_VALUE[kvCache];
  return sizes.weightBytes + cacheBytes + batchTokens * sizes.vocabularySize * 4 + COMPUTE_BYTES;
}

/** "4.2 GB", as a person compares sizes. */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

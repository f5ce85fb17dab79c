import { byteVocabulary, markupIds, type Vocabulary, vocabularyMetadata } from "./byte-tokens.ts";
import {
  BLOCK_BYTES,
  bool,
  elementCount,
  encodeWeights,
  f16Bits,
  f32,
  FILE_TYPES,
  type Gguf,
  type GgufTensor,
  string,
  type TensorType,
  u32,
} from "./gguf-writer.ts";

/** Sizes of a model whose weights are noise: it computes what a real one of its shape computes, and says nonsense. */
export interface RandomShape {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headWidth: number;
  readonly feedForward: number;
  readonly contextTokens: number;
  /** Tokens beyond the bytes and the markup. */
  readonly extraTokens: number;
}

export const TINY_SHAPE: RandomShape = {
  width: 64,
  layers: 2,
  heads: 4,
  keyHeads: 2,
  headWidth: 16,
  feedForward: 128,
  contextTokens: 2048,
  extraTokens: 64,
};

/** Some 0.37 billion parameters: nearly the work per token of the smallest real chat models, so that overhead shows in proportion. */
export const BENCHMARK_SHAPE: RandomShape = {
  width: 1024,
  layers: 24,
  heads: 16,
  keyHeads: 8,
  headWidth: 64,
  feedForward: 3072,
  contextTokens: 32_768,
  extraTokens: 31_700,
};

export interface RandomModel {
  readonly architecture: "qwen2" | "qwen3" | "deepseek2";
  readonly shape: RandomShape;
  readonly type: TensorType;
  readonly seed: number;
}

export function randomModel({ architecture, shape, type, seed }: RandomModel): Gguf {
  const vocabulary = byteVocabulary({ words: extraWords(shape.extraTokens), markup: ["<think>", "</think>"] });
  const weights = new Weights(type, seed);
  weights.matrix("token_embd.weight", [shape.width, vocabulary.tokens.length], 1);
  weights.ones("output_norm.weight", shape.width);
  weights.withoutRows("output.weight", [shape.width, vocabulary.tokens.length], markupIds(vocabulary));
  for (let layer = 0; layer < shape.layers; layer++) {
    if (architecture === "deepseek2") latentLayer(weights, shape, layer);
    else groupedLayer(weights, shape, layer, architecture);
  }
  const special = architecture === "deepseek2" ? latentMetadata(vocabulary) : groupedMetadata(shape, architecture);
  return {
    metadata: { ...commonMetadata(architecture, shape, type), ...special, ...vocabularyMetadata(vocabulary) },
    tensors: weights.tensors,
  };
}

function extraWords(count: number): string[] {
  return Array.from({ length: count }, (_, i) => ` ${i.toString(36)}`);
}

function commonMetadata(architecture: string, shape: RandomShape, type: TensorType): Gguf["metadata"] {
  return {
    "general.architecture": string(architecture),
    "general.name": string(`random ${architecture}`),
    "general.file_type": u32(FILE_TYPES[type]),
    [`${architecture}.context_length`]: u32(shape.contextTokens),
    [`${architecture}.embedding_length`]: u32(shape.width),
    [`${architecture}.block_count`]: u32(shape.layers),
    [`${architecture}.feed_forward_length`]: u32(shape.feedForward),
    [`${architecture}.attention.head_count`]: u32(shape.heads),
    [`${architecture}.attention.layer_norm_rms_epsilon`]: f32(1e-6),
  };
}

function groupedMetadata(shape: RandomShape, architecture: "qwen2" | "qwen3"): Gguf["metadata"] {
  const head = { key_length: u32(shape.headWidth), value_length: u32(shape.headWidth) };
  return {
    [`${architecture}.attention.head_count_kv`]: u32(shape.keyHeads),
    [`${architecture}.rope.freq_base`]: f32(1e6),
    ...(architecture === "qwen3" && {
      "qwen3.attention.key_length": head.key_length,
      "qwen3.attention.value_length": head.value_length,
    }),
  };
}

/** Grouped-query attention and a gated feed-forward, as both Qwens have them. */
function groupedLayer(weights: Weights, shape: RandomShape, layer: number, architecture: "qwen2" | "qwen3"): void {
  const { width, heads, keyHeads, headWidth, feedForward } = shape;
  const block = `blk.${layer}.`;
  weights.ones(`${block}attn_norm.weight`, width);
  weights.matrix(`${block}attn_q.weight`, [width, heads * headWidth]);
  weights.matrix(`${block}attn_k.weight`, [width, keyHeads * headWidth]);
  weights.matrix(`${block}attn_v.weight`, [width, keyHeads * headWidth]);
  weights.matrix(`${block}attn_output.weight`, [heads * headWidth, width]);
  if (architecture === "qwen3") {
    weights.ones(`${block}attn_q_norm.weight`, headWidth);
    weights.ones(`${block}attn_k_norm.weight`, headWidth);
  } else {
    weights.bias(`${block}attn_q.bias`, heads * headWidth);
    weights.bias(`${block}attn_k.bias`, keyHeads * headWidth);
    weights.bias(`${block}attn_v.bias`, keyHeads * headWidth);
  }
  weights.ones(`${block}ffn_norm.weight`, width);
  weights.feedForward(block, "", width, feedForward);
}

const LATENT = { query: 32, keyValue: 32, plain: 16, rotary: 16, value: 16 } as const;
const EXPERTS = { count: 8, used: 2, shared: 1, feedForward: 32 } as const;
const DENSE_LAYERS = 1;

function latentMetadata(vocabulary: Vocabulary): Gguf["metadata"] {
  const keys = {
    // Latent attention is stored as multi-query attention: one key head as wide as the latent and the rotary part.
    "attention.head_count_kv": 1,
    "attention.key_length": LATENT.keyValue + LATENT.rotary,
    "attention.value_length": LATENT.keyValue,
    "attention.key_length_mla": LATENT.plain + LATENT.rotary,
    "attention.value_length_mla": LATENT.value,
    "attention.q_lora_rank": LATENT.query,
    "attention.kv_lora_rank": LATENT.keyValue,
    "rope.dimension_count": LATENT.rotary,
    leading_dense_block_count: DENSE_LAYERS,
    expert_count: EXPERTS.count,
    expert_used_count: EXPERTS.used,
    expert_shared_count: EXPERTS.shared,
    expert_feed_forward_length: EXPERTS.feedForward,
    expert_gating_func: 2,
    vocab_size: vocabulary.tokens.length,
  };
  return {
    ...Object.fromEntries(Object.entries(keys).map(([key, value]) => [`deepseek2.${key}`, u32(value)])),
    "deepseek2.rope.freq_base": f32(10_000),
    "deepseek2.expert_weights_scale": f32(1),
    "deepseek2.expert_weights_norm": bool(true),
  };
}

/** Multi-head latent attention and, after the first layer, a mixture of experts (DeepSeek-V2, arXiv 2405.04434). */
function latentLayer(weights: Weights, { width, heads, feedForward }: RandomShape, layer: number): void {
  const block = `blk.${layer}.`;
  weights.ones(`${block}attn_norm.weight`, width);
  weights.ones(`${block}attn_q_a_norm.weight`, LATENT.query);
  weights.ones(`${block}attn_kv_a_norm.weight`, LATENT.keyValue);
  weights.matrix(`${block}attn_q_a.weight`, [width, LATENT.query]);
  weights.matrix(`${block}attn_q_b.weight`, [LATENT.query, heads * (LATENT.plain + LATENT.rotary)]);
  weights.matrix(`${block}attn_kv_a_mqa.weight`, [width, LATENT.keyValue + LATENT.rotary]);
  weights.matrix(`${block}attn_k_b.weight`, [LATENT.plain, LATENT.keyValue, heads]);
  weights.matrix(`${block}attn_v_b.weight`, [LATENT.keyValue, LATENT.value, heads]);
  weights.matrix(`${block}attn_output.weight`, [heads * LATENT.value, width]);
  weights.ones(`${block}ffn_norm.weight`, width);
  if (layer < DENSE_LAYERS) {
    weights.feedForward(block, "", width, feedForward);
    return;
  }
  weights.matrix(`${block}ffn_gate_inp.weight`, [width, EXPERTS.count], undefined, "F32");
  weights.bias(`${block}exp_probs_b.bias`, EXPERTS.count);
  weights.feedForward(block, "_exps", width, EXPERTS.feedForward, [EXPERTS.count]);
  weights.feedForward(block, "_shexp", width, EXPERTS.feedForward * EXPERTS.shared);
}

const SPREAD = 0.05;

/** Tensors of noise; each has a seed of its own, drawn in order. */
class Weights {
  readonly tensors: GgufTensor[] = [];
  readonly #type: TensorType;
  readonly #random: () => number;

  constructor(type: TensorType, seed: number) {
    this.#type = type;
    this.#random = mulberry32(seed);
  }

  matrix(name: string, shape: readonly number[], spread = SPREAD, type = this.#type): void {
    const seed = this.#seed();
    this.#add(name, shape, type, () => noise(type, elementCount(shape), seed, spread));
  }

  /** Rows of zeros: their tokens score 0, below the best of the others, so that a greedy run never ends early. */
  withoutRows(name: string, shape: readonly [number, number], rows: readonly number[]): void {
    const seed = this.#seed();
    this.#add(name, shape, this.#type, () => {
      const bytes = noise(this.#type, elementCount(shape), seed, SPREAD);
      const rowBytes = bytes.length / shape[1];
      for (const row of rows) bytes.fill(0, row * rowBytes, (row + 1) * rowBytes);
      return bytes;
    });
  }

  bias(name: string, length: number): void {
    this.matrix(name, [length], SPREAD, "F32");
  }

  ones(name: string, length: number): void {
    this.#add(name, [length], "F32", () => encodeWeights("F32", new Float32Array(length).fill(1)));
  }

  feedForward(block: string, suffix: string, width: number, inner: number, experts: readonly number[] = []): void {
    this.matrix(`${block}ffn_gate${suffix}.weight`, [width, inner, ...experts]);
    this.matrix(`${block}ffn_up${suffix}.weight`, [width, inner, ...experts]);
    this.matrix(`${block}ffn_down${suffix}.weight`, [inner, width, ...experts]);
  }

  #seed(): number {
    return Math.floor(this.#random() * 2 ** 32);
  }

  #add(name: string, shape: readonly number[], type: TensorType, encode: () => Uint8Array): void {
    this.tensors.push({ name, type, shape, encode });
  }
}

function noise(type: TensorType, count: number, seed: number, spread: number): Uint8Array {
  switch (type) {
    case "F32":
    case "F16":
      return encodeWeights(type, gaussian(mulberry32(seed), count, spread));
    case "Q8_0":
      return noiseBlocks(BLOCK_BYTES.Q8_0, count, seed, spread / 73);
    case "Q4_0":
      return noiseBlocks(BLOCK_BYTES.Q4_0, count, seed, spread / 4.6);
  }
}

/** Quantised blocks of 32 with uniform noise in them (xorshift32): hundreds of megabytes in a second. */
function noiseBlocks(blockBytes: number, count: number, seed: number, scale: number): Uint8Array {
  const bytes = new Uint8Array((count / 32) * blockBytes);
  const view = new DataView(bytes.buffer);
  const scaleBits = f16Bits(scale);
  let state = seed === 0 ? 1 : seed;
  for (let block = 0; block < bytes.length; block += blockBytes) {
    view.setUint16(block, scaleBits, true);
    for (let at = block + 2; at < block + blockBytes; at += 4) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      view.setUint32(at, state >>> 0, true);
    }
  }
  return bytes;
}

function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Box–Muller. */
function gaussian(random: () => number, count: number, spread: number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random())) * spread;
    return radius * Math.cos(2 * Math.PI * random());
  });
}

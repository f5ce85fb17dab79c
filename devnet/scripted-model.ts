import { byteVocabulary, END_OF_TURN, spelled, type Vocabulary, vocabularyMetadata } from "./byte-tokens.ts";
import { encodeWeights, f32, FILE_TYPES, type Gguf, type GgufTensor, string, u32 } from "./gguf-writer.ts";

/** A piece of text the model says word by word, and what it may say next. */
export interface Passage {
  /** Text is cut into words; a list is taken as tokens, markup among them. */
  readonly says: string | readonly string[];
  /** Names of passages; greedy takes the first, sampling any of them. Absent: the answer ends. */
  readonly then?: readonly string[];
}

/** A prompt that holds one of these words is answered with another passage. */
export interface Cue {
  readonly words: readonly string[];
  readonly passage: string;
  /** Between 0 and 1, steps of 0.1 or more: the higher cue wins where a prompt has several. */
  readonly priority: number;
}

export interface Script {
  readonly name: string;
  readonly opening: string;
  readonly passages: Readonly<Record<string, Passage>>;
  readonly cues?: readonly Cue[];
}

const MARKUP = ["<think>\n", "\n</think>\n\n", "<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>"];

/**
 * A qwen3 model made by hand. Embeddings are one-hot; the output matrix holds, for each token, the one that follows;
 * one attention head looks for cue words in the whole prompt and adds what it found to the stream. It runs in every
 * engine that runs qwen3, and says the same words in each.
 */
export function scriptedModel(script: Script): Gguf {
  const passages = cutIntoTokens(script);
  const cues = script.cues ?? [];
  const vocabulary = byteVocabulary({
    words: [JSON_WORD, ...passages.values()].flat().filter((word) => !MARKUP.includes(word)),
    keywords: cues.flatMap((cue) => cue.words.filter((word) => !MARKUP.includes(word)).flatMap(caseVariants)),
    markup: MARKUP,
  });
  const plan = new Plan(vocabulary, cues.length);
  writeHabits(plan);
  writeTransitions(plan, script, passages);
  cues.forEach((cue, i) => writeCue(plan, cue, i, firstOf(passages, cue.passage)));
  return { metadata: metadata(script.name, plan), tensors: tensors(plan) };
}

// Weights of the output matrix. A cue beats the usual opening; the next word of a passage beats both.
const OPENING = 1;
const CUED = 2.5;
const FOLLOWS = 4;
/** Greedy takes the first of several continuations; at temperature 0.8 the others get their turn. */
const FOLLOWS_SELDOM = FOLLOWS - 0.05;

const HEAD = 32;
const FEED_FORWARD = 32;
/** The pair of a head's dimensions that rotary embedding turns slowest: there a score does not depend on distance. */
const SCORE_DIMENSION = 15;
const REST_DIMENSION = 14;
/** Makes a cue's attention score 60 × priority: e⁻⁶ a tenth below, and nothing beside it without a cue. */
const KEY_GAIN = 10.6;

/** The matrices of the model while they are being filled, in ggml's row order. */
class Plan {
  readonly vocabulary: Vocabulary;
  readonly size: number;
  readonly width: number;
  readonly output: Float32Array;
  readonly keys: Float32Array;
  readonly values: Float32Array;
  readonly merged: Float32Array;
  readonly #ids: ReadonlyMap<string, number>;

  constructor(vocabulary: Vocabulary, cueCount: number) {
    this.vocabulary = vocabulary;
    this.size = vocabulary.tokens.length;
    this.width = Math.ceil((this.size + cueCount) / 32) * 32;
    this.output = new Float32Array(this.width * this.size);
    this.keys = new Float32Array(this.width * HEAD);
    this.values = new Float32Array(this.width * HEAD);
    this.merged = new Float32Array(HEAD * this.width);
    this.#ids = new Map(vocabulary.tokens.map((token, id) => [token, id]));
  }

  id(token: string): number {
    const id = this.#ids.get(MARKUP.includes(token) || token === END_OF_TURN ? token : spelled(token));
    if (id === undefined) throw new RangeError(`no token for ${token}`);
    return id;
  }

  /** How much the model wants to say `next` where dimension `from` of the stream is lit. */
  lean(from: number, next: string, weight: number): void {
    this.output[this.id(next) * this.width + from] = weight;
  }
}

function writeTransitions(plan: Plan, script: Script, passages: ReadonlyMap<string, readonly string[]>): void {
  const opening = firstOf(passages, script.opening);
  for (let id = 0; id < plan.size; id++) plan.lean(id, opening, OPENING);
  for (const [name, words] of passages) {
    const nexts = script.passages[name]?.then?.map((passage) => firstOf(passages, passage)) ?? [END_OF_TURN];
    words.forEach((word, i) => {
      const following = words[i + 1];
      if (following !== undefined) plan.lean(plan.id(word), following, FOLLOWS);
      else nexts.forEach((next, n) => plan.lean(plan.id(word), next, n === 0 ? FOLLOWS : FOLLOWS_SELDOM));
    });
  }
}

/** What it leans to where a grammar leaves no word of a passage: an end, JSON that closes what it opens. */
function writeHabits(plan: Plan): void {
  const habits: readonly (readonly [string, number])[] = [
    [END_OF_TURN, 0.9],
    ["</tool_call>", 0.85],
    ["<tool_call>", 0.8],
    ['"', 0.7],
    ["}", 0.6],
    ["]", 0.55],
    [",", 0.5],
    ["[", 0.46],
    ["{", 0.45],
    ["4", 0.4],
    ["t", 0.3],
  ];
  for (let id = 0; id < plan.size; id++) for (const [token, weight] of habits) plan.lean(id, token, weight);
  plan.lean(plan.id('"'), JSON_WORD, FOLLOWS);
  plan.lean(plan.id(JSON_WORD), '"', FOLLOWS);
  plan.lean(plan.id("4"), "2", FOLLOWS);
  plan.lean(plan.id("</tool_call>"), END_OF_TURN, FOLLOWS);
}

/** What it writes into a JSON string; kept out of every passage. */
const JSON_WORD = "practice";

function writeCue(plan: Plan, cue: Cue, index: number, opening: string): void {
  const lit = plan.size + index;
  plan.lean(lit, opening, CUED);
  plan.merged[lit * HEAD + index] = 1;
  for (const word of cue.words.flatMap((word) => (MARKUP.includes(word) ? [word] : tokenVariants(word)))) {
    const id = plan.id(word);
    plan.keys[SCORE_DIMENSION * plan.width + id] = cue.priority;
    plan.keys[REST_DIMENSION * plan.width + id] = Math.sqrt(1 - cue.priority ** 2);
    plan.values[index * plan.width + id] = 1 / Math.sqrt(plan.width);
  }
}

function caseVariants(word: string): string[] {
  return [word, word.charAt(0).toUpperCase() + word.slice(1)];
}

function tokenVariants(word: string): string[] {
  return caseVariants(word).flatMap((variant) => [variant, ` ${variant}`]);
}

function firstOf(passages: ReadonlyMap<string, readonly string[]>, name: string): string {
  const [first] = passages.get(name) ?? [];
  if (first === undefined) throw new RangeError(`no passage ${name}`);
  return first;
}

/** Each passage as tokens, each token in one place of the script only: the next word then depends on nothing else. */
function cutIntoTokens(script: Script): Map<string, readonly string[]> {
  const used = new Set([JSON_WORD, ...(script.cues ?? []).flatMap((cue) => cue.words.flatMap(tokenVariants))]);
  const cut = Object.entries(script.passages).map(([name, { says }]): [string, readonly string[]] => [
    name,
    typeof says === "string" ? cutOnce(says, used) : says,
  ]);
  return new Map(cut);
}

/** Words with their leading space; one that was used before is joined with what follows it. */
function cutOnce(text: string, used: Set<string>): string[] {
  const tokens: string[] = [];
  let held = "";
  for (const word of text.match(/\s*\S+/gu) ?? []) {
    held += word;
    if (used.has(held)) continue;
    used.add(held);
    tokens.push(held);
    held = "";
  }
  if (held !== "") throw new RangeError(`"${held}" ends two passages`);
  return tokens;
}

function metadata(name: string, plan: Plan): Gguf["metadata"] {
  return {
    "general.architecture": string("qwen3"),
    "general.name": string(name),
    "general.file_type": u32(FILE_TYPES.F16),
    "qwen3.context_length": u32(32_768),
    "qwen3.embedding_length": u32(plan.width),
    "qwen3.block_count": u32(1),
    "qwen3.feed_forward_length": u32(FEED_FORWARD),
    "qwen3.attention.head_count": u32(1),
    "qwen3.attention.head_count_kv": u32(1),
    "qwen3.attention.key_length": u32(HEAD),
    "qwen3.attention.value_length": u32(HEAD),
    "qwen3.attention.layer_norm_rms_epsilon": f32(1e-6),
    "qwen3.rope.freq_base": f32(1e6),
    ...vocabularyMetadata(plan.vocabulary),
  };
}

function tensors({ size, width, output, keys, values, merged }: Plan): GgufTensor[] {
  const tensor = (name: string, shape: number[], weights: Float32Array, type: "F16" | "F32" = "F16"): GgufTensor => ({
    name,
    type,
    shape,
    encode: () => encodeWeights(type, weights),
  });
  const norm = (name: string, length: number, gain = 1) =>
    tensor(name, [length], new Float32Array(length).fill(gain), "F32");
  const embeddings = new Float32Array(width * size);
  for (let id = 0; id < size; id++) embeddings[id * width + id] = 1;
  const queries = new Float32Array(width * HEAD);
  queries.fill(1, SCORE_DIMENSION * width, (SCORE_DIMENSION + 1) * width);
  const nothing = new Float32Array(width * FEED_FORWARD);
  return [
    tensor("token_embd.weight", [width, size], embeddings),
    norm("output_norm.weight", width),
    tensor("output.weight", [width, size], output),
    norm("blk.0.attn_norm.weight", width),
    tensor("blk.0.attn_q.weight", [width, HEAD], queries),
    tensor("blk.0.attn_k.weight", [width, HEAD], keys),
    tensor("blk.0.attn_v.weight", [width, HEAD], values),
    tensor("blk.0.attn_output.weight", [HEAD, width], merged),
    norm("blk.0.attn_q_norm.weight", HEAD),
    norm("blk.0.attn_k_norm.weight", HEAD, KEY_GAIN),
    norm("blk.0.ffn_norm.weight", width),
    tensor("blk.0.ffn_gate.weight", [width, FEED_FORWARD], nothing),
    tensor("blk.0.ffn_up.weight", [width, FEED_FORWARD], nothing),
    tensor("blk.0.ffn_down.weight", [FEED_FORWARD, width], nothing),
  ];
}

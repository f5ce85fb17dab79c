import { bool, type GgufMetadata, i32s, string, strings, u32 } from "./gguf-writer.ts";

/** What a tokenizer needs to stand in a GGUF file: byte-level BPE as GPT-2 and Qwen have it. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly merges: readonly string[];
  readonly endId: number;
  readonly padId: number;
  readonly chatTemplate: string;
}

const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;

export const END_OF_TURN = "<|im_end|>";
const PADDING = "<|endoftext|>";
const CONTROL_TOKENS = [PADDING, "<|im_start|>", END_OF_TURN];

/** Every printable byte stands for itself, the others for a code point above 255 (GPT-2's bytes_to_unicode). */
const BYTE_CHARACTERS: readonly string[] = byteCharacters();

function byteCharacters(): string[] {
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let spare = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrintable(byte) ? byte : spare++));
}

/** How a vocabulary spells a text. */
export function spelled(text: string): string {
  return [...Buffer.from(text, "utf8")].map((byte) => BYTE_CHARACTERS[byte] ?? "").join("");
}

export interface VocabularyParts {
  /** Texts that one token each must stand for when generated; a tokenizer finds only those among `keywords`. */
  readonly words?: readonly string[];
  /** Words a tokenizer must find in a prompt as one token, alone and after a space. */
  readonly keywords?: readonly string[];
  /** Markup that is one token wherever it stands, and visible (`<think>`, `<tool_call>`). */
  readonly markup?: readonly string[];
}

/** A vocabulary that can spell any UTF-8 text: the 256 bytes, then whole words, then markup and control tokens. */
export function byteVocabulary({ words = [], keywords = [], markup = [] }: VocabularyParts): Vocabulary {
  const merges = new Set<string>();
  const tokens = new Set(BYTE_CHARACTERS);
  const merge = (left: string, right: string): string => {
    merges.add(`${left} ${right}`);
    tokens.add(left + right);
    return left + right;
  };
  for (const keyword of keywords) {
    const whole = Array.from(spelled(keyword)).reduce(merge);
    merge(spelled(" "), whole);
  }
  for (const word of words) tokens.add(spelled(word));
  const types = [...tokens].map(() => NORMAL);
  const all = [...tokens, ...markup, ...CONTROL_TOKENS];
  return {
    tokens: all,
    types: [...types, ...markup.map(() => USER_DEFINED), ...CONTROL_TOKENS.map(() => CONTROL)],
    merges: [...merges],
    endId: all.indexOf(END_OF_TURN),
    padId: all.indexOf(PADDING),
    chatTemplate: CHAT_TEMPLATE,
  };
}

/** The ids of the tokens that are no text of their own: a random model must not stop or call by accident. */
export function markupIds({ types }: Vocabulary): number[] {
  return types.flatMap((type, id) => (type === NORMAL ? [] : [id]));
}

export function vocabularyMetadata(vocabulary: Vocabulary): GgufMetadata {
  return {
    "tokenizer.ggml.model": string("gpt2"),
    "tokenizer.ggml.pre": string("qwen2"),
    "tokenizer.ggml.tokens": strings(vocabulary.tokens),
    "tokenizer.ggml.token_type": i32s(vocabulary.types),
    "tokenizer.ggml.merges": strings(vocabulary.merges),
    "tokenizer.ggml.eos_token_id": u32(vocabulary.endId),
    "tokenizer.ggml.padding_token_id": u32(vocabulary.padId),
    "tokenizer.ggml.add_bos_token": bool(false),
    "tokenizer.chat_template": string(vocabulary.chatTemplate),
  };
}

/** ChatML as Qwen writes it, tools included. */
const CHAT_TEMPLATE = [
  "{%- if tools %}",
  "{{- '<|im_start|>system\\n' }}",
  "{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}",
  "{{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n' }}",
  "{{- 'You are provided with function signatures within <tools></tools> XML tags:\\n<tools>' }}",
  "{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}",
  "{{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within ' }}",
  "{{- '<tool_call></tool_call> XML tags:\\n<tool_call>\\n' }}",
  '{{- \'{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n\' }}',
  "{%- elif messages[0].role == 'system' %}",
  "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}",
  "{%- endif %}",
  "{%- for message in messages %}",
  "{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}",
  "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}",
  "{%- elif message.role == 'assistant' %}",
  "{{- '<|im_start|>assistant\\n' }}{%- if message.content %}{{- message.content }}{%- endif %}",
  "{%- for call in message.tool_calls or [] %}",
  '{{- \'\\n<tool_call>\\n{"name": "\' + call.function.name + \'", "arguments": \' }}',
  "{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}",
  "{%- endfor %}{{- '<|im_end|>\\n' }}",
  "{%- elif message.role == 'tool' %}",
  "{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}",
  "{%- endif %}",
  "{%- endfor %}",
  "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
].join("");

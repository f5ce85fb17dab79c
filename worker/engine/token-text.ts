import type { Token, Tokenizer } from "node-llama-cpp";

/** A character of UTF-8 has at most this many bytes, so that no more byte tokens can belong to it. */
const MAX_CHARACTER_BYTES = 4;
const REPLACEMENT = "\uFFFD";
/** Enough for a tokenizer to know whether a space stood before. */
const CONTEXT_TOKENS = 2;

/** Turns tokens into text as they come, holding back the ones of an unfinished character. */
export class TokenText {
  readonly #tokenizer: Tokenizer;
  #context: readonly Token[];
  #unfinished: Token[] = [];

  /** `before` are the tokens the text goes on from. */
  constructor(tokenizer: Tokenizer, before: readonly Token[]) {
    this.#tokenizer = tokenizer;
    this.#context = before.slice(-CONTEXT_TOKENS);
  }

  /** The text that became certain; control tokens appear as their names. */
  push(token: Token): string {
    this.#unfinished.push(token);
    const text = this.#text();
    if (text.endsWith(REPLACEMENT) && this.#unfinished.length < MAX_CHARACTER_BYTES) return "";
    this.#context = [...this.#context, ...this.#unfinished].slice(-CONTEXT_TOKENS);
    this.#unfinished = [];
    return text;
  }

  /** What is left when no more tokens come: broken characters are shown as such. */
  end(): string {
    const text = this.#text();
    this.#unfinished = [];
    return text;
  }

  #text(): string {
    return this.#tokenizer.detokenize(this.#unfinished, true, this.#context);
  }
}

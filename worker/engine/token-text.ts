import type { Token, Tokenizer } from "node-llama-cpp";

/** A character of UTF-8 has at most this many bytes, so that no more byte tokens can belong to it. */
const MAX_CHARACTER_BYTES = 4;
const REPLACEMENT = "\uFFFD";
/** Enough for a tokenizer to know whether a space stood before. */
const CONTEXT_TOKENS = 2;

/** Turns tokens into text as they come, holding back the ones of an unfinished character. */
export class TokenText {
  readonly #tokenizer: Tokenizer;
  readonly #shownMarkup: string;
  #context: readonly Token[];
  #unfinished: Token[] = [];

  /** `before` are the tokens the text goes on from; of control tokens, only those in `marks` appear as text. */
  constructor(tokenizer: Tokenizer, before: readonly Token[], marks: readonly string[]) {
    this.#tokenizer = tokenizer;
    this.#shownMarkup = marks.join("\n");
    this.#context = before.slice(-CONTEXT_TOKENS);
  }

  /** The text that became certain. */
  push(token: Token): string {
    if (this.#isHidden(token)) return this.end();
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

  #isHidden(token: Token): boolean {
    return (
      this.#tokenizer.isSpecialToken(token) && !this.#shownMarkup.includes(this.#tokenizer.detokenize([token], true))
    );
  }

  #text(): string {
    return this.#tokenizer.detokenize(this.#unfinished, true, this.#context);
  }
}

import type { FinishReason, TokenUsage } from "../../protocol/index.ts";

/**
 * Counts what a job is charged for. A client counts the same from what it received (ACN/1 §3.4): every generated id is
 * delivered exactly once, and an answer that ended with `stop` has one end token more, whether the model said it or a
 * stop string took its place.
 */
export class Meter {
  readonly #promptTokens: number;
  readonly #cachedTokens: number;
  #delivered = 0;

  constructor(promptTokens: number, cachedTokens: number) {
    this.#promptTokens = promptTokens;
    this.#cachedTokens = cachedTokens;
  }

  deliver(tokenIds: readonly number[]): void {
    this.#delivered += tokenIds.length;
  }

  /** Without a reason: broken off, no end token. */
  usage(finishReason?: FinishReason): TokenUsage {
    return {
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cachedTokens,
      completionTokens: this.#delivered + (finishReason === "stop" ? 1 : 0),
    };
  }
}

import type { SealedEvent } from "../protocol/index.ts";

/** What the pieces of an answer add up to. */
export interface AnswerParts {
  readonly text: string;
  readonly reasoning: string;
  readonly toolCalls: readonly ToolCall[];
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text as the model wrote it. */
  readonly arguments: string;
}

/** Joins events into one answer. */
export class AnswerBuilder {
  readonly #text: string[] = [];
  readonly #reasoning: string[] = [];
  readonly #calls = new Map<number, { id: string; name: string; arguments: string }>();

  add(event: SealedEvent): void {
    if (event.t === "delta") {
      (event.reasoning === true ? this.#reasoning : this.#text).push(event.text);
      return;
    }
    const call = this.#calls.get(event.index) ?? { id: "", name: "", arguments: "" };
    call.id += event.id ?? "";
    call.name += event.name ?? "";
    call.arguments += event.arguments ?? "";
    this.#calls.set(event.index, call);
  }

  parts(): AnswerParts {
    const calls = [...this.#calls].sort(([a], [b]) => a - b);
    return { text: this.#text.join(""), reasoning: this.#reasoning.join(""), toolCalls: calls.map(([, call]) => call) };
  }
}

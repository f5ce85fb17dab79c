import { JsonScanner } from "./json-scanner.ts";

/** How a model marks the parts of its answer; texts as its tokenizer shows them. */
export interface AnswerMarks {
  readonly thought: ThoughtMarks | undefined;
  readonly call: CallMarks | undefined;
  /** Texts after which nothing belongs to the answer: the template's end of turn. */
  readonly ends: readonly string[];
  /** The client's stop strings; they count in the answer, not in the reasoning. */
  readonly stops: readonly string[];
}

export interface ThoughtMarks {
  readonly open: readonly string[];
  readonly close: readonly string[];
  /** The prompt ended inside the reasoning. */
  readonly isOpen: boolean;
}

export interface CallMarks {
  /** What begins a call, the section's own prefix included where there is one. */
  readonly begins: readonly string[];
  /** Between the function's name and its arguments. */
  readonly beforeArguments: string;
  readonly after: string;
  /** Closes a section of calls; empty where there is none. */
  readonly sectionEnd: string;
  readonly canRepeat: boolean;
}

export type AnswerPart =
  | { readonly type: "text"; readonly text: string; readonly reasoning: boolean }
  | { readonly type: "call"; readonly index: number; readonly name: string }
  | { readonly type: "arguments"; readonly index: number; readonly text: string };

/** Every text a mark consists of. */
export function markTexts({ thought, call, ends, stops }: AnswerMarks): string[] {
  const callTexts = call === undefined ? [] : [...call.begins, call.beforeArguments, call.after, call.sectionEnd];
  return [...(thought?.open ?? []), ...(thought?.close ?? []), ...callTexts, ...ends, ...stops];
}

type Mode = "text" | "reasoning" | "name" | "arguments" | "after";

/**
 * Reads an answer piece by piece: reasoning, text, tool calls, up to a stop. What could still become a mark is held
 * back until it is known not to be one.
 */
export class AnswerReader {
  readonly #marks: AnswerMarks;
  #mode: Mode;
  #held = "";
  #skipsSpace = false;
  #calls = 0;
  #json = new JsonScanner();
  #isStopped = false;
  #parts: AnswerPart[] = [];

  constructor(marks: AnswerMarks) {
    this.#marks = marks;
    this.#mode = marks.thought?.isOpen === true ? "reasoning" : "text";
  }

  /** Nothing more belongs to the answer. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  get callCount(): number {
    return this.#calls;
  }

  get isReasoning(): boolean {
    return this.#mode === "reasoning";
  }

  /** Held text that is exactly this: the start of a mark, and nothing beside it. */
  holdsExactly(text: string): boolean {
    return this.#mode === "text" && this.#held === text;
  }

  push(text: string): AnswerPart[] {
    this.#held += text;
    while (!this.#isStopped && this.#advance());
    return this.#taken();
  }

  /** The model ended: what was held back for a mark is text after all. */
  end(): AnswerPart[] {
    if (!this.#isStopped && (this.#mode === "text" || this.#mode === "reasoning")) this.#release(this.#held.length);
    if (this.#mode === "arguments" && this.#json.isEmpty)
      this.#part({ type: "arguments", index: this.#calls - 1, text: "{}" });
    return this.#taken();
  }

  #taken(): AnswerPart[] {
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  #part(part: AnswerPart): void {
    this.#parts.push(part);
  }

  /** Whether it got further; false when it needs more text. */
  #advance(): boolean {
    switch (this.#mode) {
      case "text":
        return this.#readText();
      case "reasoning":
        return this.#readReasoning();
      case "name":
        return this.#readName();
      case "arguments":
        return this.#readArguments();
      case "after":
        return this.#readAfterCall();
    }
  }

  #readText(): boolean {
    const { thought, call, ends, stops } = this.#marks;
    const opens = this.#calls === 0 ? (thought?.open ?? []) : [];
    const begins = call?.begins ?? [];
    const sectionEnd = this.#calls > 0 && call !== undefined && call.sectionEnd !== "" ? [call.sectionEnd] : [];
    const found = this.#releaseUpTo([...opens, ...begins, ...sectionEnd, ...ends, ...stops]);
    if (found === undefined) return false;
    if (opens.includes(found)) this.#enter("reasoning", true);
    else if (begins.includes(found)) this.#enter("name", true);
    else this.#stop();
    return true;
  }

  #readReasoning(): boolean {
    const { thought, ends } = this.#marks;
    const closes = thought?.close ?? [];
    const found = this.#releaseUpTo([...closes, ...ends]);
    if (found === undefined) return false;
    if (closes.includes(found)) this.#enter("text", true);
    else this.#stop();
    return true;
  }

  #readName(): boolean {
    const { beforeArguments } = this.#callMarks();
    const found = flexible(beforeArguments).exec(this.#held);
    if (found === null) return false;
    this.#part({ type: "call", index: this.#calls, name: this.#held.slice(0, found.index).trim() });
    this.#held = this.#held.slice(found.index + found[0].length);
    this.#calls++;
    this.#json = new JsonScanner();
    this.#enter("arguments", true);
    return true;
  }

  #readArguments(): boolean {
    const { after } = this.#callMarks();
    if (this.#json.isEmpty) this.#held = this.#held.trimStart();
    if (this.#json.isEmpty && startsLike(this.#held, after.trimStart())) {
      if (!this.#held.startsWith(after.trim())) return false;
      this.#part({ type: "arguments", index: this.#calls - 1, text: "{}" });
      this.#enter("after", true);
      return true;
    }
    const length = this.#json.push(this.#held);
    if (length > 0) this.#part({ type: "arguments", index: this.#calls - 1, text: this.#held.slice(0, length) });
    this.#held = this.#held.slice(length);
    if (!this.#json.isComplete) return false;
    this.#enter("after", true);
    return true;
  }

  #readAfterCall(): boolean {
    const { after, canRepeat } = this.#callMarks();
    this.#held = this.#held.trimStart();
    const found = flexible(after.trim()).exec(this.#held);
    if (found?.index === 0) {
      this.#held = this.#held.slice(found[0].length);
      if (canRepeat) this.#enter("text", true);
      else this.#stop();
      return true;
    }
    if (compact(after).startsWith(compact(this.#held))) return false;
    this.#enter("text", true);
    return true;
  }

  #callMarks(): CallMarks {
    if (this.#marks.call === undefined) throw new Error("a call without marks of a call");
    return this.#marks.call;
  }

  #enter(mode: Mode, skipsSpace: boolean): void {
    this.#mode = mode;
    this.#skipsSpace = skipsSpace;
    if (skipsSpace) this.#held = this.#held.trimStart();
  }

  #stop(): void {
    this.#isStopped = true;
    this.#held = "";
  }

  /** Releases text up to the first mark, takes the mark away and names it; or all text that cannot become one. */
  #releaseUpTo(marks: readonly string[]): string | undefined {
    const found = firstMark(this.#held, marks);
    if (found === undefined) {
      this.#release(this.#held.length - longestStart(this.#held, marks));
      return undefined;
    }
    this.#release(found.at);
    this.#held = this.#held.slice(found.mark.length);
    return found.mark;
  }

  #release(length: number): void {
    let text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    if (this.#skipsSpace) text = text.trimStart();
    if (text === "") return;
    this.#skipsSpace = false;
    this.#part({ type: "text", text, reasoning: this.#mode === "reasoning" });
  }
}

/** The mark that is complete first, as if the text had come one character at a time; of several, the longest. */
function firstMark(text: string, marks: readonly string[]): { at: number; mark: string } | undefined {
  let first: { at: number; mark: string } | undefined;
  for (const mark of marks) {
    const at = text.indexOf(mark);
    if (at === -1) continue;
    const lead = first === undefined ? 1 : first.at + first.mark.length - (at + mark.length);
    if (lead > 0 || (lead === 0 && mark.length > (first?.mark.length ?? 0))) first = { at, mark };
  }
  return first;
}

/** How many characters at the end of a text could begin a mark. */
function longestStart(text: string, marks: readonly string[]): number {
  let longest = 0;
  for (const mark of marks) {
    for (let length = Math.min(mark.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(mark.slice(0, length))) longest = length;
    }
  }
  return longest;
}

function startsLike(text: string, mark: string): boolean {
  return mark !== "" && (text.startsWith(mark) || mark.startsWith(text));
}

/** A mark with any white space where it has some: models are free with it. */
function flexible(mark: string): RegExp {
  const pattern = mark
    .split(/\s+/u)
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&"))
    .join("\\s*");
  return new RegExp(pattern, "u");
}

function compact(text: string): string {
  return text.replace(/\s/gu, "");
}

import { type ChatRequestBody, Failure } from "../../protocol/index.ts";
import {
  type Llama,
  type LlamaGrammar,
  LlamaGrammarEvaluationState,
  type LlamaModel,
  type Token,
} from "node-llama-cpp";
import type { AnswerReader, CallMarks } from "./answer.ts";
import { alternatives, JsonGrammar, literal, mismatch } from "./json-grammar.ts";

/** What a request demands of the form of its answer. */
export interface AnswerForm {
  /** Holds from the first token of the answer proper. */
  readonly whole: LlamaGrammar | undefined;
  /** Holds from where the model itself begins a call: after exactly this text. */
  readonly call: { readonly trigger: string; readonly grammar: LlamaGrammar } | undefined;
  /** The finished text, checked once more. @throws {Failure} `internal` */
  readonly check: (text: string) => void;
}

const FREE: AnswerForm = { whole: undefined, call: undefined, check: () => undefined };

export interface CallSyntax {
  readonly marks: CallMarks;
  readonly trigger: string;
  /** What of the call's beginning follows the trigger. */
  readonly rest: string;
}

/** @throws {Failure} `unsupported_field` for a form no grammar can hold. */
export async function answerForm(
  llama: Llama,
  body: ChatRequestBody,
  syntax: CallSyntax | undefined,
): Promise<AnswerForm> {
  const format = body.response_format;
  const choice = body.tool_choice ?? "auto";
  if (syntax !== undefined && choice !== "auto" && choice !== "none") {
    const begin = syntax.trigger + syntax.rest;
    return { ...FREE, whole: await compiled(llama, () => callGrammar(body, syntax, begin)) };
  }
  if (format?.type === "json_object") {
    const grammar = new JsonGrammar("refuse");
    return { ...FREE, whole: await compiled(llama, () => grammar.text(grammar.object())), check: checkObject };
  }
  if (format?.type === "json_schema") {
    const { schema } = format.json_schema;
    const grammar = new JsonGrammar("refuse");
    return {
      ...FREE,
      whole: await compiled(llama, () => grammar.text(grammar.schema(schema))),
      check: (text) => checkSchema(text, schema),
    };
  }
  if (syntax === undefined) return FREE;
  const grammar = await compiled(llama, () => callGrammar(body, syntax, syntax.rest));
  return { ...FREE, call: { trigger: syntax.trigger, grammar } };
}

/** One call, or several where the template has them, to the tools a request allows. */
function callGrammar(body: ChatRequestBody, { marks }: CallSyntax, begin: string): string {
  const json = new JsonGrammar("leave out");
  const { tool_choice: choice, tools = [] } = body;
  const named = typeof choice === "object" ? choice.function.name : undefined;
  const allowed = tools.filter((tool) => named === undefined || tool.function.name === named);
  if (allowed.length === 0) throw new Failure("unsupported_field", "tool_choice: names no tool of the request");
  const calls = alternatives(
    allowed.map(({ function: { name, parameters } }) => {
      const values = json.schema(parameters ?? { type: "object" });
      return `${literal(name)} ${literal(marks.beforeArguments)} ${values} ${literal(marks.after)}`;
    }),
  );
  const again = marks.canRepeat ? ` ([\\n]{0,2} ${literal(marks.begins[0] ?? "")} ${calls})*` : "";
  return json.text(`${literal(begin)} ${calls}${again}`);
}

async function compiled(llama: Llama, written: () => string): Promise<LlamaGrammar> {
  try {
    return await llama.createGrammar({ grammar: written() });
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure("unsupported_field", "JSON schema: too large or too deep", { cause });
  }
}

function checkObject(text: string): void {
  checkSchema(text, { type: "object" });
}

function checkSchema(text: string, schema: unknown): void {
  if (mismatch(parsed(text), schema) !== undefined)
    throw new Failure("internal", "the answer does not match its schema");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Failure("internal", "the answer is not JSON", { cause });
  }
}

/** The grammar that holds for the next token, if one does. */
export class Constraint {
  readonly #form: AnswerForm;
  readonly #model: LlamaModel;
  readonly #reader: AnswerReader;
  #state: LlamaGrammarEvaluationState | undefined;

  constructor(form: AnswerForm, model: LlamaModel, reader: AnswerReader) {
    this.#form = form;
    this.#model = model;
    this.#reader = reader;
  }

  current(): LlamaGrammarEvaluationState | undefined {
    if (this.#state !== undefined) return this.#state;
    if (this.#reader.isReasoning) return undefined;
    if (this.#form.whole !== undefined) this.#engage(this.#form.whole);
    else if (this.#form.call !== undefined && this.#reader.holdsExactly(this.#form.call.trigger)) {
      this.#engage(this.#form.call.grammar);
    }
    return this.#state;
  }

  /** A token of the answer's first part, made elsewhere: the grammar follows it. */
  replay(token: Token): void {
    const state = this.current();
    if (state !== undefined) acceptToken(this.#model.llama, state, token);
  }

  #engage(grammar: LlamaGrammar): void {
    this.#state = new LlamaGrammarEvaluationState({ model: this.#model, grammar });
  }
}

/** node-llama-cpp has this for its own speculative decoding and does not export it. */
interface NativeSampler {
  readonly _bindings: {
    readonly AddonSampler: { acceptGrammarEvaluationStateToken(state: unknown, token: Token): void };
  };
}

function acceptToken(llama: Llama, state: LlamaGrammarEvaluationState, token: Token): void {
  const { _bindings } = llama as unknown as NativeSampler;
  const { _state } = state as unknown as { readonly _state: unknown };
  _bindings.AddonSampler.acceptGrammarEvaluationStateToken(_state, token);
}

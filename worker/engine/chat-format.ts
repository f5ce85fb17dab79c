import { Failure, type ChatRequestBody, contentText } from "../../protocol/index.ts";
import {
  type ChatHistoryItem,
  type ChatModelFunctionCall,
  type ChatModelFunctions,
  type ChatModelResponse,
  ChatWrapper,
  type ChatWrapperGenerateContextStateOptions,
  type ChatWrapperGeneratedContextState,
  DeepSeekChatWrapper,
  LlamaText,
  type LlamaModel,
  QwenChatWrapper,
  resolveChatWrapper,
  SpecialTokensText,
  type Token,
} from "node-llama-cpp";
import type { AnswerMarks, CallMarks, ThoughtMarks } from "./answer.ts";
import { stopStrings } from "./sampling.ts";

/** A conversation as one model wants it, and how it will mark its answer. */
export interface RenderedChat {
  readonly tokens: Token[];
  readonly marks: AnswerMarks;
}

/** Turns OpenAI's messages and tools into a model's own format and back. One a loaded model. */
export class ChatFormat {
  readonly #model: LlamaModel;
  readonly #wrapper: ChatWrapper;

  constructor(model: LlamaModel) {
    this.#model = model;
    this.#wrapper = wrapperFor(model);
  }

  get canThink(): boolean {
    return this.#wrapper.settings.segments?.thought !== undefined;
  }

  get canCallTools(): boolean {
    return !(this.#wrapper instanceof PlainChatWrapper);
  }

  /** @throws {Failure} `unsupported_field` when the conversation is not one this model can be told. */
  render(body: ChatRequestBody): RenderedChat {
    const history = chatHistory(body);
    const tools = toolsInUse(body);
    if (tools !== undefined && !this.canCallTools) {
      throw new Failure("unsupported_field", "tools: this model was never taught to call any");
    }
    const opensThought = this.#opensThought(history);
    if (opensThought) lastResponse(history).push({ type: "segment", segmentType: "thought", text: "", ended: false });
    const state = this.#contextState({
      chatHistory: history,
      ...(tools !== undefined && { availableFunctions: tools, documentFunctionParams: true }),
    });
    const ends = state.stopGenerationTriggers.map((trigger) => this.#shown(trigger)).filter((text) => text !== "");
    return {
      tokens: this.#withStart(this.#tokens(state.contextText)),
      marks: {
        thought: this.#thoughtMarks(opensThought || this.#startsInThought(history)),
        call: tools === undefined ? undefined : this.#callMarks(body.parallel_tool_calls !== false),
        ends,
        stops: stopStrings(body),
      },
    };
  }

  /** A raw prompt; what looks like a control token is one, as in llama-server. */
  renderPlain(prompt: string): Token[] {
    return this.#withStart(this.#model.tokenize(prompt, true));
  }

  /** What begins a call, cut after the first token that only a call begins with: from there on a grammar may hold. */
  callTrigger(marks: CallMarks): { readonly trigger: string; readonly rest: string } {
    const begin = marks.begins[0] ?? "";
    const { parallelism, call } = this.#wrapper.settings.functions;
    const opening = LlamaText([parallelism?.call.sectionPrefix ?? "", call.prefix]);
    const isMarkup = opening.values[0] instanceof SpecialTokensText;
    const first = this.#model.detokenize(opening.tokenize(this.#model.tokenizer).slice(0, 1), true);
    const trigger = isMarkup && begin.startsWith(first) ? first : begin;
    return { trigger, rest: begin.slice(trigger.length) };
  }

  #contextState(options: ChatWrapperGenerateContextStateOptions): ChatWrapperGeneratedContextState {
    try {
      return this.#wrapper.generateContextState(options);
    } catch (cause) {
      throw new Failure("unsupported_field", "messages: the model's template refuses them", { cause });
    }
  }

  /** Plain texts go through the tokenizer whole: it then treats their beginning as it does a raw prompt's. */
  #tokens(text: LlamaText): Token[] {
    if (this.#wrapper instanceof PlainChatWrapper) return this.#model.tokenize(text.toString(), false);
    return text.tokenize(this.#model.tokenizer);
  }

  #withStart(tokens: Token[]): Token[] {
    const { bos, shouldPrependBosToken } = this.#model.tokens;
    return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
  }

  /** The template puts the opening mark of the reasoning into the prompt. */
  #opensThought(history: readonly ChatHistoryItem[]): boolean {
    const { thought } = this.#wrapper.settings.segments ?? {};
    return thought?.openOnResponseStart === true && !isOpenedByTemplate(thought) && lastResponse(history).length === 0;
  }

  #startsInThought(history: readonly ChatHistoryItem[]): boolean {
    const { thought } = this.#wrapper.settings.segments ?? {};
    return thought !== undefined && isOpenedByTemplate(thought) && lastResponse(history).length === 0;
  }

  #thoughtMarks(isOpen: boolean): ThoughtMarks | undefined {
    const { thought } = this.#wrapper.settings.segments ?? {};
    if (thought === undefined) return undefined;
    const open = isMark(thought.prefix) ? [this.#shown(thought.prefix)] : [];
    const close = thought.suffix === undefined ? [] : [this.#shown(thought.suffix)];
    return { open: withTrimmed(open), close: withTrimmed(close), isOpen };
  }

  #callMarks(isParallel: boolean): CallMarks {
    const { call, parallelism } = this.#wrapper.settings.functions;
    const section = this.#shown(parallelism?.call.sectionPrefix ?? "");
    const begins = [call.prefix, ...(call.prefixAlternateMatches ?? [])].map((prefix) => this.#shown(prefix));
    return {
      begins: section === "" ? begins : [...begins.map((begin) => section + begin), ...begins],
      beforeArguments: this.#shown(call.paramsPrefix),
      after: this.#shown(call.suffix),
      sectionEnd: this.#shown(parallelism?.call.sectionSuffix ?? ""),
      canRepeat: isParallel && parallelism !== undefined,
    };
  }

  /** A mark as it appears when the model says it; the end of a turn is not said. */
  #shown(text: string | LlamaText): string {
    const tokens = LlamaText(text).tokenize(this.#model.tokenizer);
    const end = tokens.findIndex((token) => this.#model.isEogToken(token));
    return this.#model.detokenize(end === -1 ? tokens : tokens.slice(0, end), true);
  }
}

/**
 * The wrapper is pinned where node-llama-cpp's choice by comparing templates falls short: a template it does not know
 * becomes plain ChatML, without reasoning and without tools (ENGINE.md §1.3).
 */
function wrapperFor(model: LlamaModel): ChatWrapper {
  const { metadata } = model.fileInfo;
  const template = metadata.tokenizer.chat_template;
  if (template === undefined || template.trim() === "") return new PlainChatWrapper();
  const architecture: string = metadata.general.architecture;
  if (template.includes("<｜User｜>")) return new DeepSeekChatWrapper();
  if (/^qwen(2|3)(moe|vl|vlmoe)?$/u.test(architecture) && template.includes("<|im_start|>")) {
    return new QwenChatWrapper({ variation: "3" });
  }
  if (/^qwen3(5|next)/u.test(architecture)) return new QwenChatWrapper({ variation: "3.5" });
  return resolveChatWrapper(model, { warningLogs: false });
}

/** A model that was never taught turns is given the texts alone, and continues them. */
class PlainChatWrapper extends ChatWrapper {
  readonly wrapperName = "Plain";

  override generateContextState({
    chatHistory,
  }: ChatWrapperGenerateContextStateOptions): ChatWrapperGeneratedContextState {
    const texts = chatHistory.map((item) => {
      if (item.type === "model") return item.response.filter((part) => typeof part === "string").join("");
      return item.type === "user" ? item.text : LlamaText.fromJSON(item.text).toString();
    });
    return { contextText: LlamaText(texts.filter((text) => text !== "").join("\n\n")), stopGenerationTriggers: [] };
  }
}

function chatHistory(body: ChatRequestBody): ChatHistoryItem[] {
  const history: ChatHistoryItem[] = [];
  const calls = new Map<string, ChatModelFunctionCall>();
  for (const message of body.messages) {
    switch (message.role) {
      case "system":
      case "developer":
        history.push({ type: "system", text: contentText(message.content) });
        break;
      case "user":
        history.push({ type: "user", text: contentText(message.content) });
        break;
      case "assistant":
        openResponse(history).push(...assistantParts(message, calls));
        break;
      case "tool":
        answerCall(calls, message.tool_call_id, contentText(message.content));
        break;
    }
  }
  openResponse(history);
  return history;
}

/** The assistant's turn in progress: what it said, called and was answered belongs to one turn. */
function openResponse(history: ChatHistoryItem[]): ChatModelResponse["response"] {
  const last = history.at(-1);
  if (last?.type === "model") return last.response;
  const opened: ChatModelResponse = { type: "model", response: [] };
  history.push(opened);
  return opened.response;
}

function lastResponse(history: readonly ChatHistoryItem[]): ChatModelResponse["response"] {
  const last = history.at(-1);
  if (last?.type !== "model") throw new Error("a conversation without an open turn");
  return last.response;
}

type AssistantMessage = Extract<ChatRequestBody["messages"][number], { role: "assistant" }>;

function assistantParts(
  { content, reasoning_content, tool_calls = [] }: AssistantMessage,
  calls: Map<string, ChatModelFunctionCall>,
): ChatModelResponse["response"] {
  const parts: ChatModelResponse["response"] = [];
  if (reasoning_content !== undefined && reasoning_content !== null && reasoning_content !== "") {
    parts.push({ type: "segment", segmentType: "thought", text: reasoning_content, ended: true });
  }
  const text = contentText(content);
  if (text !== "") parts.push(text);
  tool_calls.forEach((toolCall, i) => {
    const call: ChatModelFunctionCall = {
      type: "functionCall",
      name: toolCall.function.name,
      params: parsedArguments(toolCall.function.arguments),
      result: undefined,
      ...(i === 0 && { startsNewChunk: true }),
    };
    calls.set(toolCall.id, call);
    parts.push(call);
  });
  return parts;
}

function parsedArguments(text: string): unknown {
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Failure("unsupported_field", "messages: arguments of a tool call that are not JSON", { cause });
  }
}

function answerCall(calls: ReadonlyMap<string, ChatModelFunctionCall>, id: string, content: string): void {
  const call = calls.get(id);
  if (call === undefined) throw new Failure("unsupported_field", "messages: a tool result without its call");
  call.result = parsedResult(content);
}

/** Templates write results as JSON: what is JSON already must not be quoted again. */
function parsedResult(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return content;
  }
}

/** The tools the model may hear of; with `tool_choice: "none"` it hears of none. */
export function toolsInUse(body: ChatRequestBody): ChatModelFunctions | undefined {
  if (body.tools === undefined || body.tools.length === 0 || body.tool_choice === "none") return undefined;
  return Object.fromEntries(
    body.tools.map(({ function: { name, description, parameters } }) => [
      name,
      {
        ...(description !== undefined && { description }),
        // Documented as it came; what the model writes is held by our own grammar, not by node-llama-cpp's subset.
        ...(parameters !== undefined && { params: parameters as NonNullable<ChatModelFunctions[string]["params"]> }),
      },
    ]),
  );
}

type Thought = NonNullable<NonNullable<ChatWrapper["settings"]["segments"]>["thought"]>;

function isMark(prefix: Thought["prefix"]): prefix is string | LlamaText {
  return typeof prefix === "string" || LlamaText.isLlamaText(prefix);
}

function isOpenedByTemplate({ prefix }: Thought): boolean {
  return !isMark(prefix);
}

/** Models are free with the line breaks around their marks. */
function withTrimmed(marks: readonly string[]): string[] {
  return [...new Set(marks.flatMap((mark) => [mark, mark.trim()]))];
}

import type { SealedEvent } from "../protocol/index.ts";
import type { AnswerParts } from "./answer.ts";
import type { ModelRequest } from "./sealed-body.ts";
import type { AnswerEnd, AnsweringWorker } from "./session.ts";

/** Writes one answer in OpenAI's form, whole or chunk by chunk. */
export interface AnswerWriter {
  /** One SSE event. */
  chunk(event: SealedEvent): string;
  /** The closing SSE events, `[DONE]` included. */
  last(end: AnswerEnd): string;
  /** The JSON of an answer that was not streamed. */
  whole(parts: AnswerParts, end: AnswerEnd): string;
}

export interface AnswerHead {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  /** The name the request used. */
  readonly model: string;
  readonly includeUsage: boolean;
}

export function answerWriter(path: ModelRequest["path"], head: AnswerHead): AnswerWriter {
  return path === "/v1/completions" ? textWriter(head) : chatWriter(head);
}

/** Who answers, told before the first byte of the answer. */
export function workerHeaders({ workerId, tier, price, feeBps }: AnsweringWorker): Record<string, string> {
  return {
    "x-cocoon-tier": tier,
    "x-cocoon-worker-id": workerId,
    "x-cocoon-price": `${price.prompt},${price.cached},${price.completion}`,
    "x-cocoon-fee-bps": String(feeBps),
  };
}

const DONE = "data: [DONE]\n\n";

/** What does not change between chunks is serialised once: the rest is a delta between two strings. */
function chatWriter({ id, created, model, includeUsage }: AnswerHead): AnswerWriter {
  const about = (object: string): string =>
    `"id":"${id}","object":"${object}","created":${created},"model":${JSON.stringify(model)}`;
  const prefix = `data: {${about("chat.completion.chunk")},"choices":[`;
  const suffix = includeUsage ? `],"usage":null}\n\n` : "]}\n\n";
  let role = `"role":"assistant",`;
  const choice = (delta: string, finish: string): string =>
    `${prefix}{"index":0,"delta":{${delta}},"logprobs":null,"finish_reason":${finish}}${suffix}`;
  return {
    chunk(event) {
      const delta = role + deltaOf(event);
      role = "";
      return choice(delta, "null");
    },
    last(end) {
      const finish = choice(role.slice(0, -1), JSON.stringify(end.finishReason));
      const usage = includeUsage ? `${prefix}],"usage":${usageOf(end)}}\n\n` : "";
      return finish + usage + DONE;
    },
    whole({ text, reasoning, toolCalls }, end) {
      const message = {
        role: "assistant",
        content: toolCalls.length > 0 && text === "" ? null : text,
        refusal: null,
        ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
        ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(toolCallOf) }),
      };
      const made = { index: 0, message, logprobs: null, finish_reason: end.finishReason };
      return `{${about("chat.completion")},"choices":[${JSON.stringify(made)}],"usage":${usageOf(end)}}`;
    },
  };
}

function textWriter({ id, created, model, includeUsage }: AnswerHead): AnswerWriter {
  const about = `"id":"${id}","object":"text_completion","created":${created},"model":${JSON.stringify(model)}`;
  const suffix = includeUsage ? `],"usage":null}\n\n` : "]}\n\n";
  const choice = (text: string, finish: string): string =>
    `{"text":${JSON.stringify(text)},"index":0,"logprobs":null,"finish_reason":${finish}}`;
  return {
    // A raw prompt has no template and so no reasoning of its own: all of it is text.
    chunk: (event) => `data: {${about},"choices":[${choice(event.t === "delta" ? event.text : "", "null")}${suffix}`,
    last(end) {
      const finish = `data: {${about},"choices":[${choice("", JSON.stringify(end.finishReason))}${suffix}`;
      const usage = includeUsage ? `data: {${about},"choices":[],"usage":${usageOf(end)}}\n\n` : "";
      return finish + usage + DONE;
    },
    whole: ({ text, reasoning }, end) =>
      `{${about},"choices":[${choice(reasoning + text, JSON.stringify(end.finishReason))}],"usage":${usageOf(end)}}`,
  };
}

function deltaOf(event: SealedEvent): string {
  if (event.t === "delta")
    return `"${event.reasoning === true ? "reasoning_content" : "content"}":${JSON.stringify(event.text)}`;
  const { index, id, name } = event;
  const called = { ...(name === undefined ? {} : { name }), arguments: event.arguments ?? "" };
  const call = { index, ...(id === undefined ? {} : { id, type: "function" }), function: called };
  return `"tool_calls":[${JSON.stringify(call)}]`;
}

function toolCallOf(call: AnswerParts["toolCalls"][number]): object {
  return { id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } };
}

/** OpenAI's usage, and the cost as decimal strings of nanoton. */
function usageOf({ usage, chargedNanoton, earnedNanoton, feeNanoton, ttftMs, tokensPerSecond }: AnswerEnd): string {
  return JSON.stringify({
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    cocoon: {
      chargedNanoton: chargedNanoton.toString(),
      earnedNanoton: earnedNanoton.toString(),
      feeNanoton: feeNanoton.toString(),
      ttftMs: Math.round(ttftMs * 10) / 10,
      tokensPerSecond: Math.round(tokensPerSecond * 10) / 10,
    },
  });
}

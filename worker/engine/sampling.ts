import type { ChatRequestBody, CompletionRequestBody } from "../../protocol/index.ts";
import type { SequenceEvaluateOptions, Token } from "node-llama-cpp";

/** Where a request leaves them open; llama-server's, since quantised models are tuned for it. */
const DEFAULTS = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 } as const;

/** Repetition is judged over this many of the newest generated tokens. */
const PENALTY_TOKENS = 256;

export interface SamplingInputs {
  readonly body: ChatRequestBody | CompletionRequestBody;
  /** For a request without one: 32 bits. */
  readonly randomSeed: number;
  /** Everything generated so far, a continued answer's first part included. */
  readonly generated: () => readonly Token[];
}

/** How the next token is chosen, from the words of OpenAI's API to those of node-llama-cpp. */
export function samplingOptions({ body, randomSeed, generated }: SamplingInputs): SequenceEvaluateOptions {
  const penalty = body.repeat_penalty ?? 1;
  const frequencyPenalty = body.frequency_penalty ?? 0;
  const presencePenalty = body.presence_penalty ?? 0;
  const isPenalised = penalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  return {
    temperature: body.temperature ?? DEFAULTS.temperature,
    topK: body.top_k ?? DEFAULTS.topK,
    topP: body.top_p ?? DEFAULTS.topP,
    minP: body.min_p ?? DEFAULTS.minP,
    // A continued answer goes on from another point of the same stream of chance.
    seed:
      body.seed === undefined || body.seed === null
        ? randomSeed
        : (body.seed + (body.cocoon?.continue.usedTokens ?? 0)) % 2 ** 32,
    ...(isPenalised && {
      repeatPenalty: {
        punishTokens: () => generated().slice(-PENALTY_TOKENS),
        maxPunishTokens: PENALTY_TOKENS,
        penalty,
        frequencyPenalty,
        presencePenalty,
      },
    }),
  };
}

/** The most tokens a body lets itself cost; `maxTokens` of the job rules over it. */
export function bodyMaxTokens(body: ChatRequestBody | CompletionRequestBody): number {
  const named = "messages" in body ? (body.max_completion_tokens ?? body.max_tokens) : body.max_tokens;
  return named ?? Number.POSITIVE_INFINITY;
}

export function stopStrings({ stop }: ChatRequestBody | CompletionRequestBody): readonly string[] {
  if (stop === undefined || stop === null) return [];
  return typeof stop === "string" ? [stop] : stop;
}

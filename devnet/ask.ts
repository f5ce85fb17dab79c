import * as z from "zod";
import { TIERS, type Tier, type TokenUsage } from "../protocol/index.ts";

/** One streamed answer, as a program outside would read it from the endpoint. */
export interface StreamedAnswer {
  readonly answer: string;
  /** What the endpoint proved of the worker, from its header. */
  readonly tier: Tier;
  readonly usage: TokenUsage;
  readonly ttftMs: number;
  /** Decode rate after the first piece; 0 when there was no second token. */
  readonly tokensPerSecond: number;
}

export interface Question {
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
  readonly text: string;
  readonly maxTokens: number;
}

const chunkSchema = z.object({
  choices: z.array(
    z.object({ delta: z.object({ content: z.string().nullish(), reasoning_content: z.string().nullish() }) }),
  ),
  usage: z
    .object({
      prompt_tokens: z.int(),
      completion_tokens: z.int(),
      prompt_tokens_details: z.object({ cached_tokens: z.int() }),
    })
    .nullish(),
});
const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/**
 * Asks over HTTP, the way any OpenAI client does: greedy and streamed.
 *
 * @throws {Error} with the endpoint's own sentence when it refuses, or when the stream ends before its `[DONE]`.
 */
export async function ask(question: Question, onText: (piece: string) => void): Promise<StreamedAnswer> {
  const startedAt = performance.now();
  let firstAt: number | undefined;
  let answer = "";
  let usage: TokenUsage | undefined;
  const response = await post(question);
  const tier = z.enum(TIERS).parse(response.headers.get("x-cocoon-tier"));
  for await (const data of serverSentEvents(response)) {
    const chunk = chunkSchema.parse(orRefused(JSON.parse(data)));
    const delta = chunk.choices[0]?.delta;
    const piece = delta?.content ?? "";
    if (piece !== "" || (delta?.reasoning_content ?? "") !== "") firstAt ??= performance.now();
    if (piece !== "") onText(piece);
    answer += piece;
    if (chunk.usage !== null && chunk.usage !== undefined) usage = tokenUsage(chunk.usage);
  }
  if (usage === undefined) throw new Error("The answer came without its token counts.");
  const endedAt = performance.now();
  const decodeMs = endedAt - (firstAt ?? endedAt);
  return {
    answer,
    tier,
    usage,
    ttftMs: Math.round(((firstAt ?? endedAt) - startedAt) * 10) / 10,
    tokensPerSecond: decodeMs > 0 ? Math.round(((usage.completionTokens - 1) / decodeMs) * 10_000) / 10 : 0,
  };
}

async function post({ baseUrl, apiKey, model, text, maxTokens }: Question): Promise<Response> {
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({
      model,
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
      max_tokens: maxTokens,
      messages: [{ role: "user", content: text }],
    }),
  });
  if (!response.ok) orRefused(await response.json());
  return response;
}

/** The data of each event until `[DONE]`. */
async function* serverSentEvents(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let buffered = "";
  const body: AsyncIterable<Uint8Array> | null = response.body;
  for await (const bytes of body ?? []) {
    buffered += decoder.decode(bytes, { stream: true });
    const events = buffered.split("\n\n");
    buffered = events.pop() ?? "";
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (data === "[DONE]") return;
      if (data !== undefined) yield data;
    }
  }
  throw new Error("The answer broke off before its end.");
}

function orRefused(body: unknown): unknown {
  const refused = errorSchema.safeParse(body);
  if (refused.success) throw new Error(refused.data.error.message);
  return body;
}

function tokenUsage(usage: NonNullable<z.output<typeof chunkSchema>["usage"]>): TokenUsage {
  return {
    promptTokens: usage.prompt_tokens,
    cachedTokens: usage.prompt_tokens_details.cached_tokens,
    completionTokens: usage.completion_tokens,
  };
}

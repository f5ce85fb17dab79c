import { z } from "./schema.ts";

/**
 * The OpenAI subset that travels inside the seal. What is not listed is refused by name, never ignored: a client that
 * asks for `logit_bias` and silently gets none has been lied to.
 */

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });
const content = z.union([z.string(), z.array(textPart).min(1)]);

const toolCall = z.strictObject({
  id: z.string().max(128),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string().min(1).max(256), arguments: z.string() }),
});

const message = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("system"), content }),
  z.strictObject({ role: z.literal("developer"), content }),
  z.strictObject({ role: z.literal("user"), content }),
  z.strictObject({
    role: z.literal("assistant"),
    content: content.nullish(),
    reasoning_content: z.string().nullish(),
    tool_calls: z.array(toolCall).min(1).max(128).optional(),
    /** Part of what OpenAI's own client sends back when it repeats an answer. */
    refusal: z.null().optional(),
  }),
  z.strictObject({ role: z.literal("tool"), content, tool_call_id: z.string().max(128) }),
]);

/** A JSON schema object; its keywords are the grammar compiler's to judge. */
const jsonSchema = z.record(z.string(), z.unknown());

const tool = z.strictObject({
  type: z.literal("function"),
  function: z.strictObject({
    name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "a function name is 1–64 of A–Z a–z 0–9 _ -"),
    description: z.string().optional(),
    parameters: jsonSchema.optional(),
    strict: z.boolean().nullish(),
  }),
});

const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: z.string() }) }),
]);

const responseFormat = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({ type: z.literal("json_object") }),
  z.strictObject({
    type: z.literal("json_schema"),
    json_schema: z.strictObject({
      name: z.string().max(64),
      description: z.string().optional(),
      schema: jsonSchema,
      strict: z.boolean().nullish(),
    }),
  }),
]);

/** Where an answer broken off on another worker goes on (NETWORK §6). */
const continuation = z.strictObject({
  continue: z.strictObject({ tokenIds: z.array(z.int().min(0)).max(1_000_000), usedTokens: z.int().min(0) }),
});

const sampling = {
  model: z.string().min(1).max(200),
  max_tokens: z.int().min(1).max(1_000_000).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(0).max(1000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  seed: z.int().min(0).max(0xffff_ffff).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  repeat_penalty: z.number().gt(0).max(2).nullish(),
  stop: z.union([z.string().min(1).max(256), z.array(z.string().min(1).max(256)).max(4)]).nullish(),
  cocoon: continuation.optional(),
};

export const chatRequestBody = z.strictObject({
  ...sampling,
  messages: z.array(message).min(1).max(4096),
  max_completion_tokens: z.int().min(1).max(1_000_000).nullish(),
  tools: z.array(tool).max(128).optional(),
  tool_choice: toolChoice.optional(),
  parallel_tool_calls: z.boolean().optional(),
  response_format: responseFormat.optional(),
});

export const completionRequestBody = z.strictObject({ ...sampling, prompt: z.string() });

/** A chat request without the fields that only the endpoint needs (`stream` and the like). */
export type ChatRequestBody = z.output<typeof chatRequestBody>;
export type ChatMessage = z.output<typeof message>;
export type ChatTool = z.output<typeof tool>;
export type ToolChoice = z.output<typeof toolChoice>;
export type ResponseFormat = z.output<typeof responseFormat>;

/** A raw prompt without a chat template. */
export type CompletionRequestBody = z.output<typeof completionRequestBody>;

/** The text of a message's content, whichever of the two forms it has. */
export function contentText(value: z.output<typeof content> | null | undefined): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : value.map((part) => part.text).join("");
}

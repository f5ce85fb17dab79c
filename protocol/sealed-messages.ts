import { z } from "./schema.ts";
import { utf8 } from "./bytes.ts";
import { chatRequestBody, completionRequestBody } from "./chat.ts";
import { Failure } from "./failure.ts";
import { FINISH_REASONS, type FinishReason } from "./receipt.ts";
import { count, hashHex, parseStrict, parseStrictJson, stringify } from "./strict-json.ts";
import type { TokenUsage } from "./usage.ts";

/** What travels inside the seal (ACN/1 §3.4): one request up, events and one end down. */

const tokenId = z.int().min(0).max(0x7fff_ffff);
const tokenIds = z.array(tokenId).max(16_384);

const envelope = {
  v: z.literal(1),
  maxTokens: z.int().min(1).max(1_000_000),
  reservationId: z.string().min(1).max(64),
  offerHash: hashHex,
};

const envelopeSchema = z.strictObject({
  ...envelope,
  path: z.enum(["/v1/chat/completions", "/v1/completions"]),
  body: z.unknown(),
});

/** A request as the worker opens it. `maxTokens` rules, whatever the body says. */
export type SealedRequest = {
  readonly v: 1;
  readonly maxTokens: number;
  readonly reservationId: string;
  /** Lowercase hex. */
  readonly offerHash: string;
} & (
  | { readonly path: "/v1/chat/completions"; readonly body: z.output<typeof chatRequestBody> }
  | { readonly path: "/v1/completions"; readonly body: z.output<typeof completionRequestBody> }
);

export function encodeSealedRequest(request: SealedRequest): Uint8Array {
  const { v, path, body, maxTokens, reservationId, offerHash } = request;
  return utf8(stringify({ v, path, body, maxTokens, reservationId, offerHash }));
}

/** The outer fields, which a worker compares with its route before it looks at the body. @throws {Failure} `bad_message`. */
export function parseRequestEnvelope(bytes: Uint8Array): z.output<typeof envelopeSchema> {
  return parseStrictJson(envelopeSchema, bytes);
}

/** The body, when the envelope is as routed. @throws {Failure} `unsupported_field`, naming the first field that is. */
export function parseRequestBody(outer: z.output<typeof envelopeSchema>): SealedRequest {
  const { path } = outer;
  if (path === "/v1/completions") {
    return { ...outer, path, body: parseStrict(completionRequestBody, outer.body, "unsupported_field") };
  }
  return { ...outer, path, body: parseStrict(chatRequestBody, outer.body, "unsupported_field") };
}

const eventSchema = z.discriminatedUnion("t", [
  z.strictObject({ t: z.literal("delta"), text: z.string(), tokenIds, reasoning: z.literal(true).optional() }),
  z.strictObject({
    t: z.literal("tool_call"),
    index: count.max(255),
    id: z.string().max(128).optional(),
    name: z.string().max(256).optional(),
    arguments: z.string().optional(),
    tokenIds,
  }),
]);

/** One piece of a completion. `text` may lag behind the ids while a character is incomplete. */
export type SealedEvent = z.output<typeof eventSchema>;

export function encodeSealedEvent(event: SealedEvent): Uint8Array {
  return utf8(JSON.stringify(event));
}

/** @throws {Failure} `bad_message`. */
export function parseSealedEvent(bytes: Uint8Array): SealedEvent {
  return parseStrictJson(eventSchema, bytes);
}

const usageSchema = z.strictObject({ promptTokens: count, cachedTokens: count, completionTokens: count });

const endSchema = z.strictObject({
  finish_reason: z.enum(FINISH_REASONS),
  usage: usageSchema,
  manifestRoot: hashHex,
  offerHash: hashHex,
});

/** What FIN carries: how it ended and what was used, the same numbers as in the receipt. */
export interface SealedEnd {
  readonly finish_reason: FinishReason;
  readonly usage: TokenUsage;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  /** Lowercase hex. */
  readonly offerHash: string;
}

export function encodeSealedEnd(end: SealedEnd): Uint8Array {
  return utf8(JSON.stringify(end));
}

/** @throws {Failure} `bad_message`. */
export function parseSealedEnd(bytes: Uint8Array): SealedEnd {
  const end = parseStrictJson(endSchema, bytes);
  if (end.usage.cachedTokens > end.usage.promptTokens)
    throw new Failure("bad_message", "more cached than prompt tokens");
  return end;
}

/** Adds up what a client received, to hold against what a worker claims. */
export class CompletionCounter {
  #ids = 0;
  #bytes: number;
  readonly #calls = new Set<number>();

  /** `withheldBytes`: of the longest stop string, whose ids arrive and whose text does not. */
  constructor(withheldBytes = 0) {
    this.#bytes = withheldBytes;
  }

  add(event: SealedEvent): void {
    this.#ids += event.tokenIds.length;
    if (event.t === "delta") {
      this.#bytes += utf8(event.text).length;
      return;
    }
    this.#bytes += utf8((event.name ?? "") + (event.arguments ?? "")).length;
    // Once a call, however many pieces it comes in: else empty pieces would buy tokens.
    if (!this.#calls.has(event.index)) this.#bytes += TOOL_CALL_BYTES;
    this.#calls.add(event.index);
  }

  /** Completion tokens as ACN/1 counts them: the ids received, and one end token when the model stopped by itself. */
  count(finish: FinishReason): number {
    return this.#ids + (finish === "stop" ? 1 : 0);
  }

  /** More tokens than this cannot have made the bytes that arrived. */
  get bound(): number {
    return this.#bytes + SLACK_TOKENS;
  }
}

const TOOL_CALL_BYTES = 32;
const SLACK_TOKENS = 8;

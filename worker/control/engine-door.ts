import * as z from "zod";
import { FAILURES, FINISH_REASONS, type FailureCode } from "../../protocol/index.ts";
import type { FromEngine } from "../engine/messages.ts";

const count = z.int().min(0).max(0xffff_ffff);
const text = z.string().max(1000);
const jobId = count;
const failureCode = z.enum(Object.keys(FAILURES) as [FailureCode, ...FailureCode[]]);
const usage = z.object({ promptTokens: count, cachedTokens: count, completionTokens: count });

const capabilities = z.object({
  engineName: text,
  engineVersion: text,
  backend: z.enum(["cpu", "cuda", "vulkan", "metal", "upstream"]),
  contextTokens: count.min(1),
  slots: count.min(1),
  architecture: text,
  modelName: text,
  quantisation: text,
  parameters: z.number(),
  canThink: z.boolean(),
  canCallTools: z.boolean(),
});

const stats = z.object({
  runningJobs: count,
  queuedJobs: count,
  generatedTokens: z.number(),
  residentBytes: z.number(),
});

/** All but the two kinds that come once a token: those are looked at by hand, in a fraction of a microsecond. */
const rare = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ready"), capabilities }),
  z.object({ type: z.literal("load_failed"), code: failureCode, message: z.string() }),
  z.object({ type: z.literal("started"), jobId, promptTokens: count, cachedTokens: count }),
  z.object({ type: z.literal("done"), jobId, finishReason: z.enum(FINISH_REASONS), usage }),
  z.object({ type: z.literal("failed"), jobId, code: failureCode, message: z.string(), usage }),
  z.object({ type: z.literal("stats"), stats }),
  z.object({ type: z.literal("pong"), nonce: count }),
]);

/** A message of an engine process, or undefined when it is none: an engine that says such things is not to be trusted. */
export function parseFromEngine(value: unknown): FromEngine | undefined {
  if (isDelta(value) || isToolCall(value)) return value;
  return rare.safeParse(value).data;
}

type MessageOf<Type extends FromEngine["type"]> = Extract<FromEngine, { type: Type }>;

function isDelta(value: unknown): value is MessageOf<"delta"> {
  return (
    isRecord(value) &&
    value.type === "delta" &&
    Number.isSafeInteger(value.jobId) &&
    typeof value.text === "string" &&
    typeof value.reasoning === "boolean" &&
    areTokenIds(value.tokenIds)
  );
}

function isToolCall(value: unknown): value is MessageOf<"tool_call"> {
  return (
    isRecord(value) &&
    value.type === "tool_call" &&
    Number.isSafeInteger(value.jobId) &&
    isIndex(value.index) &&
    isTextOrAbsent(value.id, 128) &&
    isTextOrAbsent(value.name, 256) &&
    isTextOrAbsent(value.arguments, Infinity) &&
    areTokenIds(value.tokenIds)
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function areTokenIds(value: unknown): boolean {
  return Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0 && id <= 0x7fff_ffff);
}

function isIndex(value: unknown): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255;
}

function isTextOrAbsent(value: unknown, longest: number): boolean {
  return value === undefined || (typeof value === "string" && value.length <= longest);
}

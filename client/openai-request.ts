import * as z from "zod";
import {
  chatRequestBody,
  completionRequestBody,
  fromUtf8,
  nanoton,
  priceSheet,
  readJson,
  TIERS,
  tierReaches,
  type PriceSheet,
  type Tier,
} from "../protocol/index.ts";
import { ClientFailure } from "./client-failure.ts";
import type { ModelRequest } from "./sealed-body.ts";
import type { RequestTerms } from "./session.ts";

/** What an OpenAI client asked of the endpoint. */
export interface EndpointRequest {
  readonly request: ModelRequest;
  readonly isStream: boolean;
  /** Whether a stream ends with the usage. */
  readonly includeUsage: boolean;
}

/** What the endpoint's owner allows a request's headers to change. */
export interface HeaderRules {
  readonly minTier: Tier;
  /** Whether a header may ask for less than `minTier`. */
  readonly allowTier: boolean;
  readonly maxPrice: PriceSheet | undefined;
}

/** Fields of OpenAI's that the endpoint itself answers for; those that ask for nothing may say so. */
const endpointFields = {
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
  n: z.literal(1, "only one choice is made").nullish(),
  logprobs: z.literal(false, "not supported").nullish(),
  logit_bias: z.literal(null, "not supported").optional(),
};

const chatSchema = z.strictObject({ ...chatRequestBody.shape, ...endpointFields });
const textSchema = z.strictObject({ ...completionRequestBody.shape, ...endpointFields });

/** @throws {Failure} `unsupported_field` or `bad_message`, with the field as `param`. */
export function parseOpenAiBody(path: ModelRequest["path"], bytes: Uint8Array): EndpointRequest {
  const value = readBody(bytes);
  if (path === "/v1/completions") {
    const { stream, stream_options, n, logprobs, logit_bias, ...body } = parseNamed(textSchema, value);
    return { request: { path, body }, isStream: stream ?? false, includeUsage: stream_options?.include_usage ?? false };
  }
  const { stream, stream_options, n, logprobs, logit_bias, ...body } = parseNamed(chatSchema, value);
  return { request: { path, body }, isStream: stream ?? false, includeUsage: stream_options?.include_usage ?? false };
}

const MIN_TIER = "x-cocoon-min-tier";
const MAX_PRICE = "x-cocoon-max-price";
const PREFIX = "x-cocoon-";

/** The terms a request's headers set, within what the endpoint was started with. @throws {Failure} `unsupported_field`. */
export function termsOfHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  rules: HeaderRules,
): RequestTerms {
  let terms: RequestTerms = {};
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(PREFIX)) continue;
    if (typeof value !== "string") throw refused(name, "given more than once");
    if (name === MIN_TIER) terms = { ...terms, minTier: tierOfHeader(value, rules) };
    else if (name === MAX_PRICE) terms = { ...terms, maxPrice: atMost(priceOfHeader(value), rules.maxPrice) };
    else throw refused(name, "not a header of this endpoint");
  }
  return terms;
}

/** A price sheet as JSON, or "prompt,cached,completion"; nanoton per million tokens. Undefined when it is neither. */
export function parsePriceSheet(text: string): PriceSheet | undefined {
  const parts = text.split(",").map((part) => nanoton.safeParse(part.trim()).data);
  const [prompt, cached, completion, ...rest] = parts;
  if (prompt !== undefined && cached !== undefined && completion !== undefined && rest.length === 0) {
    return priceSheet.safeParse({ prompt: `${prompt}`, cached: `${cached}`, completion: `${completion}` }).data;
  }
  try {
    return priceSheet.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function tierOfHeader(value: string, { minTier, allowTier }: HeaderRules): Tier {
  const tier = TIERS.find((known) => known === value);
  if (tier === undefined) throw refused(MIN_TIER, `one of ${TIERS.join(", ")}`);
  if (!allowTier && !tierReaches(tier, minTier)) {
    throw refused(MIN_TIER, `the endpoint asks for ${minTier}; only one started with --allow-tier takes less`);
  }
  return tier;
}

function priceOfHeader(value: string): PriceSheet {
  const price = parsePriceSheet(value);
  if (price === undefined) throw refused(MAX_PRICE, 'a sheet as JSON or "prompt,cached,completion" in nanoton');
  return price;
}

/** A header may ask for a lower price than the endpoint's owner set, never spend more. */
function atMost(asked: PriceSheet, limit: PriceSheet | undefined): PriceSheet {
  if (limit === undefined) return asked;
  const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
  return {
    prompt: least(asked.prompt, limit.prompt),
    cached: least(asked.cached, limit.cached),
    completion: least(asked.completion, limit.completion),
  };
}

function readBody(bytes: Uint8Array): unknown {
  try {
    return readJson(fromUtf8(bytes));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "not JSON";
    throw new ClientFailure("bad_message", why.replace(/^bad_message: /, ""), { param: "body" }, { cause });
  }
}

function parseNamed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [first] = result.error.issues;
  throw first === undefined ? refused("body", "not a request") : failureOf(deepest(first, []));
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly issue: z.core.$ZodIssue;
}

/** Of the ways a value could have been right, the one it came closest to says best what is wrong. */
function deepest(issue: z.core.$ZodIssue, outer: readonly PropertyKey[]): Issue {
  const path = [...outer, ...issue.path];
  if (issue.code !== "invalid_union") return { path, issue };
  const branches = issue.errors.flatMap(([first]) => (first === undefined ? [] : [deepest(first, path)]));
  const [best] = branches.sort((a, b) => depth(b) - depth(a));
  return best === undefined || depth(best) <= path.length ? { path, issue } : best;
}

function depth({ path, issue }: Issue): number {
  return path.length + (issue.code === "unrecognized_keys" ? 1 : 0);
}

function failureOf({ path, issue }: Issue): ClientFailure {
  if (issue.code === "unrecognized_keys")
    return refused([...path, ...issue.keys.slice(0, 1)].map(String).join("."), "not supported");
  const param = path.length === 0 ? "body" : path.map(String).join(".");
  if (issue.code === "invalid_type") return new ClientFailure("bad_message", `${param}: ${issue.message}`, { param });
  return refused(param, issue.message);
}

function refused(param: string, why: string): ClientFailure {
  return new ClientFailure("unsupported_field", `${param}: ${why}`, { param });
}

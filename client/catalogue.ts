import * as z from "zod";
import { Failure, parseStrict, parseStrictJson } from "../protocol/index.ts";
import { ClientFailure } from "./client-failure.ts";

/** A model by the name people type. The name is a convenience; the manifest root is the model (ACN/1 §3.2). */
export interface CatalogueModel {
  readonly id: string;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  /** Tokens a prompt and its answer share, where known. */
  readonly contextTokens?: number;
  /** Completion tokens reserved for a request that names no limit. */
  readonly defaultMaxTokens?: number;
}

/** Names to roots, from the client's own release or its user; never from a gateway. */
export type Catalogue = readonly CatalogueModel[];

const ROOT = /^[0-9a-f]{64}$/;

const catalogueSchema = z.strictObject({
  v: z.literal("acn1-catalogue"),
  models: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(200),
        manifestRoot: z.string().regex(ROOT, "not a manifest root in lowercase hex"),
        contextTokens: z.int().min(1).optional(),
        defaultMaxTokens: z.int().min(1).max(1_000_000).optional(),
      }),
    )
    .max(10_000),
});

/** @throws {Failure} `bad_configuration`, naming the key. */
export function parseCatalogue(source: unknown): Catalogue {
  const { models } =
    typeof source === "string" || source instanceof Uint8Array
      ? parseStrictJson(catalogueSchema, source, "bad_configuration")
      : parseStrict(catalogueSchema, source, "bad_configuration");
  const names = new Set(models.map((model) => model.id));
  if (names.size < models.length) throw new Failure("bad_configuration", "catalogue: a model is named twice");
  return models.map(({ contextTokens, defaultMaxTokens, ...model }) => ({
    ...model,
    ...(contextTokens === undefined ? {} : { contextTokens }),
    ...(defaultMaxTokens === undefined ? {} : { defaultMaxTokens }),
  }));
}

/** The model a request means: a name of the catalogue, or a root literally. @throws {Failure} `model_unavailable`. */
export function findModel(catalogue: Catalogue, name: string): CatalogueModel {
  const model = catalogue.find(({ id, manifestRoot }) => id === name || manifestRoot === name);
  if (model !== undefined) return model;
  if (ROOT.test(name)) return { id: name, manifestRoot: name };
  const known = catalogue.map(({ id }) => JSON.stringify(id)).join(", ");
  const why = `${JSON.stringify(name)} is not in the catalogue, which has ${known || "no model"}`;
  throw new ClientFailure("model_unavailable", why, { param: "model" });
}

const DEFAULT_MAX_TOKENS = 2048;
/** Where the context is not known: most models have room for it beside a prompt. */
const CAUTIOUS_MAX_TOKENS = 1024;

/**
 * What to reserve when a request names no limit: half of the context at most, so that the prompt has room. `seenContext` is
 * what a verified offer of this model said.
 */
export function defaultMaxTokens(model: CatalogueModel, seenContext: number | undefined): number {
  const contextTokens = model.contextTokens ?? seenContext;
  if (model.defaultMaxTokens !== undefined) return model.defaultMaxTokens;
  return contextTokens === undefined
    ? CAUTIOUS_MAX_TOKENS
    : Math.max(1, Math.min(DEFAULT_MAX_TOKENS, contextTokens >> 1));
}

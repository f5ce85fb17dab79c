import { Failure } from "../../protocol/index.ts";

/** A JSON schema as it comes from outside: an object of keywords, or `true` for anything. */
export type JsonSchema = unknown;

/**
 * Writes rules of llama.cpp's grammar language (GBNF) for JSON values. A constraint a grammar cannot hold is refused by
 * name, or left out where the client did not ask for strictness (`tools`).
 */
export class JsonGrammar {
  readonly #rules = new Map<string, string>();
  readonly #constraints: "refuse" | "leave out";
  readonly #references = new Map<string, string>();
  #root: JsonSchema = true;

  constructor(constraints: "refuse" | "leave out") {
    this.#constraints = constraints;
  }

  /** The name of a rule for values of a schema. @throws {Failure} `unsupported_field`. */
  schema(schema: JsonSchema): string {
    this.#root = schema;
    this.#references.clear();
    return this.#named(this.#value(schema));
  }

  /** Any JSON object. */
  object(): string {
    return this.#anyObject();
  }

  /** The whole grammar, beginning with this. */
  text(root: string): string {
    const rules = [...this.#rules].map(([name, body]) => `${name} ::= ${body}`);
    return [`root ::= ${root}`, ...rules].join("\n");
  }

  #rule(name: string, body: string): string {
    this.#rules.set(name, body);
    return name;
  }

  #named(body: string): string {
    return /^[a-z][a-z0-9-]*$/u.test(body) ? body : this.#rule(`r${this.#rules.size}`, body);
  }

  #value(schema: JsonSchema): string {
    if (schema === true) return this.#any();
    if (!isObject(schema)) throw unsupported("schema");
    const keywords = this.#understood(schema);
    if (typeof keywords.$ref === "string") return this.#reference(keywords.$ref);
    if ("const" in keywords) return literal(JSON.stringify(keywords.const));
    if (Array.isArray(keywords.enum)) return alternatives(keywords.enum.map((value) => literal(JSON.stringify(value))));
    const choices = keywords.anyOf ?? keywords.oneOf;
    if (Array.isArray(choices)) return alternatives(choices.map((choice: unknown) => this.#named(this.#value(choice))));
    const type = keywords.type ?? impliedType(keywords);
    if (type === undefined) return this.#any();
    const types: unknown[] = Array.isArray(type) ? type : [type];
    return alternatives(types.map((one) => this.#typed(one, keywords)));
  }

  /** The keywords that say something about a value. */
  #understood(schema: Record<string, unknown>): Record<string, unknown> {
    const isNatural = schema.minimum === 0 && schema.type === "integer";
    const stranger = Object.keys(schema).find(
      (key) => !KEYWORDS.has(key) && !ANNOTATIONS.has(key) && !(key === "minimum" && isNatural),
    );
    if (stranger !== undefined && this.#constraints === "refuse") {
      // The message may be logged: a word of JSON schema, not a client's text.
      throw unsupported(/^\$?[A-Za-z]{1,24}$/u.test(stranger) ? stranger : "a keyword of no schema");
    }
    const isMixed = ("anyOf" in schema || "oneOf" in schema) && ("properties" in schema || "items" in schema);
    if (isMixed && this.#constraints === "refuse") throw unsupported("anyOf beside properties");
    return schema;
  }

  #typed(type: unknown, keywords: Record<string, unknown>): string {
    switch (type) {
      case "string":
        return this.#string(keywords);
      case "number":
        return this.#number();
      case "integer":
        return keywords.minimum === 0 ? this.#natural() : `"-"? ${this.#natural()}`;
      case "boolean":
        return '("true" | "false")';
      case "null":
        return '"null"';
      case "object":
        return this.#objectOf(keywords);
      case "array":
        return this.#arrayOf(keywords);
      default:
        throw unsupported("type");
    }
  }

  /** Definitions are rules of their own, so that a schema may be recursive. */
  #reference(pointer: string): string {
    const known = this.#references.get(pointer);
    if (known !== undefined) return known;
    const name = `ref${this.#rules.size}`;
    this.#references.set(pointer, name);
    this.#rule(name, '""');
    return this.#rule(name, this.#value(resolve(this.#root, pointer)));
  }

  #objectOf(keywords: Record<string, unknown>): string {
    const properties = isObject(keywords.properties) ? Object.entries(keywords.properties) : [];
    const additional = keywords.additionalProperties ?? true;
    if (properties.length === 0) return additional === false ? `"{" ${this.#space()} "}"` : this.#mapOf(additional);
    const required: unknown[] = Array.isArray(keywords.required) ? keywords.required : [];
    const members = properties.map(([key, value]) => ({
      text: `${literal(JSON.stringify(key))} ":" ${this.#space()} ${this.#named(this.#value(value))} ${this.#space()}`,
      isRequired: required.includes(key),
    }));
    return `"{" ${this.#space()} ${this.#members(members)} "}"`;
  }

  /** Members in their order, optional ones left out at will; two rules each, with and without one before. */
  #members(members: readonly { text: string; isRequired: boolean }[]): string {
    let first = '""';
    let further = '""';
    for (const { text, isRequired } of members.toReversed()) {
      const asFirst = `${text} ${further}`;
      const asFurther = `"," ${this.#space()} ${text} ${further}`;
      first = this.#named(isRequired ? asFirst : `${asFirst} | ${first}`);
      further = this.#named(isRequired ? asFurther : `${asFurther} | ${further}`);
    }
    return first;
  }

  #mapOf(values: JsonSchema): string {
    const pair = this.#named(
      `${this.#text()} ":" ${this.#space()} ${this.#named(this.#value(values))} ${this.#space()}`,
    );
    return `"{" ${this.#space()} (${pair} ("," ${this.#space()} ${pair})*)? "}"`;
  }

  #arrayOf(keywords: Record<string, unknown>): string {
    const prefix: unknown[] = Array.isArray(keywords.prefixItems) ? keywords.prefixItems : [];
    if (prefix.length > 0) {
      const items = prefix.map((item) => `${this.#named(this.#value(item))} ${this.#space()}`);
      return `"[" ${this.#space()} ${items.join(` "," ${this.#space()} `)} "]"`;
    }
    const item = this.#named(`${this.#named(this.#value(keywords.items ?? true))} ${this.#space()}`);
    const { least, most } = bounds(keywords.minItems, keywords.maxItems);
    if (most === 0) return `"[" ${this.#space()} "]"`;
    const further = `("," ${this.#space()} ${item}){${Math.max(0, least - 1)},${most === undefined ? "" : most - 1}}`;
    return least > 0 ? `"[" ${this.#space()} ${item} ${further} "]"` : `"[" ${this.#space()} (${item} ${further})? "]"`;
  }

  #string(keywords: Record<string, unknown>): string {
    const format = FORMATS.get(keywords.format);
    if (format !== undefined) return format;
    const { least, most } = bounds(keywords.minLength, keywords.maxLength);
    if (least === 0 && most === undefined) return this.#text();
    return `"\\"" ${this.#character()}{${least},${most ?? ""}} "\\""`;
  }

  #text(): string {
    return this.#once("text", () => `"\\"" ${this.#character()}* "\\""`);
  }

  #character(): string {
    return this.#once(
      "character",
      () => `[^"\\\\\\x7F\\x00-\\x1F] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])`,
    );
  }

  /** Bounded, so that a model that likes digits comes to an end and the number fits a double. */
  #natural(): string {
    return this.#once("natural", () => '"0" | [1-9] [0-9]{0,14}');
  }

  #number(): string {
    return this.#once("number", () => `"-"? ${this.#natural()} ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?`);
  }

  #space(): string {
    return this.#once("space", () => '" "? | "\\n" [ \\t]{0,20}');
  }

  #any(): string {
    return this.#once("any", () => {
      const array = `"[" ${this.#space()} (any ${this.#space()} ("," ${this.#space()} any ${this.#space()})*)? "]"`;
      return `${this.#anyObject()} | ${array} | ${this.#text()} | ${this.#number()} | "true" | "false" | "null"`;
    });
  }

  #anyObject(): string {
    return this.#once("anyobject", () => {
      const pair = `${this.#text()} ":" ${this.#space()} ${this.#any()} ${this.#space()}`;
      return `"{" ${this.#space()} (${pair} ("," ${this.#space()} ${pair})*)? "}"`;
    });
  }

  #once(name: string, body: () => string): string {
    if (this.#rules.has(name)) return name;
    this.#rule(name, '""');
    return this.#rule(name, body());
  }
}

/** A text as a terminal of the grammar. */
export function literal(text: string): string {
  const escaped = text.replace(/["\\]/gu, "\\$&").replace(/\n/gu, "\\n").replace(/\r/gu, "\\r").replace(/\t/gu, "\\t");
  return `"${escaped}"`;
}

export function alternatives(options: readonly string[]): string {
  return options.length === 1 ? (options[0] ?? "") : `(${options.join(" | ")})`;
}

const KEYWORDS = new Set([
  "type",
  "const",
  "enum",
  "anyOf",
  "oneOf",
  "$ref",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "prefixItems",
  "minItems",
  "maxItems",
  "minLength",
  "maxLength",
]);

/** Keywords that constrain nothing. `format` is one, by the specification; the ones of FORMATS are kept all the same. */
const ANNOTATIONS = new Set([
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "format",
  "$schema",
  "$id",
  "$comment",
  "$defs",
  "definitions",
  "strict",
]);

const DATE = '[0-9] [0-9] [0-9] [0-9] "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])';
const TIME =
  '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,9})? ("Z" | [+-] [01] [0-9] ":" [0-5] [0-9])';
const HEX_DIGIT = "[0-9a-f]";
const FORMATS = new Map<unknown, string>([
  ["date", `"\\"" ${DATE} "\\""`],
  ["time", `"\\"" ${TIME} "\\""`],
  ["date-time", `"\\"" ${DATE} "T" ${TIME} "\\""`],
  ["uuid", `"\\"" ${[8, 4, 4, 4, 12].map((length) => `${HEX_DIGIT}{${length}}`).join(' "-" ')} "\\""`],
]);

function bounds(least: unknown, most: unknown): { least: number; most: number | undefined } {
  return { least: typeof least === "number" ? least : 0, most: typeof most === "number" ? most : undefined };
}

function impliedType(keywords: Record<string, unknown>): string | undefined {
  if ("properties" in keywords || "additionalProperties" in keywords) return "object";
  if ("items" in keywords || "prefixItems" in keywords) return "array";
  return undefined;
}

function resolve(root: JsonSchema, pointer: string): JsonSchema {
  if (!pointer.startsWith("#")) throw unsupported("$ref to another document");
  const steps = pointer.slice(1).split("/").slice(1);
  let at = root;
  for (const step of steps) {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (!isObject(at) || !Object.hasOwn(at, key)) throw unsupported("$ref to nothing");
    at = at[key];
  }
  return at;
}

/** The first place where a value is not what its schema says, or undefined. Knows what {@link JsonGrammar} accepts. */
export function mismatch(
  value: unknown,
  schema: JsonSchema,
  root: JsonSchema = schema,
  path = "$",
): string | undefined {
  if (schema === true || !isObject(schema)) return undefined;
  if (typeof schema.$ref === "string") return mismatch(value, resolve(root, schema.$ref), root, path);
  const same = (other: unknown) => JSON.stringify(other) === JSON.stringify(value);
  if ("const" in schema && !same(schema.const)) return path;
  if (Array.isArray(schema.enum) && !schema.enum.some(same)) return path;
  const choices = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(choices) && choices.every((choice) => mismatch(value, choice, root, path) !== undefined))
    return path;
  const type = schema.type;
  const types: unknown[] = Array.isArray(type) ? type : [type];
  if (type !== undefined && !types.some((one) => hasType(value, one))) return path;
  if (Array.isArray(value)) return itemMismatch(value, schema, root, path);
  if (isObject(value)) return memberMismatch(value, schema, root, path);
  return typeof value === "string" && !within(Array.from(value).length, schema.minLength, schema.maxLength)
    ? path
    : undefined;
}

function itemMismatch(
  value: unknown[],
  schema: Record<string, unknown>,
  root: JsonSchema,
  path: string,
): string | undefined {
  if (!within(value.length, schema.minItems, schema.maxItems)) return path;
  const prefix: unknown[] = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
  for (const [i, item] of value.entries()) {
    const found = mismatch(item, prefix[i] ?? schema.items ?? true, root, `${path}[${i}]`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function memberMismatch(
  value: Record<string, unknown>,
  schema: Record<string, unknown>,
  root: JsonSchema,
  path: string,
): string | undefined {
  const required: unknown[] = Array.isArray(schema.required) ? schema.required : [];
  const absent = required.find((key) => typeof key === "string" && !Object.hasOwn(value, key));
  if (typeof absent === "string") return `${path}.${absent}`;
  const properties = isObject(schema.properties) ? schema.properties : {};
  for (const [key, member] of Object.entries(value)) {
    const rule = Object.hasOwn(properties, key) ? properties[key] : (schema.additionalProperties ?? true);
    const found = rule === false ? `${path}.${key}` : mismatch(member, rule, root, `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function within(size: number, least: unknown, most: unknown): boolean {
  const { least: low, most: high } = bounds(least, most);
  return size >= low && (high === undefined || size <= high);
}

function hasType(value: unknown, type: unknown): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    case "number":
      return typeof value === "number" && Number.isFinite(value);
    default:
      return typeof value === type;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unsupported(what: string): Failure {
  return new Failure("unsupported_field", `JSON schema: ${what}`);
}

import { z } from "./schema.ts";
import { fromUtf8, toBase64url, fromBase64url } from "./bytes.ts";
import { Failure, type FailureCode } from "./failure.ts";

/**
 * JSON as ACN/1 means it: UTF-8, no duplicate key, no unknown and no missing key. `JSON.parse` silently takes the last of
 * two equal keys, so two readers could disagree about what was signed.
 *
 * @throws {Failure} `code`.
 */
export function parseStrictJson<Schema extends z.ZodType>(
  schema: Schema,
  source: string | Uint8Array,
  code: FailureCode = "bad_message",
): z.output<Schema> {
  const text = typeof source === "string" ? source : fromUtf8(source, code);
  return parseStrict(schema, readJson(text, code), code);
}

/** The same for a value that is already parsed. */
export function parseStrict<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: FailureCode = "bad_message",
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new Failure(code, firstIssue(result.error));
}

/** JSON text of a message: bigint as decimal digits, bytes as base64url, everything else as JSON has it. */
export function stringify(value: unknown): string {
  return JSON.stringify(value, replaceOurs);
}

/** @throws {Failure} `code` when the text is not JSON or an object names a key twice. */
export function readJson(text: string, code: FailureCode = "bad_message"): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Failure(code, "not JSON", { cause });
  }
  refuseDuplicateKeys(text, code);
  return value;
}

const BYTES_OF_HASH = 32;

/** 32 bytes in lowercase hex. */
export const hashHex = z.string().regex(/^[0-9a-f]{64}$/, "not a hash in lowercase hex");

/** Bytes in base64url; `length` exact when given. */
export function bytesField(length?: number, maximum = 65_536): z.ZodType<Uint8Array> {
  return z.string().transform((text, context) => {
    const bytes = text.length > maximum * 2 ? undefined : fromBase64url(text);
    if (bytes !== undefined && (length === undefined ? bytes.length <= maximum : bytes.length === length)) return bytes;
    context.addIssue("not base64url of the right length");
    return z.NEVER;
  });
}

/** A 32-byte key in base64url. */
export const key32 = bytesField(BYTES_OF_HASH);

/** An Ed25519 signature in base64url. */
export const signature = bytesField(64);

/** A TON `coins` value is at most 120 bits. */
const COINS_LIMIT = 1n << 120n;

/** A non-negative amount of nanoton in decimal digits. */
export const nanoton = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,36})$/, "not an amount in nanoton")
  .transform((digits) => BigInt(digits))
  .refine((amount) => amount < COINS_LIMIT, "amount out of range");

export const priceSheet = z
  .strictObject({ prompt: nanoton, cached: nanoton, completion: nanoton })
  .refine((sheet) => sheet.cached <= sheet.prompt, "cached costs more than prompt");

/** A count or index that fits u32. */
export const count = z.int().min(0).max(0xffff_ffff);

/** Unix seconds. */
export const unixSeconds = z.int().min(0).max(0xff_ffff_ffff);

function replaceOurs(this: unknown, key: string, value: unknown): unknown {
  // `this[key]`, since Node's Buffer has already turned itself into something else in `value`.
  const raw: unknown = typeof this === "object" && this !== null ? Reflect.get(this, key) : value;
  if (typeof raw === "bigint") return raw.toString();
  if (raw instanceof Uint8Array) return toBase64url(raw);
  return value;
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue === undefined) return "not as the specification has it";
  const path = issue.path.map(String).join(".");
  return path === "" ? issue.message : `${path}: ${issue.message}`;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COLON = 0x3a;
/** JSON's four kinds of white space are the only characters up to this one that stand outside a string. */
const SPACE = 0x20;

/** What reads a value after us may walk it by recursion; nothing of ours is nested by ten. */
const MAX_DEPTH = 64;

/** Walks text that JSON.parse has accepted, so only strings and brackets need attention. */
function refuseDuplicateKeys(text: string, code: FailureCode): void {
  const open: (Set<string> | undefined)[] = [];
  let at = 0;
  while (at < text.length) {
    const character = text.charCodeAt(at);
    if (character === OPEN_OBJECT) open.push(new Set());
    else if (character === OPEN_ARRAY) open.push(undefined);
    else if (character === CLOSE_OBJECT || character === CLOSE_ARRAY) open.pop();
    if (open.length > MAX_DEPTH) throw new Failure(code, "nested too deep");
    if (character !== QUOTE) {
      at++;
      continue;
    }
    const end = endOfString(text, at);
    const keys = open.at(-1);
    if (keys !== undefined && text.charCodeAt(skipSpace(text, end)) === COLON) {
      const key = keyAt(text, at, end);
      if (keys.has(key) || key === "__proto__") throw new Failure(code, "an object names a key twice");
      keys.add(key);
    }
    at = end;
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at + 1;
}

function keyAt(text: string, start: number, end: number): string {
  const inner = text.slice(start + 1, end - 1);
  return inner.includes("\\") ? (JSON.parse(text.slice(start, end)) as string) : inner;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (text.charCodeAt(at) <= SPACE) at++;
  return at;
}

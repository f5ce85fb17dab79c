import * as z from "zod";
import type { StackItem } from "./chain-reader.ts";

/** What toncenter v2 answers, as far as we read it. More fields come and go with versions, and are passed over. */

const hash32 = z.base64().transform((text, context) => {
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  if (bytes.length === 32) return bytes;
  context.addIssue("not 32 bytes");
  return z.NEVER;
});

const boc = z.base64().transform((text) => new Uint8Array(Buffer.from(text, "base64")));

/** Digits in a string: what does not fit a number of JSON. */
const digits = z
  .string()
  .regex(/^\d{1,39}$/)
  .transform((text) => BigInt(text));

const seqno = z.int().min(0).max(0xffff_ffff);

export const blockId = z.object({ workchain: z.int(), seqno, root_hash: hash32, file_hash: z.string() });

export const masterchainInfo = z.object({ last: blockId });

export const blockHeader = z.object({
  id: blockId,
  global_id: z.int().min(-0x8000_0000).max(0x7fff_ffff),
  gen_utime: z.int().min(0),
});

const transactionId = z.object({ lt: digits, hash: hash32 });

export const addressInformation = z.object({
  // Some nodes have -1 for an account that has never been.
  balance: z.union([digits, z.literal(["-1", -1]).transform(() => 0n), z.int().min(0).transform(BigInt)]),
  state: z.enum(["active", "uninitialized", "frozen"]),
  code: z.union([z.literal(""), boc]),
  data: z.union([z.literal(""), boc]),
  last_transaction_id: transactionId,
  block_id: z.object({ seqno }),
  sync_utime: z.int().min(0),
});

export const runResult = z.object({
  exit_code: z.int(),
  stack: z.array(z.unknown()),
  // Left out by some nodes that speak the same API.
  block_id: z.object({ seqno }).optional(),
});

export const transactions = z.array(z.object({ data: boc, transaction_id: transactionId }));

/** Nesting that a recursive reader takes without harm; no getter of ours nests by three. */
const MAX_STACK_DEPTH = 256;

/** Undefined for what no get method's stack holds. */
export function stackItem(entry: unknown): StackItem | undefined {
  const parsed = topEntry.safeParse(entry);
  if (!parsed.success) return undefined;
  const [type, value] = parsed.data;
  switch (type) {
    case "num":
      return integer(value);
    case "null":
      return { type: "null" };
    case "cell":
    case "slice":
      return cellItem(type, value);
    case "tuple":
    case "list":
      return elements(value, 1);
  }
}

const topEntry = z.tuple([z.enum(["num", "null", "cell", "slice", "tuple", "list"]), z.unknown()]);
const bytesField = z.object({ bytes: boc });
const elementsField = z.object({ elements: z.array(z.unknown()) });
const number = z.string().regex(/^-?(0x[0-9a-f]{1,64}|\d{1,78})$/i);

/** The longer form that values have inside a tuple. */
const nestedEntry = z.discriminatedUnion("@type", [
  z.object({ "@type": z.literal("tvm.stackEntryNumber"), number: z.object({ number }) }),
  z.object({ "@type": z.literal("tvm.stackEntryCell"), cell: z.unknown() }),
  z.object({ "@type": z.literal("tvm.stackEntrySlice"), slice: z.unknown() }),
  z.object({ "@type": z.literal("tvm.stackEntryTuple"), tuple: z.unknown() }),
  z.object({ "@type": z.literal("tvm.stackEntryList"), list: z.unknown() }),
]);

function nestedItem(entry: unknown, depth: number): StackItem | undefined {
  const parsed = nestedEntry.safeParse(entry);
  if (!parsed.success) return undefined;
  const value = parsed.data;
  switch (value["@type"]) {
    case "tvm.stackEntryNumber":
      return integer(value.number.number);
    case "tvm.stackEntryCell":
      return cellItem("cell", value.cell);
    case "tvm.stackEntrySlice":
      return cellItem("slice", value.slice);
    case "tvm.stackEntryTuple":
      return elements(value.tuple, depth + 1);
    case "tvm.stackEntryList":
      return elements(value.list, depth + 1);
  }
}

function integer(value: unknown): StackItem | undefined {
  const text = number.safeParse(value);
  if (!text.success) return undefined;
  const isNegative = text.data.startsWith("-");
  const absolute = BigInt(isNegative ? text.data.slice(1) : text.data);
  return { type: "int", value: isNegative ? -absolute : absolute };
}

function cellItem(type: "cell" | "slice", value: unknown): StackItem | undefined {
  const field = bytesField.safeParse(value);
  return field.success ? { type, boc: field.data.bytes } : undefined;
}

/** Null travels as an empty list. */
function elements(value: unknown, depth: number): StackItem | undefined {
  const field = elementsField.safeParse(value);
  if (!field.success || depth > MAX_STACK_DEPTH) return undefined;
  if (field.data.elements.length === 0) return { type: "null" };
  const items = field.data.elements.map((element) => nestedItem(element, depth));
  return items.every((item) => item !== undefined) ? { type: "tuple", items } : undefined;
}

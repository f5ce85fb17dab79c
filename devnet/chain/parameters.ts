import { Address, Cell, type TupleItem } from "@ton/core";
import type { RawAddress } from "../../protocol/index.ts";
import { Refusal } from "./refusal.ts";

/** The parameters of one question, as they came: from JSON, or all of them text from a URL. */
export type Parameters = Readonly<Record<string, unknown>>;

/** Larger ones no node of TON takes. */
const MAX_BOC_BYTES = 65_535;
const MAX_STACK = 255;

export function textOf(parameters: Parameters, name: string): string {
  const value = parameters[name];
  if (typeof value !== "string") throw invalid(name, "a string");
  return value;
}

/** Large numbers may come as text. Undefined when it is not there. */
export function optionalInteger(parameters: Parameters, name: string): bigint | undefined {
  const value = parameters[name];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === "string" && /^-?\d{1,30}$/.test(value)) return BigInt(value);
  throw invalid(name, "an integer");
}

export function integerOf(parameters: Parameters, name: string): bigint {
  const value = optionalInteger(parameters, name);
  if (value === undefined) throw invalid(name, "an integer");
  return value;
}

/** In any of the forms people write it. */
export function addressOf(parameters: Parameters, name: string): RawAddress {
  const text = textOf(parameters, name);
  const address = attempt(() => Address.parse(text), new Refusal(416, "Incorrect address"));
  if (address.workChain !== 0) throw new Refusal(416, "Incorrect address: this chain has workchain 0 alone");
  return address.toRawString();
}

/** In base64 or hex; base64 out. */
export function optionalHash(parameters: Parameters, name: string): string | undefined {
  const value = parameters[name];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw invalid(name, "a hash");
  const bytes = Buffer.from(value, /^[0-9a-fA-F]{64}$/.test(value) ? "hex" : "base64");
  if (bytes.length !== 32) throw invalid(name, "a hash");
  return bytes.toString("base64");
}

export function cellOf(parameters: Parameters, name: string): Cell {
  return cellFrom(textOf(parameters, name), name);
}

export function optionalCell(parameters: Parameters, name: string): Cell | undefined {
  const value = parameters[name];
  return value === undefined || value === null || value === "" ? undefined : cellOf(parameters, name);
}

export function methodIdOf(parameters: Parameters, name: string): number {
  const value = parameters[name];
  if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) <= 0x7fff_ffff) return value;
  if (typeof value !== "string" || value === "" || value.length > 256)
    throw invalid(name, "the name or number of a method");
  return /^\d{1,9}$/.test(value) ? Number(value) : methodIdOfName(value);
}

export function stackOf(parameters: Parameters, name: string): readonly TupleItem[] {
  const value = parameters[name] ?? [];
  if (!Array.isArray(value) || value.length > MAX_STACK) throw invalid(name, `at most ${MAX_STACK} values`);
  return value.map((entry: unknown) => stackItem(entry, name));
}

function stackItem(entry: unknown, name: string): TupleItem {
  const [type, value] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
  if (type === "num" && typeof value === "number" && Number.isSafeInteger(value))
    return { type: "int", value: BigInt(value) };
  if (typeof value !== "string") throw invalid(name, 'pairs like ["num", "1"]');
  switch (type) {
    case "num":
      return { type: "int", value: tvmInteger(value, name) };
    case "tvm.Cell":
      return { type: "cell", cell: cellFrom(value, name) };
    case "tvm.Slice":
      return { type: "slice", cell: cellFrom(value, name) };
    case "tvm.Builder":
      return { type: "builder", cell: cellFrom(value, name) };
    default:
      throw invalid(name, "num, tvm.Cell, tvm.Slice and tvm.Builder");
  }
}

function tvmInteger(text: string, name: string): bigint {
  if (!/^-?(0x[0-9a-f]{1,64}|\d{1,78})$/i.test(text)) throw invalid(name, "an integer");
  const value = text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
  if (value >= 1n << 256n || value < -(1n << 256n)) throw invalid(name, "an integer of 257 bits");
  return value;
}

function cellFrom(text: string, name: string): Cell {
  const refusal = new Refusal(500, "LITE_SERVER_UNKNOWN: cannot deserialize bag-of-cells: invalid header, error 0");
  if (text.length > (MAX_BOC_BYTES * 4) / 3 + 4) throw invalid(name, `at most ${MAX_BOC_BYTES} bytes`);
  const [cell, ...more] = attempt(() => Cell.fromBoc(Buffer.from(text, "base64")), refusal);
  if (cell === undefined || more.length > 0) throw refusal;
  return cell;
}

/** CRC-16/XMODEM of the name, in the range that compilers give to get methods. */
function methodIdOfName(name: string): number {
  let crc = 0;
  for (const byte of Buffer.from(name)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc | 0x1_0000;
}

function attempt<Result>(read: () => Result, refusal: Refusal): Result {
  try {
    return read();
  } catch {
    throw refusal;
  }
}

function invalid(name: string, expected: string): Refusal {
  return new Refusal(422, `Validation error: ${name} must be ${expected}`);
}

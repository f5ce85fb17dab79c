import { closeSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** One metadata value of a GGUF file, with the type it has on disk. */
export type GgufValue =
  | { readonly type: "u32" | "i32" | "f32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "i32s"; readonly value: readonly number[] };

export type GgufMetadata = Readonly<Record<string, GgufValue>>;

export type TensorType = "F32" | "F16" | "Q8_0" | "Q4_0";

export interface GgufTensor {
  readonly name: string;
  readonly type: TensorType;
  /** In ggml's order: the first is the contiguous one. */
  readonly shape: readonly number[];
  /** Called once, when its turn to be written comes: a large model never stands in memory whole. */
  readonly encode: () => Uint8Array;
}

export interface Gguf {
  readonly metadata: GgufMetadata;
  readonly tensors: readonly GgufTensor[];
}

export const u32 = (value: number): GgufValue => ({ type: "u32", value });
export const f32 = (value: number): GgufValue => ({ type: "f32", value });
export const bool = (value: boolean): GgufValue => ({ type: "bool", value });
export const string = (value: string): GgufValue => ({ type: "string", value });
export const strings = (value: readonly string[]): GgufValue => ({ type: "strings", value });
export const i32s = (value: readonly number[]): GgufValue => ({ type: "i32s", value });

/** The number a GGUF names its dominant tensor type with (`general.file_type`). */
export const FILE_TYPES = { F32: 0, F16: 1, Q8_0: 7, Q4_0: 2 } as const satisfies Record<TensorType, number>;

/** The bytes of a GGUF v3 file, piece by piece (ggml docs/gguf.md). The same input gives the same bytes on every machine. */
export function* encodeGguf({ metadata, tensors }: Gguf): Generator<Uint8Array> {
  const header = encodeHeader(metadata, tensors);
  yield header;
  yield new Uint8Array(padded(header.length) - header.length);
  for (const tensor of tensors) {
    const bytes = tensor.encode();
    if (bytes.length !== tensorBytes(tensor)) throw new RangeError(`${tensor.name} has ${bytes.length} bytes`);
    yield bytes;
    yield new Uint8Array(padded(bytes.length) - bytes.length);
  }
}

/** Writes a model beside `path` and renames it into place: whoever sees the file sees all of it. */
export function writeGguf(path: string, gguf: Gguf): void {
  mkdirSync(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}.part`;
  const file = openSync(unfinished, "w");
  try {
    for (const piece of encodeGguf(gguf)) writeAll(file, piece);
  } finally {
    closeSync(file);
  }
  renameSync(unfinished, path);
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, Math.min(bytes.length - at, 1 << 26));
}

const ALIGNMENT = 32;
const TENSOR_CODES = { F32: 0, F16: 1, Q8_0: 8, Q4_0: 2 } as const satisfies Record<TensorType, number>;
const BLOCKS = {
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  Q8_0: { elements: 32, bytes: 34 },
  Q4_0: { elements: 32, bytes: 18 },
} as const satisfies Record<TensorType, { elements: number; bytes: number }>;
const VALUE_CODES = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function tensorBytes({ name, type, shape }: GgufTensor): number {
  const block = BLOCKS[type];
  if ((shape[0] ?? 0) % block.elements !== 0) throw new RangeError(`a row of ${name} does not fit ${type} blocks`);
  return (elementCount(shape) / block.elements) * block.bytes;
}

function padded(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

function encodeHeader(metadata: GgufMetadata, tensors: readonly GgufTensor[]): Uint8Array {
  const sink = new HeaderSink();
  sink.bytes(Buffer.from("GGUF"));
  sink.u32(3);
  sink.u64(tensors.length);
  sink.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    sink.string(key);
    sink.value(value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    sink.string(tensor.name);
    sink.u32(tensor.shape.length);
    for (const size of tensor.shape) sink.u64(size);
    sink.u32(TENSOR_CODES[tensor.type]);
    sink.u64(offset);
    offset += padded(tensorBytes(tensor));
  }
  return sink.joined();
}

/** Little-endian fields of a GGUF header, in order. */
class HeaderSink {
  readonly #parts: Uint8Array[] = [];

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  u32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.bytes(bytes);
  }

  i32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    this.bytes(bytes);
  }

  f32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.bytes(bytes);
  }

  u64(value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    this.bytes(bytes);
  }

  string(value: string): void {
    const bytes = Buffer.from(value, "utf8");
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  value(item: GgufValue): void {
    switch (item.type) {
      case "strings":
        this.#arrayHead(VALUE_CODES.string, item.value.length);
        for (const value of item.value) this.string(value);
        return;
      case "i32s":
        this.#arrayHead(VALUE_CODES.i32, item.value.length);
        for (const value of item.value) this.i32(value);
        return;
      case "string":
        this.u32(VALUE_CODES.string);
        this.string(item.value);
        return;
      case "bool":
        this.u32(VALUE_CODES.bool);
        this.bytes(Uint8Array.of(item.value ? 1 : 0));
        return;
      case "u32":
      case "i32":
      case "f32":
        this.u32(VALUE_CODES[item.type]);
        this[item.type](item.value);
        return;
    }
  }

  joined(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  #arrayHead(code: number, length: number): void {
    this.u32(VALUE_CODES.array);
    this.u32(code);
    this.u64(length);
  }
}

export const BLOCK_BYTES = { Q8_0: BLOCKS.Q8_0.bytes, Q4_0: BLOCKS.Q4_0.bytes } as const;

/** Weights as ggml stores them; the four-bit type is only ever filled at random. */
export function encodeWeights(type: Exclude<TensorType, "Q4_0">, weights: Float32Array): Uint8Array {
  switch (type) {
    case "F32":
      return new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
    case "F16":
      return encodeF16(weights);
    case "Q8_0":
      return encodeQ8(weights);
  }
}

function encodeF16(weights: Float32Array): Uint8Array {
  const halves = new Uint16Array(weights.length);
  weights.forEach((weight, i) => (halves[i] = weight === 0 ? 0 : f16Bits(weight)));
  return new Uint8Array(halves.buffer);
}

/** 32 weights share one half-precision scale; each is a signed byte (ggml-quants.c, quantize_row_q8_0_ref). */
function encodeQ8(weights: Float32Array): Uint8Array {
  const blocks = weights.length / 32;
  const bytes = new Uint8Array(blocks * 34);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    const slice = weights.subarray(block * 32, block * 32 + 32);
    const scale = slice.reduce((largest, weight) => Math.max(largest, Math.abs(weight)), 0) / 127;
    view.setUint16(block * 34, f16Bits(scale), true);
    slice.forEach((weight, i) => view.setInt8(block * 34 + 2 + i, scale === 0 ? 0 : Math.round(weight / scale)));
  }
  return bytes;
}

const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** The bits of the nearest half-precision number (IEEE 754-2008 binary16). */
export function f16Bits(value: number): number {
  float[0] = value;
  const bits = floatBits[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const mantissa = bits & 0x7fffff;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent < -10) return sign;
  if (exponent <= 0) return sign | ((((mantissa | 0x800000) >> (1 - exponent)) + 0x1000) >> 13);
  return (sign | (exponent << 10) | (mantissa >> 13)) + ((mantissa >> 12) & 1);
}

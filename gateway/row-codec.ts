import { Failure, type Nanoton, type RawAddress } from "../protocol/index.ts";

/**
 * Rows of the ledger as bytes: each value has one spelling and nothing stands between two of them, so that a row is half
 * as long as its JSON, is read in a fifth of the time, and its hash is the hash of what it says.
 */
export interface Field<Value> {
  /** @throws {RangeError} for a value that no row can hold. */
  write(out: RowWriter, value: Value): void;
  /** @throws {Failure} `storage_failed` for bytes that {@link write} never makes. */
  read(row: RowReader): Value;
}

/** @throws {RangeError} for a value that no row can hold. */
export function encodeRow<Value>(field: Field<Value>, value: Value): Uint8Array {
  const out = new RowWriter();
  field.write(out, value);
  return out.bytes();
}

/** @throws {Failure} `storage_failed` unless the bytes are exactly what {@link encodeRow} makes of some value. */
export function decodeRow<Value>(field: Field<Value>, bytes: Uint8Array): Value {
  const row = new RowReader(bytes);
  const value = field.read(row);
  if (!row.isAtEnd) throw damaged("goes on after its end");
  return value;
}

/** A count below 2³². */
export const u32: Field<number> = {
  write: (out, value) => out.unsigned(value, 4),
  read: (row) => row.unsigned(4),
};

/** A whole number that counts exactly: a time in Unix ms, the number of a row. */
export const whole: Field<number> = {
  write: (out, value) => out.unsigned(value, 8),
  read: (row) => row.unsigned(8),
};

/** As TON has it: the number of bytes, at most 15, then the bytes without leading zeros. */
export const coins: Field<Nanoton> = {
  write(out, value) {
    const hex = value === 0n ? "" : value.toString(16);
    const length = (hex.length + 1) >> 1;
    if (value < 0n || length > MAX_COINS_BYTES) throw new RangeError("coins out of range");
    out.unsigned(length, 1);
    out.hex(hex.padStart(length * 2, "0"), length);
  },
  read(row) {
    const length = row.unsigned(1);
    if (length > MAX_COINS_BYTES) throw damaged("an amount is too long");
    const hex = row.hex(length);
    if (hex.startsWith("00")) throw damaged("an amount has leading zeros");
    return BigInt(`0x0${hex}`);
  },
};

export function bytes(length: number): Field<Uint8Array> {
  return {
    write(out, value) {
      if (value.length !== length) throw new RangeError(`not ${length} bytes`);
      out.append(value);
    },
    read: (row) => row.take(length),
  };
}

/** 32 bytes that the program has in lowercase hex. */
export const hash32: Field<string> = {
  write: (out, value) => out.hex(value, HASH_BYTES),
  read: (row) => row.hex(HASH_BYTES),
};

/** An address in workchain 0, which is all that it leaves out. */
export const address: Field<RawAddress> = {
  write(out, value) {
    if (!value.startsWith("0:")) throw new RangeError("not an address in workchain 0");
    out.hex(value.slice(2), HASH_BYTES);
  },
  read: (row) => `0:${row.hex(HASH_BYTES)}`,
};

/** At most 255 bytes of UTF-8. */
export const text: Field<string> = {
  write(out, value) {
    const utf8 = Buffer.from(value, "utf8");
    if (utf8.toString("utf8") !== value) throw new RangeError("not text");
    out.unsigned(utf8.length, 1);
    out.append(utf8);
  },
  read(row) {
    const utf8 = row.take(row.unsigned(1));
    const value = Buffer.from(utf8).toString("utf8");
    if (!Buffer.from(value, "utf8").equals(utf8)) throw damaged("text is not UTF-8");
    return value;
  },
};

export function nullable<Value>(field: Field<Value>): Field<Value | null> {
  return {
    write(out, value) {
      out.unsigned(value === null ? 0 : 1, 1);
      if (value !== null) field.write(out, value);
    },
    read(row) {
      const isThere = row.unsigned(1);
      if (isThere > 1) throw damaged("neither there nor absent");
      return isThere === 0 ? null : field.read(row);
    },
  };
}

/** One or more. */
export function list<Value>(field: Field<Value>): Field<readonly Value[]> {
  return {
    write(out, values) {
      if (values.length === 0) throw new RangeError("an empty list");
      out.unsigned(values.length, 4);
      for (const value of values) field.write(out, value);
    },
    read(row) {
      const length = row.unsigned(4);
      if (length === 0 || length > row.left) throw damaged("a list that is not there");
      return Array.from({ length }, () => field.read(row));
    },
  };
}

type Shape = Readonly<Record<string, Field<unknown>>>;
type ValueOf<Type> = Type extends Field<infer Value> ? Value : never;
export type RecordOf<Fields> = { readonly [Name in keyof Fields]: ValueOf<Fields[Name]> };

/** The fields one after the other, in the order they are named here. */
export function record<Fields extends Shape>(fields: Fields): Field<RecordOf<Fields>> {
  const named = Object.entries(fields);
  return {
    write(out, value) {
      for (const [name, field] of named) field.write(out, Reflect.get(value, name));
    },
    read(row) {
      const value: Record<string, unknown> = {};
      for (const [name, field] of named) value[name] = field.read(row);
      return value as RecordOf<Fields>;
    },
  };
}

type Kinds = Readonly<Record<string, { readonly tag: number; readonly fields: Shape }>>;
type KindOf<Table extends Kinds> = {
  [Type in keyof Table & string]: { readonly type: Type } & RecordOf<Table[Type]["fields"]>;
}[keyof Table & string];

/** One byte that says which kind follows. */
export function oneOf<Table extends Kinds>(table: Table): Field<KindOf<Table>> {
  const byType = new Map<string, { readonly tag: number; readonly field: Field<object> }>();
  const byTag = new Map<number, { readonly type: string; readonly field: Field<object> }>();
  for (const [type, { tag, fields }] of Object.entries(table)) {
    const field: Field<object> = record(fields);
    byType.set(type, { tag, field });
    byTag.set(tag, { type, field });
  }
  return {
    write(out, value) {
      const kind = byType.get(value.type);
      if (kind === undefined) throw new RangeError(`no kind ${value.type}`);
      out.unsigned(kind.tag, 1);
      kind.field.write(out, value);
    },
    read(row) {
      const kind = byTag.get(row.unsigned(1));
      if (kind === undefined) throw damaged("of a kind that this version does not know");
      return { type: kind.type, ...kind.field.read(row) } as KindOf<Table>;
    },
  };
}

const HASH_BYTES = 32;
const MAX_COINS_BYTES = 15;
const FIRST_BYTES = 1024;

class RowWriter {
  #buffer = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  /** Big-endian. */
  unsigned(value: number, width: 1 | 4 | 8): void {
    const limit = width === 8 ? Number.MAX_SAFE_INTEGER : 2 ** (8 * width) - 1;
    if (!Number.isInteger(value) || value < 0 || value > limit) throw new RangeError("not a count that fits");
    const at = this.#room(width);
    if (width === 1) this.#buffer.writeUInt8(value, at);
    else if (width === 4) this.#buffer.writeUInt32BE(value, at);
    else {
      this.#buffer.writeUInt32BE(Math.floor(value / 2 ** 32), at);
      this.#buffer.writeUInt32BE(value % 2 ** 32, at + 4);
    }
  }

  hex(digits: string, length: number): void {
    const at = this.#room(length);
    const isWhole = digits.length === 2 * length && this.#buffer.write(digits, at, length, "hex") === length;
    if (!isWhole || digits !== digits.toLowerCase()) throw new RangeError("not lowercase hex of the right length");
  }

  append(part: Uint8Array): void {
    this.#buffer.set(part, this.#room(part.length));
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#length));
  }

  /** Where the next so many bytes go. */
  #room(length: number): number {
    const at = this.#length;
    this.#length += length;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(2 * this.#length);
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }
}

class RowReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(row: Uint8Array) {
    this.#bytes = Buffer.from(row.buffer, row.byteOffset, row.length);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  get isAtEnd(): boolean {
    return this.left === 0;
  }

  unsigned(width: 1 | 4 | 8): number {
    const at = this.#pass(width);
    if (width === 1) return this.#bytes.readUInt8(at);
    if (width === 4) return this.#bytes.readUInt32BE(at);
    const value = this.#bytes.readUInt32BE(at) * 2 ** 32 + this.#bytes.readUInt32BE(at + 4);
    if (value > Number.MAX_SAFE_INTEGER) throw damaged("a number is too large");
    return value;
  }

  hex(length: number): string {
    const at = this.#pass(length);
    return this.#bytes.toString("hex", at, at + length);
  }

  take(length: number): Uint8Array {
    const at = this.#pass(length);
    return new Uint8Array(this.#bytes.subarray(at, at + length));
  }

  #pass(length: number): number {
    const at = this.#at;
    if (length > this.left) throw damaged("ends too soon");
    this.#at += length;
    return at;
  }
}

function damaged(how: string): Failure {
  return new Failure("storage_failed", `a row of the ledger ${how}`);
}

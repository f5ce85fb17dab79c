import { Address, beginCell, Cell, type TupleItem } from "@ton/core";
import { Failure, fromHex, type Nanoton, type RawAddress } from "../protocol/index.ts";
import type { StackItem } from "./chain-reader.ts";

/**
 * Reads the values a get method returned, in order. Whatever is not what the contract's getter gives is a Failure
 * `chain_malformed`: a node that answers so is broken or lies.
 */
export class StackReader {
  readonly #items: readonly StackItem[];
  #at = 0;

  constructor(items: readonly StackItem[]) {
    this.#items = items;
  }

  int(): bigint {
    const item = this.#next();
    if (item.type !== "int") throw this.#malformed("no integer");
    return item.value;
  }

  /** A whole number up to `maximum`, by default of 32 bits. */
  count(maximum = 0xffff_ffff): number {
    const value = this.int();
    if (value < 0n || value > BigInt(maximum)) throw this.#malformed("out of range");
    return Number(value);
  }

  /** One of a list, by its number. */
  oneOf<Name extends string>(names: readonly Name[]): Name {
    const name = names[this.count()];
    if (name === undefined) throw this.#malformed("a number without a name");
    return name;
  }

  /** TVM has true as −1. */
  boolean(): boolean {
    return this.int() !== 0n;
  }

  nanoton(): Nanoton {
    const value = this.int();
    if (value < 0n || value >= COINS_LIMIT) throw this.#malformed("no amount of coins");
    return value;
  }

  /** A uint256: 32 bytes. */
  bytes32(): Uint8Array {
    const value = this.int();
    if (value < 0n || value >= UINT256_LIMIT) throw this.#malformed("no 32 bytes");
    return fromHex(value.toString(16).padStart(64, "0"));
  }

  cell(): Cell {
    return this.#cellOf(this.#next());
  }

  optionalCell(): Cell | undefined {
    const item = this.#next();
    return item.type === "null" ? undefined : this.#cellOf(item);
  }

  address(): RawAddress {
    const address = this.optionalAddress();
    if (address === undefined) throw this.#malformed("no address");
    return address;
  }

  /** Undefined for addr_none, and for null. */
  optionalAddress(): RawAddress | undefined {
    const item = this.#next();
    if (item.type === "null") return undefined;
    const slice = this.#cellOf(item).beginParse();
    const address = this.#attempt(() => {
      const maybe = slice.loadMaybeAddress();
      slice.endParse();
      return maybe;
    });
    return address?.toRawString();
  }

  /** Nothing may be left: a getter with more values is not the getter that was meant. */
  end(): void {
    if (this.#at < this.#items.length) throw this.#malformed("more values than expected");
  }

  #next(): StackItem {
    const item = this.#items[this.#at];
    if (item === undefined) throw this.#malformed("fewer values than expected");
    this.#at++;
    return item;
  }

  #cellOf(item: StackItem): Cell {
    if (item.type !== "cell" && item.type !== "slice") throw this.#malformed("no cell");
    const [cell, ...more] = this.#attempt(() => Cell.fromBoc(Buffer.from(item.boc)));
    if (cell === undefined || more.length > 0) throw this.#malformed("not one cell");
    return cell;
  }

  #attempt<Result>(read: () => Result): Result {
    try {
      return read();
    } catch (cause) {
      throw this.#malformed("unreadable cell", cause);
    }
  }

  #malformed(why: string, cause?: unknown): Failure {
    return new Failure("chain_malformed", `value ${this.#at} of a get method: ${why}`, { cause });
  }
}

const COINS_LIMIT = 1n << 120n;
const UINT256_LIMIT = 1n << 256n;

/** An address as an argument of a get method. */
export function addressItem(address: RawAddress): StackItem {
  const cell = beginCell().storeAddress(Address.parseRaw(address)).endCell();
  return { type: "slice", boc: new Uint8Array(cell.toBoc()) };
}

/** The stack of `@ton/core`'s own kind, as an emulator returns it. */
export function stackItems(tuple: readonly TupleItem[]): readonly StackItem[] {
  return tuple.map((item) => {
    switch (item.type) {
      case "int":
        return { type: "int", value: item.value };
      case "cell":
      case "slice":
        return { type: item.type, boc: new Uint8Array(item.cell.toBoc()) };
      case "null":
        return { type: "null" };
      case "tuple":
        return { type: "tuple", items: stackItems(item.items) };
      case "nan":
      case "builder":
        throw new Failure("chain_malformed", `a ${item.type} on the stack of a get method`);
    }
  });
}

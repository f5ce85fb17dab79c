import assert from "node:assert/strict";
import test from "node:test";
import { Address, beginCell, Cell, type TupleItem } from "@ton/core";
import { toHex, type RawAddress } from "../protocol/index.ts";
import type { StackItem } from "./chain-reader.ts";
import { addressItem, stackItems, StackReader } from "./stack.ts";

const ADDRESS: RawAddress = `0:${"ab".repeat(32)}`;

const int = (value: bigint): StackItem => ({ type: "int", value });
const cellItem = (cell: Cell): StackItem => ({ type: "cell", boc: new Uint8Array(cell.toBoc()) });
const reader = (...items: StackItem[]): StackReader => new StackReader(items);

test("values come out in order, each as the kind that was asked for", () => {
  const cell = beginCell().storeUint(5, 8).endCell();
  const stack = reader(int(-7n), int(9n), int(1n), int(-1n), int(0n), int(15n), int(1n), cellItem(cell), {
    type: "null",
  });
  assert.equal(stack.int(), -7n);
  assert.equal(stack.count(), 9);
  assert.equal(stack.oneOf(["open", "closing"]), "closing");
  assert.equal(stack.boolean(), true);
  assert.equal(stack.boolean(), false);
  assert.equal(stack.nanoton(), 15n);
  assert.equal(toHex(stack.bytes32()), "01".padStart(64, "0"));
  assert.ok(stack.cell().equals(cell));
  assert.equal(stack.optionalCell(), undefined);
  stack.end();
});

test("an address comes back as it went in, in a slice or, as most nodes answer, in a cell", () => {
  const item = addressItem(ADDRESS);
  assert.equal(reader(item).address(), ADDRESS);
  const none = beginCell().storeUint(0, 2).endCell();
  assert.equal(reader(cellItem(beginCell().storeAddress(Address.parse(ADDRESS)).endCell())).address(), ADDRESS);
  assert.equal(reader(cellItem(none)).optionalAddress(), undefined);
  assert.equal(reader({ type: "null" }).optionalAddress(), undefined);
});

const notOne = new Uint8Array([1, 2, 3]);
const afterAddress = beginCell().storeAddress(Address.parse(ADDRESS)).storeBit(true).endCell();

/** What a node that lies or is broken could answer, and what a twin would ask of it. */
const MALFORMED: readonly (readonly [
  what: string,
  items: readonly StackItem[],
  read: (stack: StackReader) => unknown,
])[] = [
  ["nothing", [], (stack) => stack.int()],
  ["a cell for an integer", [cellItem(Cell.EMPTY)], (stack) => stack.int()],
  ["a tuple for an integer", [{ type: "tuple", items: [] }], (stack) => stack.int()],
  ["an integer for a cell", [int(1n)], (stack) => stack.cell()],
  ["null for a cell", [{ type: "null" }], (stack) => stack.cell()],
  ["null for an address", [{ type: "null" }], (stack) => stack.address()],
  ["a negative count", [int(-1n)], (stack) => stack.count()],
  ["33 bits for 32", [int(1n << 32n)], (stack) => stack.count()],
  ["more than a maximum", [int(3n)], (stack) => stack.count(2)],
  ["a number without a name", [int(2n)], (stack) => stack.oneOf(["open", "closing"])],
  ["negative coins", [int(-1n)], (stack) => stack.nanoton()],
  ["more coins than 120 bits", [int(1n << 120n)], (stack) => stack.nanoton()],
  ["a negative hash", [int(-1n)], (stack) => stack.bytes32()],
  ["257 bits for a hash", [int(1n << 256n)], (stack) => stack.bytes32()],
  ["bytes that are no bag of cells", [{ type: "cell", boc: notOne }], (stack) => stack.cell()],
  ["an empty cell for an address", [cellItem(Cell.EMPTY)], (stack) => stack.address()],
  ["bits after an address", [cellItem(afterAddress)], (stack) => stack.address()],
  ["one value too many", [int(1n)], (stack) => stack.end()],
];

for (const [what, items, read] of MALFORMED) {
  test(`a getter's answer is refused: ${what}`, () => {
    assert.throws(() => read(new StackReader(items)), { name: "Failure", code: "chain_malformed" });
  });
}

test("an emulator's stack is read like a node's", () => {
  const tuple: readonly TupleItem[] = [
    { type: "int", value: 1n },
    { type: "tuple", items: [{ type: "null" }, { type: "slice", cell: Cell.EMPTY }] },
  ];
  const empty = new Uint8Array(Cell.EMPTY.toBoc());
  assert.deepEqual(stackItems(tuple), [
    int(1n),
    { type: "tuple", items: [{ type: "null" }, { type: "slice", boc: empty }] },
  ]);
  assert.throws(() => stackItems([{ type: "nan" }]), { code: "chain_malformed" });
});

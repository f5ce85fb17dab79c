import assert from "node:assert/strict";
import test from "node:test";
import { chooseSlot, type Slot } from "./slots.ts";

interface TestSlot extends Slot {
  prefix: number;
}

function slots(...states: readonly Partial<TestSlot>[]): TestSlot[] {
  return states.map((state, index) => ({
    index,
    isBusy: false,
    partition: undefined,
    lastUsedAt: 0,
    prefix: 0,
    ...state,
  }));
}

function chosen(states: readonly TestSlot[], partition = "mine"): number | undefined {
  return chooseSlot(states, partition, (slot) => slot.prefix)?.index;
}

const busy = { isBusy: true, partition: "other" };

test("the lowest slot serves when all are free", () => {
  assert.equal(chosen(slots({}, {}, {})), 0);
});

test("busy slots stay side by side", () => {
  assert.equal(chosen(slots(busy, {}, {})), 1);
  assert.equal(chosen(slots(busy, {}, busy, {})), 1, "a gap is filled");
  assert.equal(chosen(slots({}, {}, busy, {})), 1);
});

test("no slot is given twice", () => {
  assert.equal(chosen(slots(busy, busy)), undefined);
  assert.equal(chosen(slots({ ...busy, partition: "mine", prefix: 500 }, {})), 1);
});

test("a partition returns to where its prefix stands, even across a gap", () => {
  assert.equal(chosen(slots(busy, {}, {}, { partition: "mine", prefix: 200 })), 3);
  assert.equal(chosen(slots({ partition: "mine", prefix: 100 }, { partition: "mine", prefix: 300 })), 1);
});

test("a short prefix is not worth a gap", () => {
  assert.equal(chosen(slots(busy, {}, {}, { partition: "mine", prefix: 5 })), 1);
});

test("another partition's prefix is left alone while there is an empty slot, and the oldest goes first", () => {
  assert.equal(chosen(slots({ partition: "other", prefix: 900 }, {})), 1);
  assert.equal(chosen(slots({ partition: "other", lastUsedAt: 7 }, { partition: "third", lastUsedAt: 3 })), 1);
});

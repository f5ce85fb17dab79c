import type { Nanoton } from "../../protocol/index.ts";

/** Chance from a seed: the same seed throws the same dice. */
export interface Dice {
  /** From 0 up to, not including, 1. */
  random(): number;
  /** From 0 up to, not including, `below`. */
  whole(below: number): number;
  chance(probability: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
  /** From 1 nanoton to `most`, small amounts as likely as large ones. */
  coins(most: Nanoton): Nanoton;
}

/** mulberry32. */
export function diceFrom(seed: number): Dice {
  let state = seed >>> 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (below: number): number => Math.floor(random() * below);
  return {
    random,
    whole,
    chance: (probability) => random() < probability,
    pick: (items) => {
      const item = items[whole(items.length)];
      if (item === undefined) throw new RangeError("nothing to pick from");
      return item;
    },
    coins: (most) => {
      const scale = random() ** 2;
      const amount = BigInt(Math.floor(scale * Number(most)));
      return amount < 1n ? 1n : amount;
    },
  };
}

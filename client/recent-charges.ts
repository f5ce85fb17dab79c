import type { Nanoton } from "../protocol/index.ts";

/** Answers that an average is taken over. */
const RECENT = 32;

/** What answers cost lately: by it a balance is told as a number of answers. */
export class RecentCharges {
  #charges: readonly Nanoton[] = [];

  add(charges: readonly Nanoton[]): void {
    this.#charges = [...this.#charges, ...charges].slice(-RECENT);
  }

  /** Rounded up; undefined before the first. */
  get average(): Nanoton | undefined {
    const count = BigInt(this.#charges.length);
    return count === 0n ? undefined : (this.#charges.reduce((sum, charge) => sum + charge, 0n) + count - 1n) / count;
  }
}

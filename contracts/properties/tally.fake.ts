import type { Trace } from "./referee.fake.ts";
import type { Transaction } from "./transactions.fake.ts";

/** The code of the contract that refused; 0 when all was done. */
export type Ending = number | "out of gas" | "frozen";

/** What campaigns did, for the record and for the test's last word. */
export class Tally {
  /** How often each operation ended as it must. */
  readonly operations = new Map<string, number>();
  /** With what contracts ended, over all transactions. */
  readonly endings = new Map<Ending, number>();
  #transactions = 0;

  get transactions(): number {
    return this.#transactions;
  }

  get done(): number {
    return [...this.operations.values()].reduce((sum, times) => sum + times, 0);
  }

  timesOf(operation: string): number {
    return this.operations.get(operation) ?? 0;
  }

  countOperation(operation: string, times = 1): void {
    this.operations.set(operation, this.timesOf(operation) + times);
  }

  countTrace({ steps, refusal }: Trace): void {
    const endings = steps.flatMap(({ actor, transaction }) => (actor ? [endingOf(transaction)] : []));
    for (const ending of refusal === undefined ? endings : [refusal]) this.#countEnding(ending, 1);
    this.#transactions += steps.length;
  }

  /** The other's counts are added to this one's. */
  add(other: Tally): void {
    for (const [operation, times] of other.operations) this.countOperation(operation, times);
    for (const [ending, times] of other.endings) this.#countEnding(ending, times);
    this.#transactions += other.transactions;
  }

  #countEnding(ending: Ending, times: number): void {
    this.endings.set(ending, (this.endings.get(ending) ?? 0) + times);
  }
}

/** Of a whole trace: the first contract's that refused. */
export function endingOfTrace({ steps, refusal }: Trace): Ending {
  if (refusal !== undefined) return refusal;
  const endings = steps.flatMap(({ actor, transaction }) => (actor ? [endingOf(transaction)] : []));
  return endings.find((ending) => ending !== 0) ?? 0;
}

function endingOf({ outcome, status }: Transaction): Ending {
  if (status === "frozen") return "frozen";
  switch (outcome.type) {
    case "done":
    case "no-contract":
      return 0;
    case "refused":
      return outcome.code;
    case "out-of-gas":
      return "out of gas";
  }
}

/**
 * Jobs that wait for a slot: first in, first out within a partition, partitions in turn. One client with forty
 * requests delays another's first by one job, not by forty.
 */
export class FairQueue<Item> {
  readonly #limit: number;
  readonly #lines = new Map<string, Item[]>();
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#length;
  }

  /** Whether the item was taken in; beyond the limit nothing waits. */
  push(partition: string, item: Item): boolean {
    if (this.#length >= this.#limit) return false;
    const line = this.#lines.get(partition);
    if (line === undefined) this.#lines.set(partition, [item]);
    else line.push(item);
    this.#length++;
    return true;
  }

  shift(): Item | undefined {
    const [turn] = this.#lines;
    if (turn === undefined) return undefined;
    const [partition, line] = turn;
    const item = line.shift();
    this.#length--;
    // The partition goes to the end of the turn order, or away.
    this.#lines.delete(partition);
    if (line.length > 0) this.#lines.set(partition, line);
    return item;
  }

  /** Takes out the first item that matches. */
  remove(matches: (item: Item) => boolean): Item | undefined {
    for (const [partition, line] of this.#lines) {
      const at = line.findIndex(matches);
      if (at === -1) continue;
      const [item] = line.splice(at, 1);
      this.#length--;
      if (line.length === 0) this.#lines.delete(partition);
      return item;
    }
    return undefined;
  }
}

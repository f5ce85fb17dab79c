import type { BatchItem, PrioritizedBatchItem } from "node-llama-cpp";

/**
 * node-llama-cpp starts its next batch as soon as the first sequences have asked for one, so that N independent
 * generators settle into batches of N − 1; and llama.cpp runs a batch as one graph only while its sequence ids rise
 * without a gap. Here all sequences take each step together: nobody waits on a timer, and the share of a prompt in a
 * step is decided before it, so that a long prompt never stops the others' tokens.
 */

/** One sequence in the loop. */
export interface Member {
  /** Tokens it could decode now: what is left of its prompt, or 1. */
  readonly waitingTokens: number;
  readonly isDone: boolean;
  /** Decodes that many of them; never rejects. */
  step(tokens: number): Promise<void>;
  /** What can wait until the next step has started: text, events. */
  report(): void;
}

/**
 * How many tokens each member may decode in the next batch. Whoever only needs one gets it; what is left goes to
 * prompts in the order they came, so that the first of them speaks first.
 */
export function shareBatch(waiting: readonly number[], batchTokens: number): number[] {
  const shares = waiting.map((tokens): number => (tokens === 1 ? 1 : 0));
  let free = batchTokens - shares.filter((share) => share === 1).length;
  waiting.forEach((tokens, i) => {
    if (tokens <= 1) return;
    const share = Math.max(0, Math.min(tokens, free));
    shares[i] = share;
    free -= share;
  });
  return shares;
}

/**
 * When the batch starts: after the promises that are resolved by now have run, so that every member of a step has asked
 * for its share. A turn of the event loop less per token than node-llama-cpp's own schedule.
 */
export function dispatchAfterAll(dispatch: () => void): void {
  process.nextTick(dispatch);
}

/** Puts sequences into the batch in rising order of their ids, which travel as the priority. */
export function orderedStrategy({
  items,
  size,
}: {
  items: readonly BatchItem[];
  size: number;
}): PrioritizedBatchItem[] {
  const ordered = [...items].sort((a, b) => a.evaluationPriority - b.evaluationPriority);
  const shares = shareBatch(
    ordered.map((item) => item.tokens.length),
    size,
  );
  return ordered
    .map((item, i) => ({ item, processAmount: shares[i] ?? 0 }))
    .filter(({ processAmount }) => processAmount > 0);
}

/** Runs all members step by step while there are any; idle, it does not exist. */
export class StepLoop {
  readonly #batchTokens: number;
  readonly #members: Member[] = [];
  #isRunning = false;

  constructor(batchTokens: number) {
    this.#batchTokens = batchTokens;
  }

  /** The member takes part from the next step on. */
  add(member: Member): void {
    this.#members.push(member);
    if (!this.#isRunning) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#members.length > 0) {
      const members = [...this.#members];
      const shares = shareBatch(
        members.map((member) => member.waitingTokens),
        this.#batchTokens,
      );
      const steps = members.flatMap((member, i) => {
        const share = shares[i] ?? 0;
        return share === 0 ? [] : [member.step(share)];
      });
      reportDuring(members);
      await Promise.all(steps);
      this.#removeDone();
    }
    this.#isRunning = false;
  }

  #removeDone(): void {
    for (let i = this.#members.length - 1; i >= 0; i--) {
      const member = this.#members[i];
      if (member?.isDone !== true) continue;
      this.#members.splice(i, 1);
      member.report();
    }
  }
}

/** While the batch computes, the event loop is free: the last step's text is read and sent in that time. */
function reportDuring(members: readonly Member[]): void {
  // By then the batch has started: {@link dispatchAfterAll} is before any turn of the event loop.
  setImmediate(() => members.forEach((member) => member.report()));
}

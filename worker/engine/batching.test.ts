import assert from "node:assert/strict";
import test from "node:test";
import type { BatchItem, EvaluationPriority, Token } from "node-llama-cpp";
import { type Member, orderedStrategy, shareBatch, StepLoop } from "./batching.ts";

test("tokens come before prompts, and prompts in the order they came", () => {
  const cases: readonly (readonly [string, number[], number, number[]])[] = [
    ["tokens only", [1, 1, 1], 512, [1, 1, 1]],
    ["a prompt takes what is left", [1, 700, 1], 512, [1, 510, 1]],
    ["a prompt that fits is taken whole", [1, 100], 512, [1, 100]],
    ["the first prompt first", [400, 400], 512, [400, 112]],
    ["the last of them waits", [600, 1, 50], 512, [511, 1, 0]],
    ["no room beside the tokens", [1, 1, 9], 2, [1, 1, 0]],
    ["nobody", [], 512, []],
  ];
  for (const [name, waiting, batchTokens, shares] of cases)
    assert.deepEqual(shareBatch(waiting, batchTokens), shares, name);
});

function item(id: number, length: number): BatchItem {
  return {
    tokens: Array.from({ length }, () => 0 as Token),
    logits: [],
    evaluationPriority: id as EvaluationPriority,
  };
}

test("sequences enter the batch by rising id", () => {
  const ids = (items: readonly BatchItem[], size: number) =>
    orderedStrategy({ items, size }).map(({ item: { evaluationPriority }, processAmount }) => [
      evaluationPriority,
      processAmount,
    ]);
  assert.deepEqual(ids([item(3, 1), item(0, 1), item(11, 1), item(2, 1)], 512), [
    [0, 1],
    [2, 1],
    [3, 1],
    [11, 1],
  ]);
  assert.deepEqual(ids([item(2, 5), item(1, 1)], 4), [
    [1, 1],
    [2, 3],
  ]);
  assert.deepEqual(ids([item(2, 1), item(1, 9), item(0, 9)], 9), [
    [0, 8],
    [2, 1],
  ]);
});

/** A member that writes down its steps. */
function member(name: string, prompt: number, tokens: number, trace: string[]): Member & { reports: number } {
  let waiting = prompt;
  let left = tokens;
  return {
    reports: 0,
    get waitingTokens() {
      return Math.max(1, waiting);
    },
    get isDone() {
      return left === 0;
    },
    async step(share) {
      trace.push(`${name}${share}`);
      waiting -= share;
      await new Promise((resolve) => setImmediate(resolve));
      if (waiting <= 0) left--;
    },
    report() {
      this.reports++;
    },
  };
}

test("all members take each step together until they are done", async () => {
  const trace: string[] = [];
  const loop = new StepLoop(8);
  const [a, b] = [member("a", 10, 2, trace), member("b", 3, 3, trace)];
  loop.add(a);
  loop.add(b);
  while (!a.isDone || !b.isDone || a.reports === 0 || b.reports === 0)
    await new Promise((resolve) => setImmediate(resolve));
  // b joins after the step that began with a alone.
  assert.deepEqual(trace, ["a8", "a2", "b3", "a1", "b1", "b1"]);
});

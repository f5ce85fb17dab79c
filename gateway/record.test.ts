import assert from "node:assert/strict";
import { test } from "node:test";
import {
  afterOutcome,
  fade,
  isCircuitOpen,
  isForgettable,
  newRecord,
  type Outcome,
  type WorkerRecord,
} from "./record.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

function failure(client: string, weight: 0.5 | 1 = 1): Outcome {
  return { type: "failure", client, weight };
}

const SUCCESS: Outcome = { type: "success", secondsPerThousand: 10 };

function after(outcomes: readonly Outcome[], now = 0, record: WorkerRecord = newRecord(0)): WorkerRecord {
  return outcomes.reduce((one, outcome) => afterOutcome(one, outcome, now), record);
}

test("three failures in a row, for three clients, open the circuit for 30 seconds", () => {
  const record = after([failure("a"), failure("b"), failure("c")]);
  assert.ok(isCircuitOpen(record, 29 * SECOND));
  assert.ok(!isCircuitOpen(record, 30 * SECOND));
});

test("two failures do not open the circuit, and a success between starts the count anew", () => {
  assert.ok(!isCircuitOpen(after([failure("a"), failure("b")]), 0));
  assert.ok(!isCircuitOpen(after([failure("a"), failure("b"), SUCCESS, failure("c"), failure("d")]), 0));
});

test("one client cannot open a worker's circuit however often it fails there", () => {
  assert.ok(!isCircuitOpen(after(new Array<Outcome>(50).fill(failure("a"))), 0));
});

test("a client's failure counts again after ten minutes", () => {
  const first = after([failure("a")]);
  assert.equal(afterOutcome(first, failure("a"), 9 * MINUTE).circuit.streak, 1);
  assert.equal(afterOutcome(first, failure("a"), 10 * MINUTE).circuit.streak, 2);
});

test("failures of trial keys count half", () => {
  const half = ["a", "b", "c", "d", "e"].map((client) => failure(client, 0.5));
  assert.ok(!isCircuitOpen(after(half), 0));
  assert.ok(isCircuitOpen(after([...half, failure("f", 0.5)]), 0));
});

test("each opening in a row is twice as long, up to ten minutes", () => {
  let record = after([failure("a"), failure("b"), failure("c")]);
  const lengths: number[] = [];
  for (let i = 0; i < 7; i++) {
    lengths.push(record.circuit.coolMs / SECOND);
    record = afterOutcome(record, failure(`again ${i}`), record.circuit.openUntil);
  }
  assert.deepEqual(lengths, [30, 60, 120, 240, 480, 600, 600]);
});

test("what happened fades, so that about ten minutes count", () => {
  const record = after([SUCCESS, SUCCESS]);
  const faded = fade(record, 10 * MINUTE);
  assert.ok(Math.abs(faded.successes - 2 / Math.E) < 1e-9);
  assert.ok(Math.abs(faded.seconds - 20 / Math.E) < 1e-9);
  assert.ok(!isForgettable(record, 59 * MINUTE));
  assert.ok(isForgettable(record, 61 * MINUTE));
});

/** How a worker has done lately: what the choice among workers is made from. Pure; times in ms of a steady clock. */

/** Weights fade with this time constant, so that about ten minutes count (NETWORK §2). */
const WINDOW_MS = 600_000;
/** A client counts as one failure of a worker in this time, however often it asks. */
const SAME_CLIENT_MS = 600_000;
const FAILURES_TO_OPEN = 3;
const FIRST_COOL_MS = 30_000;
const LONGEST_COOL_MS = 600_000;

export interface WorkerRecord {
  readonly requests: number;
  readonly successes: number;
  /** Σ seconds per 1 000 completion tokens over the successes. */
  readonly seconds: number;
  /** When the three sums were last faded. */
  readonly at: number;
  readonly circuit: Circuit;
  /** When each client's failure last counted here. */
  readonly failedFor: ReadonlyMap<string, number>;
}

export interface Circuit {
  /** Failures since the last success; a trial key's counts half. */
  readonly streak: number;
  readonly openUntil: number;
  /** How long it was open last. */
  readonly coolMs: number;
}

export type Outcome =
  | { readonly type: "success"; readonly secondsPerThousand: number }
  /** `weight` ½ where the fault may be the client's. */
  | { readonly type: "failure"; readonly client: string; readonly weight: 0.5 | 1 };

const CLOSED: Circuit = { streak: 0, openUntil: 0, coolMs: 0 };

export function newRecord(now: number): WorkerRecord {
  return { requests: 0, successes: 0, seconds: 0, at: now, circuit: CLOSED, failedFor: new Map() };
}

export function isCircuitOpen(record: WorkerRecord, now: number): boolean {
  return now < record.circuit.openUntil;
}

/** Whether nothing in it would change a choice any more. */
export function isForgettable(record: WorkerRecord, now: number): boolean {
  return now - record.at > 6 * WINDOW_MS;
}

export function afterOutcome(record: WorkerRecord, outcome: Outcome, now: number): WorkerRecord {
  const faded = fade(record, now);
  if (outcome.type === "success") {
    return {
      ...faded,
      requests: faded.requests + 1,
      successes: faded.successes + 1,
      seconds: faded.seconds + outcome.secondsPerThousand,
      circuit: CLOSED,
    };
  }
  const last = record.failedFor.get(outcome.client);
  if (last !== undefined && now - last < SAME_CLIENT_MS) return faded;
  const recent = [...record.failedFor].filter(([, at]) => now - at < SAME_CLIENT_MS);
  return {
    ...faded,
    requests: faded.requests + outcome.weight,
    circuit: afterFailure(record.circuit, outcome.weight, now),
    failedFor: new Map([...recent, [outcome.client, now]]),
  };
}

/** The sums as they weigh now. */
export function fade(record: WorkerRecord, now: number): WorkerRecord {
  const factor = Math.exp(-(now - record.at) / WINDOW_MS);
  return {
    ...record,
    requests: record.requests * factor,
    successes: record.successes * factor,
    seconds: record.seconds * factor,
    at: now,
  };
}

function afterFailure(circuit: Circuit, weight: number, now: number): Circuit {
  const streak = circuit.streak + weight;
  if (streak < FAILURES_TO_OPEN) return { ...circuit, streak };
  const coolMs = Math.min(LONGEST_COOL_MS, Math.max(FIRST_COOL_MS, circuit.coolMs * 2));
  return { streak, openUntil: now + coolMs, coolMs };
}

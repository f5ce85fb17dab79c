import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { ClientEvent } from "../../client/index.ts";
import { Failure } from "../../protocol/index.ts";
import { engineProcesses } from "./engine-processes.ts";
import { devnetFor, until, vouchered } from "./house.ts";

/** `COCOON_KILLS=50` runs the whole campaign; a tenth of it, at least ten, runs with every test. */
const KILLS = Number(process.env.COCOON_KILLS ?? 10);
const SEED = Number(process.env.COCOON_SEED ?? 20_261_123);
const STREAMS = 3;

test(`an engine killed at ${KILLS} instants (seed ${SEED}) fails its answers with a code, is back, and no promise is lost`, async (context) => {
  const devnet = await devnetFor(context);
  const { client } = await devnet.client("killer");
  const worker = devnet.workers[0]?.worker;
  assert.ok(worker !== undefined);
  const random = seeded(SEED);
  const ask = async (): Promise<string> => {
    try {
      const events: ClientEvent[] = [];
      const body = { model: "practice", messages: [{ role: "user", content: "Tell me everything" }] } as const;
      for await (const event of client.chat({ ...body, messages: [...body.messages] })) events.push(event);
      return events.at(-1)?.type ?? "nothing";
    } catch (error) {
      assert.ok(error instanceof Failure, String(error));
      return error.code;
    }
  };

  const outcomes = new Map<string, number>();
  for (let kill = 0; kill < KILLS; kill++) {
    await until("the engine is up", () => worker.status().gateways[0]?.offered.length === 1);
    const before = vouchered(devnet);
    const answers = Array.from({ length: STREAMS }, ask);
    await delay(random() * 60);
    for (const processId of engineProcesses()) process.kill(processId, "SIGKILL");
    for (const outcome of await Promise.all(answers)) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    assert.ok(vouchered(devnet) >= before, "a voucher shrank");
    await until("the crash is noticed", () => worker.status().models[0]?.engine.phase === "down");
    worker.reviveEngines();
  }

  const allowed = ["end", "worker_crashed", "busy", "no_worker", "model_unavailable", "truncated"];
  assert.deepEqual(
    [...outcomes.keys()].filter((outcome) => !allowed.includes(outcome)),
    [],
  );
  assert.equal(
    [...outcomes.values()].reduce((sum, count) => sum + count, 0),
    KILLS * STREAMS,
  );
  const sums = devnet.gateway.ledgerTotals();
  assert.equal(sums.charges + sums.gatewayPaid, sums.earnings + sums.fees);
  await until("the engine is up", () => worker.status().gateways[0]?.offered.length === 1);
  assert.equal(await ask(), "end");
});

/** mulberry32. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { ensurePracticeModel } from "../../devnet/index.ts";
import { Failure } from "../../protocol/index.ts";
import { devnetFor, until } from "./house.ts";

test("of more requests than slots each is answered or told busy at once, and none waits for a time-out", async (context) => {
  const model = { id: "practice", path: await ensurePracticeModel(), plan: { slots: 2, queueLimit: 0 } };
  const devnet = await devnetFor(context, { model });
  const { client } = await devnet.client("crowd");
  const startedAt = performance.now();

  const outcomes = await Promise.all(
    Array.from({ length: 12 }, async () => {
      try {
        const { finishReason } = await client.complete({
          model: "practice",
          messages: [{ role: "user", content: "Hello" }],
        });
        return finishReason;
      } catch (error) {
        assert.ok(error instanceof Failure, String(error));
        return error.code;
      }
    }),
  );

  const answered = outcomes.filter((outcome) => outcome === "stop").length;
  assert.ok(answered >= 2, outcomes.join(" "));
  assert.equal(outcomes.filter((outcome) => outcome === "busy").length, outcomes.length - answered, outcomes.join(" "));
  assert.ok(performance.now() - startedAt < 10_000);
});

test("a client that disappears in the middle of an answer stops the worker and owes what was delivered", async (context) => {
  const devnet = await devnetFor(context);
  const worker = devnet.workers[0]?.worker;
  const { client } = await devnet.client("gone");
  const body = { model: "practice", messages: [{ role: "user" as const, content: "Tell me everything" }] };

  for await (const event of client.chat(body)) {
    if (event.type === "delta" && event.text !== "") break;
  }
  await client.close();

  await until("the worker is idle", () => worker?.status().answering === 0 && worker.status().openStreams === 0);
  await until("the answer is charged", () => devnet.gateway.ledgerTotals().charges > 0n);
  const sums = devnet.gateway.ledgerTotals();
  assert.equal(sums.charges, sums.earnings + sums.fees);
});

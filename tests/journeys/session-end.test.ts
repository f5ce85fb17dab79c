import assert from "node:assert/strict";
import { test } from "node:test";
import { STREAMS_PER_SESSION, type PriceSheet } from "../../protocol/index.ts";
import { ECHO_CAPABILITIES, echoEngine } from "./echo-engine.ts";
import { devnetFor } from "./house.ts";

const LANES = 24;
const PRICE: PriceSheet = { prompt: 1000n, cached: 1000n, completion: 1000n };
const BODY = { model: "echo", max_tokens: 8, messages: [{ role: "user" as const, content: "again" }] };

test("requests that run while one session ends and the next begins are all answered, in the order of their streams", async (context) => {
  const capabilities = { ...ECHO_CAPABILITIES, slots: 64 };
  const devnet = await devnetFor(context, {
    model: { id: "echo", engine: () => echoEngine({ capabilities }) },
    price: PRICE,
  });
  const { client } = await devnet.client("busy");
  let left = STREAMS_PER_SESSION + 8 * LANES;
  const lane = async (): Promise<void> => {
    while (left-- > 0) assert.equal((await client.complete(BODY)).text, "again");
  };

  await Promise.all(Array.from({ length: LANES }, lane));

  assert.equal(devnet.workers[0]?.worker.status().totals.refused, 0);
});

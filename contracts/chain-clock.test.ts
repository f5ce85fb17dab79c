import assert from "node:assert/strict";
import test from "node:test";
import { SYSTEM_CHAIN_CLOCK } from "./chain-clock.ts";

test("a pause ends when it is over, or with whoever ends it", async () => {
  const stop = new AbortController();
  await SYSTEM_CHAIN_CLOCK.pause(1, stop.signal);
  const long = SYSTEM_CHAIN_CLOCK.pause(60_000, stop.signal);
  stop.abort(new Error("closing"));
  await assert.rejects(long, /closing/);
  await assert.rejects(SYSTEM_CHAIN_CLOCK.pause(60_000, stop.signal), /closing/);
});

test("a time-out fires as one", async () => {
  const signal = SYSTEM_CHAIN_CLOCK.timeout(1);
  await assert.rejects(SYSTEM_CHAIN_CLOCK.pause(60_000, signal), { name: "TimeoutError" });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { Blockchain } from "@ton/sandbox";
import { forwardFee, gasFee, PRICES_BEFORE, PRICES_OF_JUNE_2026, pricesIn, withPrices } from "./prices.ts";

test("the sandbox still has the prices from before the cut of April 2026", async () => {
  const { config } = await Blockchain.create({ config: "slim" });
  assert.deepEqual(pricesIn(config), PRICES_BEFORE);
  assert.ok(withPrices(config, PRICES_BEFORE).equals(config));
});

test("a configuration takes other prices and keeps the rest", async () => {
  const { config } = await Blockchain.create({ config: "slim" });
  const changed = withPrices(config, PRICES_OF_JUNE_2026);
  assert.deepEqual(pricesIn(changed), PRICES_OF_JUNE_2026);
  assert.ok(withPrices(changed, PRICES_BEFORE).equals(config));
});

test("fees are those that TVM computes, rounded up", () => {
  assert.equal(gasFee(PRICES_BEFORE, 100n), 40_000n);
  assert.equal(gasFee(PRICES_BEFORE, 5_740n), 2_296_000n);
  assert.equal(gasFee(PRICES_OF_JUNE_2026, 101n), 6_667n + 67n);
  assert.equal(forwardFee(PRICES_BEFORE, 2000n, 3n), 400_000n + 800_000n + 120_000n);
  assert.equal(forwardFee(PRICES_OF_JUNE_2026, 1n, 0n), 66_667n + 67n);
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { CHANNEL_RESERVE, GATEWAY_RESERVE } from "../contracts/fees.ts";
import type { Nanoton } from "../protocol/index.ts";
import {
  CASH_OUT_AT_MOST,
  cashOutCost,
  measureGas,
  RATIO_AT_MOST,
  ratioToPlain,
  type MeasuredGas,
} from "./gas-costs.ts";
import { gasTable, withGasTable } from "./gas-table.ts";

const README = readFileSync(join(import.meta.dirname, "../contracts/README.md"), "utf8");

let measured: MeasuredGas;
before(async () => {
  measured = await measureGas();
});

test("a worker's cash-out costs at most 0.0018 TON, its owner's wallet included", () => {
  const cost = cashOutCost(measured.june2026);
  assert.ok(cost > 0n && cost <= CASH_OUT_AT_MOST, `${cost} nanoton`);
});

test("a worker's cash-out costs at most 1.6 times that of a plain payment channel, at both price tables", () => {
  for (const costs of [measured.june2026, measured.before]) {
    const ratio = ratioToPlain(costs);
    assert.ok(ratio > 1 && ratio <= RATIO_AT_MOST, `${ratio} times`);
  }
});

test("nothing is done for nothing", () => {
  for (const { name, cost } of [...measured.june2026.operations, ...measured.before.operations]) {
    assert.ok(cost > 0n, name);
  }
});

test("the reserves of a worker's channel and of a gateway pay their rent for twenty years", () => {
  const aYear = (account: string): Nanoton =>
    measured.june2026.rents.find((rent) => rent.account === account)?.aYear ?? 0n;
  assert.ok(aYear("a worker's channel") > 0n && aYear("a gateway") > 0n);
  assert.ok(20n * aYear("a worker's channel") <= CHANNEL_RESERVE);
  assert.ok(20n * aYear("a gateway") <= GATEWAY_RESERVE);
});

test("the table of costs in the contracts' README is what is measured", () => {
  assert.equal(README, withGasTable(README, gasTable(measured)), "run `npm run bench -- gas --write`");
});

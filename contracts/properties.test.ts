import assert from "node:assert/strict";
import { test } from "node:test";
import { PRICES_BEFORE, PRICES_OF_JUNE_2026 } from "./prices.ts";
import { campaign } from "./properties/campaign.fake.ts";
import { lacking } from "./properties/schedule.fake.ts";
import { Tally } from "./properties/tally.fake.ts";

/** At least so many, half at each price table: `COCOON_OPERATIONS=20000` runs ten times as many. */
const OPERATIONS = Number(process.env.COCOON_OPERATIONS ?? 2_000);
const SEED = Number(process.env.COCOON_SEED ?? 3);
/** Of 2 000 operations each good one is done fifty times. */
const WANTED = Math.max(1, Math.floor(OPERATIONS / 40));

const TABLES = [PRICES_OF_JUNE_2026, PRICES_BEFORE];

/** Every exit code of the family but the reserved two, and TVM's for a payload of another kind. */
const CODES = [63, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 416, 417, 0xffff];
const RESERVED = [415, 418];

test(`in ${OPERATIONS} random operations (seed ${SEED}) no coin is made or lost, and each goes to whom it is due`, async (context) => {
  const tally = new Tally();
  for (const prices of TABLES) {
    const operations = Math.ceil(OPERATIONS / TABLES.length);
    tally.add(await campaign(prices, { seed: SEED, operations, wanted: Math.ceil(WANTED / TABLES.length) }));
  }
  context.diagnostic(`seed ${SEED}: ${tally.done} operations in ${tally.transactions} transactions`);
  context.diagnostic(`operations: ${listed(tally.operations)}`);
  context.diagnostic(`exit codes: ${listed(tally.endings)}`);

  assert.deepEqual(
    lacking(tally, WANTED),
    [],
    `good ones fewer than ${WANTED} times, or hostile ones than a third of it`,
  );
  assert.deepEqual(
    CODES.filter((code) => !tally.endings.has(code)),
    [],
    "codes that nobody met",
  );
  assert.deepEqual(
    RESERVED.filter((code) => tally.endings.has(code)),
    [],
    "codes that nothing may throw",
  );
});

function listed(counts: ReadonlyMap<string | number, number>): string {
  const sorted = [...counts].sort(([a], [b]) => String(a).localeCompare(String(b)));
  return sorted.map(([name, times]) => `${name} ×${times}`).join(", ");
}

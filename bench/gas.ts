import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatTon } from "../protocol/index.ts";
import type { Benchmark, Figures } from "./benchmark.ts";
import {
  CASH_OUT_AT_MOST,
  cashOutCost,
  measureGas,
  RATIO_AT_MOST,
  ratioToPlain,
  type GasCosts,
  type MeasuredGas,
} from "./gas-costs.ts";
import { gasTable, withGasTable } from "./gas-table.ts";
import { rounded } from "./statistics.ts";

const README = join(import.meta.dirname, "../contracts/README.md");

/** What each operation on the chain costs whoever pays for it. */
export const gas: Benchmark = {
  purpose: "what every operation on the chain costs a real wallet, at today's prices and before [--write]",
  run: async (args) => {
    const { values } = parseArgs({ args: [...args], options: { write: { type: "boolean", default: false } } });
    const measured = await measureGas();
    if (values.write) writeFileSync(README, withGasTable(readFileSync(README, "utf8"), gasTable(measured)));
    return figuresOf(measured);
  },
};

function figuresOf({ june2026, before }: MeasuredGas): Figures {
  const ratio = ratioToPlain(june2026);
  return {
    cashOut: {
      costTon: ton(cashOutCost(june2026)),
      atMostTon: ton(CASH_OUT_AT_MOST),
      timesAPlainChannel: rounded(ratio),
      timesAtMost: RATIO_AT_MOST,
      holds: cashOutCost(june2026) <= CASH_OUT_AT_MOST && ratio <= RATIO_AT_MOST,
    },
    pricesOfJune2026: costsOf(june2026),
    pricesBefore: costsOf(before),
  };
}

function costsOf({ operations, rents }: GasCosts): Figures {
  return {
    operations: Object.fromEntries(
      operations.map(({ name, gas: units, cost, reserve }) => [
        name,
        { costTon: ton(cost), ...(reserve > 0n && { reserveTon: ton(reserve) }), gas: units },
      ]),
    ),
    rentTonAYear: Object.fromEntries(rents.map(({ account, aYear }) => [account, ton(aYear)])),
  };
}

/** Nine decimals fit a double at these sizes. */
function ton(amount: bigint): number {
  return Number(formatTon(amount));
}

/** `npm run mutants [-- --only N] [--json]`: every planted fault must turn its tests red. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Copy, copyOf, type TestRun } from "./campaign.ts";
import { type Fault, FAULTS, plant } from "./faults.ts";

/** Tests of this project are small: two at a time keep two cores busy. */
const COPIES = 2;

/** Faults are numbered from 1, as `--only` and the printed table have them. */
interface Planted {
  readonly number: number;
  readonly fault: Fault;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { only: { type: "string", multiple: true }, json: { type: "boolean", default: false } },
  });
  const planted = FAULTS.map((fault, index): Planted => ({ number: index + 1, fault })).filter(
    ({ number }) => values.only === undefined || values.only.includes(String(number)),
  );
  if (planted.length === 0) return complain(`--only takes a number from 1 to ${FAULTS.length}.`);

  const root = join(import.meta.dirname, "../..");
  // A stale table is found before the first minute is spent.
  for (const { fault } of planted) plant(fault, readFileSync(join(root, fault.file), "utf8"));
  const copies = Array.from({ length: Math.min(COPIES, planted.length) }, () => copyOf(root));
  const dispose = (): void => copies.forEach((copy) => copy.dispose());
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      dispose();
      process.exit(1);
    });
  }
  try {
    return await campaign(copies, planted, values.json);
  } finally {
    dispose();
  }
}

async function campaign(copies: readonly Copy[], planted: readonly Planted[], json: boolean): Promise<number> {
  const tests = [...new Set(planted.flatMap(({ fault }) => fault.tests))];
  const untouched = await copies[0]?.run(tests);
  if (untouched?.outcome !== "green") {
    return complain(`Without any fault the tests are not green:\n${untouched?.output ?? ""}`);
  }

  const waiting = [...planted];
  const survivors: Planted[] = [];
  await Promise.all(
    copies.map(async (copy) => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const run = await copy.runWith(next.fault);
        if (run.outcome === "green") survivors.push(next);
        process.stdout.write(json ? jsonLine(next, run) : textLine(next, run));
      }
    }),
  );
  const summary = { faults: planted.length, caught: planted.length - survivors.length, survived: survivors.length };
  process.stdout.write(
    json
      ? `${JSON.stringify(summary)}\n`
      : `${summary.faults} faults, ${summary.caught} caught, ${summary.survived} survived\n`,
  );
  return survivors.length === 0 ? 0 : 1;
}

function jsonLine({ number, fault }: Planted, { outcome, ms }: TestRun): string {
  return `${JSON.stringify({ number, file: fault.file, why: fault.why, outcome, caught: outcome !== "green", ms: Math.round(ms) })}\n`;
}

function textLine({ number, fault }: Planted, { outcome, ms }: TestRun): string {
  const said = { red: "caught  ", hung: "caught* ", green: "SURVIVED" }[outcome];
  return `${String(number).padStart(3)} ${said} ${(ms / 1000).toFixed(1).padStart(5)} s  ${fault.file}: ${fault.why}\n`;
}

function complain(message: string): number {
  process.stderr.write(`${message}\n`);
  return 1;
}

process.exitCode = await main().catch((error: unknown) =>
  complain(error instanceof Error ? error.message : String(error)),
);

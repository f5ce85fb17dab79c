/** `npm run bench -- NAME [--json] …`: one benchmark, with the machine and versions it ran on. */
import type { Benchmark, Figure, Figures } from "./benchmark.ts";
import { describeMachine, describeVersions } from "./machine.ts";

/** By name, loaded when asked for: a benchmark of sealing must not load an engine. */
const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  engine: async () => (await import("./engine.ts")).engine,
  gas: async () => (await import("./gas.ts")).gas,
  gateway: async () => (await import("./gateway.ts")).gateway,
  network: async () => (await import("./network.ts")).network,
  seal: async () => (await import("./seal.ts")).seal,
};

async function main(argv: readonly string[]): Promise<number> {
  const [name = "", ...args] = argv.filter((argument) => argument !== "--json");
  const load = Object.hasOwn(BENCHMARKS, name) ? BENCHMARKS[name] : undefined;
  if (load === undefined) {
    process.stderr.write(`Usage: npm run bench -- NAME [--json]\n${await list()}`);
    return 64;
  }
  const benchmark = await load();
  const figures = await benchmark.run(args);
  const report = { benchmark: name, machine: describeMachine(), versions: describeVersions(), figures };
  process.stdout.write(argv.includes("--json") ? `${JSON.stringify(report)}\n` : asText(report));
  return 0;
}

async function list(): Promise<string> {
  const entries = Object.entries(BENCHMARKS);
  const lines = await Promise.all(
    entries.map(async ([name, load]) => `  ${name.padEnd(8)} ${(await load()).purpose}\n`),
  );
  return lines.join("");
}

/** Groups are headings, figures are lines. */
function asText(figures: Figures, indent = ""): string {
  return Object.entries(figures)
    .map(([name, figure]) =>
      isGroup(figure) ? `${indent}${name}\n${asText(figure, `${indent}  `)}` : `${indent}${name}: ${inline(figure)}\n`,
    )
    .join("");
}

function isGroup(figure: Figure): figure is Figures {
  return typeof figure === "object" && figure !== null && !Array.isArray(figure);
}

function inline(figure: Figure): string {
  if (typeof figure === "number") return figure.toLocaleString("en-US", { maximumSignificantDigits: 6 });
  return typeof figure === "string" ? figure : JSON.stringify(figure);
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});

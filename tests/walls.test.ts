import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";

const root = join(import.meta.dirname, "..");

/** A small house in which every rule of the walls is broken once, by the file that stands beside its name. */
const TRESPASSES: readonly { readonly rule: string; readonly file: string; readonly text: string }[] = [
  { rule: "gateway-walls", file: "gateway/to-client.ts", text: `import "../client/index.ts";` },
  { rule: "client-walls", file: "client/to-worker.ts", text: `import "../worker/index.ts";` },
  { rule: "protocol-walls", file: "protocol/to-contracts.ts", text: `import "../contracts/Registry.ts";` },
  { rule: "worker/engine-walls", file: "worker/engine/to-serving.ts", text: `import "../serving/jobs.ts";` },
  { rule: "worker/serving-walls", file: "worker/serving/to-control.ts", text: `import "../control/settings.ts";` },
  { rule: "worker/control-walls", file: "worker/control/to-gateway.ts", text: `import "../../gateway/index.ts";` },
  { rule: "renderer-walls", file: "renderer/to-client.ts", text: `import "../client/index.ts";` },
  { rule: "electron/main-walls", file: "electron/main/to-gateway.ts", text: `import "../../gateway/index.ts";` },
  { rule: "devnet-walls", file: "devnet/to-renderer.ts", text: `import "../renderer/store.ts";` },
  { rule: "scripts-walls", file: "scripts/to-protocol.ts", text: `import "../protocol/index.ts";` },
  { rule: "use-the-front-door", file: "gateway/round-the-door.ts", text: `import "../protocol/units.ts";` },
  { rule: "use-the-front-door", file: "devnet/round-the-door.ts", text: `import "../gateway/matching.ts";` },
  { rule: "asking-needs-no-ton-library", file: "client/to-contracts.ts", text: `import "../contracts/Registry.ts";` },
  { rule: "asking-needs-no-ton-library", file: "client/to-deposits.ts", text: `import "./deposit/index.ts";` },
  {
    rule: "only-a-benchmark-enters-the-engine",
    file: "devnet/to-engine.ts",
    text: `import "../worker/engine/messages.ts";`,
  },
  {
    rule: "the-engine-has-a-door-of-its-own",
    file: "bench/into-engine.ts",
    text: `import "../worker/engine/batching.ts";`,
  },
  {
    rule: "bridge-is-types-only",
    file: "renderer/bridge-code.ts",
    text: `import { verbs } from "../worker/bridge.ts"; verbs();`,
  },
  {
    rule: "engine-is-another-process",
    file: "worker/serving/engine-code.ts",
    text: `import { jobs } from "../engine/messages.ts"; jobs();`,
  },
  { rule: "pure-rooms-do-no-io", file: "protocol/with-files.ts", text: `import "node:fs";` },
  { rule: "pure-rooms-do-no-io", file: "renderer/with-network.ts", text: `import "node:net";` },
  { rule: "the-engine-has-no-network", file: "worker/engine/with-network.ts", text: `import "node:net";` },
  { rule: "protocol-needs-little", file: "protocol/with-sockets.ts", text: `import "ws";` },
  { rule: "only-the-engine-knows-llama", file: "worker/serving/with-llama.ts", text: `import "node-llama-cpp";` },
  { rule: "electron-stays-in-its-shell", file: "worker/control/with-electron.ts", text: `import "electron";` },
  { rule: "shipped-code-needs-shipped-dependencies", file: "client/with-openai.ts", text: `import "openai";` },
  { rule: "tests-are-leaves", file: "gateway/with-fake.ts", text: `import "./store.fake.ts";` },
  { rule: "nothing-is-missing", file: "client/with-nothing.ts", text: `import "./not-there.ts";` },
  { rule: "no-cycles", file: "gateway/and-round.ts", text: `import "./round.ts";` },
  { rule: "no-orphans", file: "client/alone.ts", text: `export const alone = 1;` },
];

/** What the trespasses lead to, and what is allowed: none of these may be reported. */
const LAWFUL: Readonly<Record<string, string>> = {
  "protocol/index.ts": `export * from "./units.ts";`,
  "protocol/units.ts": `import "@noble/hashes/sha2.js"; export const units = 1;`,
  "contracts/Registry.ts": `import "../protocol/index.ts";`,
  "gateway/index.ts": `import "../protocol/index.ts"; import "../contracts/Registry.ts"; import "./matching.ts"; import "ws";`,
  "gateway/matching.ts": `import "node:sqlite"; export const matching = 1;`,
  "gateway/store.fake.ts": `import "./matching.ts";`,
  "gateway/round.ts": `import "./and-round.ts";`,
  "client/index.ts": `import "../protocol/index.ts";`,
  "client/main.ts": `import "./deposit/index.ts";`,
  "client/deposit/index.ts": `import "../../contracts/Registry.ts"; import "@ton/core";`,
  "worker/index.ts": `import "./serving/jobs.ts"; import "./control/settings.ts";`,
  "worker/bridge.ts": `import "../protocol/index.ts"; export function verbs(): void {} export interface Snapshot { readonly a: 1 }`,
  "worker/serving/jobs.ts": `import type { Job } from "../engine/messages.ts"; export type Jobs = Job[];`,
  "worker/control/settings.ts": `import "../serving/jobs.ts";`,
  "worker/engine/messages.ts": `import "../../protocol/index.ts"; export function jobs(): void {} export interface Job { readonly a: 1 }`,
  "worker/engine/batching.ts": `import "node-llama-cpp"; import "./messages.ts";`,
  "worker/engine/index.ts": `import "./batching.ts";`,
  "renderer/store.ts": `import type { Snapshot } from "../worker/bridge.ts"; export type Mirror = Snapshot;`,
  "devnet/index.ts": `import "../gateway/index.ts"; import "../client/index.ts"; import "../client/deposit/index.ts"; import "../worker/index.ts";`,
  "bench/engine.ts": `import "../worker/engine/index.ts"; import "../devnet/index.ts";`,
  "tests/journeys/one.test.ts": `import "../../devnet/index.ts"; import "openai";`,
};

let house: string;
let reported: readonly string[];

before(() => {
  house = mkdtempSync(join(tmpdir(), "cocoon-walls-"));
  for (const file of [".dependency-cruiser.mjs", "tsconfig.json", "package.json", "eslint.config.js"]) {
    copyFileSync(join(root, file), join(house, file));
  }
  symlinkSync(join(root, "node_modules"), join(house, "node_modules"), "junction");
  for (const { file, text } of TRESPASSES) put(file, text);
  for (const [file, text] of Object.entries(LAWFUL)) put(file, text);
  reported = cruise();
});

after(() => {
  rmSync(house, { recursive: true, force: true });
});

test("every wall refuses a trespass", () => {
  const missed = TRESPASSES.filter(({ rule, file }) => !reported.includes(`${rule} ${file}`));
  assert.deepEqual(missed, []);
});

test("the walls let through what ARCHITECTURE.md allows", () => {
  const refused = reported.filter((line) => Object.keys(LAWFUL).some((file) => line.endsWith(` ${file}`)));
  assert.deepEqual(refused, []);
});

test("pure code cannot reach for the network, the clock or chance, and nobody exports a default or an enum", () => {
  put(
    "protocol/impure.ts",
    `export const a = fetch("http://x");
export const b = new WebSocket("ws://x");
export const c = process.env;
export const d = Buffer.from("x");
export const e = Date.now();
export const f = new Date();
export const g = Math.random();
export const h = crypto.getRandomValues(new Uint8Array(1));
export const i = globalThis.process;
export const j = setTimeout(() => undefined, 1);
export enum K { L }
export default a;
`,
  );
  const lint = run("eslint/bin/eslint.js", ["--format=json", "protocol/impure.ts"]);
  const [report] = JSON.parse(lint) as [{ messages: { line: number; ruleId: string }[] }];
  const refused = report.messages.filter(({ ruleId }) => ruleId.startsWith("no-restricted-"));
  assert.deepEqual([...new Set(refused.map(({ line }) => line))], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
});

function put(file: string, text: string): void {
  mkdirSync(dirname(join(house, file)), { recursive: true });
  writeFileSync(join(house, file), `${text}\n`);
}

/** Each broken rule with the file that broke it. */
function cruise(): readonly string[] {
  const rooms = [
    "protocol",
    "contracts",
    "gateway",
    "client",
    "worker",
    "electron",
    "renderer",
    "devnet",
    "bench",
    "tests",
    "scripts",
  ];
  const json = run("dependency-cruiser/bin/dependency-cruiser.mjs", [
    "--config",
    ".dependency-cruiser.mjs",
    "--output-type=json",
    ...rooms,
  ]);
  const { summary } = JSON.parse(json) as { summary: { violations: { from: string; rule: { name: string } }[] } };
  return summary.violations.map(({ from, rule }) => `${rule.name} ${from}`);
}

function run(script: string, args: readonly string[]): string {
  return spawnSync(process.execPath, [join(root, "node_modules", script), ...args], { cwd: house, encoding: "utf8" })
    .stdout;
}

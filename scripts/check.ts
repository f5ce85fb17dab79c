/** `npm run check`: types, lint, format and walls, side by side. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** Every room the walls know; those not built yet are left out. */
const ROOMS = [
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
].filter((room) => existsSync(join(root, room)));

const CACHE = join(root, ".cache");

const CHECKS = [
  { name: "types", script: "typescript/bin/tsc", args: ["--project", ".", "--pretty"] },
  { name: "lint", script: "eslint/bin/eslint.js", args: ["--max-warnings=0", "."] },
  {
    name: "format",
    script: "prettier/bin/prettier.cjs",
    args: ["--check", "--log-level=warn", "--cache", `--cache-location=${join(CACHE, "prettier")}`, "."],
  },
  {
    name: "walls",
    script: "dependency-cruiser/bin/dependency-cruiser.mjs",
    args: ["--config", ".dependency-cruiser.mjs", ...ROOMS],
  },
] as const;

/** Runs every check and prints a line for each, with what a failed one said. */
export async function check(): Promise<boolean> {
  const results = await Promise.all(
    CHECKS.map(async ({ name, script, args }) => {
      const startedAt = performance.now();
      const { code, output } = await runTool(script, args);
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      process.stdout.write(`${code === 0 ? "✔" : "✖"} ${name} (${seconds} s)\n${code === 0 ? "" : output}`);
      return code === 0;
    }),
  );
  return results.every(Boolean);
}

function runTool(script: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, "node_modules", script), ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const keep = (text: string): void => void (output += text);
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

if (import.meta.main) process.exitCode = (await check()) ? 0 : 1;

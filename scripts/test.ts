/** `npm test [-- FILE…]`: the checks, then every test; a skipped test fails unless it is named here with its reason. */
import { spawn } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check } from "./check.ts";
import { ensurePrograms } from "./programs.ts";

const root = join(import.meta.dirname, "..");

/** Tests that may be skipped on this kind of machine, by full name. None so far. */
const MAY_SKIP: readonly string[] = [];

/** A test that hangs fails by name instead of holding up the rest. */
const TEST_TIMEOUT_MS = 300_000;

async function main(only: readonly string[]): Promise<number> {
  ensurePrograms();
  if (only.length === 0 && !(await check())) return 1;
  const files = only.length > 0 ? only : testFiles();
  return runTests(files);
}

function testFiles(): readonly string[] {
  return globSync("**/*.test.ts", { cwd: root, exclude: ["node_modules", "dist", ".cache"] }).sort();
}

async function runTests(files: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-tests-"));
  const skippedFile = join(folder, "skipped");
  try {
    const code = await nodeTest(files, skippedFile);
    // A runner that could not even begin writes no report.
    if (!existsSync(skippedFile)) return 1;
    const skipped = readFileSync(skippedFile, "utf8").split("\n").filter(Boolean);
    const unexpected = skipped.filter((name) => !MAY_SKIP.includes(name));
    for (const name of unexpected) process.stderr.write(`skipped, and nothing says it may be: ${name}\n`);
    return code === 0 && unexpected.length > 0 ? 1 : code;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function nodeTest(files: readonly string[], skippedFile: string): Promise<number> {
  const args = [
    "--test",
    "--test-concurrency=2",
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    `--test-reporter=${join(import.meta.dirname, "skipped-reporter.mjs")}`,
    `--test-reporter-destination=${skippedFile}`,
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, ...args, ...files], { cwd: root, stdio: "inherit" });
    // The runner ends its test processes when told to end; this one waits for it.
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
    process.on("SIGTERM", pass).on("SIGHUP", pass).on("SIGINT", pass);
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
}

process.exitCode = await main(process.argv.slice(2));

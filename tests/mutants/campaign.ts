import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Fault, plant } from "./faults.ts";

/** A fault that makes its tests hang is noticed too, at this price. */
const RUN_TIMEOUT_MS = 120_000;
/** What is not copied: installed, generated or history. */
const LEFT_OUT = new Set(["node_modules", ".git", ".cache", "dist"]);

/** How one run of tests ended. */
export interface TestRun {
  readonly outcome: "green" | "red" | "hung";
  readonly ms: number;
  /** What the tests printed. */
  readonly output: string;
}

/** A copy of the project in which faults are planted one at a time. */
export interface Copy {
  run(tests: readonly string[]): Promise<TestRun>;
  runWith(fault: Fault): Promise<TestRun>;
  /** Ends what runs in it and removes it. */
  dispose(): void;
}

export function copyOf(root: string): Copy {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-mutants-"));
  cpSync(root, folder, { recursive: true, filter: (source) => source === root || !LEFT_OUT.has(basename(source)) });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"), "junction");
  const running = new Set<ChildProcess>();
  const run = (tests: readonly string[]): Promise<TestRun> => nodeTest(folder, tests, running);
  return {
    run,
    runWith: async (fault) => {
      const file = join(folder, fault.file);
      const text = readFileSync(file, "utf8");
      // What a contract does is its compiled code.
      const code = fault.file.endsWith(".tolk") ? codeFiles(folder) : [];
      writeFileSync(file, plant(fault, text));
      try {
        if (code.length > 0) compileContracts(folder);
        return await run(fault.tests);
      } finally {
        for (const restored of [{ file, text }, ...code]) writeFileSync(restored.file, restored.text);
      }
    },
    dispose: () => {
      for (const child of running) child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function codeFiles(folder: string): readonly { readonly file: string; readonly text: string }[] {
  const code = join(folder, "contracts", "code");
  const files = readdirSync(code).map((name) => join(code, name));
  return files.map((file) => ({ file, text: readFileSync(file, "utf8") }));
}

/** @throws {Error} with the compiler's message. */
function compileContracts(folder: string): void {
  execFileSync(process.execPath, [join(folder, "scripts", "contracts.ts")], { stdio: ["ignore", "ignore", "pipe"] });
}

function nodeTest(cwd: string, tests: readonly string[], running: Set<ChildProcess>): Promise<TestRun> {
  const startedAt = performance.now();
  const args = ["--test", "--test-concurrency=1", "--test-reporter=dot", ...tests];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: withoutTestContext() });
    running.add(child);
    let output = "";
    let hung = false;
    const timer = setTimeout(() => {
      hung = true;
      // node:test ends its test processes when asked to; killed outright it would leave them.
      child.kill("SIGTERM");
    }, RUN_TIMEOUT_MS);
    const keep = (text: string): void => void (output += text);
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ outcome: hung ? "hung" : code === 0 ? "green" : "red", ms: performance.now() - startedAt, output });
    });
  });
}

/** A test runner started inside a test would report to the outer one instead of ending in a code. */
function withoutTestContext(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  return env;
}

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isInstalled } from "./install.mjs";

const HERE = { os: [process.platform], cpu: [process.arch] };
const LOCK = {
  packages: {
    "": { version: "1.0.0" },
    "node_modules/needed": { version: "1.2.3" },
    "node_modules/for-this-machine": { version: "1.0.0", optional: true, ...HERE },
    "node_modules/for-another": { version: "1.0.0", optional: true, os: ["plan9"] },
  },
};
const INSTALLED = {
  packages: {
    "node_modules/needed": { version: "1.2.3" },
    "node_modules/for-this-machine": { version: "1.0.0", optional: true, ...HERE },
  },
};

/** A stand-in for npm: chatters on standard output, counts its runs, installs, or fails as it is told. */
const NPM = `
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
appendFileSync("npm-runs", process.argv.slice(2).join(" ") + "\\n");
console.log("added 3 packages");
const failure = process.env.FAKE_NPM_FAILURE;
if (failure !== undefined) { console.error("npm error " + failure); process.exit(1); }
setTimeout(() => {
  mkdirSync("node_modules", { recursive: true });
  writeFileSync("node_modules/.package-lock.json", process.env.FAKE_NPM_RECORD);
}, 300);
`;

/** A stand-in for the gateway: says what it was given, and when told to stop, takes its leave with a code of its own. */
const GATEWAY = `
const [verb = ""]: string[] = process.argv.slice(2);
if (verb === "stay") {
  const alive = setInterval(() => undefined, 1000);
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.once(signal, () => { process.stdout.write(signal + "\\n"); clearInterval(alive); process.exitCode = 7; });
  }
}
process.stdout.write(JSON.stringify({ args: process.argv.slice(2) }) + "\\n");
if (verb === "crash") process.kill(process.pid, "SIGKILL");
`;

/** A fresh clone, with a gateway of one file and nothing installed. */
function freshClone(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), "cocoon-start-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  cpSync(import.meta.dirname, join(root, "scripts"), { recursive: true });
  mkdirSync(join(root, "gateway"));
  mkdirSync(join(root, "npm"));
  writeFileSync(join(root, "package.json"), `{ "type": "module" }`);
  writeFileSync(join(root, "package-lock.json"), JSON.stringify(LOCK));
  writeFileSync(join(root, "gateway/main.ts"), GATEWAY);
  writeFileSync(join(root, "npm/npm-cli.js"), NPM);
  return root;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A start under way: its output so far, a promise of a first text in it, and of its end. */
function start(root: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const child: ChildProcess = spawn(process.execPath, [join(root, "scripts/start.mjs"), ...args], {
    env: {
      ...process.env,
      npm_execpath: join(root, "npm/npm-cli.js"),
      FAKE_NPM_RECORD: JSON.stringify(INSTALLED),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
  const ended = new Promise<Ended>((resolve) => child.once("close", (code) => resolve({ code, ...said })));
  const saying = (stream: "stdout" | "stderr", text: string): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (said[stream].includes(text)) resolve();
      };
      child[stream]?.on("data", look);
      look();
    });
  return { child, ended, saying };
}

function npmRuns(root: string): readonly string[] {
  return readFileSync(join(root, "npm-runs"), "utf8").trimEnd().split("\n");
}

/** What an install leaves beside the code that Node compiled. */
function locksIn(root: string): readonly string[] {
  return readdirSync(join(root, ".cache")).filter((name) => name !== "compiled");
}

test("a fresh clone installs, then runs, and standard output is the command's alone", async (t) => {
  const root = freshClone(t);
  const first = await start(root, ["gateway", "--port", "0"]).ended;
  assert.deepEqual([first.code, first.stdout], [0, `{"args":["--port","0"]}\n`]);
  assert.match(first.stderr, /added 3 packages/);
  const second = await start(root, ["gateway"]).ended;
  assert.deepEqual([second.code, second.stderr], [0, ""]);
  assert.equal(npmRuns(root).length, 1);
  assert.match(npmRuns(root)[0] ?? "", /^ci --include=optional --include=dev/);
});

test("two starts at once install once", async (t) => {
  const root = freshClone(t);
  const both = await Promise.all([start(root, ["gateway"]).ended, start(root, ["gateway"]).ended]);
  assert.deepEqual(
    both.map(({ code }) => code),
    [0, 0],
  );
  assert.equal(npmRuns(root).length, 1);
  assert.deepEqual(locksIn(root), []);
});

test("a start that was killed while installing does not keep the next from running", async (t) => {
  const root = freshClone(t);
  const first = start(root, ["gateway"]);
  await first.saying("stderr", "added 3 packages");
  first.child.kill("SIGKILL");
  assert.equal((await start(root, ["gateway"]).ended).code, 0);
  assert.deepEqual(locksIn(root), []);
});

test("an install that fails says what to do, exits with a code and leaves no lock", async (t) => {
  const cases = [
    ["code ENOTFOUND registry.invalid", /cannot reach its registry/],
    ["code ENOSPC", /disk is full/],
    ["code EINTEGRITY", /does not match package-lock\.json/],
    ["something new", /What npm said stands above/],
  ] as const;
  const root = freshClone(t);
  for (const [failure, remedy] of cases) {
    const { code, stdout, stderr } = await start(root, ["gateway"], { FAKE_NPM_FAILURE: failure }).ended;
    assert.deepEqual([code, stdout], [70, ""]);
    assert.match(stderr, remedy);
    assert.ok(!existsSync(join(root, ".cache/install.lock")));
  }
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  test(`${signal} reaches the command, which ends in its own time and gives the exit code`, async (t) => {
    const running = start(freshClone(t), ["gateway", "stay"]);
    await running.saying("stdout", "stay");
    running.child.kill(signal);
    const { code, stdout } = await running.ended;
    assert.deepEqual([code, stdout.split("\n")[1]], [7, signal]);
  });
}

test("a command that a signal ended gives 128 and the signal", async (t) => {
  assert.equal((await start(freshClone(t), ["gateway", "crash"]).ended).code, 137);
});

test("a command that does not exist is refused with the list of those that do", async (t) => {
  const root = freshClone(t);
  const unknown = await start(root, ["toString"]).ended;
  assert.equal(unknown.code, 64);
  assert.match(unknown.stderr, /no command "toString"[^]*gateway/);
  assert.equal((await start(root, []).ended).code, 64);
  assert.equal((await start(root, ["worker"]).ended).code, 66);
});

test("what npm installed by itself counts when it is what the lock file asks for on this machine", (t) => {
  const root = freshClone(t);
  const record = (packages: Readonly<Record<string, object>>): boolean => {
    mkdirSync(join(root, "node_modules"), { recursive: true });
    writeFileSync(join(root, "node_modules/.package-lock.json"), JSON.stringify({ packages }));
    return isInstalled(root);
  };
  assert.equal(isInstalled(root), false);
  assert.equal(record(INSTALLED.packages), true);
  assert.equal(record({ "node_modules/needed": { version: "1.2.3" } }), false);
  assert.equal(record({ ...INSTALLED.packages, "node_modules/needed": { version: "1.2.4" } }), false);
});

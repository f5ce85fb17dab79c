import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import * as z from "zod";

const ROOT = join(import.meta.dirname, "../..");
/** A trained story model that may stand beside the project; the suite does not depend on it. */
const STORIES = process.env.COCOON_STORIES_MODEL ?? join(ROOT, "../shared/models/stories260K.gguf");

const digits = z.string().regex(/^\d+$/);
const readyLine = z.strictObject({
  ready: z.literal(true),
  baseUrl: z.url(),
  apiKey: z.string().min(16),
  model: z.string(),
  gatewayUrl: z.url(),
});
const answerLine = z.strictObject({
  answer: z.string().min(1),
  model: z.string(),
  tier: z.literal("software"),
  usage: z.strictObject({ promptTokens: z.int(), cachedTokens: z.int(), completionTokens: z.int().min(1) }),
  ttftMs: z.number().min(0),
  tokensPerSecond: z.number().min(0),
  chargedNanoton: digits,
  earnedNanoton: digits,
  feeNanoton: digits,
});

test("the demo's JSON lines say where it is, what it answered, and three amounts that add up", async (context) => {
  const demo = startDemo(context, ["--once", "--json"]);

  const [first, second, ...more] = await demo.lines;

  readyLine.parse(JSON.parse(first ?? ""));
  const answer = answerLine.parse(JSON.parse(second ?? ""));
  assert.equal(BigInt(answer.chargedNanoton), BigInt(answer.earnedNanoton) + BigInt(answer.feeNanoton));
  assert.ok(BigInt(answer.feeNanoton) > 0n);
  assert.deepEqual(more, []);
  assert.equal(await demo.exitCode, 0);
  assert.deepEqual(demo.leftBehind(), { folders: [], processes: [] });
});

test("a trained model tells its own story through the whole network", async (context) => {
  if (!existsSync(STORIES)) {
    context.diagnostic(`no story model at COCOON_STORIES_MODEL: only the practice model was asked`);
    return;
  }
  const demo = startDemo(context, ["--once", "--json", "--model", STORIES]);

  const answer = answerLine.parse(JSON.parse((await demo.lines)[1] ?? ""));

  assert.match(answer.answer, /^, there was a little girl named Lily\. She loved to play outside in the park\./);
  assert.equal(answer.model, "stories260K");
});

test("a person reads sentences, and Ctrl-C leaves no process and no lock behind", async (context) => {
  const demo = startDemo(context, []);
  await demo.says("Press Ctrl-C to stop.");

  demo.child.kill("SIGINT");

  assert.equal(await demo.exitCode, 0);
  const text = (await demo.lines).join("\n");
  assert.match(text, /your prompt can be read by the operator/);
  assert.match(text, /Charged +\d+ nanoton/);
  assert.match(text, /base URL +http:\/\/127\.0\.0\.1:\d+\/v1/);
  assert.deepEqual(demo.leftBehind(), { folders: [], processes: [] });
});

test("a file that is no model ends the demo with a sentence that says what to do", async (context) => {
  const demo = startDemo(context, ["--once", "--model", join(ROOT, "package.json")]);

  assert.equal(await demo.exitCode, 1);
  assert.match(demo.errors(), /model file cannot be used/);
  assert.doesNotMatch(demo.errors(), /\n\s+at /, "a stack trace");
});

interface Demo {
  readonly child: ChildProcess;
  /** All of standard output, once it has ended. */
  readonly lines: Promise<readonly string[]>;
  readonly exitCode: Promise<number | null>;
  says(text: string): Promise<void>;
  errors(): string;
  leftBehind(): { readonly folders: readonly string[]; readonly processes: readonly string[] };
}

/** The demo with a folder for temporary files of its own, so that what it leaves there is its own. */
function startDemo(context: TestContext, args: readonly string[]): Demo {
  const temporary = mkdtempSync(join(tmpdir(), "cocoon-demo-test-"));
  const child = spawn(process.execPath, [join(ROOT, "scripts/start.mjs"), "demo", ...args], {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary },
    stdio: ["ignore", "pipe", "pipe"],
  });
  context.after(() => {
    child.kill("SIGKILL");
    rmSync(temporary, { recursive: true, force: true });
  });
  const exitCode = new Promise<number | null>((resolve) => child.on("close", resolve));
  let errors = "";
  child.stderr.on("data", (bytes: Buffer) => (errors += bytes.toString()));
  const seen: string[] = [];
  const waiting = new Map<string, () => void>();
  const reader = createInterface(child.stdout);
  const lines = new Promise<readonly string[]>((resolve) => reader.on("close", () => resolve(seen)));
  reader.on("line", (line) => {
    seen.push(line);
    waiting.get(line)?.();
  });
  return {
    child,
    lines,
    exitCode,
    says: (text) => new Promise((resolve) => waiting.set(text, resolve)),
    errors: () => errors,
    leftBehind: () => ({
      folders: readdirSync(temporary).filter((name) => name.startsWith("cocoon-")),
      processes: execFileSync("ps", ["-eo", "args="], { encoding: "utf8" })
        .split("\n")
        .filter((command) => command.includes(temporary)),
    }),
  };
}

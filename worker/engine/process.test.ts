import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import test, { type TestContext } from "node:test";
import { ensurePracticeModel } from "../../devnet/practice-model.ts";
import { type Answer, clientCount, EngineDriver, planFor } from "./engine-driver.fake.ts";
import type { FromEngine } from "./messages.ts";

interface Forked {
  readonly child: ChildProcess;
  readonly driver: EngineDriver;
  readonly exited: Promise<readonly [number | null, NodeJS.Signals | null]>;
  readonly output: () => string;
}

/** The process ends with the test, also one that fails: a test file waits for its children. */
function forked(t: TestContext, entry: string, inputs: readonly string[] = []): Forked {
  const child = fork(new URL(entry, import.meta.url), inputs, {
    serialization: "advanced",
    execArgv: [],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  t.after(() => child.kill("SIGKILL"));
  const driver = new EngineDriver((message) => child.send(message));
  child.on("message", (message) => driver.receive(message as FromEngine));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data: Buffer) => (output += data.toString()));
  const exited = once(child, "exit").then(
    ([code, signal]) => [code as number | null, signal as NodeJS.Signals | null] as const,
  );
  return { child, driver, exited, output: () => output };
}

const question = (content: string) => ({ messages: [{ role: "user", content } as const] });

test("an engine process answers, prints nothing of it, and ends with its parent", async (t) => {
  const { child, driver, exited, output } = forked(t, "./process.ts");
  const ready = await driver.load(planFor(await ensurePracticeModel()));
  assert.equal(ready.type, "ready");
  const marker = "a marker nobody may print 5f1c";
  const answer = await driver.answer(question(marker));
  assert.ok(answer.end.type === "done" && answer.end.finishReason === "stop");
  assert.equal(clientCount(answer), answer.end.usage.completionTokens);
  const unfinished = driver.ask(question("once more"));
  await unfinished.until((event) => event.type === "delta");
  child.disconnect();
  assert.deepEqual(await exited, [null, "SIGKILL"]);
  assert.ok(!output().includes(marker) && !output().includes("practice model"), output());
});

test("a killed engine is seen at once, and the next one answers", async (t) => {
  const plan = planFor(await ensurePracticeModel());
  for (const kill of ["SIGKILL", "SIGSEGV"] as const) {
    const { child, driver, exited } = forked(t, "./process.ts");
    await driver.load(plan);
    const asking = driver.ask(question("anything"));
    await asking.until((event) => event.type === "delta");
    child.kill(kill);
    assert.deepEqual(await exited, [null, kill]);
  }
});

/** Clock ticks of processor time, user and system (proc(5)). */
function processorTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

test("an idle engine takes no processor time", { skip: process.platform !== "linux" }, async (t) => {
  const { child, driver, exited } = forked(t, "./process.ts");
  await driver.load(planFor(await ensurePracticeModel()));
  await driver.answer(question("warm up"));
  assert.ok(child.pid !== undefined);
  const before = processorTicks(child.pid);
  await new Promise((resolve) => setTimeout(resolve, 500));
  // Half a second of spinning would be 50 ticks.
  assert.ok(processorTicks(child.pid) - before <= 3);
  child.disconnect();
  await exited;
});

test("a scripted engine speaks the same messages without a model", async (t) => {
  // Slow enough that three requests meet in its one slot and its queue of one, however late they come.
  const script = JSON.stringify({ text: "one two three four", tokensPerSecond: 20 });
  const { child, driver, exited } = forked(t, "./scripted-process.ts", [script]);
  const ready = await driver.load(planFor("none", { slots: 1, queueLimit: 1, contextTokens: 10 }));
  assert.ok(ready.type === "ready" && ready.capabilities.engineName === "scripted");
  const answer = await driver.answer(question("a b c"), { maxTokens: 7 });
  assert.equal(answer.text, "one two three four");
  assert.deepEqual(answer.end.usage, { promptTokens: 3, cachedTokens: 0, completionTokens: 5 });
  const codes = (answers: readonly Answer[]) =>
    answers.map(({ end }) => (end.type === "done" ? end.finishReason : end.code));
  const short = await driver.answer(question("a"), { maxTokens: 2 });
  const long = await driver.answer(question("a b c d"), { maxTokens: 7 });
  assert.deepEqual(codes([short, long]), ["length", "context_overflow"]);
  const flood = await Promise.all([1, 2, 3].map(() => driver.answer(question("a"), { maxTokens: 4 })));
  assert.deepEqual(codes(flood).sort(), ["busy", "stop", "stop"]);
  child.disconnect();
  assert.deepEqual(await exited, [0, null]);
});

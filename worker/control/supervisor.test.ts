import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_USAGE } from "../../protocol/index.ts";
import type { EngineEvent } from "../engine/messages.ts";
import { fakeClock } from "../serving/clock.fake.ts";
import { FAKE_CAPABILITIES } from "../serving/engine.fake.ts";
import type { EngineState, NewJob } from "../serving/engine.ts";
import { FAKE_PLAN, fakeSpawn } from "./spawn.fake.ts";
import { superviseEngine } from "./supervisor.ts";

const JOB: NewJob = {
  partition: "a session",
  path: "/v1/chat/completions",
  body: { model: "m", messages: [{ role: "user", content: "hello" }] },
  maxTokens: 10,
  maxPromptTokens: 100,
};

function supervised({ isReady = true } = {}) {
  const clock = fakeClock();
  const spawned = fakeSpawn();
  const engine = superviseEngine({ plan: FAKE_PLAN, spawn: spawned.spawn, clock });
  const states: EngineState[] = [];
  engine.onState((state) => states.push(state));
  const becomeReady = (): void => spawned.current().say({ type: "ready", capabilities: FAKE_CAPABILITIES });
  if (isReady) becomeReady();
  const start = (): { events: EngineEvent[]; jobId: number; cancel: () => void } => {
    const events: EngineEvent[] = [];
    const before = spawned.current().received.length;
    const { cancel } = engine.start(JOB, (event) => events.push(event));
    const sent = spawned.current().received[before];
    return { events, jobId: sent?.type === "generate" ? sent.job.jobId : 0, cancel };
  };
  return { clock, spawned, engine, states, becomeReady, start };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("an engine is loaded with its plan and is up once it says what it can do", () => {
  const { spawned, engine, becomeReady } = supervised({ isReady: false });
  assert.deepEqual(spawned.current().received, [{ type: "load", plan: FAKE_PLAN }]);
  assert.deepEqual(engine.state(), { phase: "starting" });
  becomeReady();
  assert.deepEqual(engine.state(), { phase: "up", capabilities: FAKE_CAPABILITIES });
});

test("a job's events reach its sink and no other", () => {
  const { spawned, start } = supervised();
  const [first, second] = [start(), start()];
  spawned.current().say({ type: "started", jobId: second.jobId, promptTokens: 3, cachedTokens: 0 });
  spawned.current().say({ type: "done", jobId: second.jobId, finishReason: "stop", usage: NO_USAGE });
  spawned.current().say({ type: "delta", jobId: second.jobId, text: "late", tokenIds: [1], reasoning: false });
  assert.deepEqual(first.events, []);
  assert.deepEqual(
    second.events.map(({ type }) => type),
    ["started", "done"],
  );
});

test("more requests than slots and queue are told busy at once, after start has returned", async () => {
  const { start } = supervised();
  const jobs = [start(), start(), start(), start()];
  assert.deepEqual(jobs.at(3)?.events, []);
  await turn();
  assert.deepEqual(
    jobs.map(({ events }) => events.map((event) => (event.type === "failed" ? event.code : event.type))),
    [[], [], [], ["busy"]],
  );
});

test("an engine that is not up refuses jobs instead of keeping them waiting", async () => {
  const { start } = supervised({ isReady: false });
  const { events } = start();
  await turn();
  assert.equal(events[0]?.type === "failed" && events[0].code, "model_unavailable");
});

test("a crash fails every running job as worker_crashed, with what was counted so far", () => {
  const { spawned, engine, start } = supervised();
  const [running, waiting] = [start(), start()];
  spawned.current().say({ type: "started", jobId: running.jobId, promptTokens: 7, cachedTokens: 2 });
  spawned.current().say({ type: "delta", jobId: running.jobId, text: "ab", tokenIds: [1, 2], reasoning: false });
  spawned.current().crash();
  const ends = [running, waiting].map(({ events }) => events.at(-1));
  assert.deepEqual(
    ends.map((event) => (event?.type === "failed" ? [event.code, event.usage] : undefined)),
    [
      ["worker_crashed", { promptTokens: 7, cachedTokens: 2, completionTokens: 2 }],
      ["worker_crashed", NO_USAGE],
    ],
  );
  assert.equal(engine.state().phase, "down");
});

test("a crashed engine comes back after 1, 2, 4 … 60 seconds, and the owner is told from the third crash on", () => {
  const { clock, spawned, engine, becomeReady } = supervised();
  for (const [at, seconds] of [1, 2, 4, 8, 16, 32, 60, 60].entries()) {
    spawned.current().crash();
    const state = engine.state();
    assert.equal(state.phase === "down" && state.code, "worker_crashed");
    assert.equal(state.phase === "down" && state.message.includes("times in ten minutes"), at >= 2);
    clock.advance(seconds * 1000 - 1);
    assert.equal(spawned.processes.length, at + 1);
    clock.advance(1);
    assert.equal(spawned.processes.length, at + 2);
    becomeReady();
    assert.equal(engine.state().phase, "up");
  }
});

test("crashes are forgotten after ten minutes", () => {
  const { clock, spawned, becomeReady } = supervised();
  spawned.current().crash();
  clock.advance(1000);
  becomeReady();
  answerPings(spawned, clock, 600_000);
  spawned.current().crash();
  clock.advance(1000);
  assert.equal(spawned.processes.length, 3);
});

test("a model that cannot be loaded is reported with its code and not tried again until the owner acts", () => {
  const { clock, spawned, engine } = supervised({ isReady: false });
  spawned.current().say({ type: "load_failed", code: "model_invalid", message: "not a GGUF" });
  assert.deepEqual(engine.state(), { phase: "down", code: "model_invalid", message: "not a GGUF" });
  assert.ok(spawned.current().isKilled, "its memory is given back");
  clock.advance(3_600_000);
  assert.equal(spawned.processes.length, 1);
  engine.revive();
  assert.equal(spawned.processes.length, 2);
});

test("a model that does not fit into memory is tried again every minute", () => {
  const { clock, spawned } = supervised({ isReady: false });
  spawned.current().say({ type: "load_failed", code: "out_of_memory", message: "needs 9 GB" });
  clock.advance(60_000);
  assert.equal(spawned.processes.length, 2);
});

test("an engine that stops answering pings is killed", () => {
  const { clock, spawned, engine } = supervised();
  clock.advance(40_000);
  assert.ok(spawned.processes[0]?.isKilled);
  const state = engine.state();
  assert.equal(state.phase, "starting", "and started again");
});

test("an engine that makes no token for a minute while busy is killed, and its jobs fail", () => {
  const { clock, spawned, start } = supervised();
  const { events, jobId } = start();
  spawned.current().say({ type: "started", jobId, promptTokens: 0, cachedTokens: 0 });
  answerPings(spawned, clock, 60_000);
  assert.equal(spawned.processes[0]?.isKilled, false);
  answerPings(spawned, clock, 10_000);
  assert.equal(spawned.processes[0].isKilled, true);
  assert.equal(events.at(-1)?.type, "failed");
});

test("a long prompt may take longer than a minute before its first token", () => {
  const { clock, spawned, start } = supervised();
  const { jobId } = start();
  spawned.current().say({ type: "started", jobId, promptTokens: 2000, cachedTokens: 0 });
  answerPings(spawned, clock, 150_000);
  assert.equal(spawned.processes[0]?.isKilled, false);
  answerPings(spawned, clock, 20_000);
  assert.equal(spawned.processes[0].isKilled, true);
});

test("an engine that says what no engine may say is ended", () => {
  for (const nonsense of [
    undefined,
    "ready",
    { type: "ready" },
    { type: "delta", jobId: 1, text: 5, tokenIds: [], reasoning: false },
    { type: "delta", jobId: 1, text: "x", tokenIds: [-1], reasoning: false },
    { type: "tool_call", jobId: 1, index: 999, tokenIds: [] },
    { type: "done", jobId: 1, finishReason: "because", usage: NO_USAGE },
    { type: "done", jobId: 1, finishReason: "stop", usage: { ...NO_USAGE, promptTokens: -1 } },
    { type: "surprise" },
  ]) {
    const { spawned } = supervised();
    spawned.current().sayUnchecked(nonsense);
    assert.ok(spawned.processes[0]?.isKilled, JSON.stringify(nonsense));
  }
});

test("a cancel goes to the engine while the job runs, and nowhere after", () => {
  const { spawned, start } = supervised();
  const { jobId, cancel } = start();
  cancel();
  spawned.current().say({ type: "done", jobId, finishReason: "cancelled", usage: NO_USAGE });
  cancel();
  const cancels = spawned.current().received.filter(({ type }) => type === "cancel");
  assert.deepEqual(cancels, [{ type: "cancel", jobId }]);
});

test("stopping ends the process, fails what runs and starts nothing again", async () => {
  const { clock, spawned, engine, start } = supervised();
  const { events } = start();
  await engine.stop();
  assert.equal(events.at(-1)?.type, "failed");
  assert.equal(spawned.current().received.at(-1)?.type, "unload");
  clock.advance(3_600_000);
  assert.equal(spawned.processes.length, 1);
  assert.equal(engine.state().phase, "down");
});

test("stopping ends also while a load is failing", async () => {
  const { spawned, engine } = supervised({ isReady: false });
  const stopped = engine.stop();
  spawned.current().say({ type: "load_failed", code: "model_invalid", message: "not a GGUF" });
  await stopped;
  assert.ok(spawned.current().isKilled);
});

test("an engine that does not unload is killed", async () => {
  const clock = fakeClock();
  let isKilled = false;
  const engine = superviseEngine({
    plan: FAKE_PLAN,
    clock,
    spawn: (events) => ({
      send: () => undefined,
      kill: () => {
        isKilled = true;
        events.onExit("SIGKILL");
      },
    }),
  });
  const stopped = engine.stop();
  clock.advance(3000);
  await stopped;
  assert.ok(isKilled);
});

function answerPings(spawned: ReturnType<typeof fakeSpawn>, clock: ReturnType<typeof fakeClock>, ms: number): void {
  for (let passed = 0; passed < ms; passed += 5000) {
    clock.advance(5000);
    const { received } = spawned.current();
    const ping = received.findLast((message) => message.type === "ping");
    if (ping !== undefined) spawned.current().say({ type: "pong", nonce: ping.nonce });
  }
}

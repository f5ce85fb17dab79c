import assert from "node:assert/strict";
import { test } from "node:test";
import { parseReceipt, STREAMS_PER_SESSION } from "../protocol/index.ts";
import { forkEngine, type EngineProcess, type Spawn } from "./control/spawn.ts";
import { FAKE_PLAN } from "./control/spawn.fake.ts";
import { superviseEngine } from "./control/supervisor.ts";
import { ask, greet, type Reply } from "./serving/client.fake.ts";
import { systemClock, type Clock } from "./serving/clock.ts";
import type { Engine } from "./serving/engine.ts";
import { startFakeGateway } from "./serving/gateway.fake.ts";
import { serveAt, statusWhere, TEST_PRICE, TEST_ROOT } from "./serving/serving.fake.ts";

/** More with COCOON_KILLS=50; a real model with COCOON_KILL_MODEL=FILE.gguf. */
const KILLS = Number(process.env.COCOON_KILLS ?? 5);
const MODEL = process.env.COCOON_KILL_MODEL;
const CLIENTS = 4;

const SCRIPT = { text: "word ".repeat(30), tokensPerSecond: 300 };
const spawnEngine =
  MODEL === undefined
    ? forkEngine(new URL("./engine/scripted-process.ts", import.meta.url), [JSON.stringify(SCRIPT)])
    : forkEngine(new URL("./engine/process.ts", import.meta.url));

const TICK_MS = 5000;

/** Restart pauses pass a hundred times as fast; pings keep their pace, or a busy machine would count as a dead engine. */
const hurried: Clock = {
  ...systemClock,
  after: (delayMs, run) => systemClock.after(delayMs === TICK_MS ? delayMs : delayMs / 100, run),
};

test("an engine killed at any instant leaves no request hanging, no link lost, and comes back", async (t) => {
  let current: EngineProcess | undefined;
  const spawn: Spawn = (events) => (current = spawnEngine(events));
  const plan = { ...FAKE_PLAN, slots: CLIENTS, queueLimit: CLIENTS, contextTokens: 512, modelPath: MODEL ?? "none" };
  const engine = superviseEngine({ plan, spawn, clock: hurried });
  const gateway = await startFakeGateway();
  const models = [{ id: "m", manifestRoot: TEST_ROOT, bytes: 1, price: TEST_PRICE, engine }];
  const { serving } = await serveAt([gateway], { models });
  t.after(async () => {
    await serving.stop(0);
    await engine.stop();
    await gateway.stop();
  });
  const isOffered = () => statusWhere(serving, (status) => status.gateways[0]?.offered.length === 1);
  await isOffered();
  const replies: Reply[] = [];
  let isOver = false;
  const clients = Array.from({ length: CLIENTS }, async () => {
    let session = await greet(gateway);
    while (!isOver) {
      if (session.streams === STREAMS_PER_SESSION) session = await greet(gateway);
      replies.push(await ask(gateway, session));
      await isOffered();
    }
  });
  const random = seeded(7);
  for (let kill = 0; kill < KILLS; kill++) {
    await isOffered();
    await new Promise((resolve) => setTimeout(resolve, random() * 200));
    const down = isDown(engine);
    current?.kill();
    await down;
  }
  isOver = true;
  await Promise.all(clients);

  await isOffered();
  const last = await ask(gateway, await greet(gateway));
  assert.ok(last.end, "the engine answers again");
  assert.equal(gateway.connections, 1, "the link was never lost");
  const ends = new Set(replies.map(({ end, aborted, closed }) => end?.finish_reason ?? aborted ?? closed));
  for (const end of ends) assert.match(String(end), /^(stop|length|worker_crashed|model_unavailable)$/);
  assert.ok(ends.has("worker_crashed"), "some were hit");
  checkReceipts(gateway.heard, [...replies, last]);
});

/** From the engine itself: a status is told every now and then, and a restart may fit between two of them. */
function isDown(engine: Engine): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (engine.state().phase === "up") return;
      stop();
      resolve();
    };
    const stop = engine.onState(look);
    look();
  });
}

/** One receipt for each answer that began, with exactly the tokens that arrived. */
function checkReceipts(heard: Awaited<ReturnType<typeof startFakeGateway>>["heard"], replies: readonly Reply[]): void {
  const receipts = heard.flatMap((message) => (message.type === "receipt" ? [parseReceipt(message.receipt)] : []));
  const delivered = replies.flatMap(
    ({ events, end }) => events.flatMap((event) => event.tokenIds).length + Number(end?.finish_reason === "stop"),
  );
  const claimed = receipts.map((receipt) => receipt.usage.completionTokens);
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
  assert.equal(sum(claimed), sum(delivered));
}

/** Mulberry32: the same instants in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

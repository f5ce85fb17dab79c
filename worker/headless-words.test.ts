import assert from "node:assert/strict";
import { test } from "node:test";
import { earnings, newsBetween, progress, tierWords } from "./headless-words.ts";
import type { GatewayStatus, ServingStatus } from "./index.ts";
import { FAKE_CAPABILITIES } from "./serving/engine.fake.ts";
import { NO_TOTALS } from "./serving/status.ts";

const GATEWAY: GatewayStatus = {
  url: "https://gateway.example",
  link: { phase: "ready", since: 0, feeBps: 500, ownerNamed: true },
  clockAheadMs: 0,
  offered: [],
  vouchers: { earnedOwnCount: 0n, voucheredTotal: 0n, behind: 0n, paid: 0n, debt: 0n },
  hold: undefined,
  reasons: {},
  problem: undefined,
};

function status(overrides: Partial<ServingStatus> = {}, gateway: Partial<GatewayStatus> = {}): ServingStatus {
  return {
    workerId: "ab".repeat(32),
    owner: undefined,
    tier: "software",
    gateways: [{ ...GATEWAY, ...gateway }],
    models: [
      {
        id: "Qwen3-8B",
        manifestRoot: "cd".repeat(32),
        price: { prompt: 20_000_000n, cached: 10_000_000n, completion: 60_000_000n },
        engine: { phase: "up", capabilities: FAKE_CAPABILITIES },
      },
    ],
    sessions: 0,
    answering: 0,
    openStreams: 0,
    totals: NO_TOTALS,
    refusals: [],
    ...overrides,
  };
}

test("an owner hears what has changed, once", () => {
  const before = status({}, { link: { phase: "connecting" } });
  const after = status({}, { offered: ["cd".repeat(32)] });
  assert.deepEqual(newsBetween(before, after), [
    "Linked to the gateway at https://gateway.example.",
    "Qwen3-8B is on offer at https://gateway.example. Waiting for requests.",
  ]);
  assert.deepEqual(newsBetween(after, after), []);
});

test("a failure says what happened and what to do", () => {
  const [model] = status().models;
  assert.ok(model);
  const broken = { ...model, engine: { phase: "down", code: "model_invalid", message: "not a GGUF" } as const };
  assert.deepEqual(newsBetween(status(), status({ models: [broken] })), [
    "Qwen3-8B is not running: not a GGUF. The model file cannot be used. Download it again, or choose a model this version can run.",
  ]);
});

test("a clock that is off is named with how far", () => {
  assert.deepEqual(newsBetween(status(), status({}, { clockAheadMs: -600_000 })), [
    "This computer's clock is about 10 minutes behind; set it to automatic time.",
  ]);
});

test("earned, promised and owed are three different things, and none is called paid", () => {
  const vouchers = {
    earnedOwnCount: 5_000_000_000n,
    voucheredTotal: 3_000_000_000n,
    behind: 2_000_000_000n,
    paid: 0n,
    debt: 5_000_000_000n,
  };
  const words = earnings(status({ totals: { ...NO_TOTALS, earned: 5_000_000_000n } }, { vouchers }));
  assert.equal(
    words,
    "Earned since the start: 5 TON; promised to you by signed vouchers: 3 TON; owed by the gateway, no promise yet: 2 TON.",
  );
});

test("progress is told only when something was answered", () => {
  assert.equal(progress(NO_TOTALS, status()), undefined);
  const totals = { ...NO_TOTALS, answered: 1, completionTokens: 40, earned: 2500n };
  assert.match(progress(NO_TOTALS, status({ totals })) ?? "", /^Answered 1 request with 40 tokens\. Earned/);
});

test("the tier is said as clients are told, and what it means for the one who runs it", () => {
  assert.match(tierWords("software"), /your prompt can be read by the operator".*clients know/);
  assert.doesNotMatch(tierWords("tee"), /clients know/);
});

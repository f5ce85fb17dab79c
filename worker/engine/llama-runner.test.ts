import assert from "node:assert/strict";
import test, { after, before, suite } from "node:test";
import type { ChatRequestBody } from "../../protocol/index.ts";
import { ensureModel, ensurePracticeModel } from "../../devnet/practice-model.ts";
import { randomModel, TINY_SHAPE } from "../../devnet/random-model.ts";
import { scriptedModel } from "../../devnet/scripted-model.ts";
import { Engine } from "./engine.ts";
import { type Answer, type Body, clientCount, EngineDriver, planFor } from "./engine-driver.fake.ts";
import { LlamaRunner } from "./llama-runner.ts";
import { loadModel } from "./load.ts";
import type { EngineCapabilities, EnginePlan, Job } from "./messages.ts";

interface Running {
  readonly driver: EngineDriver;
  readonly engine: Engine;
  readonly capabilities: EngineCapabilities;
}

async function started(plan: EnginePlan, load = (loaded: EnginePlan) => LlamaRunner.load(loaded)): Promise<Running> {
  const driver: EngineDriver = new EngineDriver((message) => engine.handle(message));
  const engine = new Engine((message) => driver.receive(message), load);
  const reply = await driver.load(plan);
  if (reply.type === "load_failed") throw new Error(reply.message);
  return { driver, engine, capabilities: reply.capabilities };
}

const chat = (content: string, more: Partial<ChatRequestBody> = {}): Partial<ChatRequestBody> => ({
  messages: [{ role: "user", content }],
  ...more,
});

function finish({ end }: Answer): string {
  return end.type === "done" ? end.finishReason : end.code;
}

function tiny(architecture: "qwen2" | "qwen3" | "deepseek2"): string {
  return ensureModel(`tiny-${architecture}`, randomModel({ architecture, shape: TINY_SHAPE, type: "F16", seed: 42 }));
}

suite("a model that answers", () => {
  let driver: EngineDriver;
  let running: Running;
  before(async () => {
    running = await started(planFor(await ensurePracticeModel(), { queueLimit: 2 }));
    driver = running.driver;
  });
  after(() => running.engine.close());

  test("says what it is and can", () => {
    const { engineName, backend, contextTokens, slots, architecture, modelName, canThink, canCallTools } =
      running.capabilities;
    assert.deepEqual(
      { engineName, backend, contextTokens, slots, architecture, modelName, canThink, canCallTools },
      {
        engineName: "node-llama-cpp",
        backend: "cpu",
        contextTokens: 1024,
        slots: 2,
        architecture: "qwen3",
        modelName: "Cocoon practice model",
        canThink: true,
        canCallTools: true,
      },
    );
  });

  test("answers any prompt in sentences, and both sides count the same", async () => {
    for (const prompt of [
      "What is the moon?",
      "Hello!",
      "is this private?",
      "💶 what do I pay",
      "\u0000\uFFFD 漢字 مرحبا",
    ]) {
      const answer = await driver.answer(chat(prompt));
      assert.match(answer.text, /^[A-Z].*[.]$/u, prompt);
      assert.equal(finish(answer), "stop");
      assert.equal(clientCount(answer), answer.end.usage.completionTokens);
      assert.ok(answer.end.usage.completionTokens > 20);
      assert.equal(answer.started?.promptTokens, answer.end.usage.promptTokens);
    }
  });

  test("says something else when it is asked for a subject it knows", async () => {
    const said = await Promise.all(
      ["Hello", "a private matter", "the price of it"].map((prompt) => driver.answer(chat(prompt))),
    );
    const openings = said.map(({ text }) => text.split(" ")[0]);
    assert.deepEqual(openings, ["Hello!", "Between", "You"]);
  });

  test("streams a token at a time", async () => {
    const { events } = await driver.answer(chat("What?"));
    const deltas = events.filter((event) => event.type === "delta");
    assert.ok(deltas.every((event) => event.tokenIds.length <= 1));
    assert.deepEqual([events[0]?.type, events.at(-1)?.type], ["started", "done"]);
  });

  test("varies with the seed and repeats itself with the same one", async () => {
    const texts = new Map<number, string>();
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const { text } = await driver.answer(chat("What?", { temperature: 1.2, seed, top_k: 0, top_p: 1, min_p: 0 }));
      texts.set(seed, text);
    }
    assert.ok(new Set(texts.values()).size > 1);
    const again = await driver.answer(chat("What?", { temperature: 1.2, seed: 3, top_k: 0, top_p: 1, min_p: 0 }));
    assert.equal(again.text, texts.get(3));
  });

  test("stops before a stop string, and its tokens are delivered and counted", async () => {
    const whole = await driver.answer(chat("What?"));
    const answer = await driver.answer(chat("What?", { stop: ["gateway carried", "never"] }));
    assert.equal(answer.text, whole.text.slice(0, whole.text.indexOf("gateway carried")));
    assert.equal(finish(answer), "stop");
    assert.deepEqual(answer.tokenIds, whole.tokenIds.slice(0, answer.tokenIds.length));
    assert.equal(clientCount(answer), answer.end.usage.completionTokens);
  });

  test("ends at the token limit, the body's or the reservation's", async () => {
    const byBody = await driver.answer(chat("What?", { max_completion_tokens: 7 }));
    assert.deepEqual([finish(byBody), byBody.tokenIds.length, byBody.end.usage.completionTokens], ["length", 7, 7]);
    const byReservation = await driver.answer(chat("What?", { max_tokens: 50 }), { maxTokens: 3 });
    assert.deepEqual([finish(byReservation), byReservation.tokenIds.length], ["length", 3]);
  });

  test("reuses a prefix within one partition, and no other's", async () => {
    driver.forget("client");
    const first = await driver.answer(chat("A question of some length about the network"), { partition: "a" });
    const again = await driver.answer(chat("A question of some length about the network"), { partition: "a" });
    assert.equal(first.end.usage.cachedTokens, 0);
    assert.equal(again.end.usage.cachedTokens, again.end.usage.promptTokens - 1);
    assert.equal(again.text, first.text);
    // As many partitions as slots, then one more: each finds its sequence empty.
    for (const partition of ["b", "c", "d"]) {
      const other = await driver.answer(chat("A question of some length about the network"), { partition });
      assert.equal(other.end.usage.cachedTokens, 0, partition);
      assert.equal(other.text, first.text);
    }
  });

  test("forgets a partition's text when told to", async () => {
    await driver.answer(chat("Something to forget, long enough to be worth keeping"), { partition: "gone" });
    driver.forget("gone");
    const after = await driver.answer(chat("Something to forget, long enough to be worth keeping"), {
      partition: "gone",
    });
    assert.equal(after.end.usage.cachedTokens, 0);
  });

  test("forgets a partition that is still being answered as soon as it is done", async () => {
    const asking = driver.ask(chat("Something to forget"), { partition: "leaving" });
    await asking.until((event) => event.type === "delta");
    driver.forget("leaving");
    await asking.answer;
    const after = await driver.answer(chat("Something to forget"), { partition: "leaving" });
    assert.equal(after.end.usage.cachedTokens, 0);
  });

  test("keeps a conversation's prefix from turn to turn", async () => {
    const question = { role: "user", content: "Tell me about the journey of a question" } as const;
    const first = await driver.answer({ messages: [question] }, { partition: "talk" });
    const second = await driver.answer(
      { messages: [question, { role: "assistant", content: first.text }, { role: "user", content: "Go on" }] },
      { partition: "talk" },
    );
    assert.ok(second.end.usage.cachedTokens >= first.end.usage.promptTokens - 1);
  });

  test("refuses what does not fit before it begins", async () => {
    const lost = { tokenIds: [9_999_999], usedTokens: 1 };
    const cases: readonly (readonly [string, Body, Partial<Job>?])[] = [
      ["context_overflow", chat("x".repeat(2000))],
      ["context_overflow", chat("x"), { maxTokens: 1024 }],
      ["reservation_exceeded", chat("x".repeat(50)), { maxPromptTokens: 20 }],
      ["unsupported_field", { prompt: "" }],
      ["unsupported_field", chat("x", { cocoon: { continue: lost } })],
      ["unsupported_field", { messages: [{ role: "tool", tool_call_id: "none", content: "lost" }] }],
    ];
    for (const [code, body, overrides] of cases) {
      const answer = await driver.answer(body, overrides);
      assert.equal(finish(answer), code);
      assert.equal(answer.started, undefined);
      assert.deepEqual(answer.end.usage, { promptTokens: 0, cachedTokens: 0, completionTokens: 0 });
    }
  });

  test("fills its context to the last token", async () => {
    const { promptTokens } = (await driver.answer(chat("fill"), { maxTokens: 1 })).end.usage;
    const answer = await driver.answer(chat("fill"), { maxTokens: 1024 - promptTokens });
    assert.equal(finish(answer), "stop");
  });

  test("tells whoever is beyond slots and queue that it is busy, at once", async () => {
    const askings = Array.from({ length: 7 }, () => driver.ask(chat("What?")));
    const answers = await Promise.all(askings.map((asking) => asking.answer));
    assert.deepEqual(answers.map(finish).sort(), ["busy", "busy", "busy", "stop", "stop", "stop", "stop"]);
    assert.equal(finish(await driver.answer(chat("What?"))), "stop");
  });

  test("stops at the next token when cancelled, and counts what was delivered", async () => {
    const asking = driver.ask(chat("What?"));
    await asking.until((event) => event.type === "delta");
    driver.cancel(asking.jobId);
    const answer = await asking.answer;
    assert.equal(finish(answer), "cancelled");
    assert.ok(answer.tokenIds.length < 20);
    assert.equal(clientCount(answer), answer.end.usage.completionTokens);
  });

  test("drops a job that is cancelled while it waits", async () => {
    const running = [driver.ask(chat("one")), driver.ask(chat("two"))];
    const waiting = driver.ask(chat("three"));
    driver.cancel(waiting.jobId);
    const answer = await waiting.answer;
    assert.deepEqual([finish(answer), answer.started], ["cancelled", undefined]);
    for (const asking of running) assert.equal(finish(await asking.answer), "stop");
    driver.cancel(999);
  });

  test("counts jobs and tokens", async () => {
    const before = await driver.stats();
    const { end } = await driver.answer(chat("What?"));
    const stats = await driver.stats();
    assert.equal(stats.generatedTokens - before.generatedTokens, end.usage.completionTokens - 1);
    assert.deepEqual([stats.runningJobs, stats.queuedJobs], [0, 0]);
    assert.ok(stats.residentBytes > 1e7);
  });

  test("continues an answer from its tokens as if it had not been broken off", async () => {
    const whole = await driver.answer(chat("What?"));
    for (const cut of [1, 13, whole.tokenIds.length - 1]) {
      const tokenIds = whole.tokenIds.slice(0, cut);
      const rest = await driver.answer(chat("What?", { cocoon: { continue: { tokenIds, usedTokens: cut } } }));
      assert.deepEqual(rest.tokenIds, whole.tokenIds.slice(cut));
      assert.ok(whole.text.endsWith(rest.text) && rest.text !== "");
    }
  });

  test("continues a raw prompt without a template", async () => {
    const answer = await driver.answer({ prompt: "Once" });
    assert.equal(answer.end.usage.promptTokens, 4);
    assert.match(answer.text, /^This is Cocoon's/u);
  });

  const person = {
    type: "object",
    properties: {
      name: { type: "string" },
      age: { type: "integer", minimum: 0 },
      height: { type: ["number", "null"] },
      kind: { enum: ["guest", "host"] },
      tags: { type: "array", items: { type: "string" }, minItems: 2 },
      spouse: { anyOf: [{ $ref: "#/$defs/name" }, { type: "null" }] },
    },
    required: ["name", "age", "height", "kind", "tags", "spouse"],
    additionalProperties: false,
    $defs: { name: { type: "string", maxLength: 10 } },
  };
  const asSchema = (schema: Record<string, unknown>): Partial<ChatRequestBody> => ({
    response_format: { type: "json_schema", json_schema: { name: "answer", schema } },
  });

  test("keeps to a JSON schema", async () => {
    const answer = await driver.answer(chat("A person, please", asSchema(person)));
    assert.equal(finish(answer), "stop");
    const value = JSON.parse(answer.text) as Record<string, unknown>;
    assert.deepEqual(Object.keys(value), person.required);
    assert.ok(Array.isArray(value.tags) && value.tags.length >= 2);
    assert.equal(clientCount(answer), answer.end.usage.completionTokens);
  });

  test("keeps to JSON where no schema is given", async () => {
    const answer = await driver.answer(chat("Anything", { response_format: { type: "json_object" } }));
    assert.equal(typeof JSON.parse(answer.text), "object");
  });

  test("goes on with a schema where a broken answer ended", async () => {
    const whole = await driver.answer(chat("A person, please", asSchema(person)));
    const tokenIds = whole.tokenIds.slice(0, 9);
    const rest = await driver.answer(
      chat("A person, please", { ...asSchema(person), cocoon: { continue: { tokenIds, usedTokens: 9 } } }),
    );
    assert.deepEqual(rest.tokenIds, whole.tokenIds.slice(9));
  });

  test("refuses a schema it cannot keep to, by name", async () => {
    const { end } = await driver.answer(chat("x", asSchema({ type: "string", pattern: "^a$" })));
    assert.ok(end.type === "failed" && end.code === "unsupported_field");
    assert.match(end.message, /pattern/u);
  });

  const tools: ChatRequestBody["tools"] = [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather somewhere",
        parameters: {
          type: "object",
          properties: { city: { type: "string" }, unit: { enum: ["c", "f"] } },
          required: ["city", "unit"],
        },
      },
    },
    { type: "function", function: { name: "get_time" } },
  ];

  test("calls a tool in the template's own format, and takes its result", async () => {
    const call = await driver.answer(chat("Weather in Paris?", { tools }));
    assert.equal(finish(call), "tool_calls");
    assert.equal(call.text, "");
    assert.equal(clientCount(call), call.end.usage.completionTokens);
    const [{ id, name, arguments: text } = { id: "", name: "", arguments: "" }] = call.calls;
    assert.ok(["get_weather", "get_time"].includes(name));
    assert.equal(typeof JSON.parse(text), "object");
    const answer = await driver.answer({
      tools,
      messages: [
        { role: "user", content: "Weather in Paris?" },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id, type: "function", function: { name, arguments: text } }],
        },
        { role: "tool", tool_call_id: id, content: "sunny" },
      ],
    });
    assert.equal(finish(answer), "stop");
    assert.match(answer.text, /^Your tool has been asked/u);
  });

  test("calls the tool that is named, with arguments of its schema", async () => {
    const tool_choice = { type: "function", function: { name: "get_weather" } } as const;
    const { calls, end } = await driver.answer(chat("Hello", { tools, tool_choice }));
    assert.deepEqual(
      calls.map((call) => call.name),
      ["get_weather"],
    );
    assert.deepEqual(Object.keys(JSON.parse(calls[0]?.arguments ?? "") as object), ["city", "unit"]);
    assert.ok(end.type === "done" && end.finishReason === "tool_calls");
    const wrong = { type: "function", function: { name: "nothing" } } as const;
    assert.equal(finish(await driver.answer(chat("Hello", { tools, tool_choice: wrong }))), "unsupported_field");
  });

  test("calls some tool when one is required, and none when none is wanted", async () => {
    const required = await driver.answer(chat("Hello", { tools, tool_choice: "required" }));
    assert.equal(required.calls.length, 1);
    const none = await driver.answer(chat("Hello", { tools, tool_choice: "none" }));
    assert.deepEqual([none.calls.length, finish(none)], [0, "stop"]);
  });
});

suite("a model that thinks first", () => {
  let running: Running;
  before(async () => {
    const model = scriptedModel({
      name: "thinker",
      opening: "thought",
      passages: {
        thought: { says: ["<think>\n", "Let", " me", " think!", "\n</think>\n\n"], then: ["answer"] },
        answer: { says: "Forty two, I believe." },
      },
    });
    running = await started(planFor(ensureModel("thinker", model)));
  });
  after(() => running.engine.close());

  test("has its reasoning apart from its answer, and all of it counted", async () => {
    const answer = await running.driver.answer(chat("What is six times seven?"));
    assert.deepEqual([answer.reasoning, answer.text], ["Let me think!", "Forty two, I believe."]);
    assert.equal(answer.tokenIds.length, 9);
    assert.equal(answer.end.usage.completionTokens, 10);
    assert.equal(clientCount(answer), 10);
  });

  test("goes on in the middle of its reasoning", async () => {
    const whole = await running.driver.answer(chat("And?"));
    const rest = await running.driver.answer(
      chat("And?", { cocoon: { continue: { tokenIds: whole.tokenIds.slice(0, 2), usedTokens: 2 } } }),
    );
    assert.deepEqual([rest.reasoning, rest.text], [" me think!", "Forty two, I believe."]);
  });

  test("takes back a reasoning it is shown", async () => {
    const answer = await running.driver.answer({
      messages: [
        { role: "user", content: "What?" },
        { role: "assistant", reasoning_content: "Let me think!", content: "Forty two." },
        { role: "user", content: "Sure?" },
      ],
    });
    assert.equal(answer.text, "Forty two, I believe.");
  });
});

suite("many streams", () => {
  for (const architecture of ["qwen2", "qwen3", "deepseek2"] as const) {
    test(`${architecture}: streams side by side say what each says alone`, async () => {
      const { driver, engine } = await started(planFor(tiny(architecture), { slots: 4, batchTokens: 64 }));
      const bodies = ["a", "bc ".repeat(30), "def", "g".repeat(150)].map((text) => ({ prompt: text, max_tokens: 40 }));
      const alone: number[][] = [];
      for (const body of bodies) alone.push([...(await driver.answer(body, { partition: "alone" })).tokenIds]);
      const together = await Promise.all(bodies.map((body, i) => driver.answer(body, { partition: `client ${i}` })));
      assert.deepEqual(
        together.map(({ tokenIds }) => tokenIds),
        alone,
      );
      assert.ok(alone.every((ids) => ids.length === 40));
      await engine.close();
    });
  }

  test("penalties change what a model repeats", async () => {
    const { driver, engine } = await started(planFor(tiny("qwen3")));
    const distinct = async (more: Partial<ChatRequestBody>) => {
      const { tokenIds } = await driver.answer({ prompt: "go", max_tokens: 100, ...more });
      return new Set(tokenIds).size;
    };
    const plain = await distinct({});
    assert.ok((await distinct({ frequency_penalty: 2 })) > plain);
    assert.ok((await distinct({ presence_penalty: 2 })) > plain);
    assert.ok((await distinct({ repeat_penalty: 1.9 })) > plain);
    await engine.close();
  });

  test("a long prompt is cancelled between its batches", async () => {
    const { driver, engine } = await started(
      planFor(tiny("qwen2"), { contextTokens: 2048, slots: 1, batchTokens: 16 }),
    );
    const asking = driver.ask({ prompt: "x".repeat(1800) });
    await asking.until((event) => event.type === "started");
    driver.cancel(asking.jobId);
    const answer = await asking.answer;
    assert.deepEqual([finish(answer), answer.tokenIds.length], ["cancelled", 0]);
    const next = await driver.answer({ prompt: "y", max_tokens: 3 });
    assert.equal(next.tokenIds.length, 3);
    await engine.close();
  });
});

/** One batch as llama.cpp was given it: how many tokens, of which sequences in which order. */
interface TracedBatch {
  readonly size: number;
  readonly ids: number[];
}

/** Writes down node-llama-cpp's own calls into its addon. */
function traceBatches(context: object): TracedBatch[] {
  const batches: TracedBatch[] = [];
  const holder = context as { _ctx: Record<string, unknown> };
  holder._ctx = new Proxy(holder._ctx, {
    get(addon, key) {
      const value = Reflect.get(addon, key) as unknown;
      if (typeof value !== "function") return value;
      return (...inputs: unknown[]): unknown => {
        if (key === "initBatch") batches.push({ size: Number(inputs[0]), ids: [] });
        if (key === "addToBatch") batches.at(-1)?.ids.push(Number(inputs[0]));
        return Reflect.apply(value, addon, inputs);
      };
    },
  });
  return batches;
}

suite("the batches llama.cpp is given", () => {
  for (const streams of [2, 4, 8]) {
    test(`hold all of ${streams} streams, by rising id`, async () => {
      let batches: TracedBatch[] = [];
      const { driver, engine } = await started(planFor(tiny("qwen3"), { slots: streams }), async (plan) => {
        const loaded = await loadModel(plan);
        batches = traceBatches(loaded.context);
        return new LlamaRunner(loaded, plan, "traced");
      });
      const tokens = 100;
      await Promise.all(
        Array.from({ length: streams }, (_, i) =>
          driver.answer({ prompt: "word ".repeat(1 + i * 3), max_tokens: tokens }, { partition: `client ${i}` }),
        ),
      );
      const steps = batches.filter(({ ids, size }) => ids.length === size);
      const full = steps.filter(({ ids }) => ids.length === streams && ids.every((id, i) => id === i));
      assert.ok(full.length >= 0.95 * steps.length, `${full.length} of ${steps.length}`);
      assert.ok(full.length >= tokens - 5);
      await engine.close();
    });
  }

  test("never let a late prompt stop the others' tokens", async () => {
    let batches: TracedBatch[] = [];
    const plan = planFor(tiny("qwen3"), { slots: 3, batchTokens: 32 });
    const { driver, engine } = await started(plan, async (given) => {
      const loaded = await loadModel(given);
      batches = traceBatches(loaded.context);
      return new LlamaRunner(loaded, given, "traced");
    });
    const early = [0, 1].map((i) => driver.ask({ prompt: "hi", max_tokens: 120 }, { partition: `early ${i}` }));
    await Promise.all(early.map((asking) => asking.until((event) => event.type === "delta")));
    const begin = batches.length;
    const late = driver.ask({ prompt: "x".repeat(400), max_tokens: 5 }, { partition: "late" });
    await Promise.all([...early, late].map((asking) => asking.answer));
    const withPrompt = batches.slice(begin).filter(({ ids, size }) => ids.includes(2) && size > ids.length);
    assert.ok(withPrompt.length >= 10);
    assert.ok(withPrompt.every(({ ids, size }) => ids.includes(0) && ids.includes(1) && size <= 32));
    await engine.close();
  });
});

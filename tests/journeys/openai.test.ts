import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import type { Devnet } from "../../devnet/index.ts";
import { DEFAULT_POLICY } from "../../protocol/index.ts";
import { devnetFor, endpointFor, temporaryFolder, until } from "./house.ts";

const MODEL = "practice";
const hello = [{ role: "user", content: "Hello there" }] as const;

let devnet: Devnet;

const scope = { after };
const folder = temporaryFolder(scope);

before(async () => {
  devnet = await devnetFor(scope, { folder });
});

test("an unmodified OpenAI client gets a whole answer, its token counts and its cost", async (context) => {
  const { openai } = await endpointFor(context, devnet, "whole");

  const answer = await openai.chat.completions.create({ model: MODEL, temperature: 0, messages: [...hello] });

  const [choice] = answer.choices;
  assert.match(choice?.message.content ?? "", /^Hello! Nice to meet you/);
  assert.equal(choice?.finish_reason, "stop");
  assert.ok(answer.usage !== undefined && answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 10);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a streamed answer arrives piece by piece and is the same text", async (context) => {
  const { openai } = await endpointFor(context, devnet, "stream");
  const whole = await openai.chat.completions.create({ model: MODEL, temperature: 0, messages: [...hello] });

  const stream = await openai.chat.completions.create({
    model: MODEL,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
    messages: [...hello],
  });
  let text = "";
  let pieces = 0;
  let completionTokens = 0;
  for await (const chunk of stream) {
    const piece = chunk.choices[0]?.delta.content ?? "";
    if (piece !== "") pieces++;
    text += piece;
    completionTokens = chunk.usage?.completion_tokens ?? completionTokens;
  }

  assert.equal(text, whole.choices[0]?.message.content);
  assert.ok(pieces > 1, `${pieces} pieces`);
  assert.equal(completionTokens, whole.usage?.completion_tokens);
});

test("a model that calls a tool is heard, and its result is answered", async (context) => {
  const { openai } = await endpointFor(context, devnet, "tools");
  const tools: OpenAI.ChatCompletionTool[] = [
    {
      type: "function",
      function: {
        name: "get_weather",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
    },
  ];
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "What is the weather in Lisbon?" }];

  const first = await openai.chat.completions.create({ model: MODEL, temperature: 0, tools, messages });

  const call = first.choices[0]?.message.tool_calls?.[0];
  assert.equal(first.choices[0]?.finish_reason, "tool_calls");
  assert.ok(call?.type === "function");
  assert.equal(call.function.name, "get_weather");
  const asked = JSON.parse(call.function.arguments) as { readonly city: unknown };
  assert.equal(typeof asked.city, "string");
  const second = await openai.chat.completions.create({
    model: MODEL,
    temperature: 0,
    tools,
    messages: [
      ...messages,
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: call.id, content: "sunny" },
    ],
  });
  assert.equal(second.choices[0]?.finish_reason, "stop");
  assert.notEqual(second.choices[0].message.content, "");
});

test("a JSON schema is kept to the letter", async (context) => {
  const { openai } = await endpointFor(context, devnet, "schema");
  const schema = {
    type: "object",
    properties: { mood: { type: "string", enum: ["calm", "tense"] }, sure: { type: "boolean" } },
    required: ["mood", "sure"],
    additionalProperties: false,
  };

  const answer = await openai.chat.completions.create({
    model: MODEL,
    temperature: 0,
    messages: [...hello],
    response_format: { type: "json_schema", json_schema: { name: "mood", schema, strict: true } },
  });

  const value = JSON.parse(answer.choices[0]?.message.content ?? "") as { mood: string; sure: boolean };
  assert.ok(["calm", "tense"].includes(value.mood));
  assert.equal(typeof value.sure, "boolean");
});

test("the models are listed by the names of the client's own catalogue", async (context) => {
  const { openai } = await endpointFor(context, devnet, "models");

  const models = await openai.models.list();

  assert.deepEqual(
    models.data.map((model) => model.id),
    [MODEL],
  );
});

test("an unsupported field is refused by its name, and an unknown model by its own", async (context) => {
  const { openai } = await endpointFor(context, devnet, "error");

  await assert.rejects(
    openai.chat.completions.create({ model: MODEL, messages: [...hello], logit_bias: { "1": 1 } }),
    (error) => error instanceof OpenAI.APIError && error.code === "unsupported_field" && error.param === "logit_bias",
  );
  await assert.rejects(
    openai.chat.completions.create({ model: "gpt-unknown", messages: [...hello] }),
    (error) => error instanceof OpenAI.APIError && error.status === 404 && error.message.includes("gpt-unknown"),
  );
});

test("an aborted answer stops the worker and leaves the network ready", async (context) => {
  const { openai } = await endpointFor(context, devnet, "abort");
  const worker = devnet.workers[0]?.worker;
  assert.ok(worker !== undefined);

  const stream = await openai.chat.completions.create({
    model: MODEL,
    stream: true,
    messages: [{ role: "user", content: "Tell me everything" }],
  });
  for await (const chunk of stream) {
    if ((chunk.choices[0]?.delta.content ?? "") !== "") break;
  }

  await until("the worker is idle", () => worker.status().answering === 0);
  const next = await openai.chat.completions.create({ model: MODEL, temperature: 0, messages: [...hello] });
  assert.equal(next.choices[0]?.finish_reason, "stop");
});

test("the default policy sends nothing to an ordinary PC and says what accepting one would mean", async (context) => {
  const { openai, client } = await endpointFor(context, devnet, "strict", { policy: DEFAULT_POLICY, minTier: "tee" });

  await assert.rejects(
    openai.chat.completions.create({ model: MODEL, messages: [...hello] }),
    (error) =>
      error instanceof OpenAI.APIError &&
      error.code === "tier_too_low" &&
      error.message.includes("your prompt can be read by the operator"),
  );
  assert.equal(client.account().total, 0n);
});

import assert from "node:assert/strict";
import test from "node:test";
import { chatRequestBody, completionRequestBody, contentText } from "./chat.ts";
import { hasCode } from "./failure.fake.ts";
import { parseStrict } from "./strict-json.ts";

const BODY = { model: "practice", messages: [{ role: "user", content: "Once" }] };

function parsed(overrides: object): unknown {
  return parseStrict(chatRequestBody, { ...BODY, ...overrides }, "unsupported_field");
}

test("a request with everything that is supported is taken as it is", () => {
  const full = {
    messages: [
      { role: "system", content: "Be short." },
      { role: "developer", content: [{ type: "text", text: "Be kind." }] },
      { role: "user", content: [{ type: "text", text: "Weather?" }] },
      {
        role: "assistant",
        content: null,
        refusal: null,
        reasoning_content: "hm",
        tool_calls: [{ id: "c", type: "function", function: { name: "weather", arguments: "{}" } }],
      },
      { role: "tool", content: "rain", tool_call_id: "c" },
    ],
    max_tokens: 5,
    max_completion_tokens: 5,
    temperature: 0,
    top_p: 1,
    top_k: 40,
    min_p: 0.05,
    seed: 7,
    frequency_penalty: -2,
    presence_penalty: 2,
    repeat_penalty: 1.1,
    stop: ["\n", "END"],
    tools: [
      {
        type: "function",
        function: { name: "weather", description: "d", parameters: { type: "object" }, strict: true },
      },
    ],
    tool_choice: { type: "function", function: { name: "weather" } },
    parallel_tool_calls: false,
    response_format: { type: "json_schema", json_schema: { name: "n", schema: { type: "object" }, strict: true } },
    cocoon: { continue: { tokenIds: [1, 2], usedTokens: 2 } },
  };
  assert.deepEqual(parsed(full), { ...BODY, ...full });
});

test("a field that is not supported is refused by its name, never ignored", () => {
  const values: readonly (readonly [string, unknown])[] = [
    ["logprobs", true],
    ["top_logprobs", 2],
    ["logit_bias", { 50: -100 }],
    ["n", 2],
    ["functions", []],
    ["function_call", "auto"],
    ["modalities", ["text"]],
    ["audio", {}],
    ["prediction", {}],
    ["service_tier", "auto"],
    ["store", true],
    ["user", "me"],
    ["metadata", {}],
    ["stream", true],
    ["stream_options", {}],
    ["web_search_options", {}],
    ["invented", 1],
  ];
  for (const [name, value] of values)
    assert.throws(() => parsed({ [name]: value }), hasCode("unsupported_field", new RegExp(`"${name}"`)), name);
});

test("what is inside a supported field is read as strictly, and named", () => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ messages: [{ role: "user", content: "x", name: "me" }] }, /messages\.0.*"name"/],
    [{ messages: [{ role: "function", content: "x", name: "f" }] }, /messages\.0\.role/],
    [
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
      /messages\.0\.content/,
    ],
    [{ messages: [] }, /messages/],
    [{ tools: [{ type: "function", function: { name: "has space" } }] }, /tools\.0\.function\.name/],
    [{ tools: [{ type: "web_search" }] }, /tools\.0\.type/],
    [{ tool_choice: "sometimes" }, /tool_choice/],
    [{ response_format: { type: "grammar" } }, /response_format\.type/],
    [{ stop: ["1", "2", "3", "4", "5"] }, /stop/],
    [{ cocoon: { continue: { tokenIds: [-1], usedTokens: 0 } } }, /cocoon\.continue\.tokenIds\.0/],
    [{ cocoon: { other: 1 } }, /cocoon/],
  ];
  for (const [body, named] of cases) assert.throws(() => parsed(body), hasCode("unsupported_field", named));
});

test("numbers out of range are refused by name", () => {
  const cases: readonly (readonly [string, unknown])[] = [
    ["temperature", -0.1],
    ["temperature", 2.1],
    ["temperature", Infinity],
    ["temperature", "1"],
    ["top_p", 0],
    ["top_p", 1.1],
    ["top_k", 1.5],
    ["min_p", -1],
    ["seed", -1],
    ["seed", 2 ** 53],
    ["max_tokens", 0],
    ["max_tokens", 1e12],
    ["repeat_penalty", 0],
    ["frequency_penalty", 3],
  ];
  for (const [name, value] of cases)
    assert.throws(() => parsed({ [name]: value }), hasCode("unsupported_field", new RegExp(name)), name);
});

test("null is OpenAI's word for left out", () => {
  assert.ok(
    parsed({ temperature: null, top_p: null, seed: null, stop: null, max_tokens: null, max_completion_tokens: null }),
  );
});

test("a raw prompt takes the sampling fields and nothing of a chat", () => {
  assert.ok(parseStrict(completionRequestBody, { model: "m", prompt: "", temperature: 1 }));
  for (const body of [
    { model: "m" },
    { model: "m", prompt: ["a"] },
    { model: "m", prompt: "a", messages: [] },
    { model: "m", prompt: "a", echo: true },
  ])
    assert.throws(() => parseStrict(completionRequestBody, body, "unsupported_field"), hasCode("unsupported_field"));
});

test("the text of a message is the same in both of its forms", () => {
  assert.equal(contentText("ab"), "ab");
  assert.equal(
    contentText([
      { type: "text", text: "a" },
      { type: "text", text: "b" },
    ]),
    "ab",
  );
  assert.equal(contentText(null), "");
  assert.equal(contentText(undefined), "");
});

import assert from "node:assert/strict";
import test from "node:test";
import { type AnswerMarks, AnswerReader, type CallMarks } from "./answer.ts";

const NOTHING: AnswerMarks = { thought: undefined, call: undefined, ends: [], stops: [] };
const THOUGHT = { open: ["<think>\n", "<think>"], close: ["\n</think>", "</think>"], isOpen: false };
const CALL: CallMarks = {
  begins: ['<tool_call>\n{"name": "'],
  beforeArguments: '", "arguments": ',
  after: "}\n</tool_call>",
  sectionEnd: "",
  canRepeat: true,
};

interface Heard {
  text: string;
  reasoning: string;
  calls: { name: string; arguments: string }[];
  isStopped: boolean;
}

/** What a reader makes of an answer that arrives in pieces of one size. */
function heard(answer: string, marks: Partial<AnswerMarks>, pieceLength: number): Heard {
  const reader = new AnswerReader({ ...NOTHING, ...marks });
  const result: Heard = { text: "", reasoning: "", calls: [], isStopped: false };
  const take = (parts: ReturnType<AnswerReader["push"]>) => {
    for (const part of parts) {
      if (part.type === "text" && part.reasoning) result.reasoning += part.text;
      else if (part.type === "text") result.text += part.text;
      else if (part.type === "call") result.calls[part.index] = { name: part.name, arguments: "" };
      else {
        const call = result.calls[part.index];
        assert.ok(call !== undefined, "arguments before their call");
        call.arguments += part.text;
      }
    }
  };
  for (let at = 0; at < answer.length && !reader.isStopped; at += pieceLength) {
    take(reader.push(answer.slice(at, at + pieceLength)));
  }
  take(reader.end());
  return { ...result, isStopped: reader.isStopped };
}

const weather = '<tool_call>\n{"name": "weather", "arguments": {"city": "São {Paulo}", "n": [1, 2]}}\n</tool_call>';
const time = '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>';

const cases: readonly (readonly [string, string, Partial<AnswerMarks>, Partial<Heard>])[] = [
  ["plain text is passed on", "Hello < world", {}, { text: "Hello < world", isStopped: false }],
  ["a stop string ends the answer", "one two three", { stops: ["two", "three"] }, { text: "one ", isStopped: true }],
  ["the stop that is complete first wins", "abcdef", { stops: ["bcde", "cd"] }, { text: "ab", isStopped: true }],
  ["half a stop string is text", "one tw", { stops: ["two"] }, { text: "one tw", isStopped: false }],
  ["a stop string may overlap itself", "aaab", { stops: ["aab"] }, { text: "a", isStopped: true }],
  ["the end of the turn is not said", "Hi<|im_end|>", { ends: ["<|im_end|>"] }, { text: "Hi", isStopped: true }],
  [
    "reasoning is told from the answer",
    "<think>\nHm, 2?\n</think>\n\nTwo.",
    { thought: THOUGHT },
    { reasoning: "Hm, 2?", text: "Two." },
  ],
  [
    "reasoning may begin in the prompt",
    "Hm.\n</think>Yes.",
    { thought: { ...THOUGHT, isOpen: true } },
    { reasoning: "Hm.", text: "Yes." },
  ],
  ["reasoning that never ends is all reasoning", "<think>\nHm", { thought: THOUGHT }, { reasoning: "Hm", text: "" }],
  [
    "a stop string counts in the answer only",
    "<think>A stop.</think>B stop C",
    { thought: THOUGHT, stops: ["stop"] },
    { reasoning: "A stop.", text: "B ", isStopped: true },
  ],
  [
    "a tool call is no text",
    `Let me see.\n${weather}`,
    { call: CALL },
    { text: "Let me see.\n", calls: [{ name: "weather", arguments: '{"city": "São {Paulo}", "n": [1, 2]}' }] },
  ],
  [
    "several calls",
    `${weather}\n${time}`,
    { call: CALL },
    {
      text: "",
      calls: [
        { name: "weather", arguments: '{"city": "São {Paulo}", "n": [1, 2]}' },
        { name: "time", arguments: "{}" },
      ],
    },
  ],
  [
    "one call where only one is wanted",
    `${time}\n${weather}`,
    { call: { ...CALL, canRepeat: false } },
    { calls: [{ name: "time", arguments: "{}" }], isStopped: true },
  ],
  [
    "white space in a call is free",
    '<tool_call>\n{"name": "time","arguments":  {"a":1} }\n\n</tool_call>',
    { call: CALL },
    { text: "", calls: [{ name: "time", arguments: '{"a":1}' }] },
  ],
  ["a call without tools is text", time, {}, { text: time, calls: [] }],
  [
    "a call after reasoning",
    `<think>\nUse it.\n</think>\n\n${time}`,
    { thought: THOUGHT, call: CALL },
    { reasoning: "Use it.", text: "", calls: [{ name: "time", arguments: "{}" }] },
  ],
  [
    "a call cut off keeps what came",
    '<tool_call>\n{"name": "time", "arguments": {"a": "b',
    { call: CALL },
    { calls: [{ name: "time", arguments: '{"a": "b' }] },
  ],
];

for (const [name, answer, marks, expected] of cases) {
  test(name, () => {
    for (const pieceLength of [1, 2, 3, 7, answer.length]) {
      const result = heard(answer, marks, pieceLength);
      for (const [key, value] of Object.entries(expected)) {
        assert.deepEqual(result[key as keyof Heard], value, `${key}, in pieces of ${pieceLength}`);
      }
    }
  });
}

test("text that cannot become a mark is not held back", () => {
  const reader = new AnswerReader({ ...NOTHING, stops: ["</s>"] });
  assert.deepEqual(reader.push("Hello <"), [{ type: "text", text: "Hello ", reasoning: false }]);
  assert.deepEqual(reader.push("/b>"), [{ type: "text", text: "</b>", reasoning: false }]);
});

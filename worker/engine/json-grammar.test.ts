import assert from "node:assert/strict";
import test, { after, before, suite } from "node:test";
import { getLlama, type Llama, LlamaLogLevel } from "node-llama-cpp";
import { Failure } from "../../protocol/index.ts";
import { JsonGrammar, literal, mismatch } from "./json-grammar.ts";

function grammarFor(schema: unknown, constraints: "refuse" | "leave out" = "refuse"): string {
  const grammar = new JsonGrammar(constraints);
  return grammar.text(grammar.schema(schema));
}

function refusedFor(schema: unknown): string {
  try {
    grammarFor(schema);
    return "nothing";
  } catch (error) {
    return error instanceof Failure ? error.message : "a bug";
  }
}

const tree = {
  $ref: "#/$defs/node",
  $defs: {
    node: {
      type: "object",
      properties: { value: { type: "integer" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
      required: ["value"],
      additionalProperties: false,
    },
  },
};

const cases: readonly (readonly [string, unknown, readonly unknown[], readonly unknown[]])[] = [
  ["a string", { type: "string" }, ["", 'a "b"\n\\ é 漢 🙂', "\u0001"], [1, null]],
  ["lengths", { type: "string", minLength: 2, maxLength: 3 }, ["ab", "🙂é漢"], ["a", "abcd"]],
  ["numbers", { type: "number" }, [0, -1.5, 1e21, 2e-7], ["1", true]],
  ["integers", { type: "integer" }, [0, -12, 123_456], [1.5]],
  ["naturals", { type: "integer", minimum: 0 }, [0, 7], ["a"]],
  ["several types", { type: ["string", "null"] }, ["a", null], [1]],
  ["a constant", { const: "one [1]" }, ["one [1]"], ["two"]],
  ["an enumeration", { enum: ["a b", 1, null] }, ["a b", 1, null], ["a", 2]],
  ["alternatives", { anyOf: [{ type: "boolean" }, { type: "string", maxLength: 1 }] }, [true, "x"], ["xx", 3]],
  [
    "a list",
    { type: "array", items: { type: "boolean" }, minItems: 1, maxItems: 2 },
    [[true], [true, false]],
    [[], [1], [true, true, true]],
  ],
  ["a tuple", { type: "array", prefixItems: [{ type: "string" }, { type: "null" }] }, [["a", null]], [[1, null]]],
  [
    "an object",
    {
      type: "object",
      properties: { a: { type: "integer" }, b: { type: "string" } },
      required: ["a"],
      additionalProperties: false,
    },
    [{ a: 1 }, { a: 1, b: "x" }],
    [{ b: "x" }, { a: 1, c: 2 }],
  ],
  [
    "optional members",
    { type: "object", properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 } } },
    [{}, { b: 2 }, { a: 1, c: 3 }],
    [{ a: 2 }],
  ],
  ["a map", { type: "object", additionalProperties: { type: "integer" } }, [{}, { x: 1, y: 2 }], [{ x: "1" }]],
  ["an empty object", { type: "object", additionalProperties: false }, [{}], [{ a: 1 }]],
  [
    "a recursion",
    tree,
    [{ value: 1 }, { value: 1, children: [{ value: 2, children: [] }] }],
    [{ children: [] }, { value: 1, children: [{}] }],
  ],
  ["anything", true, [1, "a", [null, { a: {} }]], []],
  ["a date", { type: "string", format: "date" }, ["2026-11-23"], [5]],
];

suite("a schema as a grammar", () => {
  let llama: Llama;
  before(async () => {
    llama = await getLlama({
      build: "never",
      skipDownload: true,
      gpu: false,
      maxThreads: 1,
      logLevel: LlamaLogLevel.disabled,
    });
  });
  after(() => llama.dispose());

  /** llama.cpp's own judgement. */
  async function accepts(grammar: string, text: string): Promise<boolean> {
    const compiled = await llama.createGrammar({ grammar });
    return (compiled as unknown as { _testText(text: string): boolean })._testText(text);
  }

  for (const [name, schema, values, others] of cases) {
    test(`${name}: takes what matches and nothing else`, async () => {
      const grammar = grammarFor(schema);
      for (const value of values) {
        for (const text of [JSON.stringify(value), spaced(value)]) assert.ok(await accepts(grammar, text), text);
        assert.equal(mismatch(value, schema), undefined, JSON.stringify(value));
      }
      for (const value of others) {
        assert.ok(!(await accepts(grammar, JSON.stringify(value))), JSON.stringify(value));
        assert.notEqual(mismatch(value, schema), undefined, JSON.stringify(value));
      }
    });
  }

  test("grows with a schema and no faster", async () => {
    const properties = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`member${i}`, { type: "integer" }]));
    const grammar = grammarFor({ type: "object", properties });
    assert.ok(grammar.length < 20_000, `${grammar.length}`);
    assert.ok(await accepts(grammar, '{"member3":1,"member59":2}'));
  });

  test("takes no text that only begins like JSON", async () => {
    const grammar = grammarFor({ type: "object", additionalProperties: { type: "integer" } });
    for (const text of ["", "{", '{"a":1', '{"a":1}}', '{"a":01}', "{a:1}", '{"a":1,}']) {
      assert.ok(!(await accepts(grammar, text)), text);
    }
  });

  test("leaves out what it cannot hold where that was allowed", async () => {
    const schema = { type: "string", pattern: "^a+$" };
    assert.ok(await accepts(grammarFor(schema, "leave out"), '"bbb"'));
  });
});

/** The way a model likes to write it: a space after commas and colons. */
function spaced(value: unknown): string {
  return JSON.stringify(value, undefined, " ")
    .replace(/\n\s*/gu, " ")
    .replace(/\[ (?=\])/gu, "[");
}

test("what a grammar cannot hold is refused by name", () => {
  const schemas: readonly (readonly [unknown, RegExp])[] = [
    [{ type: "string", pattern: "a" }, /pattern/u],
    [{ type: "integer", maximum: 3 }, /maximum/u],
    [{ type: "number", minimum: 0 }, /minimum/u],
    [{ type: "array", uniqueItems: true }, /uniqueItems/u],
    [{ type: "object", properties: { a: { not: {} } } }, /not/u],
    [{ allOf: [] }, /allOf/u],
    [{ type: "date" }, /type/u],
    [{ $ref: "#/$defs/absent" }, /to nothing/u],
    [{ $ref: "https://example.com/schema" }, /another document/u],
    [{ anyOf: [{ type: "string" }], properties: {} }, /anyOf/u],
    ["string", /schema/u],
  ];
  for (const [schema, name] of schemas) assert.match(refusedFor(schema), name, JSON.stringify(schema));
});

test("a text is a terminal whatever stands in it", () => {
  assert.equal(literal('a"b\\c\nd'), '"a\\"b\\\\c\\nd"');
});

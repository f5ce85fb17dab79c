import assert from "node:assert/strict";
import test from "node:test";
import { fromUtf8, utf8 } from "./bytes.ts";
import { hasCode } from "./failure.fake.ts";
import {
  CompletionCounter,
  encodeSealedEnd,
  encodeSealedEvent,
  encodeSealedRequest,
  parseRequestBody,
  parseRequestEnvelope,
  parseSealedEnd,
  parseSealedEvent,
  type SealedEnd,
  type SealedEvent,
  type SealedRequest,
} from "./sealed-messages.ts";

const REQUEST: SealedRequest = {
  v: 1,
  path: "/v1/chat/completions",
  body: { model: "practice", messages: [{ role: "user", content: "Once" }] },
  maxTokens: 64,
  reservationId: "r1",
  offerHash: "bd".repeat(32),
};

const END: SealedEnd = {
  finish_reason: "stop",
  usage: { promptTokens: 24, cachedTokens: 8, completionTokens: 7 },
  manifestRoot: "60".repeat(32),
  offerHash: "bd".repeat(32),
};

function changed(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const text = fromUtf8(bytes);
  assert.ok(text.includes(from));
  return utf8(text.replace(from, to));
}

test("a request comes back as it was, in two steps: what was routed, then the body", () => {
  const outer = parseRequestEnvelope(encodeSealedRequest(REQUEST));
  assert.deepEqual(outer, REQUEST);
  assert.deepEqual(parseRequestBody(outer), REQUEST);
  const raw: SealedRequest = { ...REQUEST, path: "/v1/completions", body: { model: "practice", prompt: "Once" } };
  assert.deepEqual(parseRequestBody(parseRequestEnvelope(encodeSealedRequest(raw))), raw);
});

test("a request's keys are in the order the specification has them", () => {
  const keys = Object.keys(JSON.parse(fromUtf8(encodeSealedRequest(REQUEST))) as object);
  assert.deepEqual(keys, ["v", "path", "body", "maxTokens", "reservationId", "offerHash"]);
});

test("an envelope that is not exactly one is bad_message", () => {
  const bytes = encodeSealedRequest(REQUEST);
  const wrong = [
    new Uint8Array(),
    utf8("[]"),
    Uint8Array.of(0xff),
    changed(bytes, '"v":1', '"v":2'),
    changed(bytes, "/v1/chat/completions", "/v1/embeddings"),
    changed(bytes, '"maxTokens":64', '"maxTokens":0'),
    changed(bytes, '"maxTokens":64', '"maxTokens":1e9'),
    changed(bytes, '"maxTokens":64', '"maxTokens":"64"'),
    changed(bytes, '"maxTokens":64', '"maxTokens":64,"maxTokens":65'),
    changed(bytes, '"r1"', '""'),
    changed(bytes, '"r1"', `"${"r".repeat(65)}"`),
    changed(bytes, '"offerHash"', '"stream":true,"offerHash"'),
    changed(bytes, '"v":1,', ""),
  ];
  for (const each of wrong)
    assert.throws(() => parseRequestEnvelope(each), hasCode("bad_message"), new TextDecoder().decode(each));
});

test("a body of the other path is refused: a prompt is no chat", () => {
  const outer = parseRequestEnvelope(encodeSealedRequest(REQUEST));
  assert.throws(() => parseRequestBody({ ...outer, path: "/v1/completions" }), hasCode("unsupported_field"));
  for (const body of [null, 1, "x", [], {}])
    assert.throws(() => parseRequestBody({ ...outer, body }), hasCode("unsupported_field"));
});

test("events of both kinds come back as they were", () => {
  const events: readonly SealedEvent[] = [
    { t: "delta", text: "", tokenIds: [] },
    { t: "delta", text: " ж🙂\n", tokenIds: [1, 2, 0x7fff_ffff] },
    { t: "delta", text: "hm", tokenIds: [5], reasoning: true },
    { t: "tool_call", index: 0, id: "call_1", name: "weather", tokenIds: [1] },
    { t: "tool_call", index: 255, arguments: '{"city":', tokenIds: [] },
  ];
  for (const event of events) assert.deepEqual(parseSealedEvent(encodeSealedEvent(event)), event);
});

test("an event that is not exactly one is bad_message", () => {
  const wrong = [
    "",
    "null",
    "{}",
    '{"t":"delta","text":"x"}',
    '{"t":"delta","tokenIds":[]}',
    '{"t":"delta","text":1,"tokenIds":[]}',
    '{"t":"delta","text":"x","tokenIds":[-1]}',
    '{"t":"delta","text":"x","tokenIds":[0.5]}',
    '{"t":"delta","text":"x","tokenIds":[2147483648]}',
    '{"t":"delta","text":"x","tokenIds":["1"]}',
    '{"t":"delta","text":"x","tokenIds":[],"reasoning":false}',
    '{"t":"delta","text":"x","tokenIds":[],"usage":{}}',
    '{"t":"delta","text":"x","text":"y","tokenIds":[]}',
    '{"t":"tool_call","tokenIds":[]}',
    '{"t":"tool_call","index":256,"tokenIds":[]}',
    '{"t":"tool_call","index":0,"text":"x","tokenIds":[]}',
    '{"t":"error","text":"x","tokenIds":[]}',
    `{"t":"delta","text":"x","tokenIds":[${"1,".repeat(20_000)}1]}`,
  ];
  for (const text of wrong)
    assert.throws(() => parseSealedEvent(utf8(text)), hasCode("bad_message"), text.slice(0, 80));
});

test("an end comes back as it was, and one that contradicts itself is bad_message", () => {
  const bytes = encodeSealedEnd(END);
  assert.deepEqual(parseSealedEnd(bytes), END);
  for (const [from, to] of [
    ['"cachedTokens":8', '"cachedTokens":25'],
    ['"cachedTokens":8', '"cachedTokens":-1'],
    ['"stop"', '"done"'],
    ['"completionTokens":7', '"completionTokens":4294967296'],
    ['"completionTokens":7', '"completionTokens":7,"total":1'],
    [`"offerHash":"${"bd".repeat(32)}"`, '"offerHash":""'],
  ] as const)
    assert.throws(() => parseSealedEnd(changed(bytes, from, to)), hasCode("bad_message"), to);
});

test("an answer that ends on a stop string has ids without text, and may have as many as its bytes", () => {
  const counter = new CompletionCounter(20);
  counter.add({ t: "delta", text: "", tokenIds: Array.from({ length: 27 }, () => 1) });
  assert.equal(counter.bound, 28);
  assert.ok(counter.count("stop") <= counter.bound);
});

test("the client counts the ids it received, and one end token when the model stopped by itself", () => {
  const counter = new CompletionCounter();
  counter.add({ t: "delta", text: "Once", tokenIds: [403] });
  counter.add({ t: "delta", text: " upon a tim", tokenIds: [407, 261, 378, 42] });
  counter.add({ t: "delta", text: "e", tokenIds: [29] });
  assert.equal(counter.count("stop"), 7);
  for (const finish of ["length", "tool_calls", "cancelled", "handed_over", "failed"] as const)
    assert.equal(counter.count(finish), 6);
});

test("more tokens than the bytes that arrived and eight cannot have been made", () => {
  const counter = new CompletionCounter();
  assert.equal(counter.bound, 8);
  counter.add({ t: "delta", text: "ж🙂a", tokenIds: [] });
  assert.equal(counter.bound, 8 + 7);
  counter.add({ t: "tool_call", index: 0, name: "weather", arguments: "{}", tokenIds: [] });
  assert.equal(counter.bound, 8 + 7 + 9 + 32);
});

test("a call that comes in pieces counts its name and its 32 bytes once", () => {
  const counter = new CompletionCounter();
  counter.add({ t: "tool_call", index: 0, id: "a", name: "weather", tokenIds: [] });
  counter.add({ t: "tool_call", index: 0, arguments: "{", tokenIds: [] });
  counter.add({ t: "tool_call", index: 0, arguments: "}", tokenIds: [] });
  counter.add({ t: "tool_call", index: 1, name: "time", arguments: "{}", tokenIds: [] });
  assert.equal(counter.bound, 8 + 7 + 32 + 2 + 4 + 32 + 2);
});

import assert from "node:assert/strict";
import test from "node:test";
import { eventsOf, MAX_EVENT_CHARACTERS, type StreamEvent } from "./event-stream.ts";

async function read(...pieces: readonly (string | Uint8Array)[]): Promise<readonly StreamEvent[]> {
  async function* body(): AsyncGenerator<Uint8Array> {
    for (const piece of pieces) yield Buffer.from(piece);
  }
  const events: StreamEvent[] = [];
  for await (const event of eventsOf(body())) events.push(event);
  return events;
}

const TWO: readonly StreamEvent[] = [
  { id: "7", data: "один" },
  { id: "8", data: "two" },
];

for (const [name, end] of [
  ["CR LF", "\r\n"],
  ["LF", "\n"],
  ["CR", "\r"],
] as const) {
  const text = `event: message\nid: 7\ndata: один\n\nid:8\ndata:two\n\n: comment\n`.replaceAll("\n", end);

  test(`lines end with ${name}`, async () => {
    assert.deepEqual(await read(text, "\n"), TWO);
  });

  test(`events with ${name} are the same however they are cut`, async () => {
    const bytes = Buffer.from(text);
    for (let at = 1; at < bytes.length; at++)
      assert.deepEqual(await read(bytes.subarray(0, at), bytes.subarray(at), "\n"), TWO, String(at));
  });
}

test("an event without an id has the newest one, and one without data is none", async () => {
  assert.deepEqual(await read("id: 1\n\ndata: a\n\nevent: x\n\ndata: b\n\n"), [
    { id: "1", data: "a" },
    { id: "1", data: "b" },
  ]);
});

test("data of several lines is one text", async () => {
  assert.deepEqual(await read("data: a\ndata\ndata:  b\n\n"), [{ id: "", data: "a\n\n b" }]);
});

test("an event that was cut off is none", async () => {
  assert.deepEqual(await read("data: a\n\ndata: b\n"), [{ id: "", data: "a" }]);
});

test("an event without end is given up before it fills the memory", async () => {
  const piece = "x".repeat(65_536);
  const pieces = Array.from({ length: MAX_EVENT_CHARACTERS / piece.length }, () => piece);
  await assert.rejects(read("data: ", ...pieces), RangeError);
  await assert.rejects(read(...pieces.map((text) => `data: ${text}\n`), "data: x\n"), RangeError);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  FIN,
  FrameOpener,
  FrameSealer,
  parseSealedEvent,
  type SealedEvent,
  type StreamKeys,
} from "../../protocol/index.ts";
import { Answer } from "./answer.ts";
import { fakeClock } from "./clock.fake.ts";
import { encodeEvent, mergeEvents } from "./events.ts";
import { createGathering } from "./gathering.ts";

const keys: StreamKeys = {
  key: new Uint8Array(32).fill(1),
  iv: new Uint8Array(12).fill(2),
  sessionId: new Uint8Array(16).fill(3),
  direction: 1,
  streamId: 1,
  toJSON: () => "[secret]",
};

function answering() {
  const clock = fakeClock();
  const opener = new FrameOpener(keys);
  const sent: SealedEvent[] = [];
  const network = { isBackedUp: false, tooSlow: 0 };
  let lastId = 0;
  const answer: Answer = new Answer({
    sealer: new FrameSealer(keys),
    clock,
    gathering: createGathering(clock),
    send: (frame) => {
      const { type, data } = opener.open(frame);
      if (type !== FIN) sent.push(parseSealedEvent(data));
    },
    isBackedUp: () => network.isBackedUp,
    onTooSlow: () => network.tooSlow++,
  });
  const token = (text = "x"): void => answer.add({ t: "delta", text, tokenIds: [++lastId] });
  const sizes = (): number[] => sent.map(({ tokenIds }) => tokenIds.length);
  return { clock, answer, sent, network, token, sizes };
}

test("tokens at reading speed leave one by one, each at once", () => {
  const { clock, token, sizes } = answering();
  for (let at = 0; at < 10; at++) {
    token();
    assert.equal(sizes().length, at + 1);
    clock.advance(33);
  }
});

test("the first token leaves at once, and tokens faster than one in ten milliseconds are gathered for 50", () => {
  const { clock, token, sizes } = answering();
  for (let at = 0; at < 101; at++) {
    token();
    clock.advance(2);
  }
  clock.advance(50);
  assert.equal(sizes()[0], 1);
  assert.ok(sizes().length <= 6, JSON.stringify(sizes()));
  assert.equal(
    sizes().reduce((sum, size) => sum + size),
    101,
  );
});

test("nothing is held for longer than 50 milliseconds", () => {
  const { clock, token, sizes } = answering();
  token();
  token();
  assert.deepEqual(sizes(), [1]);
  clock.advance(49);
  assert.deepEqual(sizes(), [1]);
  clock.advance(1);
  assert.deepEqual(sizes(), [1, 1]);
});

test("a burst goes out in pieces, not in one long page", () => {
  const { token, sizes } = answering();
  for (let at = 0; at < 200; at++) token();
  assert.deepEqual(sizes(), [1, 64, 64, 64]);
});

test("an end takes what is held with it", () => {
  const { answer, token, sizes } = answering();
  token();
  token();
  const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 2 };
  answer.finish({ finish_reason: "length", usage, manifestRoot: "00".repeat(32), offerHash: "00".repeat(32) });
  assert.deepEqual(sizes(), [1, 1]);
  assert.equal(answer.deliveredIds, 2);
});

test("what is discarded is neither sent nor counted", () => {
  const { clock, answer, token, sizes } = answering();
  token();
  token();
  answer.discard();
  clock.advance(1000);
  assert.deepEqual(sizes(), [1]);
  assert.equal(answer.deliveredIds, 1);
});

test("while the gateway reads slowly, tokens wait together and go when it reads again", () => {
  const { clock, network, token, sizes } = answering();
  token();
  network.isBackedUp = true;
  for (let at = 0; at < 20; at++) {
    token();
    clock.advance(40);
  }
  assert.deepEqual(sizes(), [1]);
  network.isBackedUp = false;
  clock.advance(50);
  assert.deepEqual(sizes(), [1, 20]);
});

test("a gateway that doesn't read at all is given up before memory is", () => {
  const { network, token } = answering();
  token();
  network.isBackedUp = true;
  for (let at = 0; at < 30 && network.tooSlow === 0; at++) token("x".repeat(10_000));
  assert.equal(network.tooSlow, 1);
});

test("only pieces that a reader would join anyway are joined", () => {
  const text: SealedEvent = { t: "delta", text: "a", tokenIds: [1] };
  const thought: SealedEvent = { t: "delta", text: "b", tokenIds: [2], reasoning: true };
  const call: SealedEvent = { t: "tool_call", index: 0, id: "1", name: "f", arguments: "{", tokenIds: [3] };
  const more: SealedEvent = { t: "tool_call", index: 0, arguments: "}", tokenIds: [4] };
  const next: SealedEvent = { t: "tool_call", index: 1, arguments: "}", tokenIds: [5] };
  assert.deepEqual(mergeEvents(text, text), { t: "delta", text: "aa", tokenIds: [1, 1] });
  assert.deepEqual(mergeEvents(call, more), { ...call, arguments: "{}", tokenIds: [3, 4] });
  for (const [first, second] of [
    [text, thought],
    [thought, text],
    [text, call],
    [call, text],
    [call, next],
    [more, call],
  ] as const) {
    assert.equal(mergeEvents(first, second), undefined);
  }
});

test("a long event is cut between characters, its ids kept in order", () => {
  const event = {
    t: "tool_call" as const,
    index: 0,
    id: "1",
    name: "f",
    arguments: "\u{1f600}".repeat(40_000),
    tokenIds: [1, 2, 3],
  };
  const pieces = encodeEvent(event).map((bytes) => parseSealedEvent(bytes));
  assert.ok(pieces.length > 1);
  assert.deepEqual(
    pieces.flatMap((piece) => piece.tokenIds),
    [1, 2, 3],
  );
  const joined = pieces.map((piece) => (piece.t === "tool_call" ? (piece.arguments ?? "") : "")).join("");
  assert.equal(joined, event.arguments);
  assert.equal(pieces.filter((piece) => piece.t === "tool_call" && piece.name === "f").length, 1);
});

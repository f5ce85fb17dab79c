import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ABORT,
  codeOf,
  FIN,
  FrameOpener,
  FrameSealer,
  hash,
  concat,
  utf8,
  type StreamKeys,
} from "../../protocol/index.ts";
import { checkRequest, RequestReader, type RoutedTerms } from "./request.ts";

const keys: StreamKeys = {
  key: new Uint8Array(32).fill(1),
  iv: new Uint8Array(12).fill(2),
  sessionId: new Uint8Array(16).fill(3),
  direction: 0,
  streamId: 1,
  toJSON: () => "[secret]",
};

const ROOT = "aa".repeat(32);
const TERMS: RoutedTerms = {
  reservationId: "r-1",
  offerHash: "bb".repeat(32),
  manifestRoot: ROOT,
  maxPromptBytes: 4096,
  maxCompletionTokens: 64,
};

function sealedRequest(overrides: object = {}): Uint8Array {
  const body = { model: "m", messages: [{ role: "user", content: "hello" }] };
  const { reservationId, offerHash } = TERMS;
  const request = { v: 1, path: "/v1/chat/completions", body, maxTokens: 64, reservationId, offerHash };
  return utf8(JSON.stringify({ ...request, ...overrides }));
}

test("a request as it was reserved is taken", () => {
  assert.equal(checkRequest(sealedRequest(), TERMS, ROOT).maxTokens, 64);
});

for (const [what, plaintext, root, code] of [
  ["another reservation", sealedRequest({ reservationId: "r-2" }), ROOT, "reservation_mismatch"],
  ["another offer", sealedRequest({ offerHash: "cc".repeat(32) }), ROOT, "reservation_mismatch"],
  ["another model than the session's", sealedRequest(), "dd".repeat(32), "reservation_mismatch"],
  ["more tokens than were held", sealedRequest({ maxTokens: 65 }), ROOT, "reservation_exceeded"],
  ["a longer prompt than was held", sealedRequest({ path: "x".repeat(5000) }), ROOT, "reservation_exceeded"],
  ["a field nobody knows", sealedRequest({ body: { model: "m", messages: [], x: 1 } }), ROOT, "unsupported_field"],
  ["no request at all", utf8("[]"), ROOT, "bad_message"],
] as const) {
  test(`a request with ${what} is refused before anything is generated`, () => {
    assert.throws(() => checkRequest(plaintext, TERMS, root), { code });
  });
}

test("ten thousand random changes of a request's frames are each refused with a code", () => {
  const random = seeded(20_26);
  const sealer = new FrameSealer(keys);
  const frames = [
    sealer.seal(new Uint8Array(40)),
    sealer.seal(new Uint8Array(200)),
    sealer.seal(new Uint8Array(), FIN),
  ];
  const codes = new Set<string>();
  for (let round = 0; round < 10_000; round++) {
    const changed = change(frames, random);
    const reader = new RequestReader(new FrameOpener(keys), 4096);
    let plaintext: unknown;
    try {
      for (const frame of changed) plaintext = reader.read(frame);
      assert.equal(plaintext, undefined, "a changed request was taken as whole");
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      codes.add(codeOf(error));
    }
  }
  assert.deepEqual([...codes].toSorted(), ["bad_frame", "data_after_fin", "decrypt_failed"]);
});

test("a request is hashed as it was sent, and opened whole", () => {
  const sealer = new FrameSealer(keys);
  const parts = [new Uint8Array(65_532).fill(1), new Uint8Array(10).fill(2)];
  const frames = [...parts.map((part) => sealer.seal(part)), sealer.seal(new Uint8Array(), FIN)];
  const reader = new RequestReader(new FrameOpener(keys), 65_542);
  const read = frames.map((frame) => reader.read(frame));
  assert.deepEqual(read.at(-1), concat(...parts));
  assert.deepEqual(reader.digest(), hash(concat(...frames)));
});

test("a client may take its request back", () => {
  const sealer = new FrameSealer(keys);
  const reader = new RequestReader(new FrameOpener(keys), 100);
  assert.equal(reader.read(sealer.seal(new Uint8Array(5))), undefined);
  assert.equal(reader.read(sealer.seal(Buffer.from("cancelled"), ABORT)), "cancelled");
});

test("more sealed bytes than the reservation pads to are refused before they are opened", () => {
  const sealer = new FrameSealer(keys);
  const reader = new RequestReader(new FrameOpener(keys), 60);
  reader.read(sealer.seal(new Uint8Array(60)));
  reader.read(sealer.seal(new Uint8Array(60)));
  assert.throws(() => reader.read(new Uint8Array(81)), { code: "reservation_exceeded" });
});

/** One flipped byte, two frames swapped, one left out, doubled, cut or replaced. */
function change(frames: readonly Uint8Array[], random: () => number): readonly Uint8Array[] {
  const pick = (below: number): number => Math.floor(random() * below);
  const at = pick(frames.length);
  const frame = frames[at] ?? new Uint8Array();
  const replaced = (other: Uint8Array): readonly Uint8Array[] => frames.with(at, other);
  switch (pick(12)) {
    case 0:
      return frames.toSpliced(at, 1);
    case 1:
      return [...frames.slice(0, at), frame, ...frames.slice(at)];
    case 2:
      return frames.toSorted(() => -1).slice();
    case 3:
      return replaced(frame.subarray(0, pick(frame.length)));
    case 4:
      return replaced(Uint8Array.from({ length: pick(400) }, () => pick(256)));
    default: {
      const flipped = frame.slice();
      const byte = pick(flipped.length);
      flipped[byte] = (flipped[byte] ?? 0) ^ (1 + pick(255));
      return replaced(flipped);
    }
  }
}

/** Mulberry32: the same changes in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

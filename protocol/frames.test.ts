import assert from "node:assert/strict";
import test from "node:test";
import { inspect } from "node:util";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { concat, label, u32, u64, u8, utf8 } from "./bytes.ts";
import { FAILURES, type FailureCode } from "./failure.ts";
import { codeOfAct, hasCode } from "./failure.fake.ts";
import {
  ABORT,
  abortCode,
  DATA,
  FIN,
  frameBytes,
  FrameOpener,
  FrameSealer,
  frameType,
  MAX_FRAME_DATA,
  PADDED_SIZES,
  sealedBytes,
  streamKeysOf,
  type Direction,
  type FrameType,
  type StreamKeys,
} from "./frames.ts";
import { pick, seededRandom } from "./parties.fake.ts";

function keys(
  overrides: { readonly direction?: Direction; readonly streamId?: number; readonly seed?: number } = {},
): StreamKeys {
  const random = seededRandom(overrides.seed ?? 5);
  return streamKeysOf({
    key: random(32),
    iv: random(12),
    sessionId: random(16),
    direction: overrides.direction ?? 1,
    streamId: overrides.streamId ?? 1,
  });
}

/** Three frames: "one", "two" and an empty FIN. */
function threeFrames(streamKeys = keys()): readonly [Uint8Array, Uint8Array, Uint8Array] {
  const sealer = new FrameSealer(streamKeys);
  return [sealer.seal(utf8("one")), sealer.seal(utf8("two")), sealer.seal(new Uint8Array(), FIN)];
}

/** What a reader ends with: the code of the first refused frame, `truncated`, or ok. */
function reading(messages: readonly Uint8Array[], streamKeys = keys()): FailureCode | "ok" {
  const opener = new FrameOpener(streamKeys);
  return codeOfAct(() => {
    for (const message of messages) opener.open(message);
    opener.end();
  });
}

test("what was sealed opens, in order, with its type", () => {
  const opener = new FrameOpener(keys());
  const opened = threeFrames().map((frame) => opener.open(frame));
  assert.deepEqual(opened, [
    { type: DATA, data: utf8("one") },
    { type: DATA, data: utf8("two") },
    { type: FIN, data: new Uint8Array() },
  ]);
  assert.equal(opener.end(), FIN);
});

test("a frame is byte for byte what ACN/1 says", () => {
  const { key, iv, sessionId } = keys();
  const nonce = iv.slice();
  nonce[11] = (nonce[11] ?? 0) ^ 1; // sequence 1
  const aad = concat(utf8("ACN1"), sessionId, u8(1), u64(1), u64(1), u8(DATA));
  const plaintext = concat(u32(3), utf8("two"), new Uint8Array(57));
  const sealed = chacha20poly1305(key, nonce, aad).encrypt(plaintext);
  assert.deepEqual(threeFrames()[1], concat(u32(1 + sealed.length), u8(DATA), sealed));
});

test("every length of data survives, at any alignment of the message", () => {
  const sizes = PADDED_SIZES.flatMap((size) => [size - 5, size - 4, size - 3]).filter((size) => size <= MAX_FRAME_DATA);
  const random = seededRandom(6);
  const sealer = new FrameSealer(keys());
  const opener = new FrameOpener(keys());
  for (const [index, size] of [0, 1, ...sizes].entries()) {
    const data = random(size);
    const frame = sealer.seal(data);
    const shifted = concat(new Uint8Array(index % 8), frame).subarray(index % 8);
    assert.deepEqual(opener.open(shifted).data, data);
  }
});

test("sealing does not touch the data, opening does not touch the message", () => {
  const data = utf8("unchanged");
  const frame = new FrameSealer(keys()).seal(data);
  const copy = frame.slice();
  new FrameOpener(keys()).open(frame);
  assert.deepEqual(data, utf8("unchanged"));
  assert.deepEqual(frame, copy);
});

test("frames come in six sizes only, so that a relay learns no length", () => {
  const lengths = new Set<number>();
  for (let size = 0; size <= MAX_FRAME_DATA; size += 251)
    lengths.add(new FrameSealer(keys()).seal(new Uint8Array(size)).length - 4);
  assert.deepEqual([...lengths], [81, 273, 1041, 4113, 16_401, 65_553]);
  for (const size of [0, 60, 61, 252, 253, 1020, 1021, 4092, 4093, 16_380, 16_381, MAX_FRAME_DATA])
    assert.equal(frameBytes(size), new FrameSealer(keys()).seal(new Uint8Array(size)).length);
  for (const type of [DATA, FIN, ABORT] as const)
    assert.equal(new FrameSealer(keys()).seal(utf8("x"), type).length, frameBytes(1));
});

test("sealedBytes is what the fewest frames and a FIN take", () => {
  for (const size of [0, 1, 60, 61, MAX_FRAME_DATA, MAX_FRAME_DATA + 1, 200_000]) {
    const sealer = new FrameSealer(keys());
    let bytes = 0;
    for (let at = 0; at < size; at += MAX_FRAME_DATA)
      bytes += sealer.seal(new Uint8Array(Math.min(MAX_FRAME_DATA, size - at))).length;
    bytes += sealer.seal(new Uint8Array(), FIN).length;
    assert.equal(sealedBytes(size), bytes, String(size));
  }
});

test("more data than a frame carries is refused", () => {
  assert.throws(() => new FrameSealer(keys()).seal(new Uint8Array(MAX_FRAME_DATA + 1)), hasCode("frame_limit"));
});

test("a cut stream is truncated, wherever it is cut", () => {
  const frames = threeFrames();
  for (let kept = 0; kept < frames.length; kept++) assert.equal(reading(frames.slice(0, kept)), "truncated");
  assert.equal(reading(frames), "ok");
});

test("a frame cut at any byte is refused", () => {
  const [frame] = threeFrames();
  for (let length = 0; length < frame.length; length++) assert.equal(reading([frame.subarray(0, length)]), "bad_frame");
});

test("frames do not change places, and do not come twice", () => {
  const [one, two, fin] = threeFrames();
  assert.equal(reading([two, one, fin]), "decrypt_failed");
  assert.equal(reading([one, one, two, fin]), "decrypt_failed");
  assert.equal(reading([one, fin]), "decrypt_failed");
});

test("data cannot be turned into an end, nor an end into data", () => {
  const frames = threeFrames();
  for (const [index, frame] of frames.entries())
    for (const type of [DATA, FIN, ABORT, 3, 255]) {
      if (frame[4] === type) continue;
      const flipped = frame.slice();
      flipped[4] = type;
      assert.equal(reading([...frames.slice(0, index), flipped]), type > ABORT ? "bad_frame" : "decrypt_failed");
    }
});

test("a frame of another stream, another session or the other direction does not open", () => {
  const [frame] = threeFrames();
  const { key, iv, sessionId } = keys();
  const same = { key, iv, sessionId, direction: 1, streamId: 1 } as const;
  assert.equal(
    codeOfAct(() => new FrameOpener(streamKeysOf(same)).open(frame)),
    "ok",
  );
  // The same key under another name: the associated data alone must tell them apart.
  for (const other of [{ streamId: 2 }, { direction: 0 as const }, { sessionId: new Uint8Array(16) }])
    assert.equal(
      codeOfAct(() => new FrameOpener(streamKeysOf({ ...same, ...other })).open(frame)),
      "decrypt_failed",
    );
});

test("nothing is opened or sealed after the end", () => {
  const [one, two, fin] = threeFrames();
  assert.equal(reading([one, two, fin, one]), "data_after_fin");
  assert.equal(reading([one, two, fin, fin]), "data_after_fin");
  for (const type of [FIN, ABORT] as const) {
    const sealer = new FrameSealer(keys());
    sealer.seal(new Uint8Array(), type);
    assert.ok(sealer.ended);
    assert.throws(() => sealer.seal(utf8("x")), hasCode("data_after_fin"));
  }
});

test("what ended comes before what is wrong: the order of checks is fixed", () => {
  const [one, two, fin] = threeFrames();
  assert.equal(reading([one, two, fin, new Uint8Array()]), "data_after_fin");
  const wrong = one.slice();
  wrong[4] = 7;
  wrong[20] = (wrong[20] ?? 0) ^ 1;
  assert.equal(reading([wrong]), "bad_frame");
});

test("an oversize message, two frames in one, or a length that lies are refused", () => {
  const [one, two] = threeFrames();
  assert.equal(reading([concat(one, two)]), "bad_frame");
  assert.equal(reading([concat(one, u8(0))]), "bad_frame");
  for (const n of [0, 1, 80, 82, 273, 0x7fff_ffff, 0xffff_ffff])
    assert.equal(reading([concat(u32(n), one.subarray(4))]), "bad_frame");
  const huge = new Uint8Array(4 + 1 + 131_072 + 16);
  huge.set(u32(huge.length - 4));
  assert.equal(reading([huge]), "bad_frame");
});

test("padding that is not zero, or a length beyond the frame, is bad_padding", () => {
  const { key, iv, sessionId } = keys();
  const aad = concat(utf8("ACN1"), sessionId, u8(1), u64(1), u64(0), u8(DATA));
  const frameOf = (plaintext: Uint8Array): Uint8Array =>
    concat(u32(81), u8(DATA), chacha20poly1305(key, iv, aad).encrypt(plaintext));
  const padded = (length: number, at: number): Uint8Array => {
    const plaintext = concat(u32(length), new Uint8Array(60));
    plaintext[at] = at < 4 ? (plaintext[at] ?? 0) : 1;
    return frameOf(plaintext);
  };
  assert.equal(
    codeOfAct(() => new FrameOpener(keys()).open(padded(60, 0))),
    "ok",
  );
  for (const [length, at] of [
    [0, 4],
    [0, 63],
    [10, 14],
    [59, 63],
    [61, 0],
    [0xffff_ffff, 0],
    [0x8000_0000, 0],
  ] as const)
    assert.equal(
      codeOfAct(() => new FrameOpener(keys()).open(padded(length, at))),
      "bad_padding",
      `${length} ${at}`,
    );
});

test("ten thousand random mutations are refused and release nothing", () => {
  const random = seededRandom(1234);
  const frames = threeFrames();
  for (let i = 0; i < 10_000; i++) {
    const opener = new FrameOpener(keys());
    const position = pick(random, frames.length);
    for (const frame of frames.slice(0, position)) opener.open(frame);
    const mutant = mutated(frames[position] ?? new Uint8Array(), random, i);
    let released: { readonly type: FrameType } | undefined;
    const code = codeOfAct(() => {
      released = opener.open(mutant);
    });
    assert.equal(released, undefined, `mutant ${i}`);
    assert.ok(code === "bad_frame" || code === "decrypt_failed", `mutant ${i}: ${code}`);
    assert.equal(
      codeOfAct(() => opener.end()),
      "truncated",
    );
  }
});

test("a refused frame leaves the stream as it was", () => {
  const [one, two, fin] = threeFrames();
  const opener = new FrameOpener(keys());
  opener.open(one);
  assert.throws(() => opener.open(fin), hasCode("decrypt_failed"));
  assert.deepEqual(opener.open(two).data, utf8("two"));
  assert.equal(opener.endedBy, undefined);
});

test("an abort carries a code, and a code we do not know is internal", () => {
  for (const code of Object.keys(FAILURES) as FailureCode[]) {
    const { type, data } = new FrameOpener(keys()).open(new FrameSealer(keys()).abort(code));
    assert.equal(type, ABORT);
    assert.equal(abortCode(data), code);
  }
  for (const text of ["", "no_such_code", "toString", "__proto__"]) assert.equal(abortCode(utf8(text)), "internal");
  assert.throws(() => abortCode(Uint8Array.of(0xff)), hasCode("bad_message"));
});

test("the shape of a frame is known without its key, for the gateway that relays it", () => {
  for (const frame of threeFrames()) assert.equal(frameType(frame), frame[4]);
  for (const bytes of [new Uint8Array(), new Uint8Array(4), new Uint8Array(85), label("link")])
    assert.throws(() => frameType(bytes), hasCode("bad_frame"));
});

test("stream keys print as secret wherever they are printed", () => {
  const secret = keys();
  const shown = [
    secret.toString(),
    JSON.stringify({ secret }),
    inspect(secret, { depth: 9 }),
    Object.keys(secret).join(),
  ];
  for (const holder of [new FrameSealer(secret), new FrameOpener(secret)])
    shown.push(inspect(holder, { depth: 9 }), JSON.stringify(holder));
  for (const text of shown) assert.doesNotMatch(text, /\d{2,}, ?\d{2,}|key|iv/i);
  assert.equal(secret.toString(), "[secret]");
  assert.equal(JSON.stringify(secret), '"[secret]"');
});

/** A bit flipped, a byte changed, bytes cut, added or moved: never the original. */
function mutated(frame: Uint8Array, random: (length: number) => Uint8Array, kind: number): Uint8Array {
  const copy = frame.slice();
  const at = pick(random, copy.length);
  switch (kind % 5) {
    case 0:
      copy[at] = (copy[at] ?? 0) ^ (1 << pick(random, 8));
      return copy;
    case 1:
      copy[at] = (copy[at] ?? 0) + 1 + pick(random, 255);
      return copy;
    case 2:
      return copy.subarray(0, at);
    case 3:
      return concat(copy, random(1 + pick(random, 200)));
    default: {
      copy.set(random(Math.min(16, copy.length - at)), at);
      return copy.every((byte, i) => byte === frame[i]) ? copy.subarray(1) : copy;
    }
  }
}

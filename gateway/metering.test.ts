import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodeSealedEvent,
  frameBytes,
  PADDED_SIZES,
  type Failure,
  type FinishReason,
  type Receipt,
} from "../protocol/index.ts";
import { disputedUsage, frameCapacity, isEnc, meter, tokensThatFit, type RelayedStream } from "./metering.ts";

const REQUEST_HASH = new Uint8Array(32).fill(1);
const RESPONSE_HASH = new Uint8Array(32).fill(2);
const NAMES = { sessionId: "aa".repeat(16), streamId: 3, manifestRoot: "11".repeat(32), offerHash: "22".repeat(32) };

function receipt(overrides: Partial<Receipt> = {}): Receipt {
  const usage = { promptTokens: 30, cachedTokens: 10, completionTokens: 20 };
  return { ...NAMES, requestHash: REQUEST_HASH, responseHash: RESPONSE_HASH, usage, finish: "stop", ...overrides };
}

function relayed(overrides: Partial<RelayedStream> = {}): RelayedStream {
  return {
    ...NAMES,
    maxPromptBytes: 100,
    maxCompletionTokens: 50,
    requestHash: REQUEST_HASH,
    responseHash: RESPONSE_HASH,
    requestCapacity: 256,
    deliveredFrames: 4,
    deliveredTokens: 60,
    endedBy: "fin",
    wasCancelled: false,
    ...overrides,
  };
}

function usage(promptTokens: number, cachedTokens: number, completionTokens: number): Receipt["usage"] {
  return { promptTokens, cachedTokens, completionTokens };
}

test("an honest receipt is charged as it stands", () => {
  assert.deepEqual(meter(receipt(), relayed()), { usage: usage(30, 10, 20), isClipped: false });
});

const MISMATCHES: readonly Partial<Receipt>[] = [
  { sessionId: "bb".repeat(16) },
  { streamId: 4 },
  { manifestRoot: "33".repeat(32) },
  { offerHash: "33".repeat(32) },
  { requestHash: RESPONSE_HASH },
  { responseHash: REQUEST_HASH },
  { finish: "failed" },
];

for (const mismatch of MISMATCHES) {
  test(`a receipt with another ${Object.keys(mismatch).join()} than was relayed charges nothing`, () => {
    assert.throws(() => meter(receipt(mismatch), relayed()), { code: "bad_receipt" } satisfies Partial<Failure>);
  });
}

test("a receipt that says it ended well, of a stream that was aborted, charges nothing", () => {
  assert.throws(() => meter(receipt(), relayed({ endedBy: "abort" })), { code: "bad_receipt" });
});

test("a claim beyond the reservation is clipped to it", () => {
  const claim = receipt({ usage: usage(5000, 4000, 5000) });
  const metered = meter(claim, relayed({ deliveredTokens: 10_000 }));
  assert.deepEqual(metered, { usage: usage(612, 612, 50), isClipped: true });
});

test("a claim beyond what the relayed bytes can hold is clipped to them", () => {
  const metered = meter(receipt({ usage: usage(30, 0, 40) }), relayed({ deliveredTokens: 12 }));
  assert.deepEqual(metered, { usage: usage(30, 0, 13), isClipped: true });
});

test("prompt tokens are held against the request's bytes too", () => {
  const metered = meter(receipt({ usage: usage(600, 0, 1) }), relayed({ maxPromptBytes: 10_000, requestCapacity: 60 }));
  assert.equal(metered.usage.promptTokens, 572);
});

const FINISHES: readonly (readonly [FinishReason, Partial<RelayedStream>, Receipt["usage"]])[] = [
  ["stop", {}, usage(30, 10, 20)],
  ["length", {}, usage(30, 10, 20)],
  ["tool_calls", {}, usage(30, 10, 20)],
  ["cancelled", { wasCancelled: true }, usage(30, 10, 20)],
  ["cancelled", { wasCancelled: true, endedBy: "close" }, usage(30, 10, 20)],
  ["cancelled", {}, usage(0, 0, 20)],
  ["handed_over", {}, usage(0, 0, 20)],
  ["failed", { endedBy: "abort" }, usage(0, 0, 20)],
];

for (const [finish, seen, charged] of FINISHES) {
  const how = `${finish}${seen.wasCancelled === true ? " by the client" : ""}${seen.endedBy === "close" ? " without a last frame" : ""}`;
  test(`an answer that ended ${how} is charged ${charged.promptTokens} prompt tokens`, () => {
    assert.deepEqual(meter(receipt({ finish }), relayed(seen)).usage, charged);
  });
}

test("tokens that a cancelled client no longer got are not the worker's lie", () => {
  const stream = relayed({ wasCancelled: true, deliveredTokens: 5 });
  assert.deepEqual(meter(receipt({ finish: "cancelled" }), stream), { usage: usage(30, 10, 5), isClipped: false });
});

test("no honest frame holds more token ids than are allowed for it", () => {
  for (const size of PADDED_SIZES) {
    for (let ids = 0; ; ids++) {
      const length = encodeSealedEvent({ t: "delta", text: "", tokenIds: new Array<number>(ids).fill(7) }).length;
      if (length > size - 4) break;
      assert.ok(tokensThatFit(frameBytes(length)) >= ids, `${ids} ids in a frame of ${size}`);
    }
  }
});

test("the allowance is what the frame can hold, not a token more", () => {
  const most = tokensThatFit(frameBytes(60));
  const event = { t: "delta" as const, text: "", tokenIds: new Array<number>(most + 1).fill(7) };
  assert.ok(encodeSealedEvent(event).length > frameCapacity(frameBytes(60)));
});

test("enc has a length that no frame has", () => {
  for (const size of PADDED_SIZES) assert.ok(!isEnc({ length: size + 21 }));
  assert.ok(isEnc({ length: 1120 }));
});

test("a dispute lowers a charge to the client's counts", () => {
  assert.deepEqual(disputedUsage(usage(30, 10, 20), { promptTokens: 5, completionTokens: 7 }, 4), usage(5, 5, 7));
});

test("a dispute cannot go under one token for each delivered frame", () => {
  assert.equal(disputedUsage(usage(30, 10, 20), { promptTokens: 0, completionTokens: 0 }, 4).completionTokens, 4);
});

test("a dispute never raises a charge", () => {
  const counts = { promptTokens: 1000, completionTokens: 1000 };
  assert.deepEqual(disputedUsage(usage(30, 10, 2), counts, 4), usage(30, 10, 2));
});

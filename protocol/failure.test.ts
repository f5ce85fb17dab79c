import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { codeOf, Failure, FAILURES, isFailureCode, type FailureCode } from "./failure.ts";
import { FAILURE_TEXT } from "./text/failures.ts";

const CODES = Object.keys(FAILURES) as FailureCode[];

/** The codes of ACN/1 §3.5, which travel as they are written. */
const SPECIFIED =
  "bad_login bad_hello unknown_worker evidence_stale model_unavailable clock_skew replay session_expired session_unknown " +
  "decrypt_failed bad_frame bad_padding bad_message frame_limit data_after_fin truncated unsupported_field " +
  "context_overflow worker_crashed client_too_slow cancelled no_worker busy rate_limited internal reservation_unknown " +
  "reservation_exceeded reservation_mismatch payment_required trial_exhausted price_too_low tier_too_low bad_offer bad_receipt";

test("every code of the specification stands in the table", () => {
  for (const code of SPECIFIED.split(" ")) assert.ok(isFailureCode(code), code);
});

test("the specification's table of codes is this one", async () => {
  const specification = await readFile(new URL("README.md", import.meta.url), "utf8");
  const rows = specification.matchAll(/^\| `(\w+)` \| (client|worker|gateway|network) \| (yes|no) \|/gm);
  const written = [...rows].map(([, code = "", blame, retry]) => [code, { blame, retry: retry === "yes" }]);
  assert.deepEqual(written, Object.entries(FAILURES));
});

test("every code is one word in snake_case and fits a small frame", () => {
  for (const code of CODES) assert.match(code, /^[a-z][a-z_]{2,58}$/);
});

test("every code has words for a person, and they say what to do", () => {
  const next =
    /\b(try|wait|choose|check|set|update|remove|shorten|top up|lower|raise|accept|open|correct|download|stop|free|start|report|read|add|ask|send|keeps trying)\b/i;
  assert.deepEqual(Object.keys(FAILURE_TEXT).sort(), [...CODES].sort());
  for (const code of CODES) {
    const text = FAILURE_TEXT[code];
    assert.match(text, /^[A-Z].*\.$/, code);
    const sentences = text.split(/(?<=[.:;]) /);
    assert.ok(sentences.length > 1, `${code} says what happened and nothing more`);
    assert.ok(
      sentences.slice(1).some((sentence) => next.test(sentence)),
      `${code} does not say what to do: ${text}`,
    );
  }
});

test("no two codes say the same to a person, but for the two shapes of a frame", () => {
  const texts = CODES.filter((code) => code !== "bad_padding").map((code) => FAILURE_TEXT[code]);
  assert.equal(new Set(texts).size, texts.length);
});

test("what may be sent again unchanged is not called the client's fault for good", () => {
  for (const code of [
    "bad_login",
    "unsupported_field",
    "context_overflow",
    "payment_required",
    "policy_denied",
    "replay",
  ] as const)
    assert.equal(FAILURES[code].retry, false);
  for (const code of ["busy", "no_worker", "truncated", "worker_crashed", "evidence_stale", "rate_limited"] as const)
    assert.equal(FAILURES[code].retry, true);
});

test("a failure carries its code, its reason for the log, and its cause", () => {
  const cause = new Error("why");
  const failure = new Failure("busy", "all slots", { cause });
  assert.deepEqual(
    [failure.name, failure.code, failure.message, failure.cause],
    ["Failure", "busy", "busy: all slots", cause],
  );
  assert.equal(new Failure("busy").message, "busy");
});

test("what is not one of our codes is not taken for one", () => {
  for (const value of ["", "BUSY", "busy ", "toString", "__proto__", "constructor", 1, null, undefined, {}, ["busy"]])
    assert.ok(!isFailureCode(value));
});

test("a bug is told to nobody but as internal", () => {
  assert.equal(codeOf(new Failure("busy")), "busy");
  for (const bug of [new TypeError("x"), { code: "busy" }, "busy", null, undefined])
    assert.equal(codeOf(bug), "internal");
});

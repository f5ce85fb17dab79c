import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { recordSession } from "./generate.ts";
import { SESSION_CHECKS, type SessionVector } from "./session-vector.ts";

const session = JSON.parse(readFileSync(new URL("session.json", import.meta.url), "utf8")) as SessionVector;

for (const [claim, check] of Object.entries(SESSION_CHECKS)) test(`our session: ${claim}`, () => check(session));

test("our session is what its generator writes for the recorded encapsulation", async () => {
  assert.deepEqual(await recordSession(session.enc), session);
});

test("a session recorded anew differs in the encapsulation and all that it seals, and passes the same checks", async () => {
  const anew = await recordSession();
  assert.notEqual(anew.enc, session.enc);
  assert.equal(anew.workerHello, session.workerHello);
  for (const check of Object.values(SESSION_CHECKS)) await check(anew);
});

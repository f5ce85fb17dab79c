import assert from "node:assert/strict";
import test from "node:test";
import { badgeOf, TIER_BADGES } from "./badges.ts";

test("a badge says who can read the prompt, in fixed words", () => {
  assert.deepEqual(TIER_BADGES, {
    tee: "Hardware-isolated: the operator cannot read it without physically attacking the chip",
    tpm: "Identified PC: the operator can read your prompt",
    software: "Encrypted in transit only: your prompt can be read by the operator",
  });
});

test("an upstream engine adds the operator's cluster", () => {
  assert.equal(badgeOf("software", "cpu"), TIER_BADGES.software);
  assert.equal(badgeOf("software", "upstream"), `${TIER_BADGES.software} and by the operator's cluster`);
});

test("no badge promises more than was verified", () => {
  for (const badge of Object.values(TIER_BADGES)) assert.doesNotMatch(badge, /secure|trust|safe|private/i);
});

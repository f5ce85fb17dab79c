import assert from "node:assert/strict";
import { test } from "node:test";
import { holdOf, UNNAMED_LIMIT, type DebtFacts } from "./debt.ts";

const LIMIT = 5_000_000_000n;

function facts(overrides: Partial<DebtFacts> = {}): DebtFacts {
  return {
    debt: 0n,
    limit: LIMIT,
    isOwnerNamed: true,
    hasFallen: false,
    hasOtherChannel: false,
    distrust: undefined,
    ...overrides,
  };
}

const DISTRUST = { code: "gateway_contract", message: "its code is not known" } as const;

const cases: readonly { readonly name: string; readonly facts: DebtFacts; readonly hold: string | undefined }[] = [
  { name: "a gateway that owes nothing is served", facts: facts(), hold: undefined },
  { name: "one that owes less than the limit too", facts: facts({ debt: LIMIT - 1n }), hold: undefined },
  { name: "at the limit it is not", facts: facts({ debt: LIMIT }), hold: "debt" },
  { name: "an owner who lets nothing be owed serves nobody", facts: facts({ limit: 0n }), hold: "debt" },
  {
    name: "without a named owner less is enough",
    facts: facts({ debt: UNNAMED_LIMIT, isOwnerNamed: false }),
    hold: "unnamed",
  },
  {
    name: "unless the owner's limit is lower still",
    facts: facts({ debt: 5n, limit: 5n, isOwnerNamed: false }),
    hold: "unnamed",
  },
  { name: "a promise that fell is not served", facts: facts({ hasFallen: true }), hold: "promise-fell" },
  { name: "nor one for another channel", facts: facts({ hasOtherChannel: true }), hold: "other-channel" },
  {
    name: "a contract that is not what it should be comes before all",
    facts: facts({ distrust: DISTRUST, hasFallen: true, debt: LIMIT }),
    hold: "distrusted",
  },
];
for (const { name, facts: given, hold } of cases) {
  test(name, () => assert.equal(holdOf(given)?.type, hold));
}

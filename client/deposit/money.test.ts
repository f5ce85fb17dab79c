import assert from "node:assert/strict";
import { test } from "node:test";
import { moneyOf } from "./money.ts";

const CHANNEL = { balance: 700n, charged: 300n, acked: 300n, creditLimit: 50n };

const CASES = [
  ["nothing promised", CHANNEL, 300n, { charged: 300n, promised: 0n, refundable: 700n, guaranteed: 650n }],
  ["a part promised", CHANNEL, 420n, { charged: 300n, promised: 120n, refundable: 580n, guaranteed: 530n }],
  ["everything promised", CHANNEL, 1000n, { charged: 300n, promised: 700n, refundable: 0n, guaranteed: 0n }],
  // The gateway served beyond the deposit at its own risk.
  ["more promised than is there", CHANNEL, 1500n, { charged: 300n, promised: 700n, refundable: 0n, guaranteed: 0n }],
  [
    "less left than the credit limit",
    CHANNEL,
    980n,
    { charged: 300n, promised: 680n, refundable: 20n, guaranteed: 0n },
  ],
  [
    "a journal that knows less than the chain",
    { ...CHANNEL, acked: 400n },
    0n,
    { charged: 300n, promised: 100n, refundable: 600n, guaranteed: 550n },
  ],
] as const;

for (const [what, counters, countersigned, expected] of CASES) {
  test(`with ${what}, deposited = charged + promised + refundable`, () => {
    const money = moneyOf(counters, countersigned);
    assert.deepEqual(money, { deposited: 1000n, ...expected });
    assert.equal(money.charged + money.promised + money.refundable, money.deposited);
  });
}

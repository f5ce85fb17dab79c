import assert from "node:assert/strict";
import { test } from "node:test";
import { addressBlock, refusalByCredit, refusalByTrial, type ChannelExposure, type TrialExposure } from "./exposure.ts";

function exposure(overrides: Partial<ChannelExposure> = {}): ChannelExposure {
  const channel = {
    paymentKey: new Uint8Array(32),
    balance: 1000n,
    charged: 0n,
    acked: 0n,
    creditLimit: 100n,
    isClosing: false,
  };
  return { channel, hold: 100n, openHolds: 0n, countersigned: 0n, uncountersigned: 0n, openDisputes: 0, ...overrides };
}

function channel(overrides: Partial<NonNullable<ChannelExposure["channel"]>>): ChannelExposure["channel"] {
  const base = exposure().channel;
  return base === undefined ? undefined : { ...base, ...overrides };
}

test("credit reaches exactly to the limit", () => {
  assert.equal(refusalByCredit(exposure({ hold: 100n })), undefined);
  assert.equal(refusalByCredit(exposure({ hold: 101n })), "payment_required");
});

test("open holds and charges without a countersignature count against the limit", () => {
  assert.equal(refusalByCredit(exposure({ hold: 40n, openHolds: 30n, uncountersigned: 30n })), undefined);
  assert.equal(refusalByCredit(exposure({ hold: 41n, openHolds: 30n, uncountersigned: 30n })), "payment_required");
});

test("what was countersigned and not yet charged on chain is spent", () => {
  const rich = channel({ creditLimit: 5000n });
  assert.equal(refusalByCredit(exposure({ channel: rich, hold: 300n, countersigned: 700n })), undefined);
  assert.equal(refusalByCredit(exposure({ channel: rich, hold: 301n, countersigned: 700n })), "payment_required");
});

test("what was charged on chain has left the balance and is not counted twice", () => {
  const rich = channel({ creditLimit: 5000n, balance: 300n, charged: 700n });
  assert.equal(refusalByCredit(exposure({ channel: rich, hold: 300n, countersigned: 700n })), undefined);
});

test("what the chain charged before a countersignature came is spent once, not twice", () => {
  const rich = channel({ creditLimit: 5000n, balance: 300n, charged: 700n });
  const ahead = { channel: rich, countersigned: 500n, uncountersigned: 200n };
  assert.equal(refusalByCredit(exposure({ ...ahead, hold: 300n })), undefined);
  assert.equal(refusalByCredit(exposure({ ...ahead, hold: 301n })), "payment_required");
});

test("what the chain has seen charged or agreed to beyond this ledger is spent", () => {
  for (const seen of [{ charged: 700n, balance: 300n }, { acked: 700n }]) {
    const rich = channel({ creditLimit: 5000n, ...seen });
    assert.equal(refusalByCredit(exposure({ channel: rich, hold: 300n, countersigned: 100n })), undefined);
    assert.equal(refusalByCredit(exposure({ channel: rich, hold: 301n, countersigned: 100n })), "payment_required");
  }
});

test("a channel that is not seen open, or is closing, has no credit", () => {
  assert.equal(refusalByCredit(exposure({ channel: undefined, hold: 1n })), "payment_required");
  assert.equal(refusalByCredit(exposure({ channel: channel({ isClosing: true }), hold: 1n })), "payment_required");
});

test("a fourth open dispute ends the credit", () => {
  assert.equal(refusalByCredit(exposure({ openDisputes: 3 })), undefined);
  assert.equal(refusalByCredit(exposure({ openDisputes: 4 })), "payment_required");
});

function trial(overrides: Partial<TrialExposure> = {}): TrialExposure {
  return {
    hold: 0n,
    maxCompletionTokens: 0,
    keyPaid: 0n,
    keyTokens: 0,
    dayPaid: 0n,
    otherKeysOfBlock: 0,
    ...overrides,
  };
}

const TRIAL_EDGES: readonly (readonly [string, Partial<TrialExposure>, Partial<TrialExposure>])[] = [
  [
    "20 000 completion tokens",
    { keyTokens: 19_000, maxCompletionTokens: 1000 },
    { keyTokens: 19_000, maxCompletionTokens: 1001 },
  ],
  ["0.002 TON", { keyPaid: 1_000_000n, hold: 1_000_000n }, { keyPaid: 1_000_000n, hold: 1_000_001n }],
  ["0.2 TON of all keys a day", { dayPaid: 199_999_999n, hold: 1n }, { dayPaid: 199_999_999n, hold: 2n }],
  ["10 keys of an address block", { otherKeysOfBlock: 9 }, { otherKeysOfBlock: 10 }],
];

for (const [what, last, over] of TRIAL_EDGES) {
  test(`a trial reaches to ${what} and not beyond`, () => {
    assert.equal(refusalByTrial(trial(last)), undefined);
    assert.equal(refusalByTrial(trial(over)), "trial_exhausted");
  });
}

test("addresses of one /24 or /48 are one block", () => {
  assert.equal(addressBlock("192.0.2.7"), addressBlock("192.0.2.250"));
  assert.equal(addressBlock("::ffff:192.0.2.7"), addressBlock("192.0.2.9"));
  assert.notEqual(addressBlock("192.0.2.7"), addressBlock("192.0.3.7"));
  assert.equal(addressBlock("2001:db8:1:2::7"), addressBlock("2001:db8:1:ffff::1"));
  assert.notEqual(addressBlock("2001:db8:1:2::7"), addressBlock("2001:db8:2:2::7"));
  assert.equal(addressBlock("2001:db8::7"), addressBlock("2001:db8:0:1::7"));
});

import assert from "node:assert/strict";
import test from "node:test";
import type { FailureCode } from "../../protocol/index.ts";
import { fakeAnswer } from "./ton-connect/answer.fake.ts";
import type { WalletAnswer } from "./ton-connect/answer.ts";
import { checkWalletAnswer, type AnswerExpectation } from "./wallet-proof.ts";

const NOW = 1_790_000_000;
const IDENTITY_KEY = new Uint8Array(32).fill(5);
const EXPECTED: AnswerExpectation = {
  identityKey: IDENTITY_KEY,
  networkId: -239,
  domain: "app.example",
  now: NOW,
  address: undefined,
};
const answer = (timestamp = NOW): WalletAnswer => fakeAnswer({ identityKey: IDENTITY_KEY, timestamp });

function refused(given: WalletAnswer, code: FailureCode, expected: Partial<AnswerExpectation> = {}): void {
  assert.throws(() => checkWalletAnswer(given, { ...EXPECTED, ...expected }), { code });
}

test("what holds becomes the proof that gateways are shown", () => {
  const given = answer();
  const { address, stateInit } = given;
  const { domain, timestamp, signature } = given.proof ?? assert.fail();
  assert.deepEqual(checkWalletAnswer(given, EXPECTED), { address, stateInit, domain, timestamp, signature });
  assert.ok(checkWalletAnswer(given, { ...EXPECTED, address }));
});

test("a wallet of another network, account, app, worker or time is refused", () => {
  refused({ ...answer(), networkId: -3 }, "wallet_network");
  refused(fakeAnswer({ identityKey: IDENTITY_KEY, networkId: -3, timestamp: NOW }), "wallet_network");
  refused(answer(), "wallet_address", { address: `0:${"ab".repeat(32)}` });
  refused(answer(), "wallet_proof", { domain: "other.example" });
  refused(answer(), "wallet_proof", { identityKey: new Uint8Array(32).fill(6) });
  refused(answer(NOW - 601), "wallet_proof");
  refused(answer(NOW + 121), "wallet_proof");
  assert.ok(checkWalletAnswer(answer(NOW - 600), EXPECTED));
});

test("a wallet without a proof, or with another's, is refused", () => {
  refused({ ...answer(), proof: undefined }, "wallet_proof");
  const { proof } = fakeAnswer({ identityKey: IDENTITY_KEY, timestamp: NOW }, 2);
  refused({ ...answer(), proof }, "wallet_proof");
});

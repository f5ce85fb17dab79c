import assert from "node:assert/strict";
import { test } from "node:test";
import { linkMessage, workerHelloMessage } from "../protocol/index.ts";
import { checkLogin, type Login, type LoginExpectation } from "./login.ts";
import { signerFromSeed } from "./signatures.ts";

const NOW = 1_790_000_000;
const SIGNER = signerFromSeed(new Uint8Array(32).fill(1));
const EXPECTED: LoginExpectation = {
  role: "worker",
  gatewayKey: new Uint8Array(32).fill(2),
  nonce: new Uint8Array(32).fill(3),
  now: NOW,
};

function login(overrides: Partial<Login> = {}): Login {
  const { role, gatewayKey, nonce } = EXPECTED;
  const { time = NOW, address = "" } = overrides;
  const message = linkMessage({ role, gatewayKey, nonce: nonce ?? new Uint8Array(), time, address });
  const signature = SIGNER.sign(message);
  return { type: "login", protocol: 1, key: SIGNER.publicKey, address, time, signature, ...overrides };
}

test("a login over the gateway's own nonce gives the key", () => {
  assert.deepEqual(checkLogin(login(), EXPECTED).bytes, SIGNER.publicKey);
});

test("a clock is tolerated up to two minutes either way", () => {
  for (const time of [NOW - 120, NOW + 120]) checkLogin(login({ time }), EXPECTED);
  for (const time of [NOW - 121, NOW + 121]) {
    assert.throws(() => checkLogin(login({ time }), EXPECTED), { code: "clock_skew" });
  }
});

const BAD_SIGNATURE = new Uint8Array(64);

test("the first check that fails names the code, in the order of ACN/1 §3.6", () => {
  const late = NOW + 600;
  const spent = { ...EXPECTED, nonce: undefined };
  const cases = [
    ["bad_login", login({ protocol: 2, time: late, signature: BAD_SIGNATURE }), spent],
    ["bad_login", login({ key: new Uint8Array(32), time: late, signature: BAD_SIGNATURE }), spent],
    ["clock_skew", login({ time: late, signature: BAD_SIGNATURE }), spent],
    ["replay", login({ signature: BAD_SIGNATURE }), spent],
    ["bad_login", login({ signature: BAD_SIGNATURE }), EXPECTED],
  ] as const;
  for (const [code, message, expected] of cases) assert.throws(() => checkLogin(message, expected), { code });
});

test("a nonce serves once, though the signature over it is good", () => {
  assert.throws(() => checkLogin(login(), { ...EXPECTED, nonce: undefined }), { code: "replay" });
});

test("a signature for another gateway, nonce, role or address is bad_login", () => {
  const others: readonly Partial<LoginExpectation>[] = [
    { gatewayKey: new Uint8Array(32).fill(9) },
    { nonce: new Uint8Array(32).fill(9) },
    { role: "client" },
  ];
  for (const other of others) {
    assert.throws(() => checkLogin(login(), { ...EXPECTED, ...other }), { code: "bad_login" });
  }
  const moved = { ...login(), address: `0:${"ab".repeat(32)}` };
  assert.throws(() => checkLogin(moved, EXPECTED), { code: "bad_login" });
});

test("what the key signed as a transcript is no login, whichever nonce led there", () => {
  const signature = SIGNER.sign(workerHelloMessage(EXPECTED.nonce ?? new Uint8Array()));
  assert.throws(() => checkLogin(login({ signature }), EXPECTED), { code: "bad_login" });
});

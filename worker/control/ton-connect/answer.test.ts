import assert from "node:assert/strict";
import test from "node:test";
import { parseWalletAnswer } from "./answer.ts";

const ADDRESS = `0:${"AB".repeat(32)}`;

function wallet(overrides: Record<string, unknown> = {}, account: Record<string, unknown> = {}) {
  return {
    account: { address: ADDRESS, chain: "-239", walletStateInit: "te6cc/+=", publicKey: "aa", ...account },
    device: {
      appName: "tonkeeper",
      platform: "iphone",
      features: ["SendTransaction", { name: "SendTransaction", maxMessages: 255 }],
    },
    connectItems: {
      tonProof: {
        name: "ton_proof",
        proof: {
          timestamp: 1_790_000_000,
          domain: { lengthBytes: 11, value: "app.example" },
          payload: "ab",
          signature: Buffer.alloc(64, 1).toString("base64"),
        },
      },
    },
    provider: "http",
    ...overrides,
  };
}

test("what a wallet says of itself is read", () => {
  assert.deepEqual(parseWalletAnswer(wallet()), {
    address: ADDRESS.toLowerCase(),
    networkId: -239,
    stateInit: new Uint8Array(Buffer.from("te6cc/+=", "base64")),
    appName: "tonkeeper",
    maxMessages: 255,
    proof: {
      domain: "app.example",
      timestamp: 1_790_000_000,
      payload: "ab",
      signature: new Uint8Array(64).fill(1),
    },
  });
});

test("a wallet that does not say how many messages it takes is given four", () => {
  for (const features of [[], ["SendTransaction"], [{ name: "SendTransaction", maxMessages: 0 }], [null, 7]])
    assert.equal(parseWalletAnswer(wallet({ device: { appName: "x", features } }))?.maxMessages, 4);
});

test("a proof that is none is no proof, and no reason to fail", () => {
  for (const tonProof of [
    undefined,
    null,
    { name: "ton_proof", error: { code: 400, message: "no" } },
    { proof: { timestamp: -1 } },
    { proof: { timestamp: 1, domain: { value: "x" }, payload: "x", signature: "AAAA" } },
  ])
    assert.equal(parseWalletAnswer(wallet({ connectItems: { tonProof } }))?.proof, undefined);
  assert.ok(parseWalletAnswer(wallet({ connectItems: undefined })));
});

test("an answer without an account in workchain 0 is none", () => {
  for (const given of [
    undefined,
    null,
    {},
    wallet({ device: undefined }),
    wallet({ device: { appName: "x".repeat(65), features: [] } }),
    wallet({}, { address: `-1:${"ab".repeat(32)}` }),
    wallet({}, { address: "EQAvlWFDxGF2lXm67y4yzC17wYKD9A0guwPkMs1gOsM__NOT" }),
    wallet({}, { chain: "mainnet" }),
    wallet({}, { chain: "99999999999" }),
    wallet({}, { chain: "2147483648" }),
    wallet({}, { walletStateInit: "not base64!" }),
    wallet({}, { walletStateInit: "A".repeat(12_000) }),
  ])
    assert.equal(parseWalletAnswer(given), undefined);
});

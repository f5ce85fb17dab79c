import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCommandLine } from "./command-line.ts";
import { rawAddress } from "./owner-address.ts";

const KEY = "ab".repeat(32);
const GOOD = ["serve", "--gateway", "https://gateway.example", "--gateway-key", KEY, "--model", "m.gguf"];

test("gateway, key and model are enough", () => {
  const { gateways, plans, owner, networkId, price } = parseCommandLine(GOOD);
  assert.deepEqual(gateways, [{ url: "https://gateway.example", key: new Uint8Array(32).fill(0xab) }]);
  assert.deepEqual(
    plans.map(({ modelPath, slots, contextTokens }) => [modelPath, slots, contextTokens]),
    [["m.gguf", 4, 4096]],
  );
  assert.deepEqual([owner, networkId], [undefined, -239]);
  assert.deepEqual(price, { prompt: 20_000_000n, cached: 10_000_000n, completion: 60_000_000n });
});

test("every option is taken", () => {
  const command = parseCommandLine([
    ...GOOD,
    ...[
      "--price",
      "3,1,9",
      "--owner",
      `0:${KEY}`,
      "--slots",
      "2",
      "--context",
      "512",
      "--gpu",
      "off",
      "--threads",
      "1",
    ],
    ...["--data", "/data", "--network", "-3", "--json"],
  ]);
  const { price, owner, plans, dataFolder, networkId, isJson } = command;
  assert.deepEqual(
    { price, owner, dataFolder, networkId, isJson },
    {
      price: { prompt: 3n, cached: 1n, completion: 9n },
      owner: `0:${KEY}`,
      dataFolder: "/data",
      networkId: -3,
      isJson: true,
    },
  );
  assert.deepEqual(plans[0], {
    modelPath: "m.gguf",
    contextTokens: 512,
    slots: 2,
    queueLimit: 2,
    batchTokens: 512,
    threads: 1,
    gpu: false,
    gpuLayers: "auto",
    kvCache: "f16",
  });
});

const wrong: readonly (readonly [args: readonly string[], says: RegExp])[] = [
  [["dance"], /"dance" is not a command/],
  [["serve"], /--gateway is missing/],
  [["serve", "--gateway", "https://a", "--model", "m"], /each --gateway needs its --gateway-key/],
  [["serve", "--gateway", "https://a", "--gateway-key", "abc", "--model", "m"], /abc is not a key/],
  [GOOD.slice(0, 5), /--model is missing/],
  [[...GOOD, "--price", "1,2"], /three whole numbers/],
  [[...GOOD, "--price", "1,2,3"], /cached tokens cost more/],
  [[...GOOD, "--price", "1.5,1,3"], /1.5 is not a whole number/],
  [[...GOOD, "--owner", "EQnonsense"], /not a TON address/],
  [[...GOOD, "--slots", "0"], /--slots 0/],
  [[...GOOD, "--context", "many"], /--context many/],
  [[...GOOD, "--gpu", "toaster"], /--gpu toaster/],
  [[...GOOD, "--surprise"], /surprise/],
];
for (const [args, says] of wrong) {
  test(`"${args.join(" ")}" is refused with what is wrong about it`, () => {
    assert.throws(() => parseCommandLine(args), { code: "bad_configuration", message: says });
  });
}

test("an owner's address is read as wallets show it, and a mistyped one is refused", () => {
  // docs.ton.org, "Smart contract addresses": one account in its four forms.
  const raw = "0:ca6e321c7cce9ecedf0a8ca2492ec8592494aa5fb5ce0387dff96ef6af982a3e";
  const bounceable = "EQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPrHF";
  assert.equal(rawAddress(bounceable), raw);
  assert.equal(rawAddress("UQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPuwA"), raw);
  assert.equal(rawAddress("kQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPgpP"), raw);
  assert.equal(rawAddress(raw.toUpperCase().replace("0:", "0:")), raw);
  assert.equal(rawAddress(bounceable.replace("b", "c")), undefined);
  for (const text of ["", "0:12", "-1:" + "0".repeat(64), "x".repeat(48)]) assert.equal(rawAddress(text), undefined);
});

import assert from "node:assert/strict";
import test from "node:test";
import { fakeChainClock } from "./chain-clock.fake.ts";
import { readerOf, type ChainChoice, type ChainPorts } from "./chosen-chain.ts";
import { ok, scriptedNode, type ScriptedNode } from "./toncenter.fake.ts";

const ADDRESS = `0:${"aa".repeat(32)}`;

function portsOf(node: ScriptedNode): ChainPorts {
  return { fetch: node.fetch, clock: fakeChainClock(), random: () => 0 };
}

test("without more, a network is read through its public node", async () => {
  const node = scriptedNode({ networkId: -239 });
  const reader = readerOf({ network: "mainnet" }, portsOf(node));
  assert.equal(await reader.networkId(), -239);
  assert.equal(node.asked[0]?.url, "https://toncenter.com/api/v2/jsonRPC");
  assert.equal(node.asked[0].headers["x-api-key"], undefined);
});

test("a person's own node is asked with their own key, and held to the network they chose", async () => {
  const node = scriptedNode({ networkId: -3 });
  const endpoint = { url: "https://node.example/api/v2", apiKey: "key" };
  await readerOf({ network: "testnet", endpoint }, portsOf(node)).networkId();
  assert.deepEqual([node.asked[0]?.url, node.asked[0]?.headers["x-api-key"]], [`${endpoint.url}/jsonRPC`, "key"]);
  const mainnet = readerOf({ network: "mainnet", endpoint }, portsOf(node));
  await assert.rejects(mainnet.account(ADDRESS), { code: "chain_other_network" });
});

test("with a second node, both are asked", async () => {
  const node = scriptedNode();
  node.on("runGetMethod", ok({ exit_code: 0, stack: [] }));
  const choice = { endpoint: { url: "http://127.0.0.1:1" }, second: { url: "http://127.0.0.1:2" } };
  await readerOf({ network: "devnet", ...choice }, portsOf(node)).get(ADDRESS, "seqno");
  const asked = node.asked.filter(({ method }) => method === "runGetMethod").map(({ url }) => url);
  assert.deepEqual(asked.sort(), ["http://127.0.0.1:1/jsonRPC", "http://127.0.0.1:2/jsonRPC"]);
});

const REFUSED: readonly (readonly [what: string, choice: ChainChoice])[] = [
  ["no network", { network: "mars" }],
  ["a devnet that is nowhere", { network: "devnet" }],
  ["an endpoint that is none", { network: "mainnet", endpoint: { url: "toncenter" } }],
  ["a second endpoint that is none", { network: "mainnet", second: { url: "ftp://x" } }],
  ["one node twice", { network: "mainnet", second: { url: "https://toncenter.com/api/v2/" } }],
  ["a key in the clear", { network: "mainnet", endpoint: { url: "http://node.example", apiKey: "key" } }],
];

for (const [what, choice] of REFUSED) {
  test(`a choice is refused that has ${what}`, () => {
    assert.throws(() => readerOf(choice, portsOf(scriptedNode())), { code: "bad_configuration" });
  });
}

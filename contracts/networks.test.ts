import assert from "node:assert/strict";
import test from "node:test";
import { parseEndpoint } from "./endpoint.ts";
import { networkNamed, NETWORKS } from "./networks.ts";

test("a network is chosen by its name, and no other word stands for one", () => {
  assert.equal(networkNamed("mainnet").networkId, -239);
  assert.equal(networkNamed("testnet").networkId, -3);
  for (const name of ["", "Mainnet", "main", "toString", "__proto__"]) {
    assert.throws(() => networkNamed(name), { code: "bad_configuration" });
  }
});

test("no two networks share an id, so that no voucher is worth coins on two", () => {
  const ids = Object.values(NETWORKS).map(({ networkId }) => networkId);
  assert.equal(new Set(ids).size, ids.length);
});

test("the public endpoints are asked in secret, and the devnet has none", () => {
  assert.equal(NETWORKS.devnet.endpoint, undefined);
  for (const { endpoint } of [NETWORKS.testnet, NETWORKS.mainnet]) {
    assert.match(parseEndpoint(endpoint ?? "", "key").url, /^https:.*\/jsonRPC$/);
  }
});

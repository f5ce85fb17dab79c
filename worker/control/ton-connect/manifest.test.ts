import assert from "node:assert/strict";
import test from "node:test";
import { APP_DOMAINS } from "../../../contracts/owner-proof.ts";
import manifest from "../../../build/tonconnect-manifest.json" with { type: "json" };
import { APP_MANIFEST } from "./manifest.ts";

test("the manifest has what wallet apps ask for, and nothing they stumble over", () => {
  assert.deepEqual(Object.keys(manifest), ["url", "name", "iconUrl"]);
  assert.equal(new URL(manifest.url).origin, manifest.url, "https, no path and no slash at the end");
  assert.match(manifest.url, /^https:/);
  assert.match(manifest.iconUrl, /^https:.*\.png$/);
});

test("gateways accept proofs for this app", () => {
  assert.ok(APP_DOMAINS.includes(APP_MANIFEST.domain));
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { keyPairFromSeed, verifySignature } from "../protocol/index.ts";
import { createClient, type Client } from "./browser.ts";
import { browserSignatures } from "./browser-signing.ts";
import { FAKE_ROOT, startFakeGateway } from "./gateway.fake.ts";
import { BODY, CHANNEL } from "./network.fake.ts";
import { nodeSignatures } from "./node-signing.ts";
import { DEMO_POLICY } from "../protocol/index.ts";

/** Files of ours, and packages, that one file imports for more than types. */
function importsOf(file: string): string[] {
  const source = readFileSync(file, "utf8");
  const statements = source.matchAll(
    /^(?:import|export)\s(?!type\s)[^;]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|import\("([^"]+)"\)/gm,
  );
  return [...statements].map(([, from, bare, lazy]) => from ?? bare ?? lazy ?? "");
}

test("nothing that the browser's entry reaches imports Node", () => {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const name of importsOf(file)) {
      if (name.startsWith(".")) visit(join(dirname(file), name));
      else packages.add(name.startsWith("@") ? name.split("/").slice(0, 2).join("/") : (name.split("/")[0] ?? name));
    }
  };
  visit(join(import.meta.dirname, "browser.ts"));
  assert.ok(seen.size > 30, `${seen.size} files`);
  assert.deepEqual([...packages].sort(), [
    "@noble/ciphers",
    "@noble/curves",
    "@noble/hashes",
    "@panva/hpke-noble",
    "hpke",
    "zod",
  ]);
});

test("nothing that the browser's entry reaches names what only Node has", () => {
  for (const file of ["client.ts", "link.ts", "session.ts", "stream.ts", "account.ts", "evidence.ts", "browser.ts"]) {
    const source = readFileSync(join(import.meta.dirname, file), "utf8");
    assert.doesNotMatch(source, /\b(process|Buffer|require|setImmediate)\b[.(]/, file);
  }
});

test("the browser's client asks, gets its answer and countersigns, over the platform's own socket", async (t) => {
  const gateway = await startFakeGateway();
  const client: Client = createClient({
    gateway: { url: gateway.url, key: gateway.key },
    policy: DEMO_POLICY,
    paymentSeed: new Uint8Array(32).fill(3),
    channel: CHANNEL,
    catalogue: [{ id: "practice", manifestRoot: FAKE_ROOT }],
  });
  t.after(async () => {
    await client.close();
    await gateway.close();
  });
  assert.equal((await client.complete(BODY)).text, "Hello world");
  assert.equal((await gateway.next("countersign")).total, 13n);
});

const SEED = new Uint8Array(32).fill(9);
const MESSAGE = new Uint8Array(100).fill(1);

for (const [name, signatures] of [
  ["OpenSSL's", nodeSignatures()],
  ["WebCrypto's", browserSignatures()],
] as const) {
  test(`${name} signatures are the protocol's, and so are its checks`, async () => {
    const { publicKey, sign } = keyPairFromSeed(SEED);
    const key = signatures.paymentKey(SEED);
    assert.deepEqual(key.publicKey, publicKey);
    assert.deepEqual(await key.sign(MESSAGE), sign(MESSAGE));
    assert.ok(verifySignature(await key.sign(MESSAGE), MESSAGE, publicKey));
    assert.equal(JSON.stringify(key), '"[secret]"');
    assert.equal(await signatures.verify(sign(MESSAGE), MESSAGE, publicKey), true);
    const wrong = sign(MESSAGE);
    wrong[0] = (wrong[0] ?? 0) ^ 1;
    assert.equal(await signatures.verify(wrong, MESSAGE, publicKey), false);
    assert.equal(await signatures.verify(wrong.subarray(1), MESSAGE, publicKey), false);
    assert.equal(await signatures.verify(sign(MESSAGE), MESSAGE, publicKey.subarray(1)), false);
    assert.equal(await signatures.verify(sign(MESSAGE), MESSAGE, new Uint8Array(32).fill(255)), false);
  });
}

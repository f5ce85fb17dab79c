import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import test from "node:test";
import { promisify } from "node:util";

const ROOM = new URL(".", import.meta.url);

/** Every source of this room that ships, by its path from here. */
async function sources(): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(ROOM, { recursive: true });
  const shipped = names.filter((name) => name.endsWith(".ts") && !/\.(test|fake)\.ts$/.test(name));
  return new Map(
    await Promise.all(
      shipped.map(async (name) => [name.replaceAll("\\", "/"), await readFile(new URL(name, ROOM), "utf8")] as const),
    ),
  );
}

test("the protocol imports nothing of Node, and little else", async () => {
  const allowed = /^(\.|zod$|hpke$|@panva\/hpke-noble$|@noble\/(ciphers|curves|hashes)\/)/;
  for (const [name, source] of await sources())
    for (const [, from = ""] of source.matchAll(/\b(?:from|import)\s*\(?\s*"([^"]+)"/g))
      assert.match(from, allowed, name);
});

test("the protocol reads no clock, dice, network or platform global", async () => {
  const globals =
    /\b(Buffer|process|require|fetch|WebSocket|XMLHttpRequest|performance|setTimeout|setInterval|setImmediate|Math\.random|Date\.now|new Date\(\)|getRandomValues|randomUUID)\b/;
  for (const [name, source] of await sources()) {
    const code = source.replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    assert.doesNotMatch(code, globals, name);
  }
});

test("the front door opens onto every file of the room but the schema library", async () => {
  const door = (await sources()).get("index.ts") ?? "";
  for (const name of (await sources()).keys())
    if (name !== "index.ts" && name !== "schema.ts") assert.ok(door.includes(`"./${name}"`), name);
});

test("the protocol loads and works where Buffer and process are gone, and code from strings is forbidden", async () => {
  const script = `
    delete globalThis.Buffer;
    const { parseWorkerToGateway, encodeOffer, parseOffer, utf8, toBase64url } = await import(${JSON.stringify(new URL("index.ts", ROOM).href)});
    delete globalThis.process;
    const message = parseWorkerToGateway('{"type":"voucher_ack","total":"7"}');
    if (message.type !== "voucher_ack" || message.total !== 7n || toBase64url(utf8("ok")) !== "b2s") throw new Error("wrong");
    console.log("works");
  `;
  const flags = ["--disallow-code-generation-from-strings", "--input-type=module", "--eval", script];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  assert.equal(stdout, "works\n");
});

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { toBase64url, toHex } from "../protocol/index.ts";
import { FAKE_ROOT, startFakeGateway, type FakeGateway } from "./gateway.fake.ts";
import { BODY } from "./network.fake.ts";
import { parseServeSettings } from "./settings.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const DEMO = JSON.stringify({
  v: "acn1-policy",
  minTier: "software",
  beacon: "ifAvailable",
  software: { pinWorkers: [], requireSigstoreRelease: false },
});

interface Run {
  readonly line: Promise<string>;
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
  /** Resolves when standard error has these words once more than it had when they were last waited for. */
  said(words: string): Promise<void>;
  stop(): void;
}

function run(t: TestContext, args: readonly string[], env: Readonly<Record<string, string>> = {}): Run {
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  const line = Promise.withResolvers<string>();
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (part: Buffer) => {
    stdout += part.toString();
    if (stdout.includes("\n")) line.resolve(stdout);
  });
  let heard = 0;
  let listen: () => void = () => undefined;
  child.stderr.on("data", (part: Buffer) => {
    stderr += part.toString();
    listen();
  });
  const said = async (words: string): Promise<void> => {
    for (let at = stderr.indexOf(words, heard); ; at = stderr.indexOf(words, heard)) {
      if (at >= 0) heard = at + words.length;
      if (at >= 0) return;
      await new Promise<void>((resolve) => (listen = resolve));
    }
  };
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.on("close", (code) => {
      line.resolve(stdout);
      resolve({ code, stderr });
    });
  });
  return { line: line.promise, ended, said, stop: () => child.kill("SIGTERM") };
}

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-serve-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function gatewayFor(t: TestContext): Promise<FakeGateway> {
  const gateway = await startFakeGateway({ isTrial: true });
  t.after(() => gateway.close());
  return gateway;
}

test("the command says where it listens, answers there, keeps its keys and ends cleanly", async (t) => {
  const gateway = await gatewayFor(t);
  const folder = folderFor(t);
  const data = join(folder, "data");
  writeFileSync(join(folder, "policy.json"), DEMO);
  const catalogue = { v: "acn1-catalogue", models: [{ id: "practice", manifestRoot: FAKE_ROOT }] };
  writeFileSync(join(folder, "models.json"), JSON.stringify(catalogue));
  const args = ["serve", "--json", "--data", data, "--policy", join(folder, "policy.json")];
  const env = { COCOON_GATEWAY: gateway.url, COCOON_GATEWAY_KEY: toBase64url(gateway.key) };
  const first = run(t, [...args, "--catalogue", join(folder, "models.json")], env);
  const ready = JSON.parse(await first.line) as { baseUrl: string; apiKey: string; models: string[] };
  assert.deepEqual(ready.models, ["practice"]);
  const headers = { authorization: `Bearer ${ready.apiKey}` };
  const response = await fetch(`${ready.baseUrl}/chat/completions`, {
    method: "POST",
    headers,
    body: JSON.stringify(BODY),
  });
  assert.match(await response.text(), /"content":"Hello world"/);
  first.stop();
  assert.equal((await first.ended).code, 0);
  const second = run(t, args, env);
  assert.equal((JSON.parse(await second.line) as { apiKey: string }).apiKey, ready.apiKey);
  assert.equal(readFileSync(join(data, "api.key"), "utf8").trim(), ready.apiKey);
  second.stop();
  assert.equal((await second.ended).code, 0);
});

test("an unreachable gateway is said so, and dialled until the command is stopped", async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const key = createHash("sha256").digest("hex");
  const child = run(t, [
    "serve",
    "--gateway",
    `http://127.0.0.1:${port}`,
    "--gateway-key",
    key,
    "--data",
    folderFor(t),
  ]);
  setTimeout(() => child.stop(), 1500).unref();
  const { code, stderr } = await child.ended;
  assert.equal(code, 0);
  assert.match(stderr, /the link ended \(.*ECONNREFUSED.*\); dialling again in \d+ ms/);
});

test("a gateway with another key ends the command with what is wrong", async (t) => {
  const gateway = await gatewayFor(t);
  const args = ["serve", "--gateway", gateway.url, "--gateway-key", toHex(new Uint8Array(32)), "--data", folderFor(t)];
  const { code, stderr } = await run(t, args).ended;
  assert.equal(code, 1);
  assert.match(stderr, /^bad_login: .*another key than the one chosen/m);
});

test("a port that is taken, a mistaken policy and a missing setting end the command with what to do", async (t) => {
  const gateway = await gatewayFor(t);
  const folder = folderFor(t);
  writeFileSync(join(folder, "policy.json"), DEMO.replace("minTier", "minTeir"));
  const base = [
    "serve",
    "--gateway",
    gateway.url,
    "--gateway-key",
    toBase64url(gateway.key),
    "--data",
    join(folder, "data"),
  ];
  const cases: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [
      [...base, "--port", new URL(gateway.url).port],
      /^port_taken: Another program already listens on this port\. Stop it, or choose/m,
    ],
    [[...base, "--policy", join(folder, "policy.json")], /^policy_format: .*minTeir/m],
    [[...base, "--policy", join(folder, "none.json")], /^bad_configuration: .*--policy: .*none\.json cannot be read/m],
    [["serve", "--gateway", gateway.url], /^bad_configuration: .*--gateway-key is missing/m],
    [["sing"], /^bad_configuration: .*unknown command "sing"/m],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await run(t, args).ended;
    assert.match(stderr, message);
    assert.equal(code, 1);
  }
});

const KEY = toHex(new Uint8Array(32).fill(7));
const REQUIRED = ["--gateway", "https://g.example", "--gateway-key", KEY];

test("settings come from flags first, then from the environment", () => {
  const settings = parseServeSettings([...REQUIRED, "--max-price", "3,2,9", "--port", "8080"], {
    COCOON_CLIENT_DATA: "/data",
  });
  assert.deepEqual(settings.gatewayKey, new Uint8Array(32).fill(7));
  assert.deepEqual(settings.maxPrice, { prompt: 3n, cached: 2n, completion: 9n });
  assert.deepEqual(
    [settings.port, settings.dataFolder, settings.allowTier, settings.channel],
    [8080, "/data", false, undefined],
  );
  const channel = ["--channel", `0:${"ab".repeat(32)}`, "--network-id", "-3"];
  assert.deepEqual(parseServeSettings([...REQUIRED, ...channel], {}).channel, {
    address: `0:${"ab".repeat(32)}`,
    networkId: -3,
  });
});

test("a key or a network id that begins with a dash is a value", () => {
  const key = new Uint8Array(32).fill(0xfb);
  assert.match(toBase64url(key), /^-/);
  const settings = parseServeSettings(
    ["--gateway", "https://g.example", "--gateway-key", toBase64url(key), "--json"],
    {},
  );
  assert.deepEqual([settings.gatewayKey, settings.isJson], [key, true]);
});

for (const [args, named] of [
  [["--gateway", "--gateway-key", KEY], "--gateway"],
  [[], "--gateway"],
  [["--gateway", "https://g.example"], "--gateway-key"],
  [["--gateway", "https://g.example", "--gateway-key", "short"], "--gateway-key"],
  [[...REQUIRED, "--port", "99999"], "--port"],
  [[...REQUIRED, "--port", "x"], "--port"],
  [[...REQUIRED, "--max-price", "1,2,3"], "--max-price"],
  [[...REQUIRED, "--channel", "EQabc"], "--channel"],
  [[...REQUIRED, "--channel", `0:${"ab".repeat(32)}`], "--network-id"],
  [[...REQUIRED, "--network-id", "-3"], "--channel"],
  [[...REQUIRED, "--colour"], "--colour"],
] as const) {
  test(`the setting ${named} is named when it is wrong: ${args.slice(-2).join(" ")}`, () => {
    assert.throws(() => parseServeSettings(args, {}), { code: "bad_configuration", message: new RegExp(named) });
  });
}

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { FIN, FrameSealer, fromBase64url, utf8, type Direction } from "../protocol/index.ts";
import { answer, ask, dialClient, openStream, servingWorker, sendReceipt, type Dialled } from "./peers.fake.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "gateway-main-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly code: Promise<number | null>;
}

function run(t: TestContext, args: readonly string[], cwd: string, nodeFlags: readonly string[] = []): Run {
  const child = spawn(process.execPath, [...nodeFlags, MAIN, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => (output += part.toString()));
  const code = once(child, "close").then(([status]) => status as number | null);
  return { child, output: () => output, code };
}

async function ready({ child, output }: Run): Promise<Dialled> {
  while (!output().includes("\n")) {
    if (child.exitCode !== null) throw new Error(output());
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { url, httpUrl, gatewayKey } = JSON.parse(output().split("\n")[0] ?? "") as Record<string, string>;
  return { url: url ?? "", httpUrl: httpUrl ?? "", gatewayKey: fromBase64url(gatewayKey ?? "") ?? new Uint8Array() };
}

test("the command says where it is, serves, and ends at SIGTERM without an error", async (t) => {
  const dataDir = folder(t);
  const running = run(t, ["--port", "0", "--data", dataDir, "--json", "--grace", "0"], dataDir);
  const { httpUrl } = await ready(running);
  assert.equal((await fetch(`${httpUrl}/v1/status`)).status, 200);
  running.child.kill("SIGTERM");
  assert.equal(await running.code, 0);
  assert.deepEqual(readdirSync(dataDir).sort(), ["gateway.key", "ledger.sqlite"]);
});

const REFUSALS: readonly (readonly [string, readonly string[], number, RegExp])[] = [
  ["a flag it does not know", ["--prot", "1"], 64, /Usage: npm run gateway/],
  ["a port that is no number", ["--port", "http"], 1, /bad_configuration: --port takes a whole number/],
  ["a fee over 10 %", ["--fee-bps", "1001"], 1, /--fee-bps takes a whole number from 0 to 1000/],
  ["a folder that cannot be made", ["--data", "/dev/null/x"], 1, /bad_configuration: cannot make the folder/],
  ["half of a TLS pair", ["--tls-key", "k"], 1, /--tls-key goes with --tls-cert/],
  ["a TLS file that is not there", ["--tls-key", "k", "--tls-cert", "c"], 1, /a TLS file cannot be read/],
];

for (const [what, args, status, says] of REFUSALS) {
  test(`${what} is told in words, with exit code ${status}`, async (t) => {
    const running = run(t, args, folder(t));
    assert.equal(await running.code, status);
    assert.match(running.output(), says);
    assert.doesNotMatch(running.output(), /\n\s+at /);
  });
}

test("a port that is taken is told with what to do", async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const running = run(t, ["--port", String((server.address() as AddressInfo).port)], folder(t));
  assert.equal(await running.code, 1);
  assert.match(running.output(), /port_taken[^]*--port/);
});

/** Seals as both ends of a session would, with keys that the gateway never sees. */
function sealer(direction: Direction): FrameSealer {
  const [key, iv, sessionId] = [randomBytes(32), randomBytes(12), randomBytes(16)];
  return new FrameSealer({ key, iv, sessionId, direction, streamId: 1, toJSON: () => "[secret]" });
}

test("a prompt and an answer are in neither the gateway's memory, files nor output while their stream runs", async (t) => {
  const dataDir = folder(t);
  const running = run(t, ["--port", "0", "--data", dataDir, "--json", "--grace", "0"], dataDir, [
    "--heapsnapshot-signal=SIGUSR2",
  ]);
  const gateway = await ready(running);
  const worker = await servingWorker(gateway);
  const client = await dialClient(gateway);
  await client.next("welcome");
  t.after(() => {
    client.close();
    worker.close();
  });
  const [prompt, completion] = ["PROMPT", "ANSWER"].map((name) => `${name} ${randomBytes(12).toString("hex")} MARK`);
  const stream = await openStream(client, worker, { maxCompletionTokens: 20 });
  const [up, down] = [sealer(0), sealer(1)];
  await ask(stream, up.seal(utf8(prompt ?? "")));
  await answer(stream, down.seal(utf8(completion ?? "")));
  running.child.kill("SIGUSR2");
  const snapshot = (): string | undefined => readdirSync(dataDir).find((name) => name.endsWith(".heapsnapshot"));
  while (snapshot() === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  // The process writes on its main thread: once it answers, the file is whole.
  await fetch(`${gateway.httpUrl}/v1/status`);
  await ask(stream, up.seal(new Uint8Array(), FIN));
  await answer(stream, down.seal(new Uint8Array(), FIN));
  sendReceipt(stream);
  await client.next("charge");
  const memory = readFileSync(join(dataDir, snapshot() ?? ""));
  assert.ok(
    memory.length > 1_000_000 && memory.includes(worker.workerId),
    "the snapshot shows what the gateway does know",
  );
  running.child.kill("SIGTERM");
  assert.equal(await running.code, 0);
  const files = readdirSync(dataDir).map((name) => readFileSync(join(dataDir, name)));
  for (const marker of [prompt, completion]) {
    const bytes = Buffer.from(marker ?? "");
    const forms = [bytes, Buffer.from(marker ?? "", "utf16le"), bytes.toString("hex"), ...base64Forms(bytes)];
    for (const form of forms)
      for (const file of [...files, Buffer.from(running.output())]) assert.ok(!file.includes(form));
  }
});

/** Base64 of the middle of a text, at each of the three offsets it can have in a longer one. */
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].map((offset) => bytes.subarray(offset, offset + 30).toString("base64"));
}

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { toHex } from "../protocol/index.ts";
import { startFakeGateway } from "./serving/gateway.fake.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

function run(t: TestContext, ...args: readonly string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  const output = { text: "" };
  const heard = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output.text += chunk.toString();
      for (const look of heard) look();
    });
  }
  const said = (words: string): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (output.text.includes(words)) resolve();
      };
      heard.add(look);
      look();
    });
  const exited = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return { output, said, exited, interrupt: () => child.kill("SIGINT") };
}

async function set(t: TestContext) {
  const gateway = await startFakeGateway();
  const folder = await mkdtemp(join(tmpdir(), "cocoon-worker-"));
  t.after(async () => {
    await gateway.stop();
    await rm(folder, { recursive: true });
  });
  const model = join(folder, "broken.gguf");
  await writeFile(model, "this is not a model");
  const data = join(folder, "data");
  const link = ["--gateway", gateway.url, "--gateway-key", toHex(gateway.key), "--network", "-3", "--data", data];
  return { folder, data, args: ["serve", ...link, "--model", model, "--gpu", "off", "--threads", "1"] };
}

test("a model file that is none ends the command with what to do about it", async (t) => {
  const { args, data } = await set(t);
  const { exited, output } = run(t, ...args);
  assert.equal(await exited, 1);
  assert.match(output.text, /Download it again, or choose a model this version can run/);
  assert.equal((await readdir(data)).includes("worker.lock"), false);
});

test("Ctrl-C ends the command cleanly and leaves no lock behind", async (t) => {
  const { args, data } = await set(t);
  const { said, exited, output, interrupt } = run(t, ...args);
  await said("This worker is");
  interrupt();
  assert.equal(await exited, 0, output.text);
  assert.match(output.text, /Stopping.*\n.*Earned since the start: 0 TON/);
  assert.equal((await readdir(data)).includes("worker.lock"), false);
});

test("an option that is wrong is named, with the usage", async (t) => {
  const { exited, output } = run(t, "serve", "--gateway", "https://gateway.example");
  assert.equal(await exited, 1);
  assert.match(output.text, /each --gateway needs its --gateway-key[^]*Usage:/);
});

test("a plain address outside this computer is refused before anything is sent", async (t) => {
  const { args } = await set(t);
  const { exited, output } = run(t, ...args, "--gateway", "http://gateway.example", "--gateway-key", "ab".repeat(32));
  assert.equal(await exited, 1);
  assert.match(output.text, /needs https/);
});

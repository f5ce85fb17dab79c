import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { text } from "node:stream/consumers";
import { Failure } from "../protocol/index.ts";
import { DEVNET_NETWORK_ID } from "./accounts.ts";
import { portOf } from "./command.ts";

const OWNER = `0:${"22".repeat(32)}`;

interface Served {
  readonly child: ChildProcess;
  /** Everything on standard output and error, once it has ended. */
  readonly said: Promise<readonly [output: string, errors: string]>;
  readonly exitCode: Promise<number | null>;
  /** The first line on standard output. */
  firstLine(): Promise<string>;
}

/** The command as npm starts it, with a folder for temporary files of its own. */
function serve(t: TestContext, args: readonly string[]): Served & { readonly temporary: string } {
  const temporary = mkdtempSync(join(tmpdir(), "cocoon-serve-"));
  const child = spawn(process.execPath, [join(import.meta.dirname, "serve.ts"), ...args], {
    env: { ...process.env, TMPDIR: temporary },
  });
  const { stdout, stderr } = child;
  const exitCode = new Promise<number | null>((resolve) => child.once("exit", resolve));
  t.after(async () => {
    child.kill("SIGKILL");
    await exitCode;
    rmSync(temporary, { recursive: true, force: true });
  });
  const firstLine = new Promise<string>((resolve) => {
    let read = "";
    stdout.on("data", (part: Buffer) => {
      read += part.toString();
      const end = read.indexOf("\n");
      if (end >= 0) resolve(read.slice(0, end));
    });
  });
  return { child, temporary, exitCode, firstLine: () => firstLine, said: Promise.all([text(stdout), text(stderr)]) };
}

interface Ready {
  readonly ready: true;
  readonly endpoint: string;
  readonly networkId: number;
  readonly faucetUrl: string;
  readonly faucetAddress: string;
  readonly blockMs: number;
}

async function balanceAt({ endpoint }: Ready): Promise<unknown> {
  const url = endpoint.replace("jsonRPC", `getAddressBalance?address=${OWNER}`);
  return ((await (await fetch(url)).json()) as { result: unknown }).result;
}

test("the devnet says in one JSON line where it is, gives coins, and leaves nothing behind at Ctrl-C", async (t) => {
  const { child, firstLine, said, exitCode, temporary } = serve(t, ["--json", "--block-ms", "50"]);
  const line = await firstLine();
  const ready = JSON.parse(line) as Ready;
  assert.deepEqual([ready.ready, ready.networkId, ready.blockMs], [true, DEVNET_NETWORK_ID, 50]);
  const gift = await fetch(`${ready.faucetUrl}?address=${OWNER}&amount=1.5`);
  assert.equal(gift.status, 200);
  assert.equal(await balanceAt(ready), "1500000000");
  child.kill("SIGINT");
  assert.equal(await exitCode, 0);
  assert.deepEqual(await said, [`${line}\n`, ""]);
  assert.deepEqual(readdirSync(temporary), []);
});

test("the devnet goes on with the chain of its folder, after Ctrl-C and after SIGTERM", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-state-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [round, signal] of ["SIGINT", "SIGTERM"].entries()) {
    const { child, firstLine, exitCode } = serve(t, ["--json", "--state", folder]);
    const ready = JSON.parse(await firstLine()) as Ready;
    assert.equal(await balanceAt(ready), round === 0 ? "0" : "10000000000");
    await fetch(`${ready.faucetUrl}?address=${OWNER}&amount=10`);
    child.kill(signal as NodeJS.Signals);
    assert.equal(await exitCode, 0);
    assert.deepEqual(readdirSync(folder), ["chain.saved"]);
  }
});

test("a person reads where the endpoint is and where coins come from", async (t) => {
  const { child, firstLine, said, exitCode } = serve(t, []);
  await firstLine();
  child.kill("SIGTERM");
  assert.equal(await exitCode, 0);
  const [output] = await said;
  assert.match(output, /endpoint +http:\/\/127\.0\.0\.1:\d+\/api\/v2\/jsonRPC/);
  assert.match(output, /faucet\?address=ADDRESS/);
  assert.match(output, /network id +7\n/);
});

test("a setting that is none, and a folder that holds something else, end it with what to do", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-state-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "chain.saved"), "{}");
  for (const [args, says] of [
    [["--block-ms", "0"], /block-ms/],
    [["--port", "65536"], /port/],
    [["--nope"], /Usage/],
    [["--state", folder], /not a chain/],
  ] as const) {
    const { said, exitCode } = serve(t, args);
    assert.equal(await exitCode, 1);
    const [output, errors] = await said;
    assert.equal(output, "");
    assert.match(errors, says);
    assert.doesNotMatch(errors, /\n\s+at /, "a stack trace");
  }
  assert.ok(existsSync(join(folder, "chain.saved")));
});

test("a port is a whole number of a port", () => {
  assert.equal(portOf("0"), 0);
  assert.equal(portOf("65535"), 65_535);
  for (const text of ["", " ", "-1", "1.5", "1e3", "0x10", "65536", "port"]) assert.throws(() => portOf(text), Failure);
});

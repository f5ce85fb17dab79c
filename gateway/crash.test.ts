import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { fromHex, toHex, type MessageOf, type GatewayToClient, type SignedVoucher } from "../protocol/index.ts";
import { OWNER } from "./gateway.fake.ts";
import {
  chargeVoucher,
  countersign,
  dialClient,
  payoutVoucher,
  serve,
  servingWorker,
  USAGE,
  type Dialled,
  type FakeClient,
  type FakeWorker,
} from "./peers.fake.ts";
import { signerFromSeed } from "./signatures.ts";

/** 12 in a run; more, with other instants, by the environment: CRASHES=100 CRASH_SEED=7. */
const CRASHES = Number(process.env.CRASHES ?? 12);
const SEED = Number(process.env.CRASH_SEED ?? 1);

const CHANNEL = `0:${"c1".repeat(32)}`;
const CLIENT_SEED = new Uint8Array(32).fill(1);
const WORKER_SEED = new Uint8Array(32).fill(2);
const CHILD = fileURLToPath(new URL("./crash-child.fake.ts", import.meta.url));

/** Everything a gateway has said that binds it, over all its lives. */
class Promises {
  readonly #chains = new Map<string, string>();
  charged = 0n;
  promised = 0n;

  charge(client: FakeClient, message: MessageOf<GatewayToClient, "charge">): ReturnType<typeof chargeVoucher> {
    const voucher = chargeVoucher(client, message);
    this.#note("charge", voucher.total, voucher.receipt);
    if (voucher.total > this.charged) this.charged = voucher.total;
    return voucher;
  }

  payout(gateway: Dialled, signed: SignedVoucher): void {
    const voucher = payoutVoucher(gateway, signed);
    this.#note("payout", voucher.total, voucher.receipt);
    assert.ok(voucher.total >= this.promised, `the promise fell from ${this.promised} to ${voucher.total}`);
    this.promised = voucher.total;
  }

  #note(kind: string, total: bigint, chain: Uint8Array): void {
    const name = `${kind} ${total}`;
    const known = this.#chains.get(name);
    assert.ok(known === undefined || known === toHex(chain), `two payloads of one total: ${name}`);
    this.#chains.set(name, toHex(chain));
  }
}

test(`a gateway killed at ${CRASHES} instants has lost nothing it told anybody, and contradicts nothing it signed`, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "crash-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const promises = new Promises();
  let state = SEED;
  for (let round = 0; round < CRASHES; round++) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    await oneLife(t, folder, promises, state % 120);
  }
  assert.ok(promises.promised > 0n, "no life was long enough to promise anything");
});

/** Starts the gateway, holds it to what it said before, and kills it `ms` after its peers began to work. */
async function oneLife(t: TestContext, folder: string, promises: Promises, ms: number): Promise<void> {
  const paymentKey = toHex(signerFromSeed(CLIENT_SEED).publicKey);
  const child = spawn(process.execPath, [CHILD, folder, CHANNEL, paymentKey], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const kill = (): boolean => child.kill("SIGKILL");
  t.after(kill);
  const gateway = await addressFrom(child);
  const ownerProof = {
    address: OWNER,
    stateInit: new Uint8Array(1),
    domain: "t",
    timestamp: 0,
    signature: new Uint8Array(64),
  };
  const worker = await servingWorker(gateway, {
    seed: WORKER_SEED,
    address: OWNER,
    ownerProof,
    slots: 8,
    keepWelcome: true,
  });
  const client = await dialClient(gateway, { seed: CLIENT_SEED, address: CHANNEL });
  await holdToItsWord(gateway, worker, client, promises);
  setTimeout(kill, ms);
  await Promise.allSettled([ask(worker, client), sign(client, promises), listen(gateway, worker, promises)]).then(
    (ends) => {
      for (const end of ends) if (end.status === "rejected") rethrowUnlessCut(end.reason);
    },
  );
  await exited;
  client.close();
  worker.close();
}

async function holdToItsWord(
  gateway: Dialled,
  worker: FakeWorker,
  client: FakeClient,
  promises: Promises,
): Promise<void> {
  const { voucher } = await worker.next("welcome");
  assert.ok(voucher !== null || promises.promised === 0n, "a promise was forgotten");
  if (voucher !== null) promises.payout(gateway, voucher);
  await client.next("welcome");
  const status = (await (await fetch(`${gateway.httpUrl}/v1/status`)).json()) as { ledger: { charges: string } };
  assert.ok(BigInt(status.ledger.charges) >= promises.charged, "a charge was forgotten");
}

/** Answers without end. */
async function ask(worker: FakeWorker, client: FakeClient): Promise<void> {
  for (let i = 0; ; i++) {
    await serve(client, worker, { id: `r${i}`, usage: { ...USAGE, completionTokens: 1 + (i % 9) } });
  }
}

async function sign(client: FakeClient, promises: Promises): Promise<void> {
  for (;;) countersign(client, promises.charge(client, await client.next("charge")));
}

async function listen(gateway: Dialled, worker: FakeWorker, promises: Promises): Promise<void> {
  for (;;) promises.payout(gateway, await worker.next("voucher"));
}

async function addressFrom(child: ChildProcess): Promise<Dialled> {
  if (child.stdout === null) throw new Error("no output");
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const said = JSON.parse(line.toString()) as Record<"url" | "httpUrl" | "gatewayKey", string>;
  return { url: said.url, httpUrl: said.httpUrl, gatewayKey: fromHex(said.gatewayKey) };
}

/** A socket that ends under a peer is what this test is about; anything else is a finding. */
function rethrowUnlessCut(reason: unknown): void {
  if (!(reason instanceof Error && reason.message.startsWith("no "))) throw reason;
}

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { createClient } from "../../client/index.ts";
import { DEVNET_NETWORK_ID, devnetAddress, devnetKey, PRACTICE_PRICE } from "../../devnet/index.ts";
import { DEMO_POLICY } from "../../protocol/index.ts";
import { startWorker } from "../../worker/index.ts";
import { echoEngine } from "./echo-engine.ts";
import { forkGateway, orderGateway, type GatewayOrder, type GatewayReport } from "./gateway-process.ts";
import { atEnd, temporaryFolder, until } from "./house.ts";
import { recordSockets } from "./socket-recorder.ts";
import { tracesInMemory, tracesOf } from "./traces.ts";

const ROOT = "77".repeat(32);
const STREAMS = 4;

test("a gateway has no trace of a prompt or an answer: not in memory, files, output or on its sockets", async (context) => {
  const folder = temporaryFolder(context);
  const secret = `marker ${randomBytes(18).toString("hex")}`;
  const visible = `visible-${randomBytes(12).toString("hex")}`;
  const payer = devnetKey(1, "payer");
  const channel = devnetAddress(1, "payer's channel");
  const gateway = await startGatewayProcess(context, folder, channel, payer.publicKey);
  const sockets = await recordSockets(gateway.httpUrl);
  atEnd(context, () => sockets.close());
  const engine = echoEngine({ isHeld: true });
  const worker = await startWorker({
    dataFolder: join(folder, "worker"),
    gateways: [{ url: sockets.url, key: gateway.gatewayKey }],
    models: [{ id: visible, price: PRACTICE_PRICE, engine, manifestRoot: ROOT, bytes: 1 }],
    networkId: DEVNET_NETWORK_ID,
  });
  atEnd(context, () => worker.stop(0));
  await worker.untilOffered();
  const client = createClient({
    gateway: { url: sockets.url, key: gateway.gatewayKey },
    policy: DEMO_POLICY,
    paymentSeed: payer.seed,
    channel: { networkId: DEVNET_NETWORK_ID, address: channel },
    catalogue: [{ id: visible, manifestRoot: ROOT, defaultMaxTokens: 8 }],
    stateFolder: join(folder, "client"),
  });
  atEnd(context, () => client.close());
  await client.ready();

  const answers = Array.from({ length: STREAMS }, () =>
    client.complete({ model: visible, messages: [{ role: "user", content: secret }] }),
  );
  await until("all streams run", () => engine.held === STREAMS);
  const snapshotPath = join(folder, "gateway.heapsnapshot");
  await gateway.order({ type: "snapshot", path: snapshotPath });
  const inMemory = await tracesInMemory([secret, visible], gateway.processId);
  engine.release();
  for (const answer of await Promise.all(answers)) assert.equal(answer.text, secret);
  await until("the worker is idle", () => worker.status().answering === 0);

  const files = readdirSync(join(folder, "gateway")).map((name) => readFileSync(join(folder, "gateway", name)));
  assert.deepEqual(tracesOf(secret, readFileSync(snapshotPath)), [], "heap snapshot");
  assert.deepEqual([...(inMemory.get(secret) ?? [])], [], "process memory");
  assert.deepEqual(tracesOf(secret, Buffer.concat(files)), [], "files");
  assert.deepEqual(tracesOf(secret, gateway.output()), [], "output");
  assert.deepEqual(tracesOf(secret, sockets.bytes()), [], "socket bytes");
  // The same search does find what a gateway may see, or finding nothing would prove nothing.
  assert.notEqual(inMemory.get(visible)?.size ?? 0, 0, "control: process memory");
  assert.ok(files.length > 0 && sockets.bytes().length > 10_000, "control: files and sockets were looked at");
});

interface GatewayProcess {
  readonly httpUrl: string;
  readonly gatewayKey: Uint8Array;
  readonly processId: number;
  output(): Buffer;
  order(order: GatewayOrder): Promise<GatewayReport>;
}

async function startGatewayProcess(
  context: TestContext,
  folder: string,
  channel: string,
  paymentKey: Uint8Array,
): Promise<GatewayProcess> {
  const child = forkGateway();
  atEnd(context, () => child.kill("SIGKILL"));
  const output: Buffer[] = [];
  child.stdout?.on("data", (bytes: Buffer) => output.push(bytes));
  child.stderr?.on("data", (bytes: Buffer) => output.push(bytes));
  const order = (message: GatewayOrder): Promise<GatewayReport> => orderGateway(child, message);
  const report = await order({ type: "start", dataDir: join(folder, "gateway"), port: 0, channel, paymentKey });
  assert.ok(report.type === "up" && child.pid !== undefined);
  const { httpUrl, gatewayKey } = report;
  return { httpUrl, gatewayKey, processId: child.pid, output: () => Buffer.concat(output), order };
}

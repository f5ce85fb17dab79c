import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { createClient } from "../../client/index.ts";
import { DEVNET_NETWORK_ID, devnetAddress, devnetKey, PRACTICE_PRICE } from "../../devnet/index.ts";
import { DEMO_POLICY, Failure } from "../../protocol/index.ts";
import { startWorker } from "../../worker/index.ts";
import { echoEngine } from "./echo-engine.ts";
import { forkGateway, orderGateway, type GatewayReport } from "./gateway-process.ts";
import { atEnd, temporaryFolder, until } from "./house.ts";

const ROOT = "66".repeat(32);
const KILLS = Number(process.env.COCOON_GATEWAY_KILLS ?? 3);
const BODY = { model: "echo", messages: [{ role: "user" as const, content: "the same words again" }] };

test("a gateway killed again and again forgets no promise, and its peers come back by themselves", async (context) => {
  const folder = temporaryFolder(context);
  const payer = devnetKey(3, "payer");
  const channel = devnetAddress(3, "channel");
  const owner = devnetAddress(3, "owner");
  let gateway: ChildProcess | undefined;
  atEnd(context, () => gateway?.kill("SIGKILL"));
  const start = async (port: number): Promise<Extract<GatewayReport, { type: "up" }>> => {
    gateway = forkGateway();
    const dataDir = join(folder, "gateway");
    const report = await orderGateway(gateway, { type: "start", dataDir, port, channel, paymentKey: payer.publicKey });
    assert.ok(report.type === "up");
    return report;
  };
  const { httpUrl, gatewayKey } = await start(0);
  const engine = echoEngine();
  const worker = await startWorker({
    dataFolder: join(folder, "worker"),
    gateways: [{ url: httpUrl, key: gatewayKey }],
    models: [{ id: "echo", price: PRACTICE_PRICE, engine, manifestRoot: ROOT, bytes: 1 }],
    networkId: DEVNET_NETWORK_ID,
    owner: {
      address: owner,
      proof: {
        address: owner,
        stateInit: new Uint8Array(1),
        domain: "test",
        timestamp: Math.floor(Date.now() / 1000),
        signature: new Uint8Array(64),
      },
    },
  });
  atEnd(context, () => worker.stop(0));
  const client = createClient({
    gateway: { url: httpUrl, key: gatewayKey },
    policy: DEMO_POLICY,
    paymentSeed: payer.seed,
    channel: { networkId: DEVNET_NETWORK_ID, address: channel },
    catalogue: [{ id: "echo", manifestRoot: ROOT, defaultMaxTokens: 8 }],
    stateFolder: join(folder, "client"),
  });
  atEnd(context, () => client.close());
  const vouchered = (): bigint => worker.status().gateways[0]?.vouchers.voucheredTotal ?? 0n;

  for (let kill = 0; kill < KILLS; kill++) {
    await until("the worker offers", () => worker.status().gateways[0]?.offered.length === 1);
    const [before, signed] = [vouchered(), client.account().total];
    await answerOf(client.complete.bind(client));
    await until("the answer is promised", () => vouchered() > before && client.account().total > signed);
    const told = { vouchered: vouchered(), signed: client.account().total };
    const broken = client.complete(BODY).then(
      () => "answered",
      (error: unknown) => (error instanceof Failure ? error.code : String(error)),
    );

    gateway?.kill("SIGKILL");
    const outcome = await broken;
    await start(Number(new URL(httpUrl).port));

    assert.match(outcome, /^(answered|truncated|gateway_unreachable|busy|no_worker|worker_crashed)$/);
    assert.ok(vouchered() >= told.vouchered && client.account().total >= told.signed);
  }

  await until("the worker offers", () => worker.status().gateways[0]?.offered.length === 1);
  await answerOf(client.complete.bind(client));
  await until("nothing is owed unpromised", () => worker.status().gateways[0]?.vouchers.behind === 0n);
  assert.ok(gateway !== undefined);
  const report = await orderGateway(gateway, { type: "sums" });
  assert.ok(report.type === "sums");
  const { charges, gatewayPaid, earnings, fees } = report.sums;
  assert.equal(charges + gatewayPaid, earnings + fees);
  assert.equal(vouchered(), earnings);
  assert.equal(client.account().total, charges);
});

async function answerOf(complete: (body: typeof BODY) => Promise<{ readonly text: string }>): Promise<void> {
  const { text } = await complete(BODY);
  assert.equal(text, BODY.messages[0]?.content);
}

/** One role of the network in a process of its own, started by `bench/network.ts` and told what to be. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DEMO_POLICY, type PriceSheet } from "../protocol/index.ts";
import type { EnginePlan } from "../worker/index.ts";

/** Sent once, first. */
export type RoleOrder = { readonly parties: Parties; readonly folder: string } & (
  | { readonly role: "gateway" }
  | { readonly role: "worker"; readonly gatewayUrl: string; readonly plan: EnginePlan | undefined }
  | { readonly role: "client"; readonly gatewayUrl: string; readonly manifestRoot: string }
);

/** Who takes part: each role is told, so that none loads what makes them. */
export interface Parties {
  readonly networkId: number;
  readonly gateway: KeyPair;
  readonly client: KeyPair;
  /** The client's channel, `0:hex`. */
  readonly channel: string;
  /** The workers' owner, `0:hex`. */
  readonly owner: string;
}

interface KeyPair {
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** What a role answers: once when it is up, then at each `measure`. */
export type RoleReport =
  | { readonly type: "up"; readonly url: string; readonly manifestRoot: string }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "measured"; readonly cpuMs: number; readonly residentBytes: number };

export const BENCH_API_KEY = "sk-cocoon-bench";
export const BENCH_MODEL = "bench";

/** Low enough that a trial amount of devnet coins outlasts any run. */
const PRICE: PriceSheet = { prompt: 100_000n, cached: 10_000n, completion: 1_000_000n };
/** A gateway gives one worker at most 64 streams at once; the widest measurement has 200. */
const STAMPING_WORKERS = 4;
const STAMPING_ROOT = "5a".repeat(32);

async function start(order: RoleOrder): Promise<RoleReport> {
  mkdirSync(order.folder, { recursive: true });
  switch (order.role) {
    case "gateway":
      return await gatewayRole(order);
    case "worker":
      return await workerRole(order);
    case "client":
      return await clientRole(order);
  }
}

// Each process loads its own role alone, as one started by its command does.

async function gatewayRole({ folder, parties }: RoleOrder): Promise<RoleReport> {
  const { localChannels, startGateway } = await import("../gateway/index.ts");
  const channels = localChannels();
  const balance = 10n ** 15n;
  const view = {
    paymentKey: parties.client.publicKey,
    balance,
    charged: 0n,
    acked: 0n,
    creditLimit: balance,
    isClosing: false,
  };
  channels.open(parties.channel, view);
  const gateway = await startGateway({
    dataDir: folder,
    networkId: parties.networkId,
    channels,
    seed: parties.gateway.seed,
    // Whoever says so is the owner here: what is measured is the path of a request, not a login.
    verifyOwnerProof: (proof) => proof.address,
    limits: { openReservations: 1000 },
  });
  return { type: "up", url: gateway.httpUrl, manifestRoot: "" };
}

async function workerRole(order: Extract<RoleOrder, { role: "worker" }>): Promise<RoleReport> {
  const { startWorker } = await import("../worker/index.ts");
  const { stampingEngine } = await import("./stamping-engine.ts");
  const { folder, gatewayUrl, plan, parties } = order;
  const { owner: address } = parties;
  const proof = {
    address,
    stateInit: new Uint8Array(1),
    domain: "bench",
    timestamp: Math.floor(Date.now() / 1000),
    signature: new Uint8Array(64),
  };
  const workers = await Promise.all(
    Array.from({ length: plan === undefined ? STAMPING_WORKERS : 1 }, (_, at) =>
      startWorker({
        dataFolder: join(folder, `worker-${at}`),
        gateways: [{ url: gatewayUrl, key: parties.gateway.publicKey }],
        models: [
          plan === undefined
            ? { id: BENCH_MODEL, price: PRICE, engine: stampingEngine(), manifestRoot: STAMPING_ROOT, bytes: 1 }
            : { id: BENCH_MODEL, price: PRICE, plan },
        ],
        networkId: parties.networkId,
        owner: { address, proof },
      }),
    ),
  );
  await Promise.all(workers.map((worker) => worker.untilOffered()));
  return { type: "up", url: "", manifestRoot: workers[0]?.status().models[0]?.manifestRoot ?? "" };
}

async function clientRole(order: Extract<RoleOrder, { role: "client" }>): Promise<RoleReport> {
  const { createClient, serveOpenAi } = await import("../client/index.ts");
  const { parties } = order;
  const client = createClient({
    gateway: { url: order.gatewayUrl, key: parties.gateway.publicKey },
    policy: DEMO_POLICY,
    paymentSeed: parties.client.seed,
    channel: { networkId: parties.networkId, address: parties.channel },
    catalogue: [{ id: BENCH_MODEL, manifestRoot: order.manifestRoot }],
    stateFolder: order.folder,
  });
  await client.ready();
  const endpoint = await serveOpenAi({ client, apiKey: BENCH_API_KEY, minTier: "software" });
  return { type: "up", url: endpoint.baseUrl, manifestRoot: order.manifestRoot };
}

function measure(): RoleReport {
  const { user, system } = process.cpuUsage();
  return { type: "measured", cpuMs: (user + system) / 1000, residentBytes: process.memoryUsage.rss() };
}

if (process.send !== undefined) {
  const tell = (report: RoleReport): void => void process.send?.(report);
  process.on("disconnect", () => process.exit(0));
  process.on("message", (message: RoleOrder | "measure") => {
    if (message === "measure") tell(measure());
    else {
      start(message).then(tell, (error: unknown) =>
        tell({ type: "failed", message: error instanceof Error ? error.message : "failed" }),
      );
    }
  });
}

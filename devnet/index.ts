import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createClient, type Client, type NodeClientOptions } from "../client/index.ts";
import { signOwnerProof, verifyOwnerProof } from "../contracts/owner-proof.ts";
import { localChannels, startGateway, type Gateway, type GatewayOptions } from "../gateway/index.ts";
import {
  DEMO_POLICY,
  Failure,
  type Nanoton,
  type Policy,
  type PriceSheet,
  type RawAddress,
} from "../protocol/index.ts";
import {
  startWorker,
  type Engine,
  type EnginePlan,
  type KnownWallet,
  type Worker,
  type WorkerModel,
} from "../worker/index.ts";
import { DEVNET_NETWORK_ID, devnetAddress, devnetKey, type DevnetKey } from "./accounts.ts";
import { ensurePracticeModel } from "./practice-model.ts";

export { DEVNET_NETWORK_ID, devnetAddress, devnetKey } from "./accounts.ts";
export {
  startChain,
  type BlockPace,
  type ChainOptions,
  type DevnetChain,
  type DevnetNode,
  type Fault,
  type FaultType,
} from "./chain.ts";
export { startBridge, type Bridge, type BridgeFaults } from "./bridge.ts";
export {
  createTestWallet,
  WILLING,
  type ConnectItems,
  type TestWallet,
  type TestWalletOptions,
  type WalletHabits,
} from "./wallet.ts";
export { ensureBenchmarkModel } from "./benchmark-model.ts";
export { ensurePracticeModel } from "./practice-model.ts";

/** What a worker of the devnet runs: a file in an engine process, or an engine a test has made. */
export type DevnetModel =
  | { readonly id: string; readonly path: string; readonly plan?: Partial<EnginePlan> }
  | { readonly id: string; readonly engine: (worker: number) => Engine };

export interface DevnetOptions {
  /** Holds the data of every role. */
  readonly folder: string;
  /** Every key and address follows from it. Default 1. */
  readonly seed?: number;
  /** Default 1. */
  readonly workers?: number;
  /** Default: the practice model in an engine process. */
  readonly model?: DevnetModel;
  readonly price?: PriceSheet;
  /** Whether owners have named themselves, or will do so from a wallet app. Default `named`. */
  readonly owners?: "named" | "later";
  /** Wallet apps that workers can connect; their bridges are on loopback. Default none. */
  readonly wallets?: readonly KnownWallet[];
  readonly gateway?: Partial<Pick<GatewayOptions, "port" | "feeBps" | "limits" | "clock" | "store" | "log">>;
}

/** The whole network on one machine. */
export interface Devnet {
  readonly gateway: Gateway;
  readonly workers: readonly DevnetWorker[];
  readonly model: { readonly id: string; readonly manifestRoot: string };
  /** A client with a channel and a deposit of its own. */
  client(name: string, options?: DevnetClientOptions): Promise<DevnetClient>;
  /** Ends everything; the folder stays. */
  close(): Promise<void>;
}

export interface DevnetWorker {
  readonly worker: Worker;
  /** The wallet of `walletKey`, named or not. */
  readonly owner: RawAddress;
  readonly walletKey: DevnetKey;
}

export interface DevnetClientOptions extends Partial<NodeClientOptions> {
  readonly deposit?: Nanoton;
  /** A fresh key without a channel, on the gateway's trial. */
  readonly isTrial?: boolean;
}

export interface DevnetClient {
  readonly client: Client;
  /** Empty on trial. */
  readonly channel: RawAddress;
}

/**
 * Nanoton per million tokens. High, so that one short answer shows whole figures in every amount; the coins are the
 * devnet's own and worth nothing.
 */
export const PRACTICE_PRICE: PriceSheet = {
  prompt: 10_000_000_000n,
  cached: 1_000_000_000n,
  completion: 2_000_000_000_000n,
};

const DEPOSIT: Nanoton = 1_000_000_000_000n;
const CREDIT_LIMIT: Nanoton = 100_000_000_000n;
const WALLET_DOMAIN = "devnet.cocoon";

/** What a wallet app of the devnet reads of the app that asks. */
export const DEVNET_MANIFEST = {
  url: `https://${WALLET_DOMAIN}`,
  name: "Cocoon devnet",
  iconUrl: `https://${WALLET_DOMAIN}/icon.png`,
};

/** What fits any computer: a practice model needs no GPU, and two threads starve a small machine (ENGINE §0.2). */
const DEFAULT_PLAN: Omit<EnginePlan, "modelPath"> = {
  contextTokens: 2048,
  slots: 4,
  queueLimit: 16,
  batchTokens: 512,
  threads: 1,
  gpu: false,
  gpuLayers: 0,
  kvCache: "f16",
};

/**
 * Starts gateway and workers, and resolves once every worker has an accepted offer.
 *
 * @throws {Failure} what keeps one of them from running.
 */
export async function startDevnet(options: DevnetOptions): Promise<Devnet> {
  const { folder, seed = 1, workers: count = 1, price = PRACTICE_PRICE, owners = "named", wallets = [] } = options;
  const model = options.model ?? { id: "practice", path: await ensurePracticeModel() };
  const channels = localChannels();
  const gateway = await startGateway({
    dataDir: join(folder, "gateway"),
    networkId: DEVNET_NETWORK_ID,
    channels,
    seed: devnetKey(seed, "gateway").seed,
    verifyOwnerProof: (proof, expected) => verifyOwnerProof(proof, { ...expected, domains: [WALLET_DOMAIN] }),
    ...options.gateway,
  });
  const workers: DevnetWorker[] = [];
  const clients: Client[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(clients.map((client) => client.close()));
    await Promise.all(workers.map(({ worker }) => worker.stop(0)));
    await gateway.close();
  };
  try {
    for (let at = 0; at < count; at++) {
      workers.push(await startDevnetWorker({ at, seed, folder, gateway, channels, model, price, owners, wallets }));
    }
    await Promise.all(workers.map(({ worker }) => worker.untilOffered()));
  } catch (error) {
    await close();
    throw error;
  }
  const { manifestRoot, contextTokens } = servedModel(workers);
  return {
    gateway,
    workers,
    model: { id: model.id, manifestRoot },
    close,
    async client(name, { deposit = DEPOSIT, isTrial = false, ...overrides } = {}) {
      const key = devnetKey(seed, `client ${name}`);
      const channel = isTrial ? "" : devnetAddress(seed, `channel of ${name}`);
      if (channel !== "") {
        const view = { paymentKey: key.publicKey, balance: deposit, charged: 0n, acked: 0n };
        channels.open(channel, { ...view, creditLimit: CREDIT_LIMIT, isClosing: false });
      }
      const client = createClient({
        gateway: { url: gateway.url, key: gateway.gatewayKey },
        policy: DEMO_POLICY satisfies Policy,
        paymentSeed: key.seed,
        catalogue: [{ id: model.id, manifestRoot, contextTokens }],
        stateFolder: join(folder, `client-${name}`),
        ...(channel === "" ? {} : { channel: { networkId: DEVNET_NETWORK_ID, address: channel } }),
        ...overrides,
      });
      clients.push(client);
      await client.ready();
      return { client, channel };
    },
  };
}

/** What a client's catalogue would say of the model that all workers serve. */
function servedModel([first]: readonly DevnetWorker[]): {
  readonly manifestRoot: string;
  readonly contextTokens: number;
} {
  const served = first?.worker.status().models[0];
  if (served?.engine.phase !== "up") throw new Failure("no_worker", "a devnet needs a worker");
  return { manifestRoot: served.manifestRoot, contextTokens: served.engine.capabilities.contextTokens };
}

interface WorkerSetUp {
  readonly at: number;
  readonly seed: number;
  readonly folder: string;
  readonly gateway: Gateway;
  readonly channels: ReturnType<typeof localChannels>;
  readonly model: DevnetModel;
  readonly price: PriceSheet;
  readonly owners: "named" | "later";
  readonly wallets: readonly KnownWallet[];
}

async function startDevnetWorker({
  at,
  seed,
  folder,
  gateway,
  channels,
  model,
  price,
  owners,
  wallets,
}: WorkerSetUp): Promise<DevnetWorker> {
  const identity = devnetKey(seed, `worker ${at}`);
  const wallet = devnetKey(seed, `wallet of owner ${at}`);
  const proof = signOwnerProof(wallet, {
    identityKey: identity.publicKey,
    networkId: DEVNET_NETWORK_ID,
    domain: WALLET_DOMAIN,
    timestamp: Math.floor(Date.now() / 1000),
  });
  const dataFolder = join(folder, `worker-${at}`);
  mkdirSync(dataFolder, { recursive: true });
  const worker = await startWorker({
    dataFolder,
    gateways: [{ url: gateway.httpUrl, key: gateway.gatewayKey }],
    models: [workerModel(model, at, seed, price)],
    networkId: DEVNET_NETWORK_ID,
    ...(owners === "later" ? {} : { owner: { address: proof.address, proof } }),
    wallets,
    manifest: { manifestUrl: `${DEVNET_MANIFEST.url}/tonconnect-manifest.json`, domain: WALLET_DOMAIN },
    channelAt: (_, owner) => channels.workerChannel(owner),
    debtLimit: DEPOSIT, // nothing is paid out here yet, so no debt is ever paid down
    keys: { read: () => Promise.resolve(identity.seed), write: () => Promise.resolve() },
  });
  return { worker, owner: proof.address, walletKey: wallet };
}

function workerModel(model: DevnetModel, at: number, seed: number, price: PriceSheet): WorkerModel {
  if ("path" in model) return { id: model.id, price, plan: { modelPath: model.path, ...DEFAULT_PLAN, ...model.plan } };
  // An engine without a file has no weights to hash: its root is a name of the devnet's own.
  const manifestRoot = devnetAddress(seed, `weights of ${model.id}`).slice(2);
  return { id: model.id, price, engine: model.engine(at), manifestRoot, bytes: 1 };
}

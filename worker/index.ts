import { randomBytes } from "node:crypto";
import { basename } from "node:path";
import { Failure, type Nanoton, type PriceSheet } from "../protocol/index.ts";
import { openOwnerBook } from "./control/owner-book.ts";
import { secretsOnDisk, type SecretStorage } from "./control/secret-storage.ts";
import { KNOWN_WALLETS, type KnownWallet } from "./control/ton-connect/known-wallets.ts";
import { APP_MANIFEST, type AppManifest } from "./control/ton-connect/manifest.ts";
import { walletSessions } from "./control/ton-connect/thread.ts";
import { createWallet, type Wallet } from "./control/wallet.ts";
import { forkEngine, type Spawn } from "./control/spawn.ts";
import { superviseEngine, type SupervisedEngine } from "./control/supervisor.ts";
import type { EnginePlan } from "./engine/messages.ts";
import { systemClock, type Clock } from "./serving/clock.ts";
import { openDataFolder } from "./serving/data-folder.ts";
import { DEFAULT_DEBT_LIMIT } from "./serving/debt.ts";
import { NO_EARNINGS_BOOK } from "./serving/earnings.ts";
import type { Engine } from "./serving/engine.ts";
import { putEvidenceByHttp, softwareAttester, type Attester } from "./serving/evidence.ts";
import type { GatewayAddress } from "./serving/gateway-address.ts";
import { createVerifier, keysOnDisk, loadIdentity, type Keys } from "./serving/identity.ts";
import type { Owner } from "./serving/link.ts";
import type { ServedModel } from "./serving/publisher.ts";
import { startServing, type ChannelAt, type OwnedVoucher, type Serving } from "./serving/serving.ts";
import { dialWebSocket } from "./serving/socket.ts";
import type { ServingStatus } from "./serving/status.ts";
import { readManifest } from "./serving/weights-manifest.ts";

export type { EngineCapabilities, EngineEvent, EnginePlan, FromEngine, Job, ToEngine } from "./engine/messages.ts";
export { createWallet } from "./control/wallet.ts";
export type { AcceptedRequest, ConnectOptions, ProvedOwner, Wallet, WalletOptions } from "./control/wallet.ts";
export type { ConnectedWallet, ConnectingWallet, WalletRequest, WalletState } from "./control/wallet-state.ts";
export type { Claim } from "./control/withdrawal.ts";
export type { SecretStorage } from "./control/secret-storage.ts";
export { KNOWN_WALLETS, type KnownWallet } from "./control/ton-connect/known-wallets.ts";
export { APP_MANIFEST, type AppManifest } from "./control/ton-connect/manifest.ts";
export { walletSessions } from "./control/ton-connect/thread.ts";
export type { SupervisedEngine } from "./control/supervisor.ts";
export type { EngineProcess, EngineProcessEvents, Spawn } from "./control/spawn.ts";
export type { Engine, EngineState, NewJob, RunningJob } from "./serving/engine.ts";
export type { GatewayAddress } from "./serving/gateway-address.ts";
export type { Keys } from "./serving/identity.ts";
export type { LinkState, Owner } from "./serving/link.ts";
export type { GatewayStatus, ModelStatus, ServingStatus, Totals } from "./serving/status.ts";
export type { OwnedVoucher } from "./serving/serving.ts";
export type { VoucherReport } from "./serving/vouchers.ts";

/** One model to serve: a file for an engine process of our own, or an engine that is already there. */
export type WorkerModel =
  | { readonly price: PriceSheet; readonly id?: string; readonly plan: EnginePlan }
  | {
      readonly price: PriceSheet;
      readonly id: string;
      readonly engine: Engine;
      /** Lowercase hex. */
      readonly manifestRoot: string;
      readonly bytes: number;
    };

export interface WorkerOptions {
  /** Holds identity key and vouchers; one process at a time. */
  readonly dataFolder: string;
  readonly gateways: readonly GatewayAddress[];
  readonly models: readonly WorkerModel[];
  /** −239 is TON's main network. */
  readonly networkId: number;
  /** Whose wallet it earns for. Default: the owner named last; without any, earnings are owed but not yet promised. */
  readonly owner?: Owner;
  /** Where an owner's WorkerChannel at a gateway would be; else the first one a gateway names stands. */
  readonly channelAt?: ChannelAt;
  /** What a gateway may owe before nothing new is done for it. Default {@link DEFAULT_DEBT_LIMIT}. */
  readonly debtLimit?: Nanoton;
  /** Where the connection to a wallet app is kept; default a file in the data folder, in the app the system's keychain. */
  readonly secrets?: SecretStorage;
  /** Wallet apps that can be connected. Default {@link KNOWN_WALLETS}. */
  readonly wallets?: readonly KnownWallet[];
  /** What wallet apps are told of who asks. Default {@link APP_MANIFEST}. */
  readonly manifest?: AppManifest;
  readonly attester?: Attester;
  readonly clock?: Clock;
  /** How engine processes are started. */
  readonly spawn?: Spawn;
  /** Where the identity's seed is kept; default a file in the data folder, in the app the system's keychain. */
  readonly keys?: Keys;
}

/** A running worker. */
export interface Worker {
  /** Lowercase hex. */
  readonly workerId: string;
  status(): ServingStatus;
  /** Calls back, at most ten times a second, after something has changed; returns how to stop that. */
  onStatus(listener: (status: ServingStatus) => void): () => void;
  /**
   * Resolves once a gateway has accepted an offer.
   *
   * @throws {Failure} when no engine can be had before the owner changes something.
   */
  untilOffered(): Promise<void>;
  /** The owner's wallet app: one that proves an address becomes the owner, as by {@link setOwner}. */
  readonly wallet: Wallet;
  /**
   * Earns for another owner from now on, also after a restart. Each link logs in again when nothing runs over it; what was
   * earned before anybody was named moves to this owner, what was vouchered to a former one stays that one's.
   *
   * @throws {Failure} `disk_full`, `storage_failed`: then the owner stays who it was.
   */
  setOwner(owner: Owner): Promise<void>;
  /** The newest voucher of each gateway for each owner, former ones included. */
  vouchers(): readonly OwnedVoucher[];
  /** While paused it keeps its links and offers nothing. */
  setPaused(isPaused: boolean): void;
  /** Starts engines that wait after a crash at once: the owner has changed something. */
  reviveEngines(): void;
  /** Lets running answers end within `graceMs`, then ends everything it started. */
  stop(graceMs?: number): Promise<void>;
}

const STOP_GRACE_MS = 10_000;

/**
 * Starts a worker: identity, engines, links.
 *
 * @throws {Failure} `bad_configuration` for another process in the data folder or an address that is none,
 *   `model_invalid` for a model file that cannot be read, `storage_failed`, `disk_full`.
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  if (options.gateways.length === 0) throw new Failure("bad_configuration", "no gateway is named");
  if (options.models.length === 0) throw new Failure("bad_configuration", "no model is named");
  const folder = await openDataFolder(options.dataFolder);
  const engines: SupervisedEngine[] = [];
  try {
    const identity = await loadIdentity(options.keys ?? keysOnDisk(folder), randomBytes);
    const models = await Promise.all(options.models.map((model) => prepareModel(model, options, engines)));
    const clock = options.clock ?? systemClock;
    const owners = await openOwnerBook(folder, { networkId: options.networkId, now: clock.now });
    if (options.owner !== undefined) await owners.name(options.owner);
    const serving = await startServing({
      identity,
      models,
      gateways: options.gateways,
      networkId: options.networkId,
      owner: owners.current(),
      formerOwners: owners.former(),
      channelAt: options.channelAt ?? (() => undefined),
      debtLimit: options.debtLimit ?? DEFAULT_DEBT_LIMIT,
      earnings: NO_EARNINGS_BOOK,
      attester: options.attester ?? softwareAttester,
      release: null,
      clock,
      randomBytes,
      random: Math.random,
      dial: dialWebSocket,
      putEvidence: putEvidenceByHttp,
      disk: folder,
      verify: createVerifier(),
    });
    const setOwner = (owner: Owner): Promise<void> => serving.setOwner(owner, () => owners.name(owner));
    const wallets = options.wallets ?? KNOWN_WALLETS;
    const wallet = createWallet({
      identityKey: identity.publicKey,
      networkId: options.networkId,
      wallets,
      manifest: options.manifest ?? APP_MANIFEST,
      secrets: options.secrets ?? secretsOnDisk(folder),
      openSession: walletSessions(wallets),
      clock,
      randomBytes,
      onOwner: setOwner,
    });
    void wallet.restore();
    return workerOf({ serving, engines, wallet, setOwner }, async () => {
      await wallet.close();
      await Promise.all(engines.map((engine) => engine.stop()));
      folder.release();
    });
  } catch (error) {
    await Promise.all(engines.map((engine) => engine.stop()));
    folder.release();
    throw error;
  }
}

const ENGINE_ENTRY = new URL("./engine/process.ts", import.meta.url);

async function prepareModel(
  model: WorkerModel,
  { dataFolder, clock = systemClock, spawn = forkEngine(ENGINE_ENTRY) }: WorkerOptions,
  engines: SupervisedEngine[],
): Promise<ServedModel> {
  if ("engine" in model) return model;
  const { price, plan } = model;
  const { root, bytes } = await readManifest(plan.modelPath, { cacheFolder: dataFolder });
  const engine = superviseEngine({ plan, spawn, clock });
  engines.push(engine);
  return { id: model.id ?? nameOf(plan.modelPath), manifestRoot: root, bytes, price, engine };
}

function nameOf(path: string): string {
  return basename(path).replace(/\.gguf$/i, "");
}

interface WorkerParts extends Pick<Worker, "wallet" | "setOwner"> {
  readonly serving: Serving;
  readonly engines: readonly SupervisedEngine[];
}

function workerOf({ serving, engines, wallet, setOwner }: WorkerParts, release: () => Promise<void>): Worker {
  let stopping: Promise<void> | undefined;
  return {
    workerId: serving.status().workerId,
    status: () => serving.status(),
    onStatus: (listener) => serving.onStatus(listener),
    untilOffered: () => untilOffered(serving),
    wallet,
    setOwner,
    vouchers: () => serving.vouchers(),
    setPaused: (isPaused) => serving.setPaused(isPaused),
    reviveEngines() {
      for (const engine of engines) engine.revive();
    },
    stop(graceMs = STOP_GRACE_MS) {
      stopping ??= serving.stop(graceMs).finally(release);
      return stopping;
    },
  };
}

function untilOffered(serving: Serving): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (status: ServingStatus): void => {
      const failure = hopeless(status);
      const isOffered = status.gateways.some((gateway) => gateway.offered.length > 0);
      if (!isOffered && failure === undefined) return;
      stopLooking();
      if (failure === undefined) resolve();
      else reject(failure);
    };
    const stopLooking = serving.onStatus(look);
    look(serving.status());
  });
}

/** Every engine is down and none will be tried again by itself. */
function hopeless(status: ServingStatus): Failure | undefined {
  const ends = status.models.map(({ engine }) =>
    engine.phase === "down" && engine.retryAt === undefined ? new Failure(engine.code, engine.message) : undefined,
  );
  return ends.includes(undefined) ? undefined : ends[0];
}

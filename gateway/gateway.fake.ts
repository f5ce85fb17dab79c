import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { RawAddress } from "../protocol/index.ts";
import { localChannels, type ClientChannelView, type LocalChannels } from "./channels.ts";
import { SYSTEM_CLOCK, type Clock } from "./clock.ts";
import { startGateway, type Gateway, type GatewayOptions } from "./gateway.ts";
import {
  dialClient,
  dialWorker,
  servingWorker,
  type FakeClient,
  type FakeWorker,
  type LoginOverrides,
  type ServeOverrides,
} from "./peers.fake.ts";
import { signerFromSeed } from "./signatures.ts";
import { fakeStore, type FakeStore } from "./store.fake.ts";

/** A gateway of a test's own on a free port, with its peers; all of it ends with the test. */
export interface Scene {
  readonly gateway: Gateway;
  readonly channels: LocalChannels;
  readonly clock: MovedClock;
  readonly dataDir: string;
  /** Where the ledger is kept, over restarts. */
  readonly store: FakeStore;
  /** A client whose channel is open. */
  client(channel?: Partial<ClientChannelView>): Promise<FakeClient>;
  /** The same client on a new link; the welcome is left to be read. */
  again(client: FakeClient, overrides?: LoginOverrides): Promise<FakeClient>;
  trialClient(): Promise<FakeClient>;
  /** A worker that serves {@link ROOT}. */
  worker(overrides?: ServeOverrides): Promise<FakeWorker>;
  /** A worker on a link, with nothing offered. */
  idleWorker(overrides?: ServeOverrides): Promise<FakeWorker>;
  /** Closes the gateway and starts it again over the same folder. */
  restart(): Promise<void>;
  /** The same with a ledger that ends after so many rows, as an older copy of it does. */
  forget(rows: number): Promise<void>;
}

/** The system's clocks, moved. */
export interface MovedClock extends Clock {
  advance(ms: number): void;
}

export const OWNER: RawAddress = `0:${"ab".repeat(32)}`;
export const NETWORK_ID = -777;

/** Rows are kept in memory, where a test can make writing fail; `crash.test.ts` and `main.test.ts` have real files. */
export async function scene(test: TestContext, options: Partial<GatewayOptions> = {}): Promise<Scene> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "gateway-"));
  const channels = localChannels();
  const clock = movedClock();
  const store = fakeStore();
  const start = (): Promise<Gateway> =>
    startGateway({
      dataDir,
      networkId: NETWORK_ID,
      channels,
      clock,
      store,
      // Any proof holds here: what proves an owner is tested where it is checked.
      verifyOwnerProof: (proof) => proof.address,
      ...options,
    });
  let gateway = await start();
  const peers: { close(): void }[] = [];
  const seeds = new Map<string, Uint8Array>();
  test.after(async () => {
    for (const peer of peers) peer.close();
    await gateway.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const kept = <Peer extends { close(): void }>(peer: Peer): Peer => {
    peers.push(peer);
    return peer;
  };
  const dial = async (seed: Uint8Array, address: string, overrides: LoginOverrides = {}): Promise<FakeClient> => {
    const client = kept(await dialClient(gateway, { seed, address, ...overrides }));
    seeds.set(client.signer.publicKey.join(), seed);
    return client;
  };
  return {
    get gateway() {
      return gateway;
    },
    channels,
    clock,
    dataDir,
    store,
    async client(channel = {}) {
      const seed = randomBytes(32);
      const address = `0:${randomBytes(32).toString("hex")}`;
      channels.open(address, {
        paymentKey: signerFromSeed(seed).publicKey,
        balance: 10_000_000_000n,
        charged: 0n,
        acked: 0n,
        creditLimit: 1_000_000_000n,
        isClosing: false,
        ...channel,
      });
      const client = await dial(seed, address);
      await client.next("welcome");
      return client;
    },
    again: (client, overrides) =>
      dial(seeds.get(client.signer.publicKey.join()) ?? randomBytes(32), client.channel, overrides),
    async trialClient() {
      const client = await dial(randomBytes(32), "");
      await client.next("welcome");
      return client;
    },
    worker: async (overrides = {}) => kept(await servingWorker(gateway, namedOwner(overrides))),
    idleWorker: async (overrides = {}) => kept(await dialWorker(gateway, namedOwner(overrides))),
    async restart() {
      await gateway.close();
      gateway = await start();
    },
    async forget(rows) {
      await gateway.close();
      store.rows.splice(rows);
      gateway = await start();
    },
  };
}

/** An owner is named with a proof, unless the test says otherwise. */
function namedOwner(overrides: ServeOverrides): ServeOverrides {
  const address = overrides.address ?? OWNER;
  if (address === "") return overrides;
  const ownerProof = {
    address,
    stateInit: new Uint8Array(1),
    domain: "test",
    timestamp: 0,
    signature: new Uint8Array(64),
  };
  return { ownerProof, ...overrides, address };
}

export function movedClock(): MovedClock {
  let moved = 0;
  return {
    unixMs: () => SYSTEM_CLOCK.unixMs() + moved,
    steadyMs: () => SYSTEM_CLOCK.steadyMs() + moved,
    advance(ms) {
      moved += ms;
    },
  };
}

import { randomBytes } from "node:crypto";
import {
  createTestWallet,
  DEVNET_NETWORK_ID,
  devnetKey,
  startBridge,
  type Bridge,
  type TestWallet,
  type TestWalletOptions,
} from "../../devnet/index.ts";
import {
  createWallet,
  walletSessions,
  type KnownWallet,
  type ProvedOwner,
  type SecretStorage,
  type Wallet,
  type WalletOptions,
  type WalletState,
} from "../../worker/index.ts";

export const APP = { url: "https://app.example", name: "Cocoon", iconUrl: "https://app.example/icon.png" };
export const MANIFEST_URL = "https://app.example/tonconnect-manifest.json";
export const IDENTITY_KEY = devnetKey(1, "worker").publicKey;

/** Our side of TON Connect, a bridge between, and wallet apps with people at them; all real but the people. */
export interface WalletHouse {
  readonly bridge: Bridge;
  readonly wallets: readonly KnownWallet[];
  /** Owners who proved an address, in order. */
  readonly owners: ProvedOwner[];
  readonly secrets: SecretStorage & { secret: string | undefined; isLocked: boolean };
  /** Origins that somebody wanted to reach and that are no bridge. */
  readonly refusedFetches: string[];
  /** External messages that wallet apps have sent, in order. */
  readonly sent: Uint8Array[];
  readonly clock: TestClock;
  /** Our side, as after a start of the program. */
  wallet(overrides?: Partial<WalletOptions>): Wallet;
  app(name: string, overrides?: Partial<TestWalletOptions>): TestWallet;
  /** Connected and willing. */
  connected(): Promise<{ readonly wallet: Wallet; readonly app: TestWallet }>;
  close(): Promise<void>;
}

/** Real time, and timers that can be made to fall due. */
export interface TestClock {
  now(): number;
  elapsed(): number;
  after(delayMs: number, run: () => void): () => void;
  advance(ms: number): void;
}

export async function openWalletHouse(): Promise<WalletHouse> {
  const bridge = await startBridge();
  const wallets = [knownWallet(bridge.url)];
  const clock = testClock();
  const owners: ProvedOwner[] = [];
  const sent: Uint8Array[] = [];
  const refusedFetches: string[] = [];
  const secrets = lockableSecrets();
  const ours: Wallet[] = [];
  const apps: TestWallet[] = [];
  const house: WalletHouse = {
    bridge,
    wallets,
    owners,
    secrets,
    refusedFetches,
    sent,
    clock,
    wallet(overrides = {}) {
      const wallet = createWallet({
        identityKey: IDENTITY_KEY,
        networkId: DEVNET_NETWORK_ID,
        wallets,
        manifest: { manifestUrl: MANIFEST_URL, domain: "app.example" },
        secrets,
        openSession: walletSessions(wallets, (origin) => refusedFetches.push(origin)),
        clock,
        randomBytes,
        onOwner: async (owner) => void owners.push(owner),
        ...overrides,
      });
      ours.push(wallet);
      return wallet;
    },
    app(name, overrides = {}) {
      const app = createTestWallet({
        key: devnetKey(1, `wallet ${name}`),
        networkId: DEVNET_NETWORK_ID,
        bridgeUrl: bridge.url,
        readManifest: async (url) => (url === MANIFEST_URL ? APP : undefined),
        chain: emptyChain(sent),
        ...overrides,
      });
      apps.push(app);
      return app;
    },
    async connected() {
      const [wallet, app] = [house.wallet(), house.app("owner")];
      await app.open(await wallet.connect({ appName: "test-wallet" }));
      await stateWhere(wallet, ({ phase }) => phase === "connected");
      return { wallet, app };
    },
    async close() {
      for (const app of apps) app.close();
      await Promise.all(ours.map((wallet) => wallet.close()));
      await bridge.close();
    },
  };
  return house;
}

/** The first state of which something holds, this one or a later one. */
export function stateWhere<State extends WalletState>(
  wallet: Wallet,
  holds: (state: WalletState) => state is State,
): Promise<State>;
export function stateWhere(wallet: Wallet, holds: (state: WalletState) => boolean): Promise<WalletState>;
export function stateWhere(wallet: Wallet, holds: (state: WalletState) => boolean): Promise<WalletState> {
  return new Promise((resolve) => {
    const look = (state: WalletState): void => {
      if (!holds(state)) return;
      stop();
      resolve(state);
    };
    const stop = wallet.onState(look);
    look(wallet.state());
  });
}

/** Looks again until it holds: for what happens on the other side of a bridge. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

function knownWallet(bridgeUrl: string): KnownWallet {
  return {
    appName: "test-wallet",
    name: "Test wallet",
    aboutUrl: "https://wallet.example",
    universalLink: "https://wallet.example/ton-connect",
    bridgeUrl,
    platforms: ["linux"],
    maxMessages: 255,
  };
}

function emptyChain(sent: Uint8Array[]): TestWalletOptions["chain"] {
  return {
    account: async (address) => ({
      address,
      state: "uninitialized",
      balance: 0n,
      lastTransaction: undefined,
      contract: undefined,
    }),
    get: async () => undefined,
    send: async (boc) => void sent.push(boc),
  };
}

function lockableSecrets(): WalletHouse["secrets"] {
  const refuseIf = (isLocked: boolean): void => {
    if (isLocked) throw new Error("the keychain is locked");
  };
  return {
    secret: undefined,
    isLocked: false,
    async read() {
      refuseIf(this.isLocked);
      return this.secret;
    },
    async write(text) {
      refuseIf(this.isLocked);
      this.secret = text;
    },
    async remove() {
      refuseIf(this.isLocked);
      this.secret = undefined;
    },
  };
}

function testClock(): TestClock {
  let ahead = 0;
  const timers = new Set<{ readonly dueAt: number; readonly run: () => void }>();
  const now = (): number => Date.now() + ahead;
  return {
    now,
    elapsed: now,
    after(delayMs, run) {
      const timer = { dueAt: now() + delayMs, run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance(ms) {
      ahead += ms;
      for (const timer of [...timers]) {
        if (timer.dueAt > now() || !timers.delete(timer)) continue;
        timer.run();
      }
    },
  };
}

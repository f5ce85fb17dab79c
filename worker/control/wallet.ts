import {
  codeOf,
  Failure,
  ownerProofPayload,
  toHex,
  type FailureCode,
  type OwnerProof,
  type RawAddress,
} from "../../protocol/index.ts";
import { unixSeconds, type CancelTimer, type Clock } from "../serving/clock.ts";
import type { SecretStorage } from "./secret-storage.ts";
import type { WalletAnswer } from "./ton-connect/answer.ts";
import type { KnownWallet } from "./ton-connect/known-wallets.ts";
import type { AppManifest } from "./ton-connect/manifest.ts";
import type { OpenWalletSession, SessionEntries, WalletSession } from "./ton-connect/session.ts";
import { createWalletKeeper, type KeptWallet, type WalletKeeper } from "./wallet-keeper.ts";
import { nextWallet, type WalletEvent, type WalletRequest, type WalletState } from "./wallet-state.ts";
import type { Withdrawal, WithdrawalRequest } from "./withdrawal.ts";

/**
 * The owner's wallet app, over TON Connect: it names the owner by a proof of its address, and signs what the owner
 * withdraws. Keys of a wallet never come here. Code that only a wallet needs is loaded when one is first connected.
 */
export interface Wallet {
  state(): WalletState;
  /** Calls back after each change; returns how to stop that. */
  onState(listener: (state: WalletState) => void): () => void;
  /** Goes on with the connection of an earlier run, if there was one. Never throws: what failed is in the state. */
  restore(): Promise<void>;
  /**
   * Begins a connection and resolves with the link to show as a code, or to open on this computer. A wallet that is
   * connected stays so until the new one has proved itself.
   *
   * @throws {Failure} `bad_configuration` for a wallet app that is not known; `wallet_session` when it cannot begin.
   */
  connect(options?: ConnectOptions): Promise<string>;
  /** Ends the connection, or gives up one that is being asked for. The worker goes on earning for the same owner. */
  disconnect(): Promise<void>;
  /**
   * Has the owner confirm a cash-out in the wallet app. Resolves when the wallet has accepted, which is not yet paid.
   *
   * @throws {Failure} `wallet_missing`, `wallet_busy`, `nothing_to_withdraw`; of the wallet: `wallet_declined`,
   *   `wallet_silent`, `wallet_unreachable`, `wallet_refused`, `wallet_address`.
   */
  withdraw(request: Pick<WithdrawalRequest, "claims" | "amount">): Promise<AcceptedRequest>;
  /** Ends here and now; the connection is kept for the next start. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  /** By {@link KnownWallet.appName}; default: one link that every known app can open. */
  readonly appName?: string;
  /** The only account that will do. Default: any; another than before becomes the new owner. */
  readonly address?: RawAddress;
}

export type AcceptedRequest = Extract<WalletRequest, { phase: "accepted" }>;

/** An owner who has just proved an address. */
export interface ProvedOwner {
  readonly address: RawAddress;
  readonly proof: OwnerProof;
}

export interface WalletOptions {
  /** 32 bytes: the worker's, which the proof binds the owner's address to. */
  readonly identityKey: Uint8Array;
  readonly networkId: number;
  readonly wallets: readonly KnownWallet[];
  readonly manifest: AppManifest;
  readonly secrets: SecretStorage;
  readonly openSession: OpenWalletSession;
  readonly clock: Clock;
  readonly randomBytes: (length: number) => Uint8Array;
  /** Takes the owner on; what it throws fails the connection. */
  readonly onOwner: (owner: ProvedOwner) => Promise<void>;
}

/** Bridges keep a message five minutes, so a link is worth nothing after. */
const CONNECT_MS = 300_000;
/** Wallets refuse to sign for longer. */
const REQUEST_MS = 300_000;
/** After a request is over nothing can be signed by it; an answer may still be on its way. */
const ANSWER_GRACE_MS = 5_000;

export function createWallet(options: WalletOptions): Wallet {
  return new OwnersWallet(options);
}

/** One session and what is known of it. */
interface Held {
  session: WalletSession;
  entries: SessionEntries;
  isAlive: boolean;
  isReachable: boolean;
  readonly expected: RawAddress | undefined;
  account: Omit<KeptWallet, "entries"> | undefined;
}

class OwnersWallet implements Wallet {
  readonly #options: WalletOptions;
  readonly #keeper: WalletKeeper;
  readonly #listeners = new Set<(state: WalletState) => void>();
  #state: WalletState = { phase: "disconnected" };
  #current: Held | undefined;
  #candidate: Held | undefined;
  #cancelTimer: CancelTimer | undefined;
  #isAsking = false;
  #isClosed = false;
  #kept: Promise<void> = Promise.resolve();

  constructor(options: WalletOptions) {
    this.#options = options;
    this.#keeper = createWalletKeeper(options);
  }

  state(): WalletState {
    return this.#state;
  }

  onState(listener: (state: WalletState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async restore(): Promise<void> {
    try {
      const kept = await this.#keeper.load();
      if (kept !== undefined && this.#state.phase === "disconnected" && !this.#isClosed) this.#resume(kept);
    } catch (error) {
      this.#fail(error);
    }
  }

  async connect({ appName, address }: ConnectOptions = {}): Promise<string> {
    const { identityKey, networkId, clock } = this.#options;
    const known = this.#known(appName);
    const held = this.#open({}, address);
    await this.#dropCandidate(held);
    const link = await held.session.connect({
      to: known ?? this.#everyBridge(),
      proofPayload: toHex(ownerProofPayload(identityKey, networkId)),
    });
    if (this.#candidate !== held) throw new Failure("wallet_session", "another connection was begun");
    this.#cancelTimer = clock.after(CONNECT_MS, () => this.#noAnswer(held));
    this.#to({ type: "asked-to-connect", link, walletName: known?.name, until: clock.now() + CONNECT_MS });
    return link;
  }

  async disconnect(): Promise<void> {
    if (this.#candidate !== undefined) {
      await this.#dropCandidate();
      this.#to({ type: "given-up" });
      this.#showReachable();
      return;
    }
    const held = this.#current;
    this.#current = undefined;
    this.#to({ type: "ended" });
    await this.#keeper.forget();
    if (held?.isAlive === true) await held.session.disconnect();
  }

  async withdraw({ claims, amount }: Pick<WithdrawalRequest, "claims" | "amount">): Promise<AcceptedRequest> {
    const account = this.#current?.account;
    if (this.#state.phase !== "connected" || account === undefined) throw new Failure("wallet_missing");
    if (this.#isAsking) throw new Failure("wallet_busy");
    this.#isAsking = true;
    try {
      const { acceptedMessageHash, planWithdrawal } = await import("./withdrawal.ts");
      const { address: from, maxMessages } = account;
      const plan = planWithdrawal({ claims, amount, from, maxMessages, queryId: this.#queryId() });
      const messageHash = acceptedMessageHash(await this.#ask(plan, account), from);
      const { nanoton, channels } = plan;
      const at = this.#options.clock.now();
      this.#to({ type: "accepted", at, messageHash });
      return { phase: "accepted", nanoton, channels, at, messageHash };
    } catch (error) {
      this.#to({ type: "not-accepted", ...this.#whatFailed(error) });
      throw error;
    } finally {
      this.#isAsking = false;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    const held = [this.#current, this.#candidate];
    this.#current = undefined;
    this.#candidate = undefined;
    await Promise.all([this.#kept, ...held.map((each) => each?.session.end())]);
  }

  async #ask(
    { nanoton, channels, messages }: Withdrawal,
    { address, networkId }: Omit<KeptWallet, "entries">,
  ): Promise<Uint8Array> {
    const { clock } = this.#options;
    const held = this.#revived();
    const until = clock.now() + REQUEST_MS;
    this.#to({ type: "asked", nanoton, channels, until });
    const cancelTimer = clock.after(REQUEST_MS + ANSWER_GRACE_MS, () => held.session.cancelSending());
    try {
      const validUntil = Math.floor(until / 1000);
      return await held.session.send({ validUntil, from: address, networkId, messages });
    } finally {
      cancelTimer();
    }
  }

  #resume({ entries, ...account }: KeptWallet): void {
    const held = this.#open(entries, undefined);
    held.account = account;
    this.#current = held;
    this.#to({ type: "connected", ...account, isKept: true });
    void held.session.restore().catch(() => undefined); // an end of the thread comes as an event of its own
  }

  #open(entries: SessionEntries, expected: RawAddress | undefined): Held {
    const { openSession, networkId, manifest } = this.#options;
    const held: Held = {
      entries,
      expected,
      isAlive: true,
      isReachable: true,
      account: undefined,
      session: openSession(
        { networkId, manifestUrl: manifest.manifestUrl, entries },
        {
          onAnswer: (answer) => void this.#onAnswer(held, answer),
          onRefusal: (code, message) => this.#failCandidate(held, new Failure(code, message)),
          onGone: () => this.#onGone(held),
          onReachable: (isReachable) => this.#onReachable(held, isReachable),
          onEntries: (now) => this.#onEntries(held, now),
          onCrash: () => this.#onCrash(held),
        },
      ),
    };
    return held;
  }

  /** The current session; a new one of the same entries where its thread has ended. */
  #revived(): Held {
    const held = this.#current;
    if (held?.account === undefined) throw new Failure("wallet_missing");
    if (held.isAlive) return held;
    this.#resume({ ...held.account, entries: held.entries });
    return this.#revived();
  }

  async #onAnswer(held: Held, answer: WalletAnswer): Promise<void> {
    if (held !== this.#candidate) return;
    const { identityKey, networkId, manifest, clock, onOwner } = this.#options;
    try {
      const { checkWalletAnswer } = await import("./wallet-proof.ts");
      const expected = { identityKey, networkId, domain: manifest.domain, address: held.expected };
      const proof = checkWalletAnswer(answer, { ...expected, now: unixSeconds(clock) });
      if (held !== this.#candidate) return;
      await onOwner({ address: proof.address, proof });
    } catch (error) {
      this.#failCandidate(held, error);
      return;
    }
    if (held === this.#candidate) await this.#accept(held, answer);
  }

  async #accept(held: Held, { address, networkId, appName, maxMessages }: WalletAnswer): Promise<void> {
    this.#cancelTimer?.();
    const former = this.#current;
    const walletName = this.#options.wallets.find((known) => known.appName === appName)?.name ?? printable(appName);
    held.account = { address, networkId, appName, walletName, maxMessages };
    this.#current = held;
    this.#candidate = undefined;
    this.#to({ type: "connected", address, networkId, walletName, isKept: true });
    await this.#keep(held);
    if (former?.isAlive === true) await former.session.disconnect();
  }

  #noAnswer(held: Held): void {
    const isReachable = this.#state.phase === "connecting" && this.#state.isReachable;
    const failure = isReachable
      ? new Failure("wallet_silent", "nobody answered while the link was good")
      : new Failure("wallet_unreachable", "the bridge could not be reached while the link was good");
    this.#failCandidate(held, failure);
  }

  #failCandidate(held: Held, error: unknown): void {
    if (held !== this.#candidate) return;
    this.#cancelTimer?.();
    this.#candidate = undefined;
    this.#fail(error);
    this.#showReachable();
    if (held.isAlive) void held.session.disconnect();
  }

  /** Of the connection that is left; meanwhile the other's was shown. */
  #showReachable(): void {
    if (this.#current !== undefined) this.#to({ type: "reachable", isReachable: this.#current.isReachable });
  }

  #onGone(held: Held): void {
    if (held === this.#candidate) {
      this.#failCandidate(held, new Failure("wallet_declined", "the wallet app ended the session"));
      return;
    }
    if (held !== this.#current) return;
    this.#current = undefined;
    this.#to({ type: "ended" });
    void this.#keeper.forget();
    void held.session.end();
  }

  #onReachable(held: Held, isReachable: boolean): void {
    held.isReachable = isReachable;
    if (held === (this.#candidate ?? this.#current)) this.#to({ type: "reachable", isReachable });
  }

  #onEntries(held: Held, entries: SessionEntries): void {
    held.entries = entries;
    if (held === this.#current) void this.#keep(held);
  }

  #onCrash(held: Held): void {
    held.isAlive = false;
    this.#failCandidate(held, new Failure("wallet_session", "the wallet's session failed"));
    this.#onReachable(held, false);
  }

  #keep(held: Held): Promise<void> {
    const { account, entries } = held;
    if (account === undefined) return Promise.resolve();
    this.#kept = this.#keeper.save({ ...account, entries }).then((isKept) => {
      if (held === this.#current) this.#to({ type: "kept", isKept });
    });
    return this.#kept;
  }

  /** Another takes its place at once: of two that are begun together none may be left open. */
  async #dropCandidate(next?: Held): Promise<void> {
    const held = this.#candidate;
    this.#candidate = next;
    this.#cancelTimer?.();
    if (held?.isAlive === true) await held.session.end();
  }

  /** @throws {Failure} `bad_configuration`. */
  #known(appName: string | undefined): KnownWallet | undefined {
    if (appName === undefined) return undefined;
    const known = this.#options.wallets.find((wallet) => wallet.appName === appName);
    if (known === undefined) throw new Failure("bad_configuration", `${printable(appName)} is not a known wallet app`);
    return known;
  }

  #everyBridge(): readonly { readonly bridgeUrl: string }[] {
    const urls = new Set(this.#options.wallets.map(({ bridgeUrl }) => bridgeUrl));
    return [...urls].map((bridgeUrl) => ({ bridgeUrl }));
  }

  #queryId(): bigint {
    return BigInt(`0x${toHex(this.#options.randomBytes(QUERY_ID_BYTES))}`);
  }

  #whatFailed(error: unknown): { readonly code: FailureCode; readonly message: string; readonly at: number } {
    const message = error instanceof Failure ? error.message : "internal";
    return { code: codeOf(error), message, at: this.#options.clock.now() };
  }

  #fail(error: unknown): void {
    this.#to({ type: "failed", ...this.#whatFailed(error) });
  }

  #to(event: WalletEvent): void {
    if (this.#isClosed) return;
    this.#state = nextWallet(this.#state, event);
    for (const listener of this.#listeners) listener(this.#state);
  }
}

/** One less than a u64 takes: the messages of one transaction count on from it. */
const QUERY_ID_BYTES = 7;

/** A stranger's text for a screen. */
function printable(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} ._-]/gu, "").slice(0, 40);
}

import { Worker } from "node:worker_threads";
import { Failure } from "../../../protocol/index.ts";
import type { WalletAnswer } from "./answer.ts";
import type { KnownWallet } from "./known-wallets.ts";
import type {
  ConnectRequest,
  OpenWalletSession,
  SessionEntries,
  SessionRefusal,
  TransactionRequest,
  WalletSession,
  WalletSessionEvents,
  WalletSessionOptions,
} from "./session.ts";

export interface ThreadData extends WalletSessionOptions {
  readonly wallets: readonly KnownWallet[];
}

export type ToThread =
  | { readonly type: "connect"; readonly request: ConnectRequest }
  | { readonly type: "restore" | "cancel" | "disconnect" }
  | { readonly type: "send"; readonly request: TransactionRequest };

export type SendRefusal =
  "wallet_declined" | "wallet_refused" | "wallet_network" | "wallet_silent" | "wallet_unreachable";

export type FromThread =
  | { readonly type: "gone" | "ended" }
  | { readonly type: "link"; readonly link: string }
  | { readonly type: "restored"; readonly isConnected: boolean }
  | { readonly type: "answer"; readonly answer: WalletAnswer }
  | { readonly type: "refused"; readonly code: SessionRefusal; readonly message: string }
  | { readonly type: "sent"; readonly boc: Uint8Array }
  | { readonly type: "not-sent"; readonly code: SendRefusal; readonly message: string }
  | { readonly type: "reachable"; readonly isReachable: boolean }
  | { readonly type: "entries"; readonly entries: SessionEntries }
  | { readonly type: "refused-fetch"; readonly origin: string };

/** The wallet app's bridge gets this long to hear a goodbye. */
const GOODBYE_MS = 3000;
/** The SDK takes a few; more is a leak, and ends the thread instead of the computer. */
const HEAP_MB = 96;

/** Sessions in threads of their own, with these wallets and no others. */
export function walletSessions(
  wallets: readonly KnownWallet[],
  onRefusedFetch: (origin: string) => void = () => undefined,
): OpenWalletSession {
  return (options, events) => new ThreadSession({ ...options, wallets }, events, onRefusedFetch);
}

class ThreadSession implements WalletSession {
  readonly #thread: Worker;
  readonly #events: WalletSessionEvents;
  readonly #onRefusedFetch: (origin: string) => void;
  readonly #link = Promise.withResolvers<string>();
  readonly #restored: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #exited: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #goodbye: PromiseWithResolvers<void> = Promise.withResolvers();
  #sending: PromiseWithResolvers<Uint8Array> | undefined;
  #isEnding = false;

  constructor(data: ThreadData, events: WalletSessionEvents, onRefusedFetch: (origin: string) => void) {
    this.#events = events;
    this.#onRefusedFetch = onRefusedFetch;
    this.#thread = new Worker(new URL("./entry.ts", import.meta.url), {
      workerData: data,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    this.#thread.on("message", (message: FromThread) => this.#onMessage(message));
    // What it failed of is in no log: an error of the SDK may hold the session's key.
    this.#thread.on("error", () => undefined);
    this.#thread.on("exit", () => this.#onExit());
    for (const { promise } of [this.#link, this.#restored]) promise.catch(() => undefined);
  }

  connect(request: ConnectRequest): Promise<string> {
    this.#tell({ type: "connect", request });
    return this.#link.promise;
  }

  restore(): Promise<void> {
    this.#tell({ type: "restore" });
    return this.#restored.promise;
  }

  send(request: TransactionRequest): Promise<Uint8Array> {
    this.#sending = Promise.withResolvers();
    this.#tell({ type: "send", request });
    return this.#sending.promise;
  }

  cancelSending(): void {
    this.#tell({ type: "cancel" });
  }

  async disconnect(): Promise<void> {
    this.#isEnding = true;
    this.#tell({ type: "disconnect" });
    const timer = setTimeout(() => this.#goodbye.resolve(), GOODBYE_MS);
    await this.#goodbye.promise;
    clearTimeout(timer);
    await this.end();
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#thread.terminate();
    await this.#exited.promise;
  }

  /** What is said before the thread listens waits in its port. */
  #tell(message: ToThread): void {
    this.#thread.postMessage(message);
  }

  #onMessage(message: FromThread): void {
    switch (message.type) {
      case "link":
        this.#link.resolve(message.link);
        break;
      case "restored":
        this.#restored.resolve();
        if (!message.isConnected && !this.#isEnding) this.#events.onGone();
        break;
      case "answer":
        this.#events.onAnswer(message.answer);
        break;
      case "refused":
        this.#events.onRefusal(message.code, message.message);
        break;
      case "gone":
        if (!this.#isEnding) this.#events.onGone();
        break;
      case "sent":
        this.#sending?.resolve(message.boc);
        break;
      case "not-sent":
        this.#sending?.reject(new Failure(message.code, message.message));
        break;
      case "reachable":
        this.#events.onReachable(message.isReachable);
        break;
      case "entries":
        if (!this.#isEnding) this.#events.onEntries(message.entries);
        break;
      case "refused-fetch":
        this.#onRefusedFetch(message.origin);
        break;
      case "ended":
        this.#goodbye.resolve();
        break;
    }
  }

  #onExit(): void {
    const over = new Failure("wallet_session", "the thread of the wallet's session ended");
    for (const waiting of [this.#link, this.#restored, this.#sending]) waiting?.reject(over);
    this.#goodbye.resolve();
    this.#exited.resolve();
    if (!this.#isEnding) this.#events.onCrash();
  }
}

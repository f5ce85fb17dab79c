import {
  codeOf,
  equalBytes,
  Failure,
  HEARTBEAT_MS,
  LINK_SILENCE_MS,
  linkMessage,
  parseGatewayToWorker,
  parseRouted,
  PROTOCOL_VERSIONS,
  encodeRouted,
  stringify,
  type FailureCode,
  type GatewayToWorker,
  type MessageOf,
  type OwnerProof,
  type SignedVoucher,
  type WorkerToGateway,
} from "../../protocol/index.ts";
import { unixSeconds, type CancelTimer, type Clock } from "./clock.ts";
import { linkUrl, type GatewayAddress } from "./gateway-address.ts";
import type { Identity } from "./identity.ts";
import { reconnectDelayMs } from "./reconnect.ts";
import type { Dial, Socket } from "./socket.ts";

/** Whose wallet a worker earns for. */
export interface Owner {
  /** `0:hex`. */
  readonly address: string;
  /** Needed at the first link of this identity with this owner. */
  readonly proof?: OwnerProof;
}

export type LinkState =
  | { readonly phase: "connecting" }
  | {
      readonly phase: "ready";
      /** Unix ms. */
      readonly since: number;
      readonly feeBps: number;
      readonly ownerNamed: boolean;
    }
  | {
      readonly phase: "waiting";
      readonly code: FailureCode;
      readonly message: string;
      /** Unix ms. */
      readonly retryAt: number;
    }
  | { readonly phase: "closed" };

/** Messages a link passes on; the rest is its own business. */
export type LinkMessage = Exclude<GatewayToWorker, { type: "challenge" | "heartbeat" }>;

export interface LinkEvents {
  onMessage(message: LinkMessage): void;
  /** The link is logged in; `welcome` follows as a message. */
  onReady(): void;
  onBytes(routeId: number, bytes: Uint8Array): void;
  /** It was ready and is gone; it reconnects by itself. */
  onDown(): void;
  onChange(): void;
}

/** One gateway, dialled for as long as serving runs. */
export interface Link {
  readonly gateway: GatewayAddress;
  state(): LinkState;
  /** How far this computer's clock is ahead of the gateway's, ms; undefined before the first challenge. */
  clockAheadMs(): number | undefined;
  /** False when the link is not ready: nothing was sent. */
  send(message: WorkerToGateway): boolean;
  sendBytes(routeId: number, bytes: Uint8Array): boolean;
  bufferedBytes(): number;
  /** Dials for the first time. */
  open(): void;
  /** Logs in again, for this owner, unless the gateway has named it already. What runs over the link is lost. */
  setOwner(owner: Owner): void;
  /** Whether the gateway has this owner's proof and books to it. */
  isNamed(address: string): boolean;
  close(): void;
}

export interface LinkOptions {
  readonly gateway: GatewayAddress;
  readonly identity: Identity;
  readonly owner: Owner | undefined;
  readonly networkId: number;
  /** The newest voucher of this gateway: shown at each login, in case the gateway has lost its own copy. */
  readonly newestVoucher: () => SignedVoucher | undefined;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly dial: Dial;
}

const LOGIN_TIMEOUT_MS = 10_000;
const CHECK_MS = HEARTBEAT_MS / 2;

interface Attempt {
  readonly socket: Socket;
  phase: "challenge" | "welcome" | "ready";
  heardAt: number;
  heartbeatAt: number;
  reason: { readonly code: FailureCode; readonly message: string } | undefined;
  retryAfterMs: number | undefined;
}

/** Logs in, keeps alive and dials again. @throws {Failure} `bad_configuration` for an address that cannot be one. */
export function createLink(options: LinkOptions, events: LinkEvents): Link {
  return new GatewayLink(options, events);
}

class GatewayLink implements Link {
  readonly gateway: GatewayAddress;
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  readonly #url: string;
  #owner: Owner | undefined;
  #state: LinkState = { phase: "connecting" };
  #attempt: Attempt | undefined;
  #cancelTimer: CancelTimer | undefined;
  #failures = 0;
  #servedAt: number | undefined;
  #clockAheadMs: number | undefined;

  constructor(options: LinkOptions, events: LinkEvents) {
    this.gateway = options.gateway;
    this.#options = options;
    this.#events = events;
    this.#url = linkUrl(options.gateway);
    this.#owner = options.owner;
  }

  open(): void {
    this.#dial();
  }

  isNamed(address: string): boolean {
    return this.#state.phase === "ready" && this.#state.ownerNamed && this.#owner?.address === address;
  }

  setOwner(owner: Owner): void {
    const isNamed = this.isNamed(owner.address);
    this.#owner = owner;
    if (isNamed) return;
    const attempt = this.#attempt;
    // Without an attempt the next one is on its way, or the link is closed.
    if (attempt === undefined) return;
    this.#cancelTimer?.();
    this.#attempt = undefined;
    attempt.socket.close();
    if (attempt.phase === "ready") this.#events.onDown();
    this.#dial();
  }

  state(): LinkState {
    return this.#state;
  }

  clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  send(message: WorkerToGateway): boolean {
    if (this.#attempt?.phase !== "ready") return false;
    this.#attempt.socket.send(stringify(message));
    return true;
  }

  sendBytes(routeId: number, bytes: Uint8Array): boolean {
    if (this.#attempt?.phase !== "ready") return false;
    this.#attempt.socket.send(encodeRouted(routeId, bytes));
    return true;
  }

  bufferedBytes(): number {
    return this.#attempt?.socket.bufferedBytes ?? 0;
  }

  close(): void {
    this.#cancelTimer?.();
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.#enter({ phase: "closed" });
    attempt?.socket.close();
    if (attempt?.phase === "ready") this.#events.onDown();
  }

  #dial(): void {
    const { clock, dial } = this.#options;
    /** Only of the attempt that counts now: a late event of an abandoned socket is nobody's business. */
    const ours = (run: (attempt: Attempt) => void): void => {
      if (attempt === this.#attempt) run(attempt);
    };
    this.#enter({ phase: "connecting" });
    const socket = dial(this.#url, {
      onOpen: () => undefined,
      onText: (text) => ours((current) => this.#onText(current, text)),
      onBytes: (bytes) => ours((current) => this.#onBytes(current, bytes)),
      onClose: (reason) => ours((current) => this.#onClose(current, reason)),
    });
    const now = clock.now();
    const attempt: Attempt = {
      socket,
      phase: "challenge",
      heardAt: now,
      heartbeatAt: now,
      reason: undefined,
      retryAfterMs: undefined,
    };
    this.#attempt = attempt;
    this.#cancelTimer = clock.after(LOGIN_TIMEOUT_MS, () =>
      ours((current) => this.#giveUp(current, "gateway_unreachable", "the gateway did not answer the login")),
    );
  }

  #onText(attempt: Attempt, text: string): void {
    attempt.heardAt = this.#options.clock.now();
    let message: GatewayToWorker;
    try {
      message = parseGatewayToWorker(text);
    } catch (error) {
      // A newer gateway may know more than we do; before the login it is simply not a gateway.
      if (attempt.phase !== "ready")
        this.#giveUp(attempt, codeOf(error), "this is not a gateway this version can talk to");
      return;
    }
    this.#onMessage(attempt, message);
  }

  #onMessage(attempt: Attempt, message: GatewayToWorker): void {
    if (message.type === "heartbeat") return;
    if (message.type === "challenge") {
      this.#logIn(attempt, message);
      return;
    }
    if (message.type === "welcome") {
      this.#welcome(attempt, message);
      return;
    }
    if (attempt.phase === "ready") {
      this.#events.onMessage(message);
      return;
    }
    if (message.type !== "error") return;
    attempt.retryAfterMs = message.retryAfterMs;
    this.#giveUp(attempt, message.code, this.#loginRefusal(message.code));
  }

  #onBytes(attempt: Attempt, bytes: Uint8Array): void {
    attempt.heardAt = this.#options.clock.now();
    if (attempt.phase !== "ready") return;
    let routed;
    try {
      routed = parseRouted(bytes);
    } catch {
      return; // a route number no gateway hands out belongs to no stream
    }
    this.#events.onBytes(routed.routeId, routed.bytes);
  }

  #logIn(attempt: Attempt, challenge: MessageOf<GatewayToWorker, "challenge">): void {
    const { clock, identity, newestVoucher } = this.#options;
    const owner = this.#owner;
    if (attempt.phase !== "challenge") {
      this.#giveUp(attempt, "bad_login", "the gateway asked for a second login");
      return;
    }
    this.#clockAheadMs = clock.now() - challenge.time * 1000;
    try {
      this.#checkChallenge(challenge);
    } catch (error) {
      this.#giveUp(attempt, codeOf(error), error instanceof Failure ? error.message : "internal");
      return;
    }
    const time = unixSeconds(clock);
    const address = owner?.address ?? "";
    const signature = identity.sign(
      linkMessage({ role: "worker", gatewayKey: challenge.gatewayKey, nonce: challenge.nonce, time, address }),
    );
    const voucher = newestVoucher();
    const login: MessageOf<WorkerToGateway, "login"> = {
      type: "login",
      protocol: PROTOCOL_VERSIONS.max,
      key: identity.publicKey,
      address,
      time,
      signature,
      ...(owner?.proof === undefined ? {} : { ownerProof: owner.proof }),
      ...(voucher === undefined ? {} : { voucher }),
    };
    attempt.phase = "welcome";
    attempt.socket.send(stringify(login));
  }

  /** Signs for nobody but the gateway that was dialled, on the network this worker is for. */
  #checkChallenge(challenge: MessageOf<GatewayToWorker, "challenge">): void {
    const { gateway, networkId } = this.#options;
    if (!equalBytes(challenge.gatewayKey, gateway.key)) {
      throw new Failure(
        "bad_login",
        `${gateway.url} shows another key than the registry has for it; nothing was signed`,
      );
    }
    const { min, max } = challenge.protocol;
    if (PROTOCOL_VERSIONS.max < min || PROTOCOL_VERSIONS.max > max) {
      throw new Failure("bad_login", "the gateway speaks another version of the protocol; update this program");
    }
    if (challenge.networkId !== networkId) {
      throw new Failure("bad_login", "the gateway belongs to another TON network than this worker is set to");
    }
  }

  #welcome(attempt: Attempt, welcome: MessageOf<GatewayToWorker, "welcome">): void {
    if (attempt.phase !== "welcome") {
      this.#giveUp(attempt, "bad_login", "the gateway said welcome out of turn");
      return;
    }
    const { clock } = this.#options;
    attempt.phase = "ready";
    this.#failures = 0;
    this.#servedAt = clock.now();
    this.#cancelTimer?.();
    this.#cancelTimer = clock.after(CHECK_MS, () => this.#check(attempt));
    this.#enter({ phase: "ready", since: clock.now(), feeBps: welcome.feeBps, ownerNamed: welcome.ownerNamed });
    this.#events.onMessage(welcome);
    this.#events.onReady();
  }

  #check(attempt: Attempt): void {
    const { clock } = this.#options;
    if (attempt !== this.#attempt) return;
    const now = clock.now();
    if (now - attempt.heardAt >= LINK_SILENCE_MS) {
      this.#giveUp(attempt, "gateway_unreachable", "the gateway has gone silent");
      return;
    }
    if (now - attempt.heartbeatAt >= HEARTBEAT_MS) {
      attempt.heartbeatAt = now;
      this.send({ type: "heartbeat" });
    }
    this.#cancelTimer = clock.after(CHECK_MS, () => this.#check(attempt));
  }

  #giveUp(attempt: Attempt, code: FailureCode, message: string): void {
    attempt.reason = { code, message };
    this.#onClose(attempt, message);
    attempt.socket.close();
  }

  #onClose(attempt: Attempt, reason: string): void {
    const { clock, random } = this.#options;
    const wasReady = attempt.phase === "ready";
    this.#attempt = undefined;
    this.#cancelTimer?.();
    const now = clock.now();
    if (wasReady) this.#servedAt = now;
    const delayMs = reconnectDelayMs(
      { failures: this.#failures, servedAt: this.#servedAt, now, retryAfterMs: attempt.retryAfterMs },
      random,
    );
    this.#failures++;
    this.#cancelTimer = clock.after(delayMs, () => this.#dial());
    const why = attempt.reason ?? { code: "gateway_unreachable", message: `no connection to the gateway: ${reason}` };
    this.#enter({ phase: "waiting", code: why.code, message: why.message, retryAt: now + delayMs });
    if (wasReady) this.#events.onDown();
  }

  #enter(state: LinkState): void {
    this.#state = state;
    this.#events.onChange();
  }

  #loginRefusal(code: FailureCode): string {
    if (code !== "clock_skew" || this.#clockAheadMs === undefined) return `the gateway refused the login: ${code}`;
    const minutes = Math.round(Math.abs(this.#clockAheadMs) / 60_000);
    const way = this.#clockAheadMs > 0 ? "ahead" : "behind";
    return `this computer's clock is ${minutes} minutes ${way}; set it to automatic time`;
  }
}

import {
  codeOf,
  encodeRouted,
  equalBytes,
  Failure,
  HEARTBEAT_MS,
  LINK_SILENCE_MS,
  linkMessage,
  parseGatewayToClient,
  parseRouted,
  PROTOCOL_VERSIONS,
  stringify,
  type ClientToGateway,
  type CountersignedVoucher,
  type FailureCode,
  type GatewayToClient,
  type MessageOf,
} from "../protocol/index.ts";
import { ClientFailure } from "./client-failure.ts";
import { pauseBefore } from "./reconnect.ts";
import type { PaymentKey } from "./signing.ts";
import type { OpenSocket, Socket } from "./socket.ts";

/** The socket to one gateway: logged in, kept alive, dialled again when it drops. */
export interface Link {
  /** Resolves once logged in. @throws {Failure} `gateway_unreachable` after a while, or why the login was refused. */
  ready(): Promise<void>;
  reserve(terms: ReserveTerms): Promise<MessageOf<GatewayToClient, "reserved" | "refused">>;
  /**
   * Asks for a route; the handler hears of it, or of why there is none, before any byte that comes over it. The first
   * stream of a reservation has its route at once: the gateway named it with the reservation.
   */
  openRoute(message: RouteRequest, handler: RouteHandler): void;
  /** Says nothing while there is no link: what counts is asked for again after the next login. */
  send(message: ClientToGateway): void;
  readonly feeBps: number | undefined;
  close(): void;
}

export type ReserveTerms = Omit<MessageOf<ClientToGateway, "reserve">, "type" | "id">;

type WithoutId<Message> = Message extends unknown ? Omit<Message, "id"> : never;
export type RouteRequest = WithoutId<MessageOf<ClientToGateway, "hello" | "open">>;

/** One route to a worker, through a gateway that cannot read it. */
export interface Route {
  send(bytes: Uint8Array): void;
  /** Tells the gateway why no more is wanted; what is on its way may still come for some seconds. */
  close(code: FailureCode): void;
  /** Nothing that comes from now on is looked at. */
  forget(): void;
}

/** Called in the order things arrive; `closed` at most once, and nothing after it. */
export interface RouteHandler {
  readonly opened: (route: Route) => void;
  readonly bytes: (bytes: Uint8Array) => void;
  readonly closed: (failure: Failure) => void;
}

export interface LinkOptions {
  readonly url: string;
  /** 32 bytes: the gateway that was chosen; another one is refused. */
  readonly gatewayKey: Uint8Array;
  /** Undefined accepts any, which is right only where nothing is signed for a chain. */
  readonly networkId: number | undefined;
  readonly key: PaymentKey;
  /** The ClientChannel as `0:hex`, or empty on trial. */
  readonly address: string;
  readonly openSocket: OpenSocket;
  /** Unix ms. */
  readonly now: () => number;
  readonly random: (length: number) => Uint8Array;
  /** What the gateway is shown at each login. */
  readonly countersigned: () => CountersignedVoucher | undefined;
  readonly onWelcome: (welcome: MessageOf<GatewayToClient, "welcome">) => void;
  readonly onCharge: (charge: MessageOf<GatewayToClient, "charge">) => void;
  readonly log: (line: string) => void;
}

const CLOCK_WINDOW_SECONDS = 120;
const READY_TIMEOUT_MS = 10_000;
const REPLY_TIMEOUT_MS = 20_000;
/** Frames that were on their way when we closed a route are counted: they may be charged. */
const LINGER_MS = 10_000;
const SERVED_LATELY_MS = 600_000;
/** Well after a reservation has expired. */
const KEPT_MS = 60_000;

type Reserved = MessageOf<GatewayToClient, "reserved" | "refused">;
type Pending =
  | {
      readonly kind: "reserve";
      readonly resolve: (reply: Reserved) => void;
      readonly reject: (failure: Failure) => void;
    }
  | { readonly kind: "route"; readonly handler: RouteHandler };
type PendingReply = Pending & { readonly sentAt: number };

interface OpenRoute {
  readonly handler: RouteHandler;
  /** Of the `open` that no answer has confirmed; empty once one has. */
  readonly id: string;
}

interface KeptRoute {
  readonly routeId: number;
  readonly at: number;
}

export function openLink(options: LinkOptions): Link {
  return new GatewayLink(options);
}

class GatewayLink implements Link {
  readonly #options: LinkOptions;
  readonly #pending = new Map<string, PendingReply>();
  readonly #routes = new Map<number, OpenRoute>();
  /** Routes kept for the first stream of a reservation that was not asked for yet. */
  readonly #kept = new Map<string, KeptRoute>();
  /** Streams that were opened on a kept route, by the id that a refusal would name. */
  readonly #unanswered = new Map<string, number>();
  /** Routes that we closed, and when. */
  readonly #leaving = new Map<number, number>();
  readonly #waiting = new Set<(failure: Failure | undefined) => void>();
  readonly #heartbeat: ReturnType<typeof setInterval>;
  #redial: ReturnType<typeof setTimeout> | undefined;
  #socket: Socket | undefined;
  #phase: "dialling" | "ready" | "closed" = "dialling";
  #heardAt = 0;
  #readyAt: number | undefined;
  #attempt = 0;
  #retryAfterMs = 0;
  #lastId = 0;
  #feeBps: number | undefined;
  /** Why the gateway does not let this client in; undefined when it was never asked or has. */
  #refusal: Failure | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#dial();
  }

  get feeBps(): number | undefined {
    return this.#feeBps;
  }

  ready(): Promise<void> {
    if (this.#phase === "ready") return Promise.resolve();
    if (this.#phase === "closed") return Promise.reject(closedByUs());
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(new Failure("gateway_unreachable", this.#options.url)), READY_TIMEOUT_MS);
      const settle = (failure: Failure | undefined): void => {
        clearTimeout(timer);
        this.#waiting.delete(settle);
        if (failure === undefined) resolve();
        else reject(failure);
      };
      this.#waiting.add(settle);
    });
  }

  async reserve(terms: ReserveTerms): Promise<Reserved> {
    await this.ready();
    return new Promise((resolve, reject) => {
      const id = this.#await({ kind: "reserve", resolve, reject });
      this.send({ type: "reserve", id, ...terms });
    });
  }

  openRoute(message: RouteRequest, handler: RouteHandler): void {
    if (this.#phase !== "ready") return handler.closed(new Failure("gateway_unreachable"));
    const kept = message.type === "open" ? this.#kept.get(message.reservationId) : undefined;
    if (message.type !== "open" || kept === undefined) {
      this.send({ ...message, id: this.#await({ kind: "route", handler }) });
      return;
    }
    const { routeId } = kept;
    this.#kept.delete(message.reservationId);
    if (this.#routes.has(routeId)) return handler.closed(namedTwice(routeId));
    const id = this.#nextId();
    this.#unanswered.set(id, routeId);
    this.#routes.set(routeId, { handler, id });
    this.send({ ...message, id, routeId });
    handler.opened(this.#routeOf(routeId));
  }

  send(message: ClientToGateway): void {
    // On a socket that has not logged in it would be taken for the login, and refused.
    if (this.#phase === "ready") this.#socket?.send(stringify(message));
  }

  close(): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    clearInterval(this.#heartbeat);
    clearTimeout(this.#redial);
    this.#socket?.close();
    this.#socket = undefined; // whatever it still says is not heard
    this.#dropAll(closedByUs());
  }

  #dial(): void {
    const socket = this.#options.openSocket(this.#options.url, {
      opened: () => {
        this.#heardAt = this.#options.now();
      },
      text: (text) => {
        if (this.#socket === socket) this.#onText(text);
      },
      binary: (bytes) => {
        if (this.#socket === socket) this.#onBinary(bytes);
      },
      closed: (why) => {
        if (this.#socket === socket) this.#onClosed(why);
      },
    });
    this.#heardAt = this.#options.now();
    this.#socket = socket;
  }

  #onText(text: string): void {
    this.#heardAt = this.#options.now();
    let message: GatewayToClient;
    try {
      message = parseGatewayToClient(text);
    } catch (error) {
      return this.#onNonsense(error);
    }
    try {
      this.#onMessage(message);
    } catch (error) {
      this.#fail(error);
    }
  }

  #onBinary(message: Uint8Array): void {
    this.#heardAt = this.#options.now();
    try {
      const { routeId, bytes } = parseRouted(message);
      this.#routes.get(routeId)?.handler.bytes(bytes);
    } catch (error) {
      this.#onNonsense(error);
    }
  }

  /** A newer gateway may say what this client has no word for; only a login has to be understood. */
  #onNonsense(error: unknown): void {
    if (this.#phase !== "ready") return this.#fail(error);
    this.#options.log(`passed over what the gateway sent: ${wordsOf(error)}`);
  }

  /** Nothing can be agreed with this gateway: dialled again later, it may be another. */
  #fail(error: unknown): void {
    this.#options.log(`the gateway is refused: ${wordsOf(error)}`);
    this.#refusal = error instanceof Failure ? error : new Failure("internal", undefined, { cause: error });
    const socket = this.#socket;
    this.#onClosed(codeOf(error));
    socket?.close();
  }

  #onMessage(message: GatewayToClient): void {
    switch (message.type) {
      case "challenge":
        return this.#onChallenge(message);
      case "welcome":
        return this.#onWelcome(message);
      case "error":
        return this.#onError(message);
      case "reserved":
      case "refused":
        return this.#onReserved(message);
      case "route":
        return this.#onRoute(message);
      case "close":
        return this.#onRouteClosed(message);
      case "charge":
        return this.#options.onCharge(message);
      case "drain":
      case "heartbeat":
        return undefined;
    }
  }

  #onChallenge(challenge: MessageOf<GatewayToClient, "challenge">): void {
    const { gatewayKey, networkId, now, key, address } = this.#options;
    const time = Math.floor(now() / 1000);
    refuseUnless(
      equalBytes(challenge.gatewayKey, gatewayKey),
      "bad_login",
      "the gateway has another key than the one chosen",
    );
    refuseUnless(
      networkId === undefined || challenge.networkId === networkId,
      "bad_login",
      "a gateway of another network",
    );
    const { min, max } = challenge.protocol;
    const protocol = PROTOCOL_VERSIONS.max;
    refuseUnless(min <= protocol && protocol <= max, "bad_login", `the gateway speaks versions ${min} to ${max}`);
    const ahead = time - challenge.time;
    if (Math.abs(ahead) > CLOCK_WINDOW_SECONDS) {
      const amount = `${Math.abs(ahead)} seconds ${ahead > 0 ? "ahead of" : "behind"}`;
      throw new Failure("clock_skew", `this computer's clock is ${amount} the gateway's`);
    }
    const message = linkMessage({ role: "client", gatewayKey, nonce: challenge.nonce, time, address });
    const socket = this.#socket;
    void key.sign(message).then((signature) => {
      if (socket === undefined || this.#socket !== socket) return;
      const countersigned = this.#options.countersigned();
      const login = { type: "login" as const, protocol, key: key.publicKey, address, time, signature };
      socket.send(stringify(countersigned === undefined ? login : { ...login, countersigned }));
    });
  }

  #onWelcome(welcome: MessageOf<GatewayToClient, "welcome">): void {
    this.#options.onWelcome(welcome);
    this.#feeBps = welcome.feeBps;
    this.#phase = "ready";
    this.#attempt = 0;
    this.#refusal = undefined;
    this.#readyAt = this.#options.now();
    for (const settle of [...this.#waiting]) settle(undefined);
  }

  #onError({ code, id, retryAfterMs }: MessageOf<GatewayToClient, "error">): void {
    const failure = new ClientFailure(code, undefined, retryAfterMs === undefined ? {} : { retryAfterMs });
    const refused = id === undefined ? undefined : this.#unanswered.get(id);
    if (refused !== undefined) return this.#endRoute(refused, failure);
    if (id !== undefined) return this.#take(id, (pending) => rejectPending(pending, failure));
    if (this.#phase === "ready") return this.#options.log(`the gateway reports ${code}`);
    this.#refusal = failure;
    this.#retryAfterMs = retryAfterMs ?? 0;
    for (const settle of [...this.#waiting]) settle(failure);
  }

  #onReserved(reply: Reserved): void {
    this.#take(reply.id, (pending) => {
      if (pending.kind !== "reserve") return rejectPending(pending, new Failure("bad_message"));
      if (reply.type === "reserved") {
        this.#kept.set(reply.reservationId, { routeId: reply.routeId, at: this.#options.now() });
      }
      pending.resolve(reply);
    });
  }

  #onRoute({ id, routeId }: MessageOf<GatewayToClient, "route">): void {
    this.#take(id, (pending) => {
      if (pending.kind === "reserve") return rejectPending(pending, new Failure("bad_message"));
      if (this.#routes.has(routeId)) return rejectPending(pending, namedTwice(routeId));
      this.#routes.set(routeId, { handler: pending.handler, id: "" });
      pending.handler.opened(this.#routeOf(routeId));
    });
  }

  #routeOf(routeId: number): Route {
    const socket = this.#socket;
    return {
      send: (bytes) => socket?.send(encodeRouted(routeId, bytes)),
      close: (code) => {
        if (!this.#routes.has(routeId)) return;
        this.#leaving.set(routeId, this.#options.now());
        this.send({ type: "close", routeId, code });
      },
      forget: () => this.#forget(routeId),
    };
  }

  /** The gateway's word, not the worker's: a hint for people, and the end of the route either way. */
  #onRouteClosed({ routeId, code }: MessageOf<GatewayToClient, "close">): void {
    this.#endRoute(routeId, new Failure(code));
  }

  #endRoute(routeId: number, failure: Failure): void {
    const route = this.#routes.get(routeId);
    this.#forget(routeId);
    route?.handler.closed(failure);
  }

  #forget(routeId: number): void {
    const route = this.#routes.get(routeId);
    if (route !== undefined) this.#unanswered.delete(route.id);
    this.#routes.delete(routeId);
    this.#leaving.delete(routeId);
  }

  #onClosed(why: string): void {
    if (this.#phase === "closed" || this.#socket === undefined) return;
    const { now, random, log } = this.#options;
    const servedLately = this.#readyAt !== undefined && now() - this.#readyAt < SERVED_LATELY_MS;
    if (this.#phase === "ready") this.#readyAt = now();
    this.#phase = "dialling";
    this.#socket = undefined;
    const failure = this.#refusal ?? new Failure("gateway_unreachable", why);
    const pause = Math.max(this.#retryAfterMs, pauseBefore(this.#attempt, servedLately, fractionOf(random(4))));
    this.#attempt++;
    this.#retryAfterMs = 0;
    log(`the link ended (${why}); dialling again in ${Math.round(pause)} ms`);
    this.#dropAll(failure);
    this.#redial = setTimeout(() => this.#dial(), pause);
  }

  /** Everyone hears of it; who waits for a link goes on waiting unless the gateway said no. */
  #dropAll(failure: Failure): void {
    const pending = [...this.#pending.values()];
    const routes = [...this.#routes.values()];
    this.#pending.clear();
    this.#routes.clear();
    this.#unanswered.clear();
    this.#kept.clear();
    this.#leaving.clear();
    for (const one of pending) rejectPending(one, failure);
    for (const { handler } of routes) handler.closed(new Failure("truncated", "the link to the gateway ended"));
    if (this.#phase !== "closed" && this.#refusal === undefined) return;
    for (const settle of [...this.#waiting]) settle(failure);
  }

  #beat(): void {
    const now = this.#options.now();
    if (now - this.#heardAt > LINK_SILENCE_MS) {
      const socket = this.#socket;
      this.#onClosed("silence");
      socket?.close();
      return;
    }
    if (this.#phase === "ready") this.send({ type: "heartbeat" });
    for (const [routeId, closedAt] of this.#leaving) if (now - closedAt > LINGER_MS) this.#forget(routeId);
    for (const [reservationId, { at }] of this.#kept) if (now - at > KEPT_MS) this.#kept.delete(reservationId);
    for (const [id, pending] of this.#pending) {
      if (now - pending.sentAt < REPLY_TIMEOUT_MS) continue;
      this.#pending.delete(id);
      rejectPending(pending, new Failure("gateway_unreachable", "no reply"));
    }
  }

  #await(pending: Pending): string {
    const id = this.#nextId();
    this.#pending.set(id, { ...pending, sentAt: this.#options.now() });
    return id;
  }

  #nextId(): string {
    return (++this.#lastId).toString(36);
  }

  #take(id: string, act: (pending: PendingReply) => void): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    act(pending);
  }
}

function rejectPending(pending: PendingReply, failure: Failure): void {
  if (pending.kind === "reserve") pending.reject(failure);
  else pending.handler.closed(failure);
}

/** Its first stream would never hear of its end. */
function namedTwice(routeId: number): Failure {
  return new Failure("bad_message", `the gateway named route ${routeId} twice`);
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fractionOf(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => (sum + byte) / 256, 0);
}

function closedByUs(): Failure {
  return new Failure("cancelled", "the client was closed");
}

function refuseUnless(holds: boolean, code: FailureCode, why: string): void {
  if (!holds) throw new Failure(code, why);
}

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { type RawData } from "ws";
import {
  Failure,
  HEARTBEAT_MS,
  LINK_SILENCE_MS,
  stringify,
  type FailureCode,
  type GatewayToClient,
  type GatewayToWorker,
} from "../protocol/index.ts";
import { RateLimit } from "./limits.ts";

/** One end of a route: where its frames go, and where those of the peer come in. */
export interface RouteEnd {
  readonly link: Link;
  readonly routeId: number;
  /** Bytes given to the socket that the kernel has not taken. */
  buffered: number;
  /** A whole binary message of the peer, its eight bytes of route included; the receiver may overwrite them. */
  receive(message: Buffer): void;
  /** The peer said that it closes the route. */
  closed(code: FailureCode): void;
  /** The socket is gone. */
  lost(): void;
  /** Called when `buffered` has fallen. */
  drained(): void;
}

export type RouteReceiver = Pick<RouteEnd, "receive" | "closed" | "lost" | "drained">;

export interface LinkEvents {
  text(text: string): void;
  closed(): void;
  /** Something was thrown that is no failure of the peer's; its link is ended, the others go on. */
  bug(error: unknown): void;
}

const CLOSING_MS = 1000;
const ROUTE_BYTES = 8;
const TWO_32 = 2 ** 32;
const BINARY = { binary: true } as const;
const TEXT = { binary: false } as const;
const HEARTBEAT = Buffer.from(stringify({ type: "heartbeat" } satisfies GatewayToClient));

/** A socket to one peer, with the routes that run over it. Makes no decision but those of the wire. */
export class Link {
  /** The peer's network address. */
  readonly address: string;
  readonly budget: RateLimit;
  lastHeardAt: number;
  readonly #ws: WebSocket;
  readonly #socket: Duplex;
  readonly #routes = new Map<number, RouteEnd>();
  readonly #unflushed = new UnflushedFrames();
  readonly #onFlushed = (): void => this.#unflushed.shift();
  #nextRouteId = 1;
  #nextHeartbeatAt: number;
  #isCorked = false;
  #isOpen = true;
  #pauses = 0;
  #events: LinkEvents | undefined;
  #onPong: (() => void) | undefined;

  constructor(ws: WebSocket, socket: Duplex, address: string, context: { now: number; controlPerSecond: number }) {
    this.#ws = ws;
    this.#socket = socket;
    this.address = address;
    this.budget = new RateLimit(context.controlPerSecond, context.now);
    this.lastHeardAt = context.now;
    // Spread, or a thousand links that came together would all be served in one turn, and frames wait.
    this.#nextHeartbeatAt = context.now + HEARTBEAT_MS * (0.5 + Math.random() / 2);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get routeCount(): number {
    return this.#routes.size;
  }

  listen(events: LinkEvents, steadyMs: () => number): void {
    this.#events = events;
    this.#ws.on("message", (data: RawData, isBinary: boolean) => {
      this.lastHeardAt = steadyMs();
      if (!Buffer.isBuffer(data)) return; // not with ws's default binaryType
      try {
        if (isBinary) this.#receive(data);
        else events.text(data.toString());
      } catch (error) {
        events.bug(error);
        this.end("internal");
      }
    });
    this.#ws.on("pong", () => {
      this.lastHeardAt = steadyMs();
      this.#onPong?.();
    });
    this.#ws.on("error", () => undefined); // ws closes the link itself: too large, not a frame, reset
    this.#ws.on("close", () => this.#gone());
  }

  send(message: GatewayToClient | GatewayToWorker): void {
    this.sendText(stringify(message));
  }

  sendText(text: string): void {
    if (!this.#isOpen) return;
    this.#cork();
    this.#ws.send(text);
  }

  error(code: FailureCode, extra: { readonly id?: string | undefined; readonly retryAfterMs?: number } = {}): void {
    const { id, retryAfterMs } = extra;
    this.send({
      type: "error",
      code,
      ...(id === undefined ? {} : { id }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.ceil(retryAfterMs) }),
    });
  }

  /** A number for a route that may be opened later. */
  nextRouteId(): number {
    return this.#nextRouteId++;
  }

  openRoute(receiver: RouteReceiver, routeId = this.nextRouteId()): RouteEnd {
    const end: RouteEnd = {
      link: this,
      routeId,
      buffered: 0,
      receive: (message) => receiver.receive(message),
      closed: (code) => receiver.closed(code),
      lost: () => receiver.lost(),
      drained: () => receiver.drained(),
    };
    this.#routes.set(routeId, end);
    return end;
  }

  /** The peer hears nothing of it: the route ended by itself, or `code` says why it was cut. */
  closeRoute(end: RouteEnd, code?: FailureCode): void {
    if (!this.#routes.delete(end.routeId) || code === undefined) return;
    this.send({ type: "close", routeId: end.routeId, code });
  }

  /** A `close` of the peer; one for a route that has just ended is no error. */
  routeClosed(routeId: number, code: FailureCode): void {
    const end = this.#routes.get(routeId);
    if (end === undefined) return this.#refuseUnknown(routeId);
    this.#routes.delete(routeId);
    this.budget.giveBack(); // at most one a route
    end.closed(code);
  }

  /** Sends a message that was received on the other end, its route rewritten in place: no byte is copied. */
  forward(end: RouteEnd, message: Buffer): void {
    if (!this.#isOpen) return;
    message.writeUInt32BE(Math.floor(end.routeId / TWO_32), 0);
    message.writeUInt32BE(end.routeId >>> 0, 4);
    this.#unflushed.push(end, message.length);
    this.#cork();
    this.#ws.send(message, BINARY, this.#onFlushed);
  }

  /** Stops reading until as many {@link resume}s have come. */
  pause(): void {
    if (this.#pauses++ === 0) this.#ws.pause();
  }

  resume(now: number): void {
    if (--this.#pauses > 0) return;
    this.lastHeardAt = now; // what it said in the meantime is still in the socket
    if (this.#isOpen) this.#ws.resume();
  }

  /** Heartbeat and silence; called a few times a second. */
  tick(now: number): void {
    if (this.#pauses === 0 && now - this.lastHeardAt > LINK_SILENCE_MS) return this.destroy();
    if (now < this.#nextHeartbeatAt) return;
    this.#nextHeartbeatAt = now + HEARTBEAT_MS;
    if (this.#isOpen) this.#ws.send(HEARTBEAT, TEXT);
  }

  /** Whether the peer still answers; a link without a living peer can look open for a long time. */
  probe(waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      if (!this.#isOpen) return resolve(false);
      const answer = (isAlive: boolean): void => {
        clearTimeout(timer);
        this.#onPong = undefined;
        resolve(isAlive);
      };
      const timer = setTimeout(() => answer(false), waitMs);
      this.#onPong = () => answer(true);
      this.#ws.ping();
    });
  }

  /** Closes after what was sent is flushed. */
  end(code?: FailureCode): void {
    if (code !== undefined) this.error(code);
    this.#ws.close(1000);
    // A peer that does not answer the closing handshake would keep its socket for half a minute.
    setTimeout(() => this.#ws.terminate(), CLOSING_MS).unref();
    this.#gone();
  }

  /** Closes at once. */
  destroy(): void {
    this.#ws.terminate();
    this.#gone();
  }

  #receive(message: Buffer): void {
    if (message.length < ROUTE_BYTES) return this.error("bad_frame");
    const routeId = message.readUInt32BE(0) * TWO_32 + message.readUInt32BE(4);
    const end = this.#routes.get(routeId);
    if (end === undefined) return this.#refuseUnknown(routeId);
    end.receive(message);
  }

  #refuseUnknown(routeId: number): void {
    // A route that has just ended may still have messages under way.
    if (routeId >= this.#nextRouteId || routeId === 0) this.error("bad_frame");
  }

  #gone(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const ends = [...this.#routes.values()];
    this.#routes.clear();
    for (const end of ends) end.lost();
    this.#events?.closed();
  }

  /** Frames of one turn of the event loop leave in one write: a system call costs more than a frame. */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#socket.cork();
    setImmediate(() => {
      this.#isCorked = false;
      this.#socket.uncork();
    });
  }
}

/** What the socket has not taken yet, first in, first out: one callback serves all frames, so none needs a closure. */
class UnflushedFrames {
  #ends: (RouteEnd | undefined)[] = [];
  #lengths: number[] = [];
  #head = 0;

  push(end: RouteEnd, length: number): void {
    end.buffered += length;
    this.#ends.push(end);
    this.#lengths.push(length);
  }

  shift(): void {
    const end = this.#ends[this.#head];
    if (end === undefined) throw new RangeError("more frames flushed than sent");
    end.buffered -= this.#lengths[this.#head] ?? 0;
    this.#ends[this.#head++] = undefined;
    if (this.#head === this.#ends.length) this.#compact();
    end.drained();
  }

  #compact(): void {
    this.#ends = [];
    this.#lengths = [];
    this.#head = 0;
  }
}

/** The remote address of a socket, or a word for one that has none. */
export function addressOf(socket: Duplex): string {
  return ("remoteAddress" in socket ? (socket as Socket).remoteAddress : undefined) ?? "unknown";
}

/** The code of a thrown failure; a bug stays a bug. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error;
  throw error;
}

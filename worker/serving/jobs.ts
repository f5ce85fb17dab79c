import {
  codeOf,
  Failure,
  toHex,
  type FailureCode,
  type GatewayToWorker,
  type MessageOf,
  type WorkerRoute,
} from "../../protocol/index.ts";
import type { Clock } from "./clock.ts";
import type { Engine } from "./engine.ts";
import { createGathering } from "./gathering.ts";
import type { Link } from "./link.ts";
import type { OfferBook, SignedOffer } from "./offers.ts";
import type { Sessions, SessionStream } from "./sessions.ts";
import { Stream, type StreamOutcome } from "./stream.ts";

/** Routes of all links: which bytes belong to which greeting or stream. */
export interface Jobs {
  route(link: Link, message: WorkerRoute): void;
  bytes(link: Link, routeId: number, bytes: Uint8Array): void;
  closed(link: Link, message: MessageOf<GatewayToWorker, "close">): void;
  /** The link is gone with all its routes. */
  lost(link: Link): void;
  /** Ends what has waited or run too long. Called every now and then. */
  sweep(): void;
  /** Ends everything that runs; what was delivered is charged. */
  cancelAll(): void;
  readonly openStreams: number;
  /** Whether nothing runs over a link, or is about to. */
  isIdle(link: Link): boolean;
  /** Streams an engine works on or has queued. */
  readonly answering: number;
}

export interface JobsOptions {
  readonly clock: Clock;
  readonly sessions: Sessions;
  readonly offers: OfferBook;
  readonly engineFor: (manifestRoot: string) => Engine | undefined;
  readonly isDraining: () => boolean;
  /** Whether nothing new is done for a gateway that owes too much, or cannot be believed. */
  readonly isHeld: (link: Link) => boolean;
  readonly onOutcome: (link: Link, reservationId: string, offer: SignedOffer, outcome: StreamOutcome) => void;
  /** A greeting or stream that was turned away before it was one. */
  readonly onRefusal: (code: FailureCode) => void;
}

/** A worker serves tens of streams; this only bounds what a broken gateway can pile up. */
const MAX_OPEN_STREAMS = 2048;
const REQUEST_TIMEOUT_MS = 30_000;
/** The deadline of a stream (NETWORK §1). */
const STREAM_TIMEOUT_MS = 600_000;
/** Longer than any reservation lives. */
const RESERVATION_MEMORY_MS = 900_000;
/** Beyond this a link is read slower than it is written to: answers gather. */
const BACKED_UP_BYTES = 1_048_576;

type Route =
  | { readonly kind: "hello"; readonly reservationId: string; readonly openedAt: number }
  | { readonly kind: "stream"; readonly stream: Stream };

type StreamRoute = Extract<WorkerRoute, { kind: "stream" }>;

interface Admitted {
  readonly offer: SignedOffer;
  readonly session: SessionStream;
  readonly engine: Engine;
}

interface LinkRoutes {
  readonly name: string;
  readonly routes: Map<number, Route>;
  /** Reservations that had their stream, and when (elapsed ms). */
  readonly spent: Map<string, number>;
}

export function createJobs(options: JobsOptions): Jobs {
  return new RoutedJobs(options);
}

class RoutedJobs implements Jobs {
  readonly #options: JobsOptions;
  readonly #links = new Map<Link, LinkRoutes>();
  readonly #streams = new Set<Stream>();
  readonly #gathering;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#gathering = createGathering(options.clock);
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  isIdle(link: Link): boolean {
    return (this.#links.get(link)?.routes.size ?? 0) === 0;
  }

  get answering(): number {
    let count = 0;
    for (const stream of this.#streams) if (stream.isAnswering) count++;
    return count;
  }

  route(link: Link, message: WorkerRoute): void {
    const { routes, spent } = this.#of(link);
    if (routes.has(message.routeId)) {
      this.#refuse(link, message.routeId, "bad_message");
      return;
    }
    if (message.kind === "stream") {
      this.#openStream(link, message);
      return;
    }
    if (spent.has(message.reservationId)) {
      this.#refuse(link, message.routeId, "reservation_unknown");
      return;
    }
    if (this.#options.isHeld(link)) {
      this.#refuse(link, message.routeId, "busy");
      return;
    }
    const openedAt = this.#options.clock.elapsed();
    routes.set(message.routeId, { kind: "hello", reservationId: message.reservationId, openedAt });
  }

  bytes(link: Link, routeId: number, bytes: Uint8Array): void {
    const route = this.#links.get(link)?.routes.get(routeId);
    if (route === undefined) return; // ended on our side while these were on their way
    if (route.kind === "stream") route.stream.receive(bytes);
    else void this.#hello(link, routeId, route.reservationId, bytes);
  }

  closed(link: Link, { routeId }: MessageOf<GatewayToWorker, "close">): void {
    const routes = this.#links.get(link)?.routes;
    const route = routes?.get(routeId);
    if (route?.kind === "stream") route.stream.cancel();
    else routes?.delete(routeId);
  }

  lost(link: Link): void {
    const lost = this.#links.get(link)?.routes;
    this.#links.delete(link);
    for (const route of lost?.values() ?? []) if (route.kind === "stream") route.stream.lose();
  }

  sweep(): void {
    const now = this.#options.clock.elapsed();
    for (const stream of this.#streams) {
      const age = now - stream.openedAt;
      if (stream.isAnswering && age > STREAM_TIMEOUT_MS) stream.cancel();
      else if (!stream.isAnswering && age > REQUEST_TIMEOUT_MS) stream.fail("truncated");
    }
    for (const { routes, spent } of this.#links.values()) {
      for (const [routeId, route] of routes) {
        if (route.kind === "hello" && now - route.openedAt > REQUEST_TIMEOUT_MS) routes.delete(routeId);
      }
      for (const [reservationId, at] of spent) {
        if (now - at <= RESERVATION_MEMORY_MS) break;
        spent.delete(reservationId);
      }
    }
  }

  cancelAll(): void {
    for (const stream of [...this.#streams]) stream.cancel();
  }

  #of(link: Link): LinkRoutes {
    const known = this.#links.get(link);
    if (known !== undefined) return known;
    const fresh = { name: toHex(link.gateway.key), routes: new Map(), spent: new Map() };
    this.#links.set(link, fresh);
    return fresh;
  }

  async #hello(link: Link, routeId: number, reservationId: string, bytes: Uint8Array): Promise<void> {
    const { name, routes, spent } = this.#of(link);
    routes.delete(routeId);
    try {
      const isLive = !spent.has(reservationId);
      link.sendBytes(routeId, await this.#options.sessions.hello(name, isLive, bytes));
    } catch (error) {
      this.#refuse(link, routeId, codeOf(error));
    }
  }

  #openStream(link: Link, message: StreamRoute): void {
    const { routeId, reservationId } = message;
    try {
      const opened = this.#admit(link, message);
      const stream = this.#createStream(link, message, opened);
      this.#of(link).routes.set(routeId, { kind: "stream", stream });
      this.#of(link).spent.set(reservationId, this.#options.clock.elapsed());
      this.#streams.add(stream);
    } catch (error) {
      this.#refuse(link, routeId, codeOf(error));
    }
  }

  /** The order of ACN/1 §3.6 "Stream". */
  #admit(link: Link, message: StreamRoute): Admitted {
    const { sessions, offers, engineFor, isDraining, isHeld } = this.#options;
    const { name, spent } = this.#of(link);
    const offer = offers.find(link.gateway.key, message.offerHash);
    const isLive = !spent.has(message.reservationId) && offer?.manifestRoot === message.manifestRoot;
    if (offer === undefined || !isLive) throw new Failure("reservation_unknown");
    const session = sessions.openStream(name, message.sessionId, message.streamId);
    const engine = engineFor(message.manifestRoot);
    if (engine === undefined) throw new Failure("model_unavailable");
    // The client goes on to its next candidate.
    if (isDraining() || isHeld(link) || this.#streams.size >= MAX_OPEN_STREAMS) throw new Failure("busy");
    return { offer, session, engine };
  }

  #createStream(link: Link, message: StreamRoute, { offer, session, engine }: Admitted): Stream {
    const { clock, onOutcome } = this.#options;
    const { routeId, reservationId } = message;
    const stream: Stream = new Stream({
      terms: message,
      session,
      engine,
      clock,
      gathering: this.#gathering,
      port: {
        send: (frame) => void link.sendBytes(routeId, frame),
        close: (code) => void link.send({ type: "close", routeId, code }),
        isBackedUp: () => link.bufferedBytes() > BACKED_UP_BYTES,
      },
      onEnd: (outcome) => {
        this.#streams.delete(stream);
        this.#links.get(link)?.routes.delete(routeId);
        onOutcome(link, reservationId, offer, outcome);
      },
    });
    return stream;
  }

  #refuse(link: Link, routeId: number, code: FailureCode): void {
    link.send({ type: "close", routeId, code });
    this.#options.onRefusal(code);
  }
}

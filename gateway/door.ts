import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { codeOf, Failure, PROTOCOL_VERSIONS, type FailureCode } from "../protocol/index.ts";
import { unixSeconds, type Clock } from "./clock.ts";
import { httpHandler, type HttpOptions } from "./http.ts";
import { RateLimit, type Limits } from "./limits.ts";
import { addressOf, Link } from "./link.ts";
import { checkLogin, type Login } from "./login.ts";
import type { PublicKey } from "./signatures.ts";

/** Where peers come in: sockets, limits and logins. Who they are to the gateway is told by two {@link Role}s. */

export type RoleName = "worker" | "client";

/** Reads what a stranger says first; undefined when it is no login. @throws {Failure} `bad_message`. */
export type Role = (text: string) => Newcomer | undefined;

/** A peer that wants in, and what happens to it once its login holds. */
export interface Newcomer {
  readonly login: Login;
  /** @throws {Failure} when the peer may not come in after all. */
  admit(link: Link, key: PublicKey): Promise<Admitted>;
}

export interface Admitted {
  /** Sends the welcome; from here on messages are handled. */
  welcome(): void;
  handle(text: string): void;
  gone(): void;
}

export interface DoorOptions extends HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly key: string; readonly cert: string } | undefined;
  readonly gatewayKey: Uint8Array;
  readonly networkId: number;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly random: (length: number) => Uint8Array;
  readonly roles: Record<RoleName, Role>;
}

export interface Door {
  readonly port: number;
  readonly links: ReadonlySet<Link>;
  tick(): void;
  close(): Promise<void>;
}

const LOGIN_MS = 5000;
const MAX_MESSAGE_BYTES = 131_072;
const PATHS: Readonly<Record<string, RoleName>> = { "/v1/worker": "worker", "/v1/client": "client" };

/** @throws {Failure} `port_taken`, `bad_configuration`. */
export async function openDoor(options: DoorOptions): Promise<Door> {
  const { clock, limits } = options;
  const links = new Set<Link>();
  const strangers = new Map<Link, number>();
  const perAddress = new Map<string, number>();
  const logins = new RateLimit(limits.loginsPerSecond, clock.steadyMs());
  const server = options.tls === undefined ? createServer() : createTlsServer(options.tls);
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    clientTracking: false,
  });

  const leave = (link: Link): void => {
    links.delete(link);
    strangers.delete(link);
    const left = (perAddress.get(link.address) ?? 1) - 1;
    if (left > 0) perAddress.set(link.address, left);
    else perAddress.delete(link.address);
  };

  server.on("request", httpHandler(options));
  server.on("upgrade", (request, socket: Duplex, head) => {
    const role = PATHS[(request.url ?? "").split("?")[0] ?? ""];
    if (role === undefined) {
      socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const address = addressOf(socket);
      const link = new Link(ws, socket, address, { now: clock.steadyMs(), controlPerSecond: limits.controlPerSecond });
      const siblings = perAddress.get(address) ?? 0;
      perAddress.set(address, siblings + 1);
      links.add(link);
      const stranger = new Stranger(link, role, options, () => strangers.delete(link));
      link.listen(
        {
          text: (text) => stranger.hear(text),
          closed: () => {
            leave(link);
            stranger.gone();
          },
          bug: options.bug,
        },
        () => clock.steadyMs(),
      );
      if (siblings >= limits.linksPerAddress) return turnAway(link, 1000);
      if (!logins.take(clock.steadyMs())) return turnAway(link, 250 + 1000 * Math.random());
      strangers.set(link, clock.steadyMs() + LOGIN_MS);
      stranger.challenge();
    });
  });

  const port = await listen(server, options);
  return {
    port,
    links,
    tick() {
      const now = clock.steadyMs();
      for (const link of links) link.tick(now);
      for (const [link, deadline] of strangers) if (deadline <= now) link.end("bad_login");
    },
    async close() {
      for (const link of links) link.destroy();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function turnAway(link: Link, retryAfterMs: number): void {
  link.error("rate_limited", { retryAfterMs });
  link.end();
}

/** A link from its challenge on. */
class Stranger {
  readonly #link: Link;
  readonly #roleName: RoleName;
  readonly #options: DoorOptions;
  readonly #admitted: () => void;
  #nonce: Uint8Array | undefined;
  #phase: "unknown" | "checking" | Admitted | "gone" = "unknown";

  constructor(link: Link, role: RoleName, options: DoorOptions, admitted: () => void) {
    this.#link = link;
    this.#roleName = role;
    this.#options = options;
    this.#admitted = admitted;
  }

  challenge(): void {
    const { gatewayKey, networkId, clock, random } = this.#options;
    this.#nonce = random(32);
    const time = unixSeconds(clock);
    this.#link.send({
      type: "challenge",
      protocol: PROTOCOL_VERSIONS,
      gatewayKey,
      nonce: this.#nonce,
      networkId,
      time,
    });
  }

  hear(text: string): void {
    const phase = this.#phase;
    if (phase === "gone") return;
    if (!this.#link.budget.take(this.#options.clock.steadyMs())) {
      return this.#link.error("rate_limited", { ...idOf(text), retryAfterMs: RETRY_AFTER_MS });
    }
    if (typeof phase === "object") return phase.handle(text);
    if (phase === "checking") return this.#link.end("replay");
    void this.#login(text);
  }

  gone(): void {
    const phase = this.#phase;
    this.#phase = "gone";
    if (typeof phase === "object") phase.gone();
  }

  async #login(text: string): Promise<void> {
    this.#phase = "checking";
    try {
      const admitted = await this.#check(text);
      if (!this.#link.isOpen) {
        admitted.gone();
        return;
      }
      this.#phase = admitted;
      this.#admitted();
      admitted.welcome();
    } catch (error) {
      if (!(error instanceof Failure)) this.#options.bug(error);
      this.#link.end(codeOf(error));
    }
  }

  async #check(text: string): Promise<Admitted> {
    const { gatewayKey, clock, roles } = this.#options;
    const newcomer = readLogin(roles[this.#roleName], text);
    const nonce = this.#nonce;
    this.#nonce = undefined;
    const key = checkLogin(newcomer.login, { role: this.#roleName, gatewayKey, nonce, now: unixSeconds(clock) });
    return newcomer.admit(this.#link, key);
  }
}

const RETRY_AFTER_MS = 1000;

/** The id of a message that is not worth parsing, so that its sender need not wait for an answer that never comes. */
function idOf(text: string): { readonly id?: string } {
  const id = /"id":"([^"\\]{1,64})"/.exec(text)?.[1];
  return id === undefined ? {} : { id };
}

/** Whatever is not a login before the login is a failed one. @throws {Failure} `bad_login`. */
function readLogin(role: Role, text: string): Newcomer {
  let newcomer;
  try {
    newcomer = role(text);
  } catch (cause) {
    throw new Failure("bad_login", "not a login", { cause });
  }
  if (newcomer === undefined) throw new Failure("bad_login", "not a login");
  return newcomer;
}

const LISTEN_CODES: Readonly<Record<string, FailureCode>> = { EADDRINUSE: "port_taken" };

function listen(server: Server, { host, port }: DoorOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new Failure(LISTEN_CODES[error.code ?? ""] ?? "bad_configuration", `${host}:${port}`, { cause: error }));
    });
    server.listen(port, host, () => {
      server.removeAllListeners("error");
      resolve((server.address() as AddressInfo).port);
    });
  });
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Failure, parseTon } from "../../protocol/index.ts";
import { ACCOUNT_METHODS } from "./account-methods.ts";
import { BLOCK_METHODS } from "./block-methods.ts";
import type { Chain } from "./chain.ts";
import { ExecutorBroke } from "./emulator.ts";
import { Faults } from "./faults.ts";
import { MESSAGE_METHODS } from "./message-methods.ts";
import type { Method } from "./method.ts";
import { addressOf, textOf, type Parameters } from "./parameters.ts";
import { readQuestion, type Question } from "./question.ts";
import { Refusal } from "./refusal.ts";
import { send, sendJson, spoil } from "./replies.ts";
import type { ChainView } from "./state.ts";
import type { Json } from "./toncenter-format.ts";

export interface NodeOptions {
  readonly chain: Chain;
  /** 0: any free one. */
  readonly port: number;
  /** What is wrong with the node itself and not with a question. */
  readonly bug: (error: unknown) => void;
}

/** Toncenter's API v2, as far as wallets and our own reader use it. */
const METHODS: ReadonlyMap<string, Method> = new Map(
  Object.entries({ ...BLOCK_METHODS, ...ACCOUNT_METHODS, ...MESSAGE_METHODS }),
);

const HOST = "127.0.0.1";
const API = "/api/v2";
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than anybody pauses between two questions: a caller may write to a connection just as it is closed. */
const KEEP_ALIVE_MS = 65_000;
/** What is asked of a faucet at once is a test's mistake beyond this. */
const MAX_GIFT = 1_000_000_000n * 1_000_000_000n;

/** One node of the chain: an HTTP server of toncenter's kind, and the faults and the age of what it says. */
export class ChainNode {
  readonly faults = new Faults();
  readonly port: number;
  readonly #options: NodeOptions;
  readonly #server: Server;
  /** A page from elsewhere that made its name resolve to this computer still sends its own name (DNS rebinding). */
  readonly #hosts: ReadonlySet<string>;
  #frozen: ChainView | undefined;

  private constructor(options: NodeOptions, server: Server) {
    this.#options = options;
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.#hosts = new Set([`${HOST}:${this.port}`, `localhost:${this.port}`]);
    server.on("request", (request, response) => void this.#answer(request, response));
  }

  /** @throws {Failure} `port_taken`, `bad_configuration`. */
  static async start(options: NodeOptions): Promise<ChainNode> {
    const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS });
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    server.on("clientError", (_error, socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause: NodeJS.ErrnoException) => {
        const code = cause.code === "EADDRINUSE" ? "port_taken" : "bad_configuration";
        reject(new Failure(code, `port ${options.port}`, { cause }));
      });
      server.listen(options.port, HOST, resolve);
    });
    return new ChainNode(options, server);
  }

  get endpoint(): string {
    return `http://${HOST}:${this.port}${API}/jsonRPC`;
  }

  get faucetUrl(): string {
    return `http://${HOST}:${this.port}/faucet`;
  }

  /** From now on it says what is true now, like a node that has stopped following the chain. */
  freeze(): void {
    this.#frozen = this.#options.chain.state.frozen();
  }

  thaw(): void {
    this.#frozen = undefined;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let id: Json = null;
    try {
      this.#refuseStrangers(request);
      if (request.method === "OPTIONS") {
        send(response, 204, "");
        return;
      }
      const question = await readQuestion(request);
      id = question.id;
      const fault = this.faults.take(question.method);
      if (fault !== undefined && fault !== "loses-message") {
        spoil(response, fault);
        return;
      }
      const result = await this.#ask(question, fault === "loses-message");
      sendJson(response, 200, { ok: true, result, jsonrpc: "2.0", id });
    } catch (error) {
      const refusal = this.#refusalOf(error);
      sendJson(response, refusal.status, {
        ok: false,
        error: refusal.message,
        code: refusal.status,
        jsonrpc: "2.0",
        id,
      });
    }
  }

  async #ask({ method, parameters }: Question, isLost: boolean): Promise<Json> {
    const { chain } = this.#options;
    if (method === "faucet") return giveCoins(chain, parameters);
    const run = METHODS.get(method);
    if (run === undefined) throw new Refusal(422, "Unknown method");
    if (isLost) return { "@type": "ok" };
    return run({ chain, view: () => this.#frozen ?? chain.state.live() }, parameters);
  }

  #refuseStrangers({ headers }: IncomingMessage): void {
    if (!this.#hosts.has(headers.host ?? "")) throw new Refusal(403, "this node answers by its own address only");
  }

  #refusalOf(error: unknown): Refusal {
    if (error instanceof Refusal) return error;
    // Any contract can bring it about, so it is no bug of the node.
    if (!(error instanceof ExecutorBroke)) this.#options.bug(error);
    return new Refusal(500, "LITE_SERVER_UNKNOWN: the node failed", { cause: error });
  }
}

/** Coins for whoever asks: of a chain on which they are worth nothing. */
async function giveCoins(chain: Chain, parameters: Parameters): Promise<Json> {
  const address = addressOf(parameters, "address");
  const amount = parseTon(parameters.amount === undefined ? "10" : textOf(parameters, "amount"));
  if (amount === undefined || amount <= 0n || amount > MAX_GIFT) {
    throw new Refusal(422, "Validation error: amount must be coins like 10 or 0.5");
  }
  await chain.faucet(address, amount);
  return { address, nanoton: amount.toString() };
}

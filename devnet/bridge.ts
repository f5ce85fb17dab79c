import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createBridgeQueue, type BridgeEvent, type BridgeMessage } from "./bridge-queue.ts";

/** A TON Connect HTTP bridge on loopback, for wallets that speak the protocol; its faults can be turned on. */
export interface Bridge {
  /** What a wallet's entry in a list of wallets names as its bridge. */
  readonly url: string;
  readonly faults: BridgeFaults;
  /** How many streams are open. */
  readonly listening: number;
  /** Gone from the network with every stream cut; what was handed in before is kept. */
  goDown(): Promise<void>;
  /** At the same address again. */
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

/** What the bridge does wrong from now on. */
export interface BridgeFaults {
  /** Sends every event twice. */
  duplicates: boolean;
  /** Lets each event of a reader be overtaken by its next one. */
  reorders: boolean;
  /** Waits before it sends an event. */
  delayMs: number;
  /** Takes a message, and cuts the connection instead of saying so. */
  cutsAnswers: boolean;
  /** Answers everything with this HTTP status. */
  refusesWith: number | undefined;
}

export interface BridgeOptions {
  readonly heartbeatMs?: number;
}

const HEARTBEAT_MS = 5000;
const MAX_MESSAGE_BYTES = 65_536;
const MAX_READERS_A_STREAM = 8;
/** An event that nothing overtakes is sent late, not never. */
const REORDER_MS = 200;
const CLIENT_ID = /^[0-9a-f]{64}$/;
const HEARTBEAT = "event: heartbeat\r\ndata: heartbeat\r\n\r\n";
const CORS = { "access-control-allow-origin": "*", "access-control-allow-headers": "*" };

export async function startBridge({ heartbeatMs = HEARTBEAT_MS }: BridgeOptions = {}): Promise<Bridge> {
  const bridge = new HttpBridge(heartbeatMs);
  await bridge.comeBack();
  return bridge;
}

interface Stream {
  readonly readers: readonly string[];
  readonly response: ServerResponse;
}

class HttpBridge implements Bridge {
  readonly faults: BridgeFaults = {
    duplicates: false,
    reorders: false,
    delayMs: 0,
    cutsAnswers: false,
    refusesWith: undefined,
  };
  readonly #heartbeatMs: number;
  readonly #queue = createBridgeQueue();
  readonly #streams = new Set<Stream>();
  readonly #overtaken = new Map<string, BridgeEvent>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #server: Server | undefined;
  #port = 0;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(heartbeatMs: number) {
    this.#heartbeatMs = heartbeatMs;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/bridge`;
  }

  get listening(): number {
    return this.#streams.size;
  }

  async comeBack(): Promise<void> {
    const server = createServer((request, response) => this.#onRequest(request, response));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, "127.0.0.1", resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    this.#heartbeat = setInterval(() => {
      for (const { response } of this.#streams) response.write(HEARTBEAT);
    }, this.#heartbeatMs);
  }

  async goDown(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    clearInterval(this.#heartbeat);
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.goDown();
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? "", this.url);
    const route = `${request.method ?? ""} ${pathname}`;
    if (request.method === "OPTIONS") answer(response, 204);
    else if (this.faults.refusesWith !== undefined) answer(response, this.faults.refusesWith);
    else if (route === "GET /bridge/events") this.#openStream(searchParams, response);
    else if (route === "POST /bridge/message") void this.#take(searchParams, request, response);
    else answer(response, 404);
  }

  #openStream(query: URLSearchParams, response: ServerResponse): void {
    const readers = (query.get("client_id") ?? "").split(",");
    const lastEventId = Number(query.get("last_event_id") ?? 0);
    const isAllowed = readers.length <= MAX_READERS_A_STREAM && readers.every((reader) => CLIENT_ID.test(reader));
    if (!isAllowed || !Number.isSafeInteger(lastEventId)) {
      answer(response, 400);
      return;
    }
    response.writeHead(200, { ...CORS, "content-type": "text/event-stream", "cache-control": "no-cache" });
    response.write(HEARTBEAT);
    const stream = { readers, response };
    this.#streams.add(stream);
    response.on("close", () => this.#streams.delete(stream));
    for (const event of this.#queue.since(readers, lastEventId, Date.now())) write(stream, event);
  }

  async #take(query: URLSearchParams, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const message = await readBody(request);
    const [from, to] = [query.get("client_id") ?? "", query.get("to") ?? ""];
    if (message === undefined) {
      answer(response, 413);
      return;
    }
    const taken = CLIENT_ID.test(from) && CLIENT_ID.test(to) && this.#accept({ from, to, message, ...ttlOf(query) });
    if (this.faults.cutsAnswers) response.destroy();
    else answer(response, taken ? 200 : 400);
  }

  #accept(message: BridgeMessage): boolean {
    const event = this.#queue.add(message, Date.now());
    if (event === undefined) return false;
    if (this.faults.delayMs > 0) this.#after(this.faults.delayMs, () => this.#inOrder(event));
    else this.#inOrder(event);
    return true;
  }

  #inOrder(event: BridgeEvent): void {
    const overtaken = this.#overtaken.get(event.to);
    if (overtaken !== undefined) {
      this.#overtaken.delete(event.to);
      this.#send(event);
      this.#send(overtaken);
      return;
    }
    if (!this.faults.reorders) {
      this.#send(event);
      return;
    }
    this.#overtaken.set(event.to, event);
    this.#after(REORDER_MS, () => {
      if (this.#overtaken.get(event.to) !== event) return;
      this.#overtaken.delete(event.to);
      this.#send(event);
    });
  }

  #send(event: BridgeEvent): void {
    for (const stream of this.#streams) {
      if (!stream.readers.includes(event.to)) continue;
      write(stream, event);
      if (this.faults.duplicates) write(stream, event);
    }
  }

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }
}

function write({ response }: Stream, { id, data }: BridgeEvent): void {
  response.write(`event: message\r\nid: ${id}\r\ndata: ${data}\r\n\r\n`);
}

function ttlOf(query: URLSearchParams): { readonly ttlSeconds: number } {
  return { ttlSeconds: Number(query.get("ttl") ?? Number.NaN) };
}

function answer(response: ServerResponse, status: number): void {
  response.writeHead(status, { ...CORS, "content-type": "application/json" });
  response.end(
    status === 204 ? undefined : JSON.stringify({ message: status === 200 ? "OK" : "refused", statusCode: status }),
  );
}

/** Undefined when it is larger than a bridge takes. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length <= MAX_MESSAGE_BYTES) chunks.push(chunk);
    }
  } catch {
    return undefined; // the sender went away in the middle
  }
  return length <= MAX_MESSAGE_BYTES ? Buffer.concat(chunks).toString("utf8") : undefined;
}

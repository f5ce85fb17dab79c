import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { equalBytes, Failure, hash, utf8, type PriceSheet, type Tier } from "../protocol/index.ts";
import { AnswerBuilder } from "./answer.ts";
import type { Client } from "./client.ts";
import { answerWriter, workerHeaders, type AnswerWriter } from "./openai-answer.ts";
import { failureAnswer, failureEvent, httpError, type ErrorAnswer, type HttpErrorCode } from "./openai-errors.ts";
import { parseOpenAiBody, termsOfHeaders, type EndpointRequest } from "./openai-request.ts";
import type { ModelRequest } from "./sealed-body.ts";
import type { AnswerListener } from "./session.ts";

/** An OpenAI-compatible HTTP server on 127.0.0.1 in front of a client. */
export interface OpenAiEndpoint {
  /** What an OpenAI client is pointed at: `http://127.0.0.1:PORT/v1`. */
  readonly baseUrl: string;
  readonly port: number;
  /** Ends running answers and frees the port. The client stays. */
  close(): Promise<void>;
}

export interface OpenAiEndpointOptions {
  readonly client: Client;
  /** What callers show as `Authorization: Bearer …`. */
  readonly apiKey: string;
  /** 0 or none: any free port. */
  readonly port?: number;
  /** The client's own least tier, which a header may raise. */
  readonly minTier: Tier;
  /** Whether a header may lower it. */
  readonly allowTier?: boolean;
  /** The client's own highest price, which a header may lower. */
  readonly maxPrice?: PriceSheet;
  /** Longest request body; default 8 MiB. */
  readonly maxBodyBytes?: number;
  /** How long a request may take to arrive; default 30 s. */
  readonly requestTimeoutMs?: number;
  /** Unix ms. */
  readonly now?: () => number;
}

const HOST = "127.0.0.1";
const MAX_BODY_BYTES = 8_388_608;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 65_000;
/** An answer that nobody reads is stopped here, before it fills the memory. */
const MAX_UNREAD_BYTES = 4_194_304;

/** @throws {Failure} `port_taken`, `bad_configuration`. */
export async function serveOpenAi(options: OpenAiEndpointOptions): Promise<OpenAiEndpoint> {
  const { requestTimeoutMs = REQUEST_TIMEOUT_MS, port = 0 } = options;
  const endpoint = new Endpoint(options);
  const server = createServer(
    {
      requestTimeout: requestTimeoutMs,
      headersTimeout: requestTimeoutMs,
      connectionsCheckingInterval: requestTimeoutMs / 4,
    },
    (request, response) => void endpoint.answer(request, response),
  );
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const { status, body } = httpError(error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? "request_timeout" : "bad_http");
    socket.end(`HTTP/1.1 ${status} -\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n${body}`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const code = cause.code === "EADDRINUSE" ? "port_taken" : "bad_configuration";
      reject(new Failure(code, `port ${port}`, { cause }));
    });
    server.listen(port, HOST, resolve);
  });
  const address = server.address() as AddressInfo;
  endpoint.hosts = new Set([`${HOST}:${address.port}`, `localhost:${address.port}`]);
  return {
    baseUrl: `http://${HOST}:${address.port}/v1`,
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

class Endpoint {
  readonly #options: OpenAiEndpointOptions;
  readonly #keyHash: Uint8Array;
  readonly #startedAt: number;
  /** A page from elsewhere that made its name resolve to this computer still sends its own name (DNS rebinding). */
  hosts: ReadonlySet<string> = new Set();
  #lastId = 0;

  constructor(options: OpenAiEndpointOptions) {
    this.#options = options;
    this.#keyHash = hash(utf8(options.apiKey));
    this.#startedAt = this.#now();
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = (++this.#lastId).toString(36).padStart(8, "0");
    response.setHeader("x-request-id", id);
    try {
      const refusal = this.#refusalOf(request);
      if (refusal === undefined) await this.#route(request, response, id);
      else sendError(response, httpError(refusal));
    } catch (error) {
      const failure = error instanceof Failure ? error : new Failure("internal", undefined, { cause: error });
      if (response.headersSent) response.destroy();
      else sendError(response, failureAnswer(failure));
    }
  }

  #refusalOf({ headers }: IncomingMessage): HttpErrorCode | undefined {
    if (!this.hosts.has(headers.host ?? "")) return "host_not_allowed";
    const [, given = ""] = /^Bearer +(.*)$/i.exec(headers.authorization ?? "") ?? [];
    return equalBytes(hash(utf8(given)), this.#keyHash) ? undefined : "invalid_api_key";
  }

  async #route(request: IncomingMessage, response: ServerResponse, id: string): Promise<void> {
    const [path = ""] = (request.url ?? "").split("?");
    const isAnswer = path === "/v1/chat/completions" || path === "/v1/completions";
    if (isAnswer && request.method === "POST") await this.#complete(request, response, { id, path });
    else if (request.method === "GET" && !isAnswer) this.#list(response, path);
    else sendError(response, httpError(isAnswer || path.startsWith("/v1/models") ? "method_not_allowed" : "not_found"));
  }

  #list(response: ServerResponse, path: string): void {
    const models = this.#models();
    const [, name] = /^\/v1\/models\/(.+)$/.exec(path) ?? [];
    const found = models.find(({ id }) => encodeURIComponent(id) === name || id === name);
    if (path === "/v1/models") sendJson(response, 200, JSON.stringify({ object: "list", data: models }));
    else if (found !== undefined) sendJson(response, 200, JSON.stringify(found));
    else sendError(response, httpError("not_found"));
  }

  #models(): { readonly id: string }[] {
    const created = Math.floor(this.#startedAt / 1000);
    return this.#options.client.models().map(({ id, manifestRoot, contextTokens }) => ({
      id,
      object: "model",
      created,
      owned_by: "cocoon",
      cocoon: { manifestRoot, ...(contextTokens === undefined ? {} : { contextTokens }) },
    }));
  }

  async #complete(
    request: IncomingMessage,
    response: ServerResponse,
    { id, path }: { readonly id: string; readonly path: ModelRequest["path"] },
  ): Promise<void> {
    const bytes = await readBody(request, this.#options.maxBodyBytes ?? MAX_BODY_BYTES);
    if (bytes === undefined) {
      response.setHeader("connection", "close");
      sendError(response, httpError("body_too_large"));
      return;
    }
    const { minTier, allowTier = false, maxPrice, client } = this.#options;
    const terms = termsOfHeaders(request.headers, { minTier, allowTier, maxPrice });
    const asked = parseOpenAiBody(path, bytes);
    const writer = answerWriter(path, {
      id: `${path === "/v1/completions" ? "cmpl" : "chatcmpl"}-${id}`,
      created: Math.floor(this.#now() / 1000),
      model: asked.request.body.model,
      includeUsage: asked.includeUsage,
    });
    const cancel = client.request(asked.request, terms, listenerFor(response, asked, writer));
    response.on("close", cancel);
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

function listenerFor(response: ServerResponse, { isStream }: EndpointRequest, writer: AnswerWriter): AnswerListener {
  return isStream ? streamTo(response, writer) : gatherFor(response, writer);
}

/** Each event leaves in the turn it came in; those of one turn leave in one write. */
function streamTo(response: ServerResponse, writer: AnswerWriter): AnswerListener {
  let pending = "";
  const flush = (): void => {
    if (pending === "" || response.destroyed) return;
    response.write(pending);
    pending = "";
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
  };
  return {
    worker(worker) {
      response.writeHead(200, {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        ...workerHeaders(worker),
      });
    },
    event(event) {
      if (pending === "") process.nextTick(flush);
      pending += writer.chunk(event);
    },
    end(end) {
      response.end(pending + writer.last(end));
      pending = "";
    },
    failed(failure) {
      if (response.destroyed) return;
      if (response.headersSent) response.end(pending + failureEvent(failure));
      else sendError(response, failureAnswer(failure));
      pending = "";
    },
  };
}

function gatherFor(response: ServerResponse, writer: AnswerWriter): AnswerListener {
  const builder = new AnswerBuilder();
  let headers: Record<string, string> = {};
  return {
    worker(worker) {
      headers = workerHeaders(worker);
    },
    event: (event) => builder.add(event),
    end: (end) => sendJson(response, 200, writer.whole(builder.parts(), end), headers),
    failed(failure) {
      if (!response.destroyed) sendError(response, failureAnswer(failure), headers);
    },
  };
}

/** Undefined when it is longer than it may be; the rest is not read. Not an iterator: leaving one cuts the answer off too. */
function readBody(request: IncomingMessage, limit: number): Promise<Uint8Array | undefined> {
  return new Promise((resolve, reject) => {
    if (Number(request.headers["content-length"] ?? 0) > limit) {
      resolve(undefined);
      return;
    }
    const parts: Buffer[] = [];
    let length = 0;
    request.on("data", (part: Buffer) => {
      length += part.length;
      if (length <= limit) parts.push(part);
      else resolve(undefined);
    });
    request.on("end", () => resolve(Buffer.concat(parts)));
    request.on("error", reject);
  });
}

function sendError(
  response: ServerResponse,
  { status, headers, body }: ErrorAnswer,
  more: Record<string, string> = {},
): void {
  sendJson(response, status, body, { ...more, ...headers });
}

function sendJson(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": bytes.length, ...headers });
  response.end(bytes);
}

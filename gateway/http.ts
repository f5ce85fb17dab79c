import type { IncomingMessage, ServerResponse } from "node:http";
import { Failure, MAX_EVIDENCE_BYTES, type FailureCode } from "../protocol/index.ts";
import { unixSeconds, type Clock } from "./clock.ts";
import { refusalBody, type DocumentKind, type Documents } from "./documents.ts";
import { RateLimit, type Limits } from "./limits.ts";

export interface HttpOptions {
  readonly documents: Documents;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly status: () => unknown;
  readonly metrics: () => string;
  /** Hears of what was thrown and is no failure of a peer. */
  readonly bug: (error: unknown) => void;
}

const DOCUMENT = /^\/v1\/(evidence|collateral)\/([0-9a-f]{64})$/;
/** Verifiers run in pages of any site; what is served here is public. */
const ANY_ORIGIN = { "access-control-allow-origin": "*" };
const PREFLIGHT = { ...ANY_ORIGIN, "access-control-allow-methods": "GET, PUT", "access-control-allow-headers": "*" };
const REMEMBERED_ADDRESSES = 10_000;

/** The few things that go by HTTP: documents too large for control messages, and the status. */
export function httpHandler(options: HttpOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const puts = new Map<string, RateLimit>();
  const mayPut = (address: string): boolean => {
    const now = options.clock.steadyMs();
    if (puts.size > REMEMBERED_ADDRESSES) puts.clear();
    const limit = puts.get(address) ?? new RateLimit(options.limits.putsPerSecond, now);
    puts.set(address, limit);
    return limit.take(now);
  };
  return (request, response) => {
    const [path = ""] = (request.url ?? "").split("?");
    const [, kind, hashHex] = DOCUMENT.exec(path) ?? [];
    if (request.method === "OPTIONS") return end(response, 204, PREFLIGHT);
    if (kind !== undefined && hashHex !== undefined) {
      const document = { kind: kind as DocumentKind, hashHex };
      if (request.method === "GET") return get(options, document, response);
      if (request.method !== "PUT") return refuse(response, 405, "bad_message");
      if (!mayPut(request.socket.remoteAddress ?? "")) return refuse(response, 429, "rate_limited");
      return put(options, document, request, response);
    }
    if (request.method === "GET" && path === "/v1/status") return json(response, options.status());
    if (request.method === "GET" && path === "/metrics") return text(response, options.metrics());
    refuse(response, 404, "bad_message");
  };
}

interface Document {
  readonly kind: DocumentKind;
  readonly hashHex: string;
}

function get(options: HttpOptions, { kind, hashHex }: Document, response: ServerResponse): void {
  const bytes = options.documents.get(kind, hashHex);
  if (bytes === undefined) return refuse(response, 404, "evidence_stale");
  // The hash is the address: what is there never changes.
  end(
    response,
    200,
    { ...ANY_ORIGIN, "content-type": "application/json", "cache-control": "max-age=3600, immutable" },
    bytes,
  );
}

function put(
  options: HttpOptions,
  { kind, hashHex }: Document,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const parts: Buffer[] = [];
  let length = 0;
  request.on("data", (part: Buffer) => {
    length += part.length;
    if (length <= MAX_EVIDENCE_BYTES) parts.push(part);
    else if (!response.headersSent) {
      refuse(response, 413, "evidence_format");
      request.resume();
    }
  });
  request.on("error", () => undefined); // the sender is gone: nobody waits for an answer
  request.on("end", () => {
    if (response.headersSent) return;
    try {
      options.documents.put(kind, hashHex, new Uint8Array(Buffer.concat(parts)), unixSeconds(options.clock));
      end(response, 204, ANY_ORIGIN);
    } catch (error) {
      if (!(error instanceof Failure)) {
        options.bug(error);
        refuse(response, 500, "internal");
      } else refuse(response, error.code === "rate_limited" ? 429 : 400, error.code);
    }
  });
}

function json(response: ServerResponse, value: unknown): void {
  end(
    response,
    200,
    { ...ANY_ORIGIN, "content-type": "application/json" },
    new TextEncoder().encode(JSON.stringify(value)),
  );
}

function text(response: ServerResponse, value: string): void {
  end(response, 200, { ...ANY_ORIGIN, "content-type": "text/plain; version=0.0.4" }, new TextEncoder().encode(value));
}

function refuse(response: ServerResponse, status: number, code: FailureCode): void {
  end(response, status, { ...ANY_ORIGIN, "content-type": "application/json", connection: "close" }, refusalBody(code));
}

function end(response: ServerResponse, status: number, headers: Record<string, string>, body?: Uint8Array): void {
  response.writeHead(status, body === undefined ? headers : { ...headers, "content-length": String(body.length) });
  response.end(body);
}

import { Failure } from "../../protocol/index.ts";

/** A gateway as its owner names it: where it is, and whose signature makes its vouchers worth something. */
export interface GatewayAddress {
  /** Base, `https://…` or `http://127.0.0.1:…`. */
  readonly url: string;
  /** 32 bytes, from the registry; the link signs for no other. */
  readonly key: Uint8Array;
  /** Its contract, raw, where the owner or the registry has named it: by it an owner's channel is computed. */
  readonly contract?: string;
}

/** `/v1/worker` as a WebSocket address. @throws {Failure} `bad_configuration`. */
export function linkUrl(gateway: GatewayAddress): string {
  const url = endpoint(gateway, "/v1/worker");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** @throws {Failure} `bad_configuration`. */
export function evidenceUrl(gateway: GatewayAddress, evidenceHash: string): string {
  return endpoint(gateway, `/v1/evidence/${evidenceHash}`).href;
}

const PROTOCOLS: Readonly<Record<string, "http:" | "https:">> = {
  "http:": "http:",
  "ws:": "http:",
  "https:": "https:",
  "wss:": "https:",
};

function endpoint(gateway: GatewayAddress, path: string): URL {
  const url = URL.parse(gateway.url);
  const protocol = url === null ? undefined : PROTOCOLS[url.protocol];
  if (url === null || protocol === undefined) {
    throw new Failure("bad_configuration", `not the address of a gateway: ${gateway.url}`);
  }
  if (protocol === "http:" && !isLoopback(url.hostname)) {
    throw new Failure("bad_configuration", `a gateway outside this computer needs https: ${gateway.url}`);
  }
  const base = url.pathname.replace(/\/+$/, "");
  const target = new URL(`${protocol}//${url.host}`);
  target.pathname = base + path;
  return target;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

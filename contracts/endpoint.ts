import { Failure } from "../protocol/index.ts";

/** A toncenter v2 endpoint: where its JSON-RPC is, and what may be said of it in a log. */
export interface Endpoint {
  /** Ends in `/jsonRPC`. May hold a key in its path: some providers want it there, so it goes into no message. */
  readonly url: string;
  readonly host: string;
  /** Whether it runs on this machine. */
  readonly isLocal: boolean;
}

/**
 * From what a person enters: the API's base (`https://toncenter.com/api/v2`) or its JSON-RPC address.
 *
 * @throws {Failure} `bad_configuration`, also for a key that would travel in the clear.
 */
export function parseEndpoint(text: string, apiKey?: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw refusal("not an address like https://toncenter.com/api/v2");
  }
  if (url.username !== "" || url.password !== "") throw refusal("a name and password in it: use an API key");
  if (url.hash !== "") throw refusal("nothing may follow a #");
  const isLocal = LOCAL_HOSTS.has(url.hostname);
  if (apiKey !== undefined && url.protocol === "http:" && !isLocal) {
    throw refusal("an API key is sent over https only");
  }
  if (apiKey !== undefined && !/^[\x21-\x7e]{1,512}$/.test(apiKey)) throw refusal("not an API key");
  if (!url.pathname.toLowerCase().endsWith("/jsonrpc")) url.pathname = `${url.pathname.replace(/\/+$/, "")}/jsonRPC`;
  return { url: url.href, host: url.host, isLocal };
}

const LOCAL_HOSTS = new Set(["127.0.0.1", "localhost", "[::1]"]);

function refusal(why: string): Failure {
  return new Failure("bad_configuration", `chain endpoint: ${why}`);
}

import { Failure } from "../protocol/index.ts";

/** Where one gateway is reached: its socket for clients, and the base of its HTTP documents. */
export interface GatewayUrls {
  readonly socket: string;
  /** Without a slash at the end. */
  readonly http: string;
}

/** From `http(s)://` or `ws(s)://`, with any path before the protocol's own. @throws {Failure} `bad_configuration`. */
export function gatewayUrls(url: string): GatewayUrls {
  const match = /^(http|ws)(s?):\/\/([^?#]+?)\/*$/.exec(url);
  const [, , tls = "", rest] = match ?? [];
  if (rest === undefined || !URL.canParse(url)) {
    throw new Failure(
      "bad_configuration",
      `gateway: ${JSON.stringify(url)} is not an address like https://gateway.example`,
    );
  }
  return { socket: `ws${tls}://${rest}/v1/client`, http: `http${tls}://${rest}` };
}

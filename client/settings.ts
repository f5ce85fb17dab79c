import { parseArgs } from "node:util";
import { Failure, fromBase64url, fromHex, type PriceSheet } from "../protocol/index.ts";
import { parsePriceSheet } from "./openai-request.ts";
import type { ChannelId } from "./receipts.ts";

/** What `serve` was started with; files are named, not read. */
export interface ServeSettings {
  readonly gatewayUrl: string;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  readonly port: number;
  readonly policyFile: string | undefined;
  readonly catalogueFile: string | undefined;
  readonly allowTier: boolean;
  readonly dataFolder: string;
  readonly maxPrice: PriceSheet | undefined;
  readonly channel: ChannelId | undefined;
  readonly isJson: boolean;
}

export const USAGE = `Usage: npm run client -- serve --gateway URL --gateway-key KEY [options]

  --gateway URL       the gateway, https://… or http://… on loopback   (COCOON_GATEWAY)
  --gateway-key KEY   its key, in base64url or hex                      (COCOON_GATEWAY_KEY)
  --port PORT         where the endpoint listens on 127.0.0.1; 0: any free port (default)
  --policy FILE       which workers may see a prompt; default: hardware-isolated ones only
  --allow-tier        let a request's x-cocoon-min-tier header ask for less than the policy
  --catalogue FILE    models by name; a manifest root needs no entry
  --max-price SHEET   highest price, "prompt,cached,completion" in nanoton per million tokens, fee included
  --channel ADDRESS   the payment channel as 0:hex; without one the gateway's trial is used
  --network-id ID     the chain the channel is on: -239 mainnet, -3 testnet
  --data FOLDER       keys and what was signed; default ./cocoon-client (COCOON_CLIENT_DATA)
  --json              one JSON line on standard output when ready
  --help
`;

const DEFAULT_DATA = "cocoon-client";

/** @throws {Failure} `bad_configuration`, naming the setting. */
export function parseServeSettings(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ServeSettings {
  const values = readFlags(args);
  const gatewayUrl = values.gateway ?? env.COCOON_GATEWAY;
  const key = values["gateway-key"] ?? env.COCOON_GATEWAY_KEY;
  if (gatewayUrl === undefined) throw wrong("--gateway", "is missing: name a gateway's address");
  if (key === undefined)
    throw wrong("--gateway-key", "is missing: a gateway is chosen by its key, not by its address alone");
  return {
    gatewayUrl,
    gatewayKey: keyOf(key),
    port: portOf(values.port ?? "0"),
    policyFile: values.policy,
    catalogueFile: values.catalogue,
    allowTier: values["allow-tier"] ?? false,
    dataFolder: values.data ?? env.COCOON_CLIENT_DATA ?? DEFAULT_DATA,
    maxPrice: priceOf(values["max-price"]),
    channel: channelOf(values.channel, values["network-id"]),
    isJson: values.json ?? false,
  };
}

const TEXT = { type: "string" } as const;
const FLAG = { type: "boolean" } as const;
const OPTIONS = {
  gateway: TEXT,
  "gateway-key": TEXT,
  port: TEXT,
  policy: TEXT,
  "allow-tier": FLAG,
  catalogue: TEXT,
  "max-price": TEXT,
  channel: TEXT,
  "network-id": TEXT,
  data: TEXT,
  json: FLAG,
};

function readFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: withValuesAttached(args), options: OPTIONS }).values;
  } catch (cause) {
    throw new Failure("bad_configuration", cause instanceof Error ? cause.message : undefined, { cause });
  }
}

/** `--flag value` as `--flag=value`: one key in 64 begins with a dash, which Node would take for another flag. */
function withValuesAttached(args: readonly string[]): string[] {
  const attached: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const [flag = "", value] = args.slice(at, at + 2);
    const takesNext = isFlag(flag, "string") && value !== undefined && !isFlag(value);
    attached.push(takesNext ? `${flag}=${value}` : flag);
    if (takesNext) at++;
  }
  return attached;
}

function isFlag(text: string, type?: "string" | "boolean"): boolean {
  return Object.entries(OPTIONS).some(
    ([name, option]) => text === `--${name}` && (type ?? option.type) === option.type,
  );
}

function keyOf(text: string): Uint8Array {
  const key = /^[0-9a-f]{64}$/i.test(text) ? fromHex(text) : fromBase64url(text);
  if (key?.length !== 32) throw wrong("--gateway-key", "is not 32 bytes in base64url or hex");
  return key;
}

function portOf(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw wrong("--port", "is not a number from 0 to 65535");
  return port;
}

function priceOf(text: string | undefined): PriceSheet | undefined {
  if (text === undefined) return undefined;
  const price = parsePriceSheet(text);
  if (price === undefined)
    throw wrong("--max-price", 'is not "prompt,cached,completion" in nanoton, cached at most prompt');
  return price;
}

function channelOf(address: string | undefined, networkId: string | undefined): ChannelId | undefined {
  if (address === undefined && networkId === undefined) return undefined;
  if (address === undefined || !/^0:[0-9a-f]{64}$/.test(address))
    throw wrong("--channel", "is not an address like 0:hex");
  if (networkId === undefined || !/^-?\d{1,10}$/.test(networkId))
    throw wrong("--network-id", "is needed with --channel, as a number");
  return { address, networkId: Number(networkId) };
}

function wrong(setting: string, why: string): Failure {
  return new Failure("bad_configuration", `${setting} ${why}`);
}

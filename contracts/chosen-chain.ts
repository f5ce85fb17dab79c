import { Failure } from "../protocol/index.ts";
import { agreeing } from "./agreeing.ts";
import type { ChainReader } from "./chain-reader.ts";
import { parseEndpoint } from "./endpoint.ts";
import { networkNamed } from "./networks.ts";
import { toncenterReader, type ToncenterOptions } from "./toncenter.ts";

/** What a person chooses of the chain, as it stands in their settings. */
export interface ChainChoice {
  /** `devnet`, `testnet` or `mainnet`. */
  readonly network: string;
  /** Their own node; without one, the public one of the network. */
  readonly endpoint?: NodeChoice;
  /** One that must say the same before anything is shown as paid. */
  readonly second?: NodeChoice;
}

export interface NodeChoice {
  readonly url: string;
  readonly apiKey?: string;
  readonly requestsPerSecond?: number;
}

export type ChainPorts = Pick<ToncenterOptions, "fetch" | "clock" | "random" | "signal">;

/** @throws {Failure} `bad_configuration`. */
export function readerOf({ network, endpoint, second }: ChainChoice, ports: ChainPorts): ChainReader {
  const { networkId, endpoint: publicUrl } = networkNamed(network);
  const chosen = endpoint ?? (publicUrl === undefined ? undefined : { url: publicUrl });
  if (chosen === undefined) throw new Failure("bad_configuration", `network: ${network} needs a chain endpoint`);
  const reader = (node: NodeChoice): ChainReader => {
    const { url, ...settings } = node;
    return toncenterReader({ ...ports, ...settings, endpoint: url, networkId });
  };
  if (second === undefined) return reader(chosen);
  if (parseEndpoint(second.url).host === parseEndpoint(chosen.url).host) {
    throw new Failure("bad_configuration", "second chain endpoint: one node asked twice proves nothing");
  }
  return agreeing(reader(chosen), reader(second), ports);
}

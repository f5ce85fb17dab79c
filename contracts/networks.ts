import { Failure, type RawAddress } from "../protocol/index.ts";

/** The chains a role can settle on: one setting chooses. */
export type NetworkName = "devnet" | "testnet" | "mainnet";

export interface Network {
  readonly name: NetworkName;
  /** GLOBALID of the chain, int32; every signed payload names it, so a voucher of one network is void on the others. */
  readonly networkId: number;
  /** Undefined until the registry is deployed there. */
  readonly registry: RawAddress | undefined;
  /** A public toncenter v2 endpoint; undefined where the chain runs on this machine and says its own. */
  readonly endpoint: string | undefined;
}

export const NETWORKS: Readonly<Record<NetworkName, Network>> = {
  devnet: { name: "devnet", networkId: 7, registry: undefined, endpoint: undefined },
  testnet: {
    name: "testnet",
    networkId: -3,
    registry: undefined,
    endpoint: "https://testnet.toncenter.com/api/v2/jsonRPC",
  },
  mainnet: {
    name: "mainnet",
    networkId: -239,
    registry: undefined,
    endpoint: "https://toncenter.com/api/v2/jsonRPC",
  },
};

/** @throws {Failure} `bad_configuration` for a name that stands for none. */
export function networkNamed(name: string): Network {
  if (!Object.hasOwn(NETWORKS, name)) {
    throw new Failure(
      "bad_configuration",
      `network: ${JSON.stringify(name)} is not one of ${Object.keys(NETWORKS).join(", ")}`,
    );
  }
  return NETWORKS[name as NetworkName];
}

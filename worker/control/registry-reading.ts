import type { ChainReader } from "../../contracts/chain-reader.ts";
import { ask } from "../../contracts/getter.ts";
import { CODE_HASHES, REGISTRY_STATE } from "../../contracts/Registry.ts";
import { Failure, type RawAddress } from "../../protocol/index.ts";

export interface ListedGateway {
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly contract: RawAddress;
}

/**
 * Every gateway that the network's registry lists.
 *
 * @throws {Failure} `gateway_contract` where there is no registry, or one of another network or of contracts that this
 *   version does not know; those of the chain.
 */
export async function readListedGateways(
  reader: Pick<ChainReader, "get">,
  registry: RawAddress,
  networkId: number,
): Promise<readonly ListedGateway[]> {
  const state = await ask(reader, registry, REGISTRY_STATE);
  if (state === undefined) throw new Failure("gateway_contract", `there is no registry at ${registry}`);
  const { params, gateways } = state;
  if (params.networkId !== networkId) throw new Failure("gateway_contract", "the registry is of another network");
  const { gateway, workerChannel } = params.codeHashes;
  if (gateway !== CODE_HASHES.gateway || workerChannel !== CODE_HASHES.workerChannel)
    throw new Failure("gateway_contract", "the network's contracts are newer than this program: update it");
  return [...gateways.values()].map((entry) => ({ key: entry.key, contract: entry.gateway }));
}

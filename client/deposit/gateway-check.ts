import { GATEWAY_STATE, gatewayOf, type GatewayState } from "../../contracts/Gateway.ts";
import { ask } from "../../contracts/getter.ts";
import type { ChainReader } from "../../contracts/chain-reader.ts";
import { CODE_HASHES, defaultParams, REGISTRY_STATE, type RegistryState } from "../../contracts/Registry.ts";
import { COIN_NAME, equalBytes, Failure, formatTon, type Nanoton, type RawAddress } from "../../protocol/index.ts";

declare const verified: unique symbol;

/** A gateway whose contract passed every check. Only {@link verifyGateway} makes one, and only it is sent a deposit. */
export interface VerifiedGateway {
  readonly [verified]: true;
  readonly contract: RawAddress;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** How long the gateway may still charge a channel that its client closes alone. */
  readonly closeDelaySeconds: number;
  readonly minDeposit: Nanoton;
  /** Hundredths of a percent. */
  readonly maxFeeBps: number;
  readonly stake: Nanoton;
}

/** The gateway that a person has chosen. */
export interface ChosenGateway {
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly networkId: number;
  /** Undefined on a network without one. */
  readonly registry: RawAddress | undefined;
  /** Needed without a registry; with one, it must be what that lists. */
  readonly contract: RawAddress | undefined;
  /** What it asks for, when that is known: hundredths of a percent. */
  readonly feeBps: number | undefined;
}

/**
 * Looks at a gateway's contract before coins go where it can charge them. Its address must follow from code that this
 * build knows and from the terms it says it has, so a node cannot show another's.
 *
 * @throws {Failure} `gateway_contract`, `gateway_unlisted`, `gateway_terms`, `gateway_stake`, `gateway_closing`;
 *   `bad_configuration` for a registry that is none; those of the chain group.
 */
export async function verifyGateway(chain: ChainReader, chosen: ChosenGateway): Promise<VerifiedGateway> {
  const registry = chosen.registry === undefined ? undefined : await ask(chain, chosen.registry, REGISTRY_STATE);
  const contract = contractOf(chosen, registry);
  const state = await ask(chain, contract, GATEWAY_STATE);
  if (state === undefined) throw new Failure("gateway_contract", `there is no gateway at ${contract}`);
  return judgeGateway(chosen, { contract, state, registry });
}

export interface GatewayFacts {
  readonly contract: RawAddress;
  readonly state: GatewayState;
  readonly registry: RegistryState | undefined;
}

/** The rule alone. */
export function judgeGateway(chosen: ChosenGateway, { contract, state, registry }: GatewayFacts): VerifiedGateway {
  const { terms, stake } = state;
  const params = registry?.params ?? defaultParams(chosen.networkId);
  if (gatewayOf(terms).address !== contract) throw new Failure("gateway_contract", "its code is not known");
  if (!equalBytes(terms.gatewayKey, chosen.key)) throw new Failure("gateway_contract", "it belongs to another key");
  if (chosen.registry !== undefined && terms.registry !== chosen.registry)
    throw new Failure("gateway_unlisted", "it names another registry");
  if (state.status !== "open") throw new Failure("gateway_closing", `it is ${state.status}`);
  if (terms.withdrawDelaySeconds < params.withdrawDelaySeconds)
    throw new Failure("gateway_terms", "it can withdraw sooner than the network allows");
  if (terms.closeDelaySeconds < params.gatewayCloseDelaySeconds)
    throw new Failure("gateway_terms", "it can close sooner than the network allows");
  if (chosen.feeBps !== undefined && chosen.feeBps > params.maxFeeBps)
    throw new Failure("gateway_terms", `its fee is ${chosen.feeBps} bps, at most ${params.maxFeeBps} are allowed`);
  if (stake < params.minGatewayStake)
    throw new Failure("gateway_stake", `${ton(stake)} of the ${ton(params.minGatewayStake)} that are asked for`);
  return {
    contract,
    key: terms.gatewayKey,
    closeDelaySeconds: params.clientCloseDelaySeconds,
    minDeposit: params.minClientDeposit,
    maxFeeBps: params.maxFeeBps,
    stake,
  } as VerifiedGateway;
}

/** Where the gateway's contract must be. */
function contractOf(chosen: ChosenGateway, registry: RegistryState | undefined): RawAddress {
  if (chosen.registry === undefined) {
    if (chosen.contract !== undefined) return chosen.contract;
    throw new Failure("bad_configuration", "gateway contract: its address is needed where there is no registry");
  }
  if (registry === undefined) throw new Failure("bad_configuration", `registry: there is none at ${chosen.registry}`);
  checkFamily(registry, chosen.networkId);
  // Of two contracts of one key the later is the one in use; the other drains.
  const listed = [...registry.gateways.values()].filter(({ key }) => equalBytes(key, chosen.key));
  const entry = listed.findLast(({ gateway }) => chosen.contract === undefined || gateway === chosen.contract);
  if (entry !== undefined) return entry.gateway;
  const why = listed.length === 0 ? "no entry has its key" : "the entry with its key names another contract";
  throw new Failure("gateway_unlisted", why);
}

/** Contracts of other code would keep other promises. */
function checkFamily({ params }: RegistryState, networkId: number): void {
  if (params.networkId !== networkId) throw new Failure("bad_configuration", "registry: it is of another network");
  const { gateway, clientChannel } = params.codeHashes;
  if (gateway !== CODE_HASHES.gateway || clientChannel !== CODE_HASHES.clientChannel)
    throw new Failure("gateway_contract", "the network's contracts are newer than this program: update it");
}

function ton(amount: Nanoton): string {
  return `${formatTon(amount)} ${COIN_NAME}`;
}

import { Address } from "@ton/core";
import { hash, toHex, utf8, type Nanoton, type RawAddress } from "../../protocol/index.ts";
import type { Prices } from "../prices.ts";
import { defaultParams } from "../Registry.ts";
import {
  clientActor,
  gatewayActor,
  numberOf,
  registryActor,
  workerActor,
  type AnyActor,
  type ClientActor,
  type GatewayActor,
  type RegistryActor,
  type WorkerActor,
} from "./actors.fake.ts";
import { simulatedChain } from "./chain.fake.ts";
import { diceFrom, type Dice } from "./dice.fake.ts";
import { Referee } from "./referee.fake.ts";
import { signerNamed, type Signer } from "./signatures.fake.ts";

/** One gateway with the channels that hang on it. */
export interface House {
  readonly gateway: GatewayActor;
  readonly signer: Signer;
  readonly clients: readonly ClientActor[];
  readonly workers: readonly WorkerActor[];
}

export interface People {
  readonly gatewayOwner: RawAddress;
  readonly clients: readonly RawAddress[];
  readonly workers: readonly RawAddress[];
  /** Two who hand the registry to and fro. */
  readonly registrars: readonly RawAddress[];
  readonly stranger: RawAddress;
}

/** Everything on one chain, and the dice that decide what happens. */
export interface World {
  readonly dice: Dice;
  readonly referee: Referee;
  readonly people: People;
  readonly registry: RegistryActor;
  /** Grows: a gateway that closes gives way to a new one and stays, for what comes late. */
  readonly houses: House[];
  /** Its channels' gateway is at no address: what they credit comes back. */
  readonly ruin: House;
  /** Payment keys, by their public halves. */
  readonly paymentKeys: ReadonlyMap<bigint, Signer>;
  readonly forger: Signer;
}

export const CLIENTS = 3;
export const WORKERS = 3;
export const DAY = 86_400;

export async function openWorld(prices: Prices, seed: number): Promise<World> {
  const referee = new Referee(await simulatedChain(prices));
  const { networkId } = referee.chain;
  const people: People = {
    gatewayOwner: personNamed("gateway's owner"),
    clients: Array.from({ length: CLIENTS }, (_, index) => personNamed(`client ${index}`)),
    workers: Array.from({ length: WORKERS }, (_, index) => personNamed(`worker's owner ${index}`)),
    registrars: [personNamed("registrar"), personNamed("another registrar")],
    stranger: personNamed("stranger"),
  };
  const registry = registryActor({ owner: personNamed("registrar"), params: defaultParams(networkId) });
  referee.actors.set(registry.address, registry);
  const paymentKeys = Array.from({ length: 4 }, (_, index) => signerNamed(`payment key ${index}`));
  const world: World = {
    dice: diceFrom(seed),
    referee,
    people,
    registry,
    houses: [],
    ruin: houseOf(referee, people, "ruin"),
    paymentKeys: new Map(paymentKeys.map((signer) => [numberOf(signer.publicKey), signer])),
    forger: signerNamed("forger"),
  };
  return world;
}

/** A new gateway, with channels at it for everybody; none of them deployed. */
export function buildHouse({ referee, people, houses }: World): House {
  const house = houseOf(referee, people, `gateway ${houses.length}`);
  houses.push(house);
  return house;
}

function houseOf(referee: Referee, people: People, name: string): House {
  const signer = signerNamed(name);
  const gatewayKey = signer.publicKey;
  const gateway = gatewayActor({
    owner: people.gatewayOwner,
    gatewayKey,
    registry: personNamed("registrar"),
    instance: 1,
    withdrawDelaySeconds: DAY,
    closeDelaySeconds: 7 * DAY,
  });
  const terms = { gateway: gateway.address, gatewayKey };
  const clients = people.clients.map((owner) => clientActor({ ...terms, owner, closeDelaySeconds: DAY }));
  const workers = people.workers.map((owner) => workerActor({ ...terms, owner }));
  for (const actor of [gateway, ...clients, ...workers]) referee.actors.set(actor.address, actor);
  return { gateway, signer, clients, workers };
}

/** Nobody's wallet is on this chain: coins come from an address, and go to it. */
function personNamed(name: string): RawAddress {
  return new Address(0, Buffer.from(hash(utf8(name)))).toRawString();
}

/** What a contract has, or owes. */
export function balanceOf({ referee }: World, { address }: AnyActor): Nanoton {
  return (referee.balances.get(address) ?? 0n) - (referee.debts.get(address) ?? 0n);
}

export function hexNamed(name: string): string {
  return toHex(hash(utf8(name)));
}

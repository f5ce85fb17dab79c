import type { Cell } from "@ton/core";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import type { AnyActor, ClientActor, WorkerActor } from "./actors.fake.ts";
import type { Delivery } from "./chain.fake.ts";
import { CHANNEL_RESERVE, GATEWAY_RESERVE, least, most, simpleMinimum, TON } from "./rules.fake.ts";
import type { Signer } from "./signatures.fake.ts";
import { balanceOf, type House, type World } from "./world.fake.ts";

/** Something a person or a thief does. */
export interface Operation {
  readonly name: string;
  /** How it must end: with the code of a contract that refuses, 0 when none does; `anyhow` where only the model can say. */
  readonly endsWith: number | "refused" | "anyhow";
  /** How likely it is beside the others, where its moment passes soon; default 1. */
  readonly urgency?: number;
  /** How often beside the others, where others build on it; default 1. */
  readonly share?: number;
  /** Undefined when nobody is in a position to do it. */
  readonly attempt: (world: World) => Attempt | undefined;
}

export interface Attempt extends Delivery {
  /** Seconds that go by before. */
  readonly later?: number;
}

/** A message from somebody to a contract, which it deploys when there is none yet. */
export function toActor(
  actor: AnyActor,
  { from, value, body }: { readonly from: RawAddress | undefined; readonly value: Nanoton; readonly body: Cell },
): Attempt {
  const delivery = { from, to: actor.address, value, body };
  return actor.isDeployed ? delivery : { ...delivery, stateInit: actor.stateInit };
}

/** The same without a wallet; nothing comes in that the contract cannot pay for. */
export function external(world: World, actor: AnyActor, attempt: Attempt): Attempt {
  const { stateInit: _, ...delivery } = attempt;
  const isPossible = actor.isDeployed && balanceOf(world, actor) > TON / 100n;
  return isPossible ? { ...delivery, from: undefined, value: 0n } : attempt;
}

/** At least the minimum: mostly plenty, often to the nanoton. */
export function enough({ dice }: World, minimum: Nanoton): Nanoton {
  if (dice.chance(0.25)) return minimum;
  return minimum + dice.coins(TON / 10n);
}

/** Enough for whatever has the simple minimum. */
export function simple(world: World): Nanoton {
  return enough(world, simpleMinimum(world.referee.chain.prices));
}

/** What a gateway's reserve lacks, which the next stake must bring. */
export function lackingIn(world: World, house: House): Nanoton {
  return most(countersOf(house) + GATEWAY_RESERVE - balanceOf(world, house.gateway), 0n) + RENT_TO_COME;
}

/** The same of a channel, whose balance is not its reserve. */
export function lackingInChannel(world: World, channel: WorkerActor | ClientActor): Nanoton {
  return missingIn(world, channel) + RENT_TO_COME;
}

/** As of its last transaction. */
export function missingIn(world: World, channel: WorkerActor | ClientActor): Nanoton {
  const balance = channel.kind === "client" ? channel.state.balance : 0n;
  return most(CHANNEL_RESERVE + balance - balanceOf(world, channel), 0n);
}

/** Rent of some months, which a contract's balance does not show before its next transaction. */
const RENT_TO_COME = TON / 50n;

/** The first that somebody can do, in an order of the dice. */
export function oneOf({ dice }: World, attempts: readonly (() => Attempt | undefined)[]): Attempt | undefined {
  const left = [...attempts];
  while (left.length > 0) {
    const [make] = left.splice(dice.whole(left.length), 1);
    const attempt = make?.();
    if (attempt !== undefined) return attempt;
  }
  return undefined;
}

/** What a gateway has promised to have. */
export function countersOf({ gateway }: House): Nanoton {
  const { pool, stake } = gateway.state;
  return pool + stake;
}

/** What a gateway can pay: its counters, or the coins that rent has left. */
export function fundsOf(world: World, house: House): Nanoton {
  return least(countersOf(house), most(balanceOf(world, house.gateway) - RENT_TO_COME, 0n));
}

/** What a client's channel can be charged: its counter, or the coins that rent has left. */
export function chargeable(world: World, client: ClientActor): Nanoton {
  return least(client.state.balance, most(balanceOf(world, client) - RENT_TO_COME, 0n));
}

/** One that fits, or nobody. */
export function find<Item>({ dice }: World, items: readonly Item[], fits: (item: Item) => boolean): Item | undefined {
  const fitting = items.filter(fits);
  return fitting.length === 0 ? undefined : dice.pick(fitting);
}

export interface ClientAt {
  readonly house: House;
  readonly client: ClientActor;
}

export interface WorkerAt {
  readonly house: House;
  readonly worker: WorkerActor;
}

export function clientsIn(houses: readonly House[]): readonly ClientAt[] {
  return houses
    .flatMap((house) => house.clients.map((client) => ({ house, client })))
    .filter(({ client }) => !client.isFrozen);
}

export function workersIn(houses: readonly House[]): readonly WorkerAt[] {
  return houses
    .flatMap((house) => house.workers.map((worker) => ({ house, worker })))
    .filter(({ worker }) => !worker.isFrozen);
}

export function openHouses({ houses }: World): readonly House[] {
  return houses.filter(({ gateway }) => gateway.state.status !== "closed" && !gateway.isFrozen);
}

/** Houses in which things go on: the open ones, and those that closed last, for what comes late. */
export function recent(world: World): readonly House[] {
  const closed = world.houses.filter(({ gateway }) => gateway.state.status === "closed").slice(-2);
  return [...openHouses(world), ...closed.filter(({ gateway }) => !gateway.isFrozen)];
}

export function paymentKeyOf({ paymentKeys, forger }: World, { state }: ClientActor): Signer {
  return paymentKeys.get(state.sessionKey) ?? forger;
}

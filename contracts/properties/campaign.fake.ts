import assert from "node:assert/strict";
import { Cell } from "@ton/core";
import type { Prices } from "../prices.ts";
import type { AnyActor } from "./actors.fake.ts";
import { stake } from "./gateway-operations.fake.ts";
import { Invariants } from "./invariants.fake.ts";
import { openHouses, recent, type Attempt, type Operation } from "./operations.fake.ts";
import type { Trace } from "./referee.fake.ts";
import { TON } from "./rules.fake.ts";
import { choose, lacking } from "./schedule.fake.ts";
import { endingOfTrace, Tally } from "./tally.fake.ts";
import { buildHouse, DAY, openWorld, type World } from "./world.fake.ts";

export interface Campaign {
  readonly seed: number;
  /** At least so many. */
  readonly operations: number;
  /** And each good one so often; a third of it for each hostile one. */
  readonly wanted: number;
}

/** Seeded random operations on one chain; every transaction is judged by the model and by the invariants. */
export async function campaign(prices: Prices, { seed, operations, wanted }: Campaign): Promise<Tally> {
  const world = await openWorld(prices, seed);
  const invariants = new Invariants();
  const tally = new Tally();
  const play: Play = async ({ later = 0, ...delivery }) => {
    world.referee.chain.advance(later);
    const trace = await world.referee.play(delivery);
    invariants.check(trace);
    tally.countTrace(trace);
    return trace;
  };

  let decades = 0;
  const isEnough = (): boolean => tally.done >= operations && lacking(tally, wanted).length === 0;
  for (let tries = 0; tries < MOST_TRIES * operations && !isEnough(); tries++) {
    await keepHouses(world, play);
    if (world.dice.chance(0.03)) await letTimePass(world, play, world.dice.pick(DAYS));
    if (tally.done >= operations / 2 && decades++ === 0) await letTimePass(world, play, 3_650);
    const operation = choose(world, tally, wanted);
    const attempt = operation.attempt(world);
    if (attempt === undefined) continue;
    try {
      if (endsAsItMust(operation, await play(attempt))) tally.countOperation(operation.name);
    } catch (cause) {
      throw new Error(`seed ${seed}, operation ${tally.done + 1}, "${operation.name}"`, { cause });
    }
  }
  invariants.checkSum();
  return tally;
}

/** For each operation that is asked for: most tries find nobody in a position to do what the dice say. */
const MOST_TRIES = 20;

/** False when rent had taken the contract out of the world before the message came. */
function endsAsItMust({ endsWith }: Operation, trace: Trace): boolean {
  const ending = endingOfTrace(trace);
  if (ending === "frozen") return false;
  if (endsWith === "refused") assert.notEqual(ending, 0, "it is taken");
  else if (endsWith !== "anyhow") assert.equal(ending, endsWith, "how it ends");
  return true;
}

type Play = (attempt: Attempt) => Promise<Trace>;

const OPEN_HOUSES = 3;

/** There are always a few gateways that have not closed. */
async function keepHouses(world: World, play: Play): Promise<void> {
  while (openHouses(world).length < OPEN_HOUSES) await play(stake(world, buildHouse(world)));
}

/** From minutes to years; most are the delays of the contracts. */
const DAYS = [1 / 144, 1 / 24, 1 / 24, 1 / 2, 1, 1, 1, 1, 3, 3, 7, 8, 8, 30, 30, 365];

async function letTimePass(world: World, play: Play, days: number): Promise<void> {
  world.referee.chain.advance(Math.round(days * DAY) + 1);
  if (days < 365) return;
  // What may still be used pays its rent now, so that what is left is known; the registry's is brought by who needs it.
  for (const actor of inUse(world)) {
    if (!actor.isDeployed || actor.isFrozen) continue;
    const value = actor.kind === "registry" ? 3n * TON : 1n;
    await play({ from: world.people.stranger, to: actor.address, value, body: Cell.EMPTY, bounces: false });
  }
}

function inUse(world: World): readonly AnyActor[] {
  const channels = [...recent(world), world.ruin].flatMap(({ clients, workers }) => [...clients, ...workers]);
  return [...world.houses.map(({ gateway }) => gateway), ...channels, world.registry];
}

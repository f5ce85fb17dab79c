import { checkpointLetter, gatewayLetter, queryId } from "./letters.fake.ts";
import {
  countersOf,
  find,
  fundsOf,
  lackingIn,
  openHouses,
  recent,
  simple,
  toActor,
  type Attempt,
  type Operation,
} from "./operations.fake.ts";
import { creditGas, TON } from "./rules.fake.ts";
import { DAY, type House, type World } from "./world.fake.ts";

/** What gateways do, and others for them. */
export const GATEWAY_OPERATIONS: readonly Operation[] = [
  taken("stake", (world) => {
    const house = find(world, recent(world), ({ gateway }) => gateway.state.status !== "closed");
    return house && stake(world, house);
  }),
  taken("fill the stake by hand", (world) => {
    const house = deployed(world, ({ gateway }) => gateway.state.drawn > 0n) ?? deployed(world, () => true);
    if (house === undefined) return undefined;
    const amount = world.dice.pick([0n, house.gateway.state.drawn]) + world.dice.coins(2n * TON);
    return toActor(house.gateway, {
      from: world.dice.pick([world.people.gatewayOwner, world.people.stranger]),
      // Of an amount that did not come only what came is booked.
      value: amount / world.dice.pick([1n, 1n, 2n]) + creditGas(world.referee.chain.prices),
      body: gatewayLetter({ type: "credit", queryId: queryId(world), amount }),
    });
  }),
  // Some lapse.
  { ...taken("announce a withdrawal", announced, 8), share: 2 },
  // Its window is a day.
  taken("withdraw", withdrawn, 30),
  taken("announce the gateway's end", (world) => {
    // The oldest, so that there is a life before it.
    const house = openHouses(world).find(({ gateway }) => gateway.isDeployed && gateway.state.status === "open");
    return house && byOwner(world, house, "start-close");
  }),
  taken("close the gateway, or sweep it", (world) => {
    const isWhole = (house: House): boolean => !house.gateway.isFrozen && fundsOf(world, house) === countersOf(house);
    const isClosing = (house: House): boolean => house.gateway.state.status === "closing" && isWhole(house);
    const isLate = (house: House): boolean => house.gateway.state.status === "closed" && isWhole(house);
    const house = deployed(world, isClosing) ?? find(world, world.houses, isLate);
    if (house === undefined) return undefined;
    const later = Math.max(0, house.gateway.state.unlockAt - world.referee.chain.now());
    return { ...byOwner(world, house, "complete-close"), later };
  }),
  taken("commit a checkpoint", (world) => {
    const house = deployed(world, () => true);
    if (house === undefined) return undefined;
    const seqno = house.gateway.state.checkpointSeqno + 1 + world.dice.whole(3);
    return toActor(house.gateway, {
      from: world.dice.pick([world.people.gatewayOwner, world.people.stranger]),
      value: simple(world),
      body: checkpointLetter(world, house, { seqno }),
    });
  }),
];

function taken(name: string, attempt: Operation["attempt"], urgency = 1): Operation {
  return { name, endsWith: 0, attempt, urgency };
}

/** Deploys a gateway that is not there yet. */
export function stake(world: World, house: House): Attempt {
  const amount = TON / 10n + world.dice.coins(5n * TON);
  return toActor(house.gateway, {
    from: world.dice.pick([world.people.gatewayOwner, world.people.stranger]),
    value: amount + simple(world) + lackingIn(world, house),
    body: gatewayLetter({ type: "add-stake", queryId: queryId(world), amount }),
  });
}

function announced(world: World): Attempt | undefined {
  const house = deployed(world, ({ gateway: { state } }) => state.status === "open" && state.pool > 0n);
  if (house === undefined) return undefined;
  const amount = world.dice.pick([house.gateway.state.pool, world.dice.coins(TON)]);
  return byOwner(world, house, "request-withdraw", amount);
}

function withdrawn(world: World): Attempt | undefined {
  const now = world.referee.chain.now();
  const house = deployed(world, ({ gateway: { state } }) => {
    return state.status === "open" && state.pending > 0n && now <= state.unlockAt;
  });
  if (house === undefined) return undefined;
  // In its first second, its last, or between.
  const later = house.gateway.state.unlockAt - now + world.dice.pick([0, DAY, world.dice.whole(DAY)]);
  return { ...byOwner(world, house, "complete-withdraw"), later };
}

export function deployed(world: World, fits: (house: House) => boolean): House | undefined {
  return find(world, recent(world), (house) => house.gateway.isDeployed && !house.gateway.isFrozen && fits(house));
}

export function byOwner(
  world: World,
  { gateway }: House,
  type: "request-withdraw" | "complete-withdraw" | "start-close" | "complete-close",
  amount = 0n,
): Attempt {
  const head = { queryId: queryId(world) };
  const body = type === "request-withdraw" ? { type, ...head, amount } : { type, ...head };
  return toActor(gateway, { from: world.people.gatewayOwner, value: simple(world), body: gatewayLetter(body) });
}

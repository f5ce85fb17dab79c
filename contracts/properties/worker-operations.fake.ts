import { Cell } from "@ton/core";
import type { Nanoton } from "../../protocol/index.ts";
import { cashOutLetter } from "./letters.fake.ts";
import {
  countersOf,
  enough,
  find,
  fundsOf,
  lackingInChannel,
  recent,
  toActor,
  workersIn,
  type Attempt,
  type Operation,
  type WorkerAt,
} from "./operations.fake.ts";
import { CHANNEL_RESERVE, cashOutMinimum, EXTERNAL_MINIMUM, least, TON } from "./rules.fake.ts";
import { balanceOf, type World } from "./world.fake.ts";

/** What owners of workers, and gateways for them, do with a WorkerChannel. */
export const WORKER_OPERATIONS: readonly Operation[] = [
  taken("cash out for the first time", (world) => {
    const found = worker(world, ({ worker: { isDeployed }, house }) => !isDeployed && fundsOf(world, house) > 0n);
    return found && cashOut(world, found, {});
  }),
  taken("cash out", (world) => {
    const found = worker(world, ({ worker: { isDeployed }, house }) => isDeployed && fundsOf(world, house) > 0n);
    return found && cashOut(world, found, {});
  }),
  taken("cash out a part", (world) => {
    const found = worker(world, ({ house }) => fundsOf(world, house) > 10n);
    if (found === undefined) return undefined;
    const limit = world.dice.coins(least(fundsOf(world, found.house), TON / 2n));
    // The voucher may promise more than there is: the limit makes it payable.
    const promised = limit + world.dice.coins(20n * TON);
    return cashOut(world, found, { promised, limit });
  }),
  taken("cash out for somebody else", (world) => {
    const found = worker(world, ({ house }) => fundsOf(world, house) > 0n);
    if (found === undefined) return undefined;
    // A stranger's limit does not count.
    return { ...cashOut(world, found, { limit: 1n }), from: world.people.stranger };
  }),
  taken("cash out without a wallet", (world) => {
    const minimum = cashOutMinimum(world.referee.chain.prices);
    const found = worker(world, ({ worker: actor, house }) => {
      const isReady =
        actor.state.retryAfter <= world.referee.chain.now() && fundsOf(world, house) > 2n * EXTERNAL_MINIMUM;
      return isReady && balanceOf(world, actor) > CHANNEL_RESERVE + minimum + TON / 50n;
    });
    if (found === undefined) return undefined;
    const promised = EXTERNAL_MINIMUM + world.dice.coins(least(fundsOf(world, found.house) - EXTERNAL_MINIMUM, TON));
    return { ...cashOut(world, found, { promised }), from: undefined, value: 0n };
  }),
  {
    name: "cash out more than there is",
    endsWith: 409,
    attempt: (world) => {
      const found = worker(world, () => true);
      if (found === undefined) return undefined;
      return cashOut(world, found, { promised: countersOf(found.house) + world.dice.coins(5n * TON) });
    },
  },
  taken("bring coins for the rent", (world) => {
    const found = worker(world, ({ worker: actor }) => actor.isDeployed && balanceOf(world, actor) >= 0n);
    if (found === undefined) return undefined;
    const { gateway, clients } = found.house;
    const actors = [found.worker, found.worker, ...clients, gateway, world.registry];
    const actor = world.dice.pick(
      actors.filter((one) => one.isDeployed && !one.isFrozen && balanceOf(world, one) >= 0n),
    );
    const value = TON / 20n + world.dice.coins(TON / 5n);
    return {
      ...toActor(actor, { from: world.people.stranger, value, body: Cell.EMPTY }),
      bounces: world.dice.chance(0.5),
    };
  }),
];

function taken(name: string, attempt: Operation["attempt"]): Operation {
  return { name, endsWith: 0, attempt };
}

export function worker(world: World, fits: (found: WorkerAt) => boolean): WorkerAt | undefined {
  return find(world, workersIn(recent(world)), (found) => found.house.gateway.isDeployed && fits(found));
}

interface Claim {
  /** Above what was paid. */
  readonly promised?: Nanoton;
  readonly limit?: Nanoton;
}

export function cashOut(world: World, { house, worker: actor }: WorkerAt, { promised, limit }: Claim): Attempt {
  const { dice, referee } = world;
  // Mostly out of the pool, so that there are times when the stake is whole.
  const within = dice.chance(0.9) ? house.gateway.state.pool / 2n + TON / 100n : 4n * TON;
  const amount = promised ?? dice.coins(least(fundsOf(world, house), within));
  const letter = { total: actor.state.paid + amount, ...(limit !== undefined && { limit }) };
  return toActor(actor, {
    from: actor.terms.owner,
    value: enough(world, cashOutMinimum(referee.chain.prices) + lackingInChannel(world, actor)),
    body: cashOutLetter(world, house, actor, letter),
  });
}

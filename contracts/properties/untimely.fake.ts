import type { Nanoton } from "../../protocol/index.ts";
import { bytes32, client, creditOf, hasBalance, hasKey } from "./client-operations.fake.ts";
import { byOwner, deployed, stake } from "./gateway-operations.fake.ts";
import { chargeLetter, clientLetter, queryId } from "./letters.fake.ts";
import {
  enough,
  external,
  find,
  missingIn,
  oneOf,
  paymentKeyOf,
  simple,
  toActor,
  type Attempt,
  type ClientAt,
  type Operation,
} from "./operations.fake.ts";
import { registrarSays } from "./registry-operations.fake.ts";
import {
  cashOutMinimum,
  CHANNEL_RESERVE,
  chargeMinimum,
  EXTERNAL_MINIMUM,
  REGISTRY_MINIMUM,
  simpleMinimum,
  TON,
} from "./rules.fake.ts";
import { cashOut, worker } from "./worker-operations.fake.ts";
import { balanceOf, DAY, hexNamed, type World } from "./world.fake.ts";

/** What would be right at another time, with another amount or in another state. */
export const UNTIMELY: readonly Operation[] = [
  refused("charge beyond the credit", 407, (world) => {
    const found = client(world, (actor) => hasBalance(world, actor));
    if (found === undefined) return undefined;
    const total = found.client.state.charged + (creditOf(found.client) > 0n ? creditOf(found.client) : 0n) + 1n;
    return charge(world, found, { total: total + world.dice.pick([0n, world.dice.coins(TON)]) });
  }),
  refused("bring too little", 408, (world) => {
    const { prices } = world.referee.chain;
    const cheap = (attempt: Attempt | undefined, minimum: Nanoton): Attempt | undefined =>
      attempt && { ...attempt, value: minimum - world.dice.pick([1n, 1n, world.dice.coins(minimum / 4n)]) };
    const house = deployed(world, ({ gateway }) => gateway.state.status === "open");
    const found = client(world, (actor) => hasBalance(world, actor) && !actor.state.isClosing);
    const owing = worker(world, ({ worker: actor }) => balanceOf(world, actor) < 0n);
    const payee = owing ?? worker(world, ({ worker: { isDeployed } }) => isDeployed);
    const head = { queryId: queryId(world) };
    const amount = world.dice.coins(TON);
    return oneOf(world, [
      () => house && cheap(byOwner(world, house, "request-withdraw", TON), simpleMinimum(prices)),
      () => house && cheap(byOwner(world, house, "start-close"), simpleMinimum(prices)),
      () => house && cheap(stake(world, house), simpleMinimum(prices)),
      () => found && cheap(charge(world, found, { total: found.client.state.charged + 1n }), chargeMinimum(prices)),
      () => found && cheap(ownerSays(world, found, { type: "start-close", ...head }), simpleMinimum(prices)),
      () =>
        found && cheap(ownerSays(world, found, { type: "top-up", ...head, amount }), amount + simpleMinimum(prices)),
      () => found && cheap(reopen(world, found, amount), amount + simpleMinimum(prices) + CHANNEL_RESERVE),
      () => payee && cheap(cashOut(world, payee, {}), cashOutMinimum(prices) + missingIn(world, payee.worker)),
      () =>
        world.registry.isDeployed
          ? cheap(registrarSays(world, { type: "offer-ownership", newOwner: world.people.stranger }), REGISTRY_MINIMUM)
          : undefined,
    ]);
  }),
  refused("charge an empty channel", 409, (world) => {
    const found = client(
      world,
      ({ isDeployed, state }) => isDeployed && state.balance === 0n && state.sessionKey !== 0n,
    );
    return found && charge(world, found, { total: found.client.state.charged + TON, isCountersigned: true });
  }),
  refused("cash out without a wallet and without coins for it", 409, (world) => {
    const { chain } = world.referee;
    const found = worker(world, ({ worker: actor }) => {
      const balance = balanceOf(world, actor);
      const isPoor = balance < CHANNEL_RESERVE + cashOutMinimum(chain.prices) && balance > TON / 100n;
      return actor.isDeployed && isPoor && actor.state.retryAfter <= chain.now();
    });
    return found && { ...cashOut(world, found, { promised: TON }), from: undefined, value: 0n };
  }),
  refused("do it too early", 410, (world) => {
    const now = world.referee.chain.now();
    const closing = client(world, ({ state }) => state.isClosing && state.closeAt > now);
    const announced = deployed(world, ({ gateway: { state } }) => {
      return state.status === "open" && state.pending > 0n && state.unlockAt > now;
    });
    const ending = deployed(world, ({ gateway: { state } }) => state.status === "closing" && state.unlockAt > now);
    const bounced = worker(world, ({ worker: actor }) => {
      return actor.state.retryAfter > now && balanceOf(world, actor) > TON / 100n;
    });
    const { upgradeAt } = world.registry.state;
    return oneOf(world, [
      () => closing && ownerSays(world, closing, { type: "finish-close", queryId: queryId(world) }),
      () => announced && byOwner(world, announced, "complete-withdraw"),
      () => ending && byOwner(world, ending, "complete-close"),
      () => bounced && external(world, bounced.worker, cashOut(world, bounced, { promised: TON })),
      () => (upgradeAt !== undefined && upgradeAt > now ? registrarSays(world, { type: "apply-upgrade" }) : undefined),
    ]);
  }),
  refused("do it in another state", 411, (world) => {
    const head = { queryId: queryId(world) };
    const amount = world.dice.coins(TON);
    const closing = client(world, ({ state }) => state.isClosing);
    const open = client(world, ({ isDeployed, state }) => isDeployed && !state.isClosing);
    const opened = deployed(world, ({ gateway }) => gateway.state.status === "open");
    const ending = deployed(world, ({ gateway }) => gateway.state.status !== "open");
    const over = find(world, world.houses, ({ gateway }) => gateway.state.status === "closed" && !gateway.isFrozen);
    return oneOf(world, [
      () => closing && ownerSays(world, closing, { type: "top-up", ...head, amount }, amount),
      () => closing && ownerSays(world, closing, { type: "start-close", ...head }),
      () => closing && reopen(world, closing, amount),
      () => open && ownerSays(world, open, { type: "finish-close", ...head }),
      () => opened && byOwner(world, opened, "complete-close"),
      () => ending && byOwner(world, ending, world.dice.pick(["start-close", "complete-withdraw"] as const)),
      () => ending && byOwner(world, ending, "request-withdraw", amount),
      () => over && stake(world, over),
    ]);
  }),
  refused("change key or limit over a balance", 413, (world) => {
    const found = client(
      world,
      (actor) => hasBalance(world, actor) && hasKey(actor) && actor.state.creditLimit > 1n && !actor.state.isClosing,
    );
    if (found === undefined) return undefined;
    const { sessionKey, creditLimit } = found.client.state;
    const lower = creditLimit - world.dice.coins(creditLimit);
    return oneOf(world, [
      () => reopen(world, found, 0n, { sessionKey: sessionKey === 1n ? 2n : sessionKey ^ 1n, creditLimit }),
      () => reopen(world, found, 0n, { sessionKey, creditLimit: lower }),
      () => ownerSays(world, found, { type: "set-credit-limit", queryId: queryId(world), creditLimit: lower }),
    ]);
  }),
  refused("settle a trifle without a wallet", 414, (world) => {
    const now = world.referee.chain.now();
    const trifle = EXTERNAL_MINIMUM - world.dice.pick([1n, world.dice.coins(EXTERNAL_MINIMUM - 1n)]);
    const found = client(world, (actor) => hasBalance(world, actor) && hasKey(actor));
    const payee = worker(world, ({ worker: actor }) => {
      return actor.isDeployed && actor.state.retryAfter <= now && balanceOf(world, actor) > TON / 100n;
    });
    const letter = found && charge(world, found, { total: found.client.state.charged + trifle, isCountersigned: true });
    const request = payee && cashOut(world, payee, { promised: trifle });
    const attempt = world.dice.chance(0.5) ? letter : request;
    return attempt && { ...attempt, from: undefined, value: 0n };
  }),
  refused("ask for what is not there", 416, (world) => {
    const house = deployed(world, ({ gateway: { state } }) => state.status === "open" && state.pending === 0n);
    const { registry } = world;
    return oneOf(world, [
      () => house && byOwner(world, house, "complete-withdraw"),
      () => (registry.isDeployed ? registrarSays(world, { type: "remove-gateway", id: 2 ** 32 - 1 }) : undefined),
      () => (registry.isDeployed ? registrarSays(world, { type: "remove-build", measurement: NOTHING }) : undefined),
      () => (registry.isDeployed ? registrarSays(world, { type: "remove-model", manifestRoot: NOTHING }) : undefined),
      () =>
        registry.isDeployed && registry.state.upgradeAt === undefined
          ? registrarSays(world, { type: "apply-upgrade" })
          : undefined,
    ]);
  }),
  {
    ...refused("withdraw after the notice has lapsed", 417, (world) => {
      const house = deployed(world, ({ gateway: { state } }) => state.status === "open" && state.pending > 0n);
      if (house === undefined) return undefined;
      const later = Math.max(0, house.gateway.state.unlockAt + DAY + 1 - world.referee.chain.now());
      return { ...byOwner(world, house, "complete-withdraw"), later };
    }),
    urgency: 4,
  },
  refused("set parameters of another network", 405, (world) => {
    const { registry } = world;
    if (!registry.isDeployed) return undefined;
    return registrarSays(world, { type: "set-params", params: { ...registry.state.params, networkId: -3 } });
  }),
];

const NOTHING = hexNamed("nothing");

function refused(name: string, endsWith: number, attempt: Operation["attempt"]): Operation {
  return { name, endsWith, attempt };
}

interface Charge {
  readonly total: Nanoton;
  readonly isCountersigned?: boolean;
}

function charge(world: World, { house, client: actor }: ClientAt, { total, isCountersigned = false }: Charge): Attempt {
  const countersigner = isCountersigned ? paymentKeyOf(world, actor) : undefined;
  return toActor(actor, {
    from: world.people.gatewayOwner,
    value: enough(world, chargeMinimum(world.referee.chain.prices)),
    body: chargeLetter(world, house, actor, { total, countersigner }),
  });
}

type Said = Parameters<typeof clientLetter>[0];

function ownerSays(world: World, { client: actor }: ClientAt, message: Said, amount = 0n): Attempt {
  return toActor(actor, { from: actor.terms.owner, value: amount + simple(world), body: clientLetter(message) });
}

function reopen(
  world: World,
  { client: actor }: ClientAt,
  amount: Nanoton,
  { sessionKey, creditLimit } = { sessionKey: actor.state.sessionKey || 1n, creditLimit: actor.state.creditLimit },
): Attempt {
  const message = { type: "open-channel", queryId: queryId(world), amount } as const;
  return toActor(actor, {
    from: actor.terms.owner,
    value: amount + enough(world, simpleMinimum(world.referee.chain.prices) + CHANNEL_RESERVE),
    body: clientLetter({ ...message, paymentKey: bytes32(sessionKey), creditLimit }),
  });
}

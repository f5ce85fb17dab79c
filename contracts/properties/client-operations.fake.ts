import { numberOf, type ClientActor } from "./actors.fake.ts";
import { chargeLetter, clientLetter, closeLetter, queryId } from "./letters.fake.ts";
import {
  chargeable,
  clientsIn,
  enough,
  find,
  lackingInChannel,
  paymentKeyOf,
  recent,
  simple,
  toActor,
  type Attempt,
  type ClientAt,
  type Operation,
} from "./operations.fake.ts";
import { CHANNEL_RESERVE, chargeMinimum, EXTERNAL_MINIMUM, least, simpleMinimum, TON } from "./rules.fake.ts";
import type { World } from "./world.fake.ts";

/** What clients and gateways do with a ClientChannel when all goes well. */
export const CLIENT_OPERATIONS: readonly Operation[] = [
  taken("open a channel", (world) => {
    const found = client(world, ({ state }) => !state.isClosing);
    return found && opened(world, found.client);
  }),
  taken("top up", (world) => {
    const found = client(world, ({ state }) => !state.isClosing);
    if (found === undefined) return undefined;
    const amount = world.dice.coins(5n * TON);
    return toActor(found.client, {
      from: world.dice.pick([found.client.terms.owner, world.people.stranger]),
      value: amount + simple(world),
      body: clientLetter({ type: "top-up", queryId: queryId(world), amount }),
    });
  }),
  taken(
    "charge, countersigned",
    (world) => {
      const found = client(world, (actor) => hasBalance(world, actor) && hasKey(actor));
      return found && charge(world, found, { isCountersigned: true });
    },
    2,
  ),
  taken(
    "charge by the gateway alone",
    (world) => {
      const found = client(world, (actor) => hasBalance(world, actor) && creditOf(actor) > 0n);
      return found && charge(world, found, { isCountersigned: false });
    },
    2,
  ),
  taken(
    "charge, countersigned, without a wallet",
    (world) => {
      const found = client(world, (actor) => hasBalance(world, actor) && hasKey(actor));
      return found && charge(world, found, { isCountersigned: true, isExternal: true });
    },
    2,
  ),
  taken(
    "charge by the gateway alone without a wallet",
    (world) => {
      const found = client(world, (actor) => hasBalance(world, actor) && creditOf(actor) > EXTERNAL_MINIMUM);
      return found && charge(world, found, { isCountersigned: false, isExternal: true });
    },
    3,
  ),
  taken("close together", (world) => {
    const found = client(world, (actor) => hasBalance(world, actor));
    if (found === undefined) return undefined;
    const { charged, balance, closeSeq } = found.client.state;
    const total = world.dice.pick([charged, charged + world.dice.coins(balance), charged + 2n * balance, charged / 2n]);
    return toActor(found.client, {
      from: found.client.terms.owner,
      value: enough(world, chargeMinimum(world.referee.chain.prices) + lackingInChannel(world, found.client)),
      body: closeLetter(world, found.house, found.client, { total, closeSeq }),
    });
  }),
  taken("announce a close", (world) => {
    const found = client(world, ({ state, isDeployed }) => isDeployed && !state.isClosing);
    return (
      found &&
      toActor(found.client, {
        from: found.client.terms.owner,
        value: simple(world),
        body: clientLetter({ type: "start-close", queryId: queryId(world) }),
      })
    );
  }),
  taken("finish a close", (world) => {
    const found = client(world, ({ state }) => state.isClosing);
    if (found === undefined) return undefined;
    const later = Math.max(0, found.client.state.closeAt - world.referee.chain.now());
    const attempt = toActor(found.client, {
      from: world.dice.pick([found.client.terms.owner, world.people.stranger]),
      // Nothing above the reserve is nothing to refund: then all is undone.
      value: simple(world) + lackingInChannel(world, found.client),
      body: clientLetter({ type: "finish-close", queryId: queryId(world) }),
    });
    return { ...attempt, later };
  }),
  taken("raise the credit limit", (world) => {
    const found = client(world, ({ isDeployed }) => isDeployed);
    if (found === undefined) return undefined;
    const creditLimit = found.client.state.creditLimit + world.dice.coins(TON);
    return toActor(found.client, {
      from: found.client.terms.owner,
      value: simple(world),
      body: clientLetter({ type: "set-credit-limit", queryId: queryId(world), creditLimit }),
    });
  }),
];

/** A credit to where no gateway is: it comes back into the balance. */
export const RUIN_OPERATIONS: readonly Operation[] = [
  taken("charge for a gateway that is gone", (world) => {
    const found = find(world, clientsIn([world.ruin]), () => true);
    if (found === undefined) return undefined;
    const isOpen = hasBalance(world, found.client) && hasKey(found.client);
    // Not dust, which the gas of a bounce takes.
    return isOpen
      ? charge(world, found, { isCountersigned: true, floor: EXTERNAL_MINIMUM })
      : opened(world, found.client);
  }),
];

function taken(name: string, attempt: Operation["attempt"], urgency = 1): Operation {
  return { name, endsWith: 0, attempt, urgency };
}

export function client(world: World, fits: (client: ClientActor) => boolean): ClientAt | undefined {
  const houses = recent(world).filter(({ gateway }) => gateway.isDeployed);
  return find(world, clientsIn(houses), ({ client: actor }) => fits(actor));
}

/** More than an external charge needs. */
export function hasBalance(world: World, actor: ClientActor): boolean {
  return chargeable(world, actor) > 2n * EXTERNAL_MINIMUM;
}

/** A channel that a stranger paid into before it was opened has none. */
export function hasKey({ state }: ClientActor): boolean {
  return state.sessionKey !== 0n;
}

/** How far the gateway may still charge alone. */
export function creditOf({ state: { acked, creditLimit, charged } }: ClientActor): bigint {
  return acked + creditLimit - charged;
}

function opened(world: World, actor: ClientActor): Attempt {
  const { dice, paymentKeys } = world;
  const { state, terms } = actor;
  const amount = TON / 5n + dice.coins(8n * TON);
  const isFree = state.balance === 0n || state.sessionKey === 0n;
  const key = isFree ? numberOf(dice.pick([...paymentKeys.values()]).publicKey) : state.sessionKey;
  const creditLimit = (state.balance === 0n ? 0n : state.creditLimit) + dice.coins(3n * TON);
  return toActor(actor, {
    from: terms.owner,
    value: amount + enough(world, simpleMinimum(world.referee.chain.prices) + CHANNEL_RESERVE),
    body: clientLetter({
      type: "open-channel",
      queryId: queryId(world),
      amount,
      paymentKey: bytes32(key),
      creditLimit,
    }),
  });
}

interface Manner {
  readonly isCountersigned: boolean;
  readonly isExternal?: boolean;
  readonly floor?: bigint;
}

function charge(
  world: World,
  { house, client: actor }: ClientAt,
  { isCountersigned, isExternal = false, floor = isExternal ? EXTERNAL_MINIMUM : 0n }: Manner,
): Attempt {
  const { dice, people, referee } = world;
  const { charged } = actor.state;
  const balance = chargeable(world, actor);
  // What was served beyond the balance is the gateway's own loss, and the total counts all the same.
  const beyond = dice.chance(0.2) ? 2n * balance : balance;
  const room = isCountersigned ? beyond : least(creditOf(actor), beyond);
  const total = charged + floor + dice.coins(room - floor);
  const countersigner = isCountersigned ? paymentKeyOf(world, actor) : undefined;
  const body = chargeLetter(world, house, actor, { total, countersigner });
  if (isExternal) return toActor(actor, { from: undefined, value: 0n, body });
  return toActor(actor, {
    from: dice.pick([people.gatewayOwner, people.stranger]),
    value: enough(world, chargeMinimum(referee.chain.prices)),
    body,
  });
}

export function bytes32(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, "0"), "hex"));
}

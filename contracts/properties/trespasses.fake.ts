import { beginCell } from "@ton/core";
import { client } from "./client-operations.fake.ts";
import { byOwner, deployed } from "./gateway-operations.fake.ts";
import { chargeLetter, clientLetter, closeLetter, gatewayLetter, queryId } from "./letters.fake.ts";
import { enough, paymentKeyOf, simple, toActor, type Attempt, type Operation } from "./operations.fake.ts";
import { REGISTRY_OPERATIONS, registrarSays } from "./registry-operations.fake.ts";
import { CHANNEL_RESERVE, chargeMinimum, EXTERNAL_MINIMUM, TON } from "./rules.fake.ts";
import { cashOut, worker } from "./worker-operations.fake.ts";
import type { World } from "./world.fake.ts";

/** Messages from who may not send them, and messages that no contract takes. */
export const TRESPASSES: readonly Operation[] = [
  trespass("play a channel's owner", 401, (world) => {
    const found = client(world, ({ isDeployed }) => isDeployed);
    if (found === undefined) return undefined;
    const { house, client: actor } = found;
    const { charged, closeSeq, sessionKey } = actor.state;
    const head = { queryId: queryId(world) };
    const paymentKey = new Uint8Array(Buffer.from((sessionKey || 1n).toString(16).padStart(64, "0"), "hex"));
    const body = world.dice.pick([
      clientLetter({ type: "open-channel", ...head, amount: 0n, paymentKey, creditLimit: 0n }),
      clientLetter({ type: "start-close", ...head }),
      clientLetter({ type: "set-credit-limit", ...head, creditLimit: TON }),
      closeLetter(world, house, actor, { total: charged, closeSeq }),
    ]);
    const { stranger, gatewayOwner } = world.people;
    const value = enough(world, chargeMinimum(world.referee.chain.prices) + CHANNEL_RESERVE);
    return toActor(actor, { from: world.dice.pick([stranger, gatewayOwner]), value, body });
  }),
  trespass("play a gateway's owner", 401, (world) => {
    const house = deployed(world, () => true);
    if (house === undefined) return undefined;
    const type = world.dice.pick(["request-withdraw", "complete-withdraw", "start-close", "complete-close"] as const);
    const { stranger, workers } = world.people;
    return { ...byOwner(world, house, type, TON), from: world.dice.pick([stranger, ...workers]) };
  }),
  trespass("play the registry's owner", 401, (world) => {
    if (!world.registry.isDeployed) return undefined;
    const said =
      world.dice.pick(REGISTRY_OPERATIONS).attempt(world) ?? registrarSays(world, { type: "accept-ownership" });
    const { later: _, ...attempt } = said;
    return { ...attempt, from: world.people.stranger };
  }),
  trespass("ask a gateway to pay", 402, (world) => {
    const house = deployed(world, () => true);
    if (house === undefined) return undefined;
    const { stranger, workers, gatewayOwner } = world.people;
    const from = world.dice.pick([stranger, gatewayOwner, ...workers]);
    const workerOwner = world.dice.pick([from, ...workers]);
    const amount = world.dice.coins(TON);
    const body = gatewayLetter({ type: "payout-request", queryId: queryId(world), amount, workerOwner });
    return toActor(house.gateway, { from, value: simple(world), body });
  }),
  trespass("say what nobody understands", 0xffff, (world) => {
    const actor = anyone(world);
    if (actor === undefined) return undefined;
    const opcode = world.dice.pick([0xdeadbeef, 0x1c0c0003, 0x1c0c0004, 0xd53276db, 0]);
    const body = beginCell().storeUint(opcode, 32).storeUint(0, 64).endCell();
    return toActor(actor, { from: world.people.stranger, value: enough(world, EXTERNAL_MINIMUM), body });
  }),
  {
    ...trespass("say it to the wrong contract", 0xffff, (world) => {
      const found = worker(world, ({ worker: { isDeployed } }) => isDeployed);
      if (found === undefined) return undefined;
      const letter = cashOut(world, found, {});
      const others = [found.house.gateway, ...found.house.clients, world.registry].filter(
        ({ isDeployed }) => isDeployed,
      );
      const actor = world.dice.pick(others.filter(({ isFrozen }) => !isFrozen));
      return { ...letter, to: actor.address, from: found.worker.terms.owner };
    }),
  },
  {
    name: "break off in the middle",
    endsWith: "refused",
    attempt: (world) => {
      const said = world.dice.pick(REGISTRY_OPERATIONS).attempt(world) ?? undefined;
      const found = client(world, ({ isDeployed }) => isDeployed);
      const whole = found && world.dice.chance(0.7) ? countersigned(world, found) : said;
      if (whole === undefined || (whole === said && !world.registry.isDeployed)) return undefined;
      const slice = whole.body.beginParse();
      const kept = 33 + world.dice.whole(slice.remainingBits - 33);
      const { later: _, ...attempt } = whole;
      return { ...attempt, body: beginCell().storeBits(slice.loadBits(kept)).endCell() };
    },
  },
];

function trespass(name: string, endsWith: number, attempt: Operation["attempt"]): Operation {
  return { name, endsWith, attempt };
}

function countersigned(world: World, { house, client: actor }: NonNullable<ReturnType<typeof client>>): Attempt {
  const total = actor.state.charged + TON;
  const body = chargeLetter(world, house, actor, { total, countersigner: paymentKeyOf(world, actor) });
  return toActor(actor, { from: world.people.stranger, value: simple(world) + TON, body });
}

function anyone(world: World): Parameters<typeof toActor>[0] | undefined {
  const found = worker(world, () => true);
  if (found === undefined) return undefined;
  const { gateway, clients, workers } = found.house;
  const there = [gateway, ...clients, ...workers, world.registry].filter(
    ({ isDeployed, isFrozen }) => isDeployed && !isFrozen,
  );
  return there.length === 0 ? undefined : world.dice.pick(there);
}

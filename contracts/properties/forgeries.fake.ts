import type { Cell } from "@ton/core";
import type { RawAddress } from "../../protocol/index.ts";
import { client, hasBalance } from "./client-operations.fake.ts";
import { deployed } from "./gateway-operations.fake.ts";
import {
  cashOutLetter,
  chargeLetter,
  checkpointLetter,
  closeLetter,
  misusedLetter,
  OPCODE,
  type Flaw,
} from "./letters.fake.ts";
import {
  enough,
  external,
  find,
  paymentKeyOf,
  recent,
  simple,
  toActor,
  type Attempt,
  type Operation,
} from "./operations.fake.ts";
import { chargeMinimum, EXTERNAL_MINIMUM, TON } from "./rules.fake.ts";
import { cashOut, worker } from "./worker-operations.fake.ts";
import type { House, World } from "./world.fake.ts";

/** Signed payloads that are not what they seem; by the number of the invariant, (5). */
export const FORGERIES: readonly Operation[] = [
  forgery("bring a forged payload", 403, (world) => ({ signer: world.forger })),
  forgery("bring a payload of another network", 405, ({ dice }) => ({ networkId: dice.pick([-3, 0, 239]) })),
  forgery("bring a payload of another contract", 404, (world) => ({ contract: someoneElse(world) })),
  {
    name: "bring a forged countersignature",
    endsWith: 403,
    attempt: (world) => {
      const found = client(world, (actor) => hasBalance(world, actor));
      if (found === undefined) return undefined;
      const { house, client: actor } = found;
      const total = actor.state.charged + EXTERNAL_MINIMUM;
      const countersigner = world.dice.pick([world.forger, house.signer]);
      return present(world, found.client, chargeLetter(world, house, actor, { total, countersigner }));
    },
  },
  {
    name: "bring a payload signed for another purpose",
    endsWith: 63,
    attempt: (world) => {
      const house = deployed(world, () => true);
      const found = house && find(world, house.clients, ({ isDeployed, isFrozen }) => isDeployed && !isFrozen);
      if (house === undefined || found === undefined) return undefined;
      const closeSeq = found.state.closeSeq;
      const close = closeLetter(world, house, found, { total: TON, closeSeq });
      const charge = chargeLetter(world, house, found, { total: found.state.charged + TON });
      return world.dice.chance(0.5)
        ? present(world, found, misusedLetter(OPCODE.charge, close))
        : { ...present(world, found, misusedLetter(OPCODE.close, charge)), from: found.terms.owner };
    },
  },
  {
    name: "replay a charge",
    endsWith: 406,
    attempt: (world) => {
      const found = client(world, ({ state }) => state.charged > 0n);
      if (found === undefined) return undefined;
      const { house, client: actor } = found;
      const { charged } = actor.state;
      const total = world.dice.pick([charged, charged, charged - 1n, world.dice.coins(charged)]);
      const countersigner = world.dice.chance(0.5) ? paymentKeyOf(world, actor) : undefined;
      return present(world, actor, chargeLetter(world, house, actor, { total, countersigner }));
    },
  },
  {
    name: "replay a cash-out",
    endsWith: 406,
    attempt: (world) => {
      const now = world.referee.chain.now();
      const found = worker(world, ({ worker: { state } }) => state.paid > 0n && state.retryAfter <= now);
      if (found === undefined) return undefined;
      const { paid } = found.worker.state;
      const total = world.dice.pick([paid, paid, paid - 1n, world.dice.coins(paid)]);
      const body = cashOutLetter(world, found.house, found.worker, { total });
      const attempt = { ...cashOut(world, found, {}), body };
      return world.dice.chance(0.3) ? external(world, found.worker, attempt) : attempt;
    },
  },
  {
    name: "replay a checkpoint",
    endsWith: 412,
    attempt: (world) => {
      const house = deployed(world, () => true);
      if (house === undefined) return undefined;
      const { checkpointSeqno } = house.gateway.state;
      const seqno = world.dice.pick([checkpointSeqno, Math.max(0, checkpointSeqno - 1), 0]);
      const body = checkpointLetter(world, house, { seqno });
      return toActor(house.gateway, { from: world.people.stranger, value: simple(world), body });
    },
  },
  {
    name: "replay a close",
    endsWith: 412,
    attempt: (world) => {
      const found = client(world, ({ isDeployed }) => isDeployed);
      if (found === undefined) return undefined;
      const { house, client: actor } = found;
      const closeSeq = actor.state.closeSeq === 0 || world.dice.chance(0.3) ? actor.state.closeSeq + 1 : 0;
      const body = closeLetter(world, house, actor, { total: actor.state.charged, closeSeq });
      return { ...present(world, actor, body), from: actor.terms.owner };
    },
  },
];

/** One of the four kinds of signed payload, with the flaw, brought by whoever may bring it. */
function forgery(name: string, endsWith: number, flawOf: (world: World) => Flaw): Operation {
  return {
    name,
    endsWith,
    attempt: (world) => {
      const house = find(world, recent(world), ({ gateway }) => gateway.isDeployed && !gateway.isFrozen);
      if (house === undefined) return undefined;
      return world.dice.pick([forgedCharge, forgedClose, forgedCashOut, forgedCheckpoint])(world, house, flawOf(world));
    },
  };
}

type Forge = (world: World, house: House, flaw: Flaw) => Attempt | undefined;

const forgedCharge: Forge = (world, house, flaw) => {
  const actor = find(world, house.clients, ({ isDeployed, isFrozen }) => isDeployed && !isFrozen);
  if (actor === undefined) return undefined;
  const total = actor.state.charged + world.dice.coins(TON);
  const countersigner = world.dice.chance(0.5) ? paymentKeyOf(world, actor) : undefined;
  const attempt = present(world, actor, chargeLetter(world, house, actor, { total, countersigner, ...flaw }));
  return world.dice.chance(0.3) ? external(world, actor, attempt) : attempt;
};

const forgedClose: Forge = (world, house, flaw) => {
  const actor = find(world, house.clients, ({ isDeployed, isFrozen }) => isDeployed && !isFrozen);
  if (actor === undefined) return undefined;
  const { charged, closeSeq } = actor.state;
  const body = closeLetter(world, house, actor, { total: charged, closeSeq, ...flaw });
  return { ...present(world, actor, body), from: actor.terms.owner };
};

const forgedCashOut: Forge = (world, house, flaw) => {
  const found = worker(world, (one) => one.house === house);
  if (found === undefined) return undefined;
  const total = found.worker.state.paid + world.dice.coins(TON);
  return { ...cashOut(world, found, {}), body: cashOutLetter(world, house, found.worker, { total, ...flaw }) };
};

const forgedCheckpoint: Forge = (world, house, flaw) => {
  const seqno = house.gateway.state.checkpointSeqno + 1;
  const body = checkpointLetter(world, house, { seqno, ...flaw });
  return toActor(house.gateway, { from: world.people.stranger, value: simple(world), body });
};

function present(world: World, actor: Parameters<typeof toActor>[0], body: Cell): Attempt {
  const value = enough(world, chargeMinimum(world.referee.chain.prices));
  return toActor(actor, { from: world.people.stranger, value, body });
}

/** A contract that is none of the newest houses'. */
function someoneElse({ ruin, dice }: World): RawAddress {
  return dice.pick([ruin.gateway, ...ruin.clients, ...ruin.workers]).address;
}

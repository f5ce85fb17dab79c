import { CODE } from "../code.ts";
import { defaultParams, type RegistryMessage } from "../Registry.ts";
import { toBoc } from "../cells.ts";
import { queryId, registryLetter } from "./letters.fake.ts";
import { enough, find, toActor, type Attempt, type Operation } from "./operations.fake.ts";
import { REGISTRY_MINIMUM, TON } from "./rules.fake.ts";
import { hexNamed, type World } from "./world.fake.ts";

/** A dozen of each thing is enough to have dictionaries with forks. */
const KNOWN = Array.from({ length: 12 }, (_, index) => hexNamed(`thing ${index}`));

/** What the registry's owner does. */
export const REGISTRY_OPERATIONS: readonly Operation[] = [
  edit("list a gateway", (world) => ({
    type: "add-gateway",
    entry: {
      gateway: world.houses.at(-1)?.gateway.address ?? world.people.stranger,
      key: world.forger.publicKey,
      addedAt: world.referee.chain.now(),
      endpoint: `wss://gateway-${"x".repeat(world.dice.whole(150))}.example.org/v1`,
    },
  })),
  edit("take a gateway off the list", (world) => {
    const id = find(world, [...world.registry.state.gateways.keys()], () => true);
    return id === undefined ? undefined : { type: "remove-gateway", id };
  }),
  edit("name a build", ({ dice }) => ({
    type: "set-build",
    measurement: dice.pick(KNOWN),
    entry: { kind: dice.pick(["worker-app", "gateway", "tee-image"] as const), notAfter: dice.whole(2 ** 31) },
  })),
  edit("forget a build", (world) => {
    const measurement = find(world, [...world.registry.state.builds.keys()], () => true);
    return measurement === undefined ? undefined : { type: "remove-build", measurement };
  }),
  edit("name a model", ({ dice }) => ({
    type: "set-model",
    manifestRoot: dice.pick(KNOWN),
    entry: { prompt: dice.coins(TON), cached: dice.coins(TON), completion: 2n ** 120n - dice.coins(TON) },
  })),
  edit("forget a model", (world) => {
    const manifestRoot = find(world, [...world.registry.state.models.keys()], () => true);
    return manifestRoot === undefined ? undefined : { type: "remove-model", manifestRoot };
  }),
  edit("set parameters", ({ dice, referee }) => ({
    type: "set-params",
    params: {
      ...defaultParams(referee.chain.networkId),
      maxFeeBps: dice.whole(1_000),
      minGatewayStake: dice.coins(TON),
    },
  })),
  edit("offer the registry", ({ dice, people }) => ({
    type: "offer-ownership",
    newOwner: dice.pick(people.registrars),
  })),
  {
    name: "take over the registry",
    endsWith: 0,
    urgency: 4,
    attempt: (world) => {
      const { pendingOwner } = world.registry.state;
      if (pendingOwner === undefined) return undefined;
      return { ...registrarSays(world, { type: "accept-ownership" }), from: pendingOwner };
    },
  },
  edit("announce new code for the registry", () => ({ type: "propose-upgrade", code: toBoc(CODE.registry) })),
  {
    name: "use new code for the registry",
    endsWith: 0,
    urgency: 3,
    attempt: (world) => {
      const { upgradeAt } = world.registry.state;
      if (upgradeAt === undefined) return undefined;
      const later = Math.max(0, upgradeAt - world.referee.chain.now());
      return { ...registrarSays(world, { type: "apply-upgrade" }), later };
    },
  },
];

type WithoutQuery<Message> = Message extends unknown ? Omit<Message, "queryId"> : never;
export type Edit = WithoutQuery<RegistryMessage>;

function edit(name: string, message: (world: World) => Edit | undefined): Operation {
  return {
    name,
    endsWith: 0,
    attempt: (world) => {
      const said = message(world);
      return said && registrarSays(world, said);
    },
  };
}

export function registrarSays(world: World, message: Edit): Attempt {
  return toActor(world.registry, {
    from: world.registry.state.owner,
    value: enough(world, REGISTRY_MINIMUM),
    body: registryLetter({ ...message, queryId: queryId(world) }),
  });
}

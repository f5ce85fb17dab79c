import { CLIENT_OPERATIONS, RUIN_OPERATIONS } from "./client-operations.fake.ts";
import { FORGERIES } from "./forgeries.fake.ts";
import { GATEWAY_OPERATIONS } from "./gateway-operations.fake.ts";
import type { Operation } from "./operations.fake.ts";
import { REGISTRY_OPERATIONS } from "./registry-operations.fake.ts";
import { CHANNEL_RESERVE, chargeMinimum } from "./rules.fake.ts";
import type { Tally } from "./tally.fake.ts";
import { TRESPASSES } from "./trespasses.fake.ts";
import { UNTIMELY } from "./untimely.fake.ts";
import { WORKER_OPERATIONS } from "./worker-operations.fake.ts";
import type { World } from "./world.fake.ts";

/** What goes well. */
const GOOD: readonly Operation[] = [
  ...CLIENT_OPERATIONS,
  ...RUIN_OPERATIONS,
  ...WORKER_OPERATIONS,
  ...GATEWAY_OPERATIONS,
  ...REGISTRY_OPERATIONS,
];
/** What is refused. */
const HOSTILE: readonly Operation[] = [...FORGERIES, ...TRESPASSES, ...UNTIMELY];
/** Whatever is attached, nothing is ever half done. */
const CARELESS: readonly Operation[] = [
  careless("cash out with whatever is at hand", WORKER_OPERATIONS),
  careless("do anything with whatever is at hand", GOOD),
];

const SCHEDULE = [
  ...GOOD.map((operation) => ({ operation, share: 1 })),
  ...HOSTILE.map((operation) => ({ operation, share: 1 / 3 })),
  ...CARELESS.map((operation) => ({ operation, share: 2 })),
];

/** What was done less often than wanted comes up more often. */
export function choose({ dice }: World, tally: Tally, wanted: number): Operation {
  const weighted = SCHEDULE.map(({ operation, share }) => {
    const goal = share * wanted * (operation.share ?? 1);
    const missing = Math.max(0, goal - tally.timesOf(operation.name)) / (share * wanted);
    return { operation, weight: (operation.urgency ?? 1) * (0.05 + missing) };
  });
  let left = dice.random() * weighted.reduce((sum, { weight }) => sum + weight, 0);
  for (const { operation, weight } of weighted) {
    left -= weight;
    if (left < 0) return operation;
  }
  return dice.pick(GOOD);
}

/** What was done less often than wanted: the good ones so often, the hostile ones a third of it. */
export function lacking(tally: Tally, wanted: number): readonly string[] {
  return SCHEDULE.filter(({ operation, share }) => tally.timesOf(operation.name) < share * wanted).map(
    ({ operation }) => operation.name,
  );
}

function careless(name: string, operations: readonly Operation[]): Operation {
  return {
    name,
    endsWith: "anyhow",
    attempt: (world) => {
      const attempt = world.dice.pick(operations).attempt(world);
      if (attempt?.from === undefined) return undefined;
      const plenty = 2n * chargeMinimum(world.referee.chain.prices) + CHANNEL_RESERVE;
      return { ...attempt, value: world.dice.coins(plenty) };
    },
  };
}

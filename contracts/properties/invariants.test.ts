import assert from "node:assert/strict";
import { test } from "node:test";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { clientActor, gatewayActor, workerActor, type AnyActor } from "./actors.fake.ts";
import { Invariants } from "./invariants.fake.ts";
import type { Step, Trace } from "./referee.fake.ts";
import { TON } from "./rules.fake.ts";
import type { Sent, Transaction } from "./transactions.fake.ts";

const person = (digit: string): RawAddress => `0:${digit.repeat(64)}`;
const [OPERATOR, PAYER, EARNER, STRANGER] = [person("1"), person("2"), person("3"), person("4")];
const KEY = new Uint8Array(32).fill(7);

const GATEWAY = gatewayActor({
  owner: OPERATOR,
  gatewayKey: KEY,
  registry: OPERATOR,
  instance: 1,
  withdrawDelaySeconds: 60,
  closeDelaySeconds: 60,
});
const CLIENT = clientActor({ owner: PAYER, gateway: GATEWAY.address, gatewayKey: KEY, closeDelaySeconds: 60 });
const WORKER = workerActor({ owner: EARNER, gateway: GATEWAY.address, gatewayKey: KEY });

type GatewayRead = NonNullable<typeof GATEWAY.read>;
type ClientRead = NonNullable<typeof CLIENT.read>;
type WorkerRead = NonNullable<typeof WORKER.read>;

const gateway = (counters: Partial<GatewayRead>): GatewayRead => ({
  status: "open",
  pool: 0n,
  stake: 0n,
  drawn: 0n,
  pending: 0n,
  unlockAt: 0,
  checkpoint: { seqno: 3, stateHash: KEY },
  terms: GATEWAY.terms,
  ...counters,
});
const client = (counters: Partial<ClientRead>): ClientRead => ({
  status: "open",
  balance: 0n,
  charged: 0n,
  acked: 0n,
  creditLimit: 0n,
  closeAt: 0,
  closeSeq: 0,
  paymentKey: KEY,
  terms: CLIENT.terms,
  ...counters,
});
const worker = (paid: Nanoton): WorkerRead => ({ paid, retryAfter: 0, terms: WORKER.terms });

const RESERVE = TON / 50n;
const GATEWAY_RESERVE = TON / 20n;
const HEAD = { queryId: 1n };

type Side = readonly [balance: Nanoton, read?: AnyActor["read"]];

function step(
  actor: AnyActor | undefined,
  incoming: Partial<Transaction["incoming"]>,
  [before, after]: readonly [Side, Side],
  sent: readonly Partial<Sent>[] = [],
  account = actor?.address ?? EARNER,
): Step {
  const from = { from: STRANGER, value: 0n, bounces: true, isBounced: false, body: { type: "empty" } } as const;
  return {
    actor,
    before: { balance: before[0], read: before[1] },
    after: { balance: after[0], read: after[1] },
    transaction: {
      account,
      incoming: { ...from, ...incoming },
      outcome: { type: "done" },
      sent: sent.map((one) => ({
        to: STRANGER,
        value: 0n,
        isBounce: false,
        body: { type: "excesses", ...HEAD },
        mode: 128,
        ...one,
      })),
      rent: 0n,
      debt: 0n,
      importFee: 0n,
      gasFees: 0n,
      burnt: 0n,
      status: "active",
    },
  };
}

/** A life without fees: stake 5, deposit 2, charge 1, cash out 3 (two of them from the stake), close. */
const STAKE = step(
  GATEWAY,
  { value: 5n * TON + GATEWAY_RESERVE, body: { type: "add-stake", ...HEAD, amount: 5n * TON } },
  [[0n], [5n * TON + GATEWAY_RESERVE, gateway({ stake: 5n * TON })]],
);
const DEPOSIT = step(CLIENT, { value: 2n * TON + RESERVE, body: { type: "top-up", ...HEAD, amount: 2n * TON } }, [
  [0n],
  [2n * TON + RESERVE, client({ balance: 2n * TON })],
]);
const CREDIT = { type: "credit", ...HEAD, amount: TON } as const;
const CHARGED = client({ balance: TON, charged: TON, acked: TON });
const CHARGE = step(
  CLIENT,
  {
    body: { type: "charge", ...HEAD, signature: Buffer.of(), payload: undefined as never, clientSignature: undefined },
  },
  [
    [2n * TON + RESERVE, client({ balance: 2n * TON })],
    [TON + RESERVE, CHARGED],
  ],
  [{ to: GATEWAY.address, value: TON, body: CREDIT }],
);
const BOOKED = step(GATEWAY, { from: CLIENT.address, value: TON, body: CREDIT }, [
  [5n * TON + GATEWAY_RESERVE, gateway({ stake: 5n * TON })],
  [6n * TON + GATEWAY_RESERVE, gateway({ pool: TON, stake: 5n * TON })],
]);
const REQUEST = { type: "payout-request", ...HEAD, amount: 3n * TON, workerOwner: EARNER } as const;
const CASH_OUT = step(
  WORKER,
  {
    value: RESERVE,
    body: { type: "cash-out", ...HEAD, limit: 0n, signature: Buffer.of(), payload: undefined as never },
  },
  [[0n], [RESERVE, worker(3n * TON)]],
  [{ to: GATEWAY.address, body: REQUEST }],
);
const PAYOUT = step(
  GATEWAY,
  { from: WORKER.address, body: REQUEST },
  [
    [6n * TON + GATEWAY_RESERVE, gateway({ pool: TON, stake: 5n * TON })],
    [3n * TON + GATEWAY_RESERVE, gateway({ stake: 3n * TON, drawn: 2n * TON })],
  ],
  [{ to: EARNER, value: 3n * TON, body: { type: "payout", ...HEAD } }],
);
const PAID = step(undefined, { value: 3n * TON }, [[0n], [3n * TON]]);
const CLOSE = step(
  CLIENT,
  { body: { type: "finish-close", ...HEAD } },
  [
    [TON + RESERVE, CHARGED],
    [RESERVE, { ...CHARGED, balance: 0n, closeSeq: 1 }],
  ],
  [{ to: PAYER, value: TON, body: { type: "refund", ...HEAD } }],
);
const REFUNDED = step(undefined, { value: TON }, [[0n], [TON]], [], PAYER);

const LIFE = [[STAKE], [DEPOSIT], [CHARGE, BOOKED], [CASH_OUT, PAYOUT, PAID], [CLOSE, REFUNDED]];

function judge(life: readonly (readonly Step[])[]): void {
  const invariants = new Invariants();
  for (const steps of life) {
    const [{ transaction } = STAKE] = steps;
    const { from, value } = transaction.incoming;
    const delivery: Trace["delivery"] = { from, to: transaction.account, value, body: undefined as never };
    invariants.check({ delivery, steps, refusal: undefined });
  }
  invariants.checkSum();
}

/** The life with one step otherwise. */
function withStep(old: Step, other: Step): readonly (readonly Step[])[] {
  return LIFE.map((steps) => steps.map((one) => (one === old ? other : one)));
}

const after = (old: Step, read: AnyActor["read"], balance = old.after.balance): readonly (readonly Step[])[] =>
  withStep(old, { ...old, after: { balance, read } });
const sending = (old: Step, changed: Partial<Sent>): readonly (readonly Step[])[] => {
  const sent = old.transaction.sent.map((one) => ({ ...one, ...changed }));
  return withStep(old, { ...old, transaction: { ...old.transaction, sent } });
};

test("an honest life breaks no invariant", () => {
  judge(LIFE);
});

const VIOLATIONS: readonly (readonly [string, RegExp, readonly (readonly Step[])[]])[] = [
  ["a channel counts more as paid than the gateway lost", /^1: /, after(CASH_OUT, worker(4n * TON))],
  ["a channel counts less as paid", /^1: /, after(CASH_OUT, worker(2n * TON))],
  ["a gateway promises coins it has not", /^2: /, after(PAYOUT, gateway({ stake: 3n * TON, drawn: 2n * TON }), TON)],
  ["a stake leaves no reserve", /^2: /, after(STAKE, gateway({ stake: 5n * TON }), 5n * TON)],
  ["a channel promises coins it has not", /^2: /, after(DEPOSIT, client({ balance: 2n * TON }), TON)],
  ["charged falls", /^3: /, after(CLOSE, { ...CHARGED, charged: 0n, balance: 0n, closeSeq: 1 })],
  ["acked falls", /^3: /, after(CLOSE, { ...CHARGED, acked: 0n, balance: 0n, closeSeq: 1 })],
  [
    "a checkpoint is taken back",
    /^3: /,
    after(BOOKED, gateway({ pool: TON, stake: 5n * TON, checkpoint: { seqno: 2, stateHash: KEY } })),
  ],
  ["a payout goes to a stranger", /^4: /, sending(PAYOUT, { to: STRANGER })],
  ["a refund goes to a stranger", /^4: /, sending(CLOSE, { to: STRANGER })],
  ["a charge goes to a stranger", /^4: /, sending(CHARGE, { to: STRANGER })],
  ["a payout request goes to a stranger", /^4: /, sending(CASH_OUT, { to: STRANGER })],
  ["what was not used goes to another", /^4: /, sending(CHARGE, { to: PAYER, body: { type: "excesses", ...HEAD } })],
  ["a top-up is not booked", /^6: /, after(DEPOSIT, client({ balance: TON }))],
  ["a charge takes more than it counts", /^6: /, after(CHARGE, { ...CHARGED, balance: TON / 2n })],
  ["a close refunds less", /^6: /, sending(CLOSE, { value: TON / 2n })],
  ["a close refunds nothing", /^6: /, withStep(CLOSE, { ...CLOSE, transaction: { ...CLOSE.transaction, sent: [] } })],
  ["a contract is gone", /^7: /, withStep(CLOSE, { ...CLOSE, transaction: { ...CLOSE.transaction, status: "gone" } })],
  ["a contract may be destroyed", /^7: /, sending(CLOSE, { mode: 128 + 32 })],
  ["a stake counts more than was brought", /^[28]: /, after(STAKE, gateway({ stake: 6n * TON }), 7n * TON)],
  ["a credit makes more of a stake that has no hole", /^8: /, after(BOOKED, gateway({ stake: 6n * TON }))],
  ["what a payout took from the stake is forgotten", /^8: /, after(PAYOUT, gateway({ stake: 3n * TON }))],
  ["a payout spares the pool", /^8: /, after(PAYOUT, gateway({ pool: TON, stake: 2n * TON, drawn: 3n * TON }))],
  [
    "a notice covers more than the pool",
    /^8: /,
    after(BOOKED, gateway({ pool: TON, stake: 5n * TON, pending: 2n * TON })),
  ],
  ["coins come from nowhere", /^8: /, withStep(PAID, { ...PAID, after: { balance: 4n * TON, read: undefined } })],
];

for (const [name, number, life] of VIOLATIONS) {
  test(`the invariants see by themselves: ${name}`, () => {
    assert.throws(() => judge(life), { message: number });
  });
}

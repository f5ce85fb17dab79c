import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import type { Body } from "./bodies.fake.ts";
import {
  cashOutMinimum,
  CHANNEL_RESERVE,
  done,
  EXTERNAL_MINIMUM,
  least,
  most,
  refuseUnless,
  unknown,
  verdict,
  type Moment,
  type Verdict,
} from "./rules.fake.ts";
import { genuine } from "./signatures.fake.ts";

export interface WorkerState {
  readonly paid: Nanoton;
  readonly retryAfter: number;
}

/** What the address commits to. */
export interface WorkerTerms {
  readonly owner: RawAddress;
  readonly gateway: RawAddress;
  readonly gatewayKey: bigint;
}

export const NEW_WORKER: WorkerState = { paid: 0n, retryAfter: 0 };

/** The table of WorkerChannel, row by row. */
export function afterWorkerMessage(
  state: WorkerState,
  { owner, gateway, gatewayKey }: WorkerTerms,
  body: Body,
  at: Moment,
): Verdict<WorkerState> {
  return verdict(() => {
    if (body.type === "empty") return done(state, [], { type: "free" });
    if (body.type !== "cash-out") return unknown(body);

    const isExternal = at.sender === undefined;
    const minimum = cashOutMinimum(at.prices);
    if (isExternal) refuseUnless(at.now >= state.retryAfter, 410);
    else refuseUnless(at.value >= minimum + most(CHANNEL_RESERVE - at.own, 0n), 408);
    const { total } = genuine(body, "payout", gatewayKey, at);
    refuseUnless(total > state.paid, 406);
    const promised = total - state.paid;
    if (isExternal) {
      refuseUnless(promised >= EXTERNAL_MINIMUM, 414);
      refuseUnless(at.own >= CHANNEL_RESERVE + minimum, 409);
    }
    const amount = at.sender === owner && body.limit > 0n ? least(promised, body.limit) : promised;
    const request = { type: "payout-request", queryId: body.queryId, amount, workerOwner: owner } as const;
    return done(
      { ...state, paid: state.paid + amount },
      [{ to: gateway, body: request, value: isExternal ? "any" : "rest" }],
      isExternal
        ? { type: "at least", amount: CHANNEL_RESERVE }
        : { type: "exactly", amount: most(at.own, CHANNEL_RESERVE) + at.debt },
    );
  });
}

/** Seconds without an external cash-out after one that bounced. */
const COOL_DOWN = 3_600;

export function afterBouncedRequest(state: WorkerState, body: Body, at: Moment): Verdict<WorkerState> {
  if (body.type !== "payout-request") throw new Error("it sends nothing else");
  return done({ paid: state.paid - body.amount, retryAfter: at.now + COOL_DOWN }, [], { type: "free" });
}

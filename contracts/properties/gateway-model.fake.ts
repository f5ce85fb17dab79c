import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import type { Body } from "./bodies.fake.ts";
import {
  creditGas,
  done,
  excess,
  GATEWAY_RESERVE,
  least,
  most,
  refuseUnless,
  simpleMinimum,
  unknown,
  verdict,
  type Keeps,
  type Moment,
  type Send,
  type Verdict,
} from "./rules.fake.ts";
import { genuine } from "./signatures.fake.ts";

export interface GatewayState {
  readonly status: "open" | "closing" | "closed";
  readonly pool: Nanoton;
  readonly stake: Nanoton;
  readonly drawn: Nanoton;
  readonly pending: Nanoton;
  readonly unlockAt: number;
  readonly checkpointSeqno: number;
  readonly checkpointHash: bigint;
}

/** What the address commits to. */
export interface GatewayTerms {
  readonly owner: RawAddress;
  readonly gatewayKey: bigint;
  readonly withdrawDelay: number;
  readonly closeDelay: number;
  /** The address of an owner's WorkerChannel at this gateway. */
  readonly workerOf: (owner: RawAddress) => RawAddress;
}

export const NEW_GATEWAY: GatewayState = {
  status: "open",
  pool: 0n,
  stake: 0n,
  drawn: 0n,
  pending: 0n,
  unlockAt: 0,
  checkpointSeqno: 0,
  checkpointHash: 0n,
};

/** Seconds in which an announced withdrawal may be completed. */
export const WITHDRAW_WINDOW = 86_400;

/** The chain's code for a message with more coins than there are: everything is as before. */
const NOT_ENOUGH_COINS = 37;

/** The table of Gateway, row by row. */
export function afterGatewayMessage(
  state: GatewayState,
  terms: GatewayTerms,
  body: Body,
  at: Moment,
): Verdict<GatewayState> {
  const byOwner = (): void => refuseUnless(at.sender === terms.owner, 401);
  const simple = simpleMinimum(at.prices);
  const paying = (minimum: Nanoton): void => refuseUnless(at.value >= minimum, 408);
  /** What rent has taken of the reserve, and beyond. */
  const lacking = most(state.pool + state.stake + GATEWAY_RESERVE - at.own, 0n);
  const asItWas: Keeps = { type: "exactly", amount: at.own + at.debt };
  const payOut = (to: RawAddress, queryId: bigint, amount: Nanoton): { sends: Send[]; keeps: Keeps } => ({
    sends: [{ to, body: { type: "payout", queryId }, value: "rest" }],
    keeps: { type: "exactly", amount: at.own + at.debt - amount },
  });
  /** Rent may have taken what a counter promised. */
  const there = (amount: Nanoton): void => refuseUnless(at.own + at.debt >= amount, NOT_ENOUGH_COINS);

  return verdict(() => {
    switch (body.type) {
      case "empty":
        return done(state, [], { type: "free" });
      case "credit": {
        const credited = least(body.amount, most(at.value - creditGas(at.prices) - lacking, 0n));
        const back = least(state.drawn, credited);
        const { pool, stake, drawn } = state;
        const next = { ...state, drawn: drawn - back, stake: stake + back, pool: pool + credited - back };
        return done(next, [], { type: "free" });
      }
      case "payout-request": {
        refuseUnless(at.sender === terms.workerOf(body.workerOwner), 402);
        refuseUnless(body.amount <= state.pool + state.stake, 409);
        const fromStake = most(body.amount - state.pool, 0n);
        const pool = state.pool - (body.amount - fromStake);
        there(body.amount);
        const { sends, keeps } = payOut(body.workerOwner, body.queryId, body.amount);
        const { stake, drawn, pending } = state;
        const next = { pool, stake: stake - fromStake, drawn: drawn + fromStake, pending: least(pending, pool) };
        return done({ ...state, ...next }, sends, keeps);
      }
      case "add-stake": {
        paying(body.amount + simple + lacking);
        refuseUnless(state.status !== "closed", 411);
        const next = { ...state, stake: state.stake + body.amount };
        const amount = next.pool + next.stake + GATEWAY_RESERVE + at.debt;
        return done(next, [excess(at, body.queryId)], { type: "up to", amount });
      }
      case "request-withdraw":
        byOwner();
        paying(simple);
        refuseUnless(state.status === "open", 411);
        return done(
          { ...state, pending: least(body.amount, state.pool), unlockAt: at.now + terms.withdrawDelay },
          [excess(at, body.queryId)],
          asItWas,
        );
      case "complete-withdraw": {
        byOwner();
        refuseUnless(state.status === "open", 411);
        refuseUnless(state.pending > 0n, 416);
        refuseUnless(at.now >= state.unlockAt, 410);
        refuseUnless(at.now <= state.unlockAt + WITHDRAW_WINDOW, 417);
        there(state.pending);
        const { sends, keeps } = payOut(terms.owner, body.queryId, state.pending);
        return done({ ...state, pool: state.pool - state.pending, pending: 0n }, sends, keeps);
      }
      case "gateway-start-close":
        byOwner();
        paying(simple);
        refuseUnless(state.status === "open", 411);
        return done(
          { ...state, status: "closing", pending: 0n, unlockAt: at.now + terms.closeDelay },
          [excess(at, body.queryId)],
          asItWas,
        );
      case "gateway-complete-close": {
        byOwner();
        refuseUnless(state.status !== "open", 411);
        refuseUnless(at.now >= state.unlockAt, 410);
        there(state.pool + state.stake);
        const { sends, keeps } = payOut(terms.owner, body.queryId, state.pool + state.stake);
        return done({ ...state, status: "closed", pool: 0n, stake: 0n, drawn: 0n, pending: 0n }, sends, keeps);
      }
      case "commit-checkpoint": {
        paying(simple);
        const { seqno, stateHash } = genuine(body, "checkpoint", terms.gatewayKey, at);
        refuseUnless(seqno > state.checkpointSeqno, 412);
        const next = { ...state, checkpointSeqno: seqno, checkpointHash: stateHash };
        return done(next, [excess(at, body.queryId)], asItWas);
      }
      default:
        return unknown(body);
    }
  });
}

import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { gasFee } from "../prices.ts";
import type { Body } from "./bodies.fake.ts";
import {
  CHANNEL_RESERVE,
  chargeMinimum,
  creditGas,
  done,
  excess,
  EXTERNAL_MINIMUM,
  least,
  most,
  refuseUnless,
  simpleMinimum,
  unknown,
  verdict,
  type Moment,
  type Send,
  type Verdict,
} from "./rules.fake.ts";
import { genuine, isSigned } from "./signatures.fake.ts";

export interface ClientState {
  readonly isClosing: boolean;
  readonly balance: Nanoton;
  readonly charged: Nanoton;
  readonly acked: Nanoton;
  readonly creditLimit: Nanoton;
  readonly closeAt: number;
  readonly closeSeq: number;
  readonly sessionKey: bigint;
}

/** What the address commits to. */
export interface ClientTerms {
  readonly owner: RawAddress;
  readonly gateway: RawAddress;
  readonly gatewayKey: bigint;
  readonly closeDelay: number;
}

/** Anyone could sign for it. */
const NO_KEY = 0n;

export const NEW_CLIENT: ClientState = {
  isClosing: false,
  balance: 0n,
  charged: 0n,
  acked: 0n,
  creditLimit: 0n,
  closeAt: 0,
  closeSeq: 0,
  sessionKey: NO_KEY,
};

/** The table of ClientChannel, row by row. */
export function afterClientMessage(
  stored: ClientState,
  terms: ClientTerms,
  body: Body,
  at: Moment,
): Verdict<ClientState> {
  // Each message first clips the balance to what is there.
  const state = { ...stored, balance: least(stored.balance, most(at.own, 0n)) };
  const byOwner = (): void => refuseUnless(at.sender === terms.owner, 401);
  const paying = (minimum: Nanoton): void => refuseUnless(at.value >= minimum, 408);
  const simple = simpleMinimum(at.prices);
  const kept = (next: ClientState, queryId: bigint): ReturnType<typeof done<ClientState>> =>
    done(next, [excess(at, queryId)], { type: "up to", amount: next.balance + CHANNEL_RESERVE });
  const closed = (next: ClientState, queryId: bigint, sends: readonly Send[]): ReturnType<typeof done<ClientState>> =>
    done(
      { ...next, balance: 0n, isClosing: false, closeAt: 0, closeSeq: next.closeSeq + 1 },
      [...sends, { to: terms.owner, body: { type: "refund", queryId }, value: "rest" }],
      { type: "up to", amount: CHANNEL_RESERVE },
    );

  return verdict(() => {
    switch (body.type) {
      case "empty":
        return done(stored, [], { type: "free" });
      case "open-channel":
        byOwner();
        paying(body.amount + simple + CHANNEL_RESERVE);
        refuseUnless(!state.isClosing, 411);
        // A channel that a stranger paid into before it was opened has no key yet.
        refuseUnless([body.sessionKey, NO_KEY].includes(state.sessionKey) || state.balance === 0n, 413);
        refuseUnless(state.balance === 0n || body.creditLimit >= state.creditLimit, 413);
        return kept(
          {
            ...state,
            sessionKey: body.sessionKey,
            creditLimit: body.creditLimit,
            balance: state.balance + body.amount,
          },
          body.queryId,
        );
      case "top-up":
        paying(body.amount + simple);
        refuseUnless(!state.isClosing, 411);
        return kept({ ...state, balance: state.balance + body.amount }, body.queryId);
      case "charge": {
        if (at.sender !== undefined) paying(chargeMinimum(at.prices));
        const next = charged(state, terms, body, at);
        const amount = next.charged - state.charged;
        if (at.sender === undefined) {
          refuseUnless(amount >= EXTERNAL_MINIMUM, 414);
          const send = { to: terms.gateway, body: { type: "credit", queryId: body.queryId, amount } } as const;
          return done(next, [{ ...send, value: "any", lessFees: true }], {
            type: "at least",
            amount: at.own - amount,
          });
        }
        const { sends, keeps, type, state: after } = kept(next, body.queryId);
        return { type, state: after, sends: [credit(amount, body.queryId, terms, at), ...sends], keeps };
      }
      case "close-cooperative": {
        paying(chargeMinimum(at.prices));
        byOwner();
        const payload = genuine(body, "close", terms.gatewayKey, at);
        refuseUnless(payload.closeSeq === state.closeSeq, 412);
        const amount = least(most(payload.total - state.charged, 0n), state.balance);
        const total = state.charged + amount;
        const sends = amount > 0n ? [credit(amount, body.queryId, terms, at)] : [];
        return closed({ ...state, charged: total, acked: most(state.acked, total) }, body.queryId, sends);
      }
      case "start-close":
        byOwner();
        paying(simple);
        refuseUnless(!state.isClosing, 411);
        return kept({ ...state, isClosing: true, closeAt: at.now + terms.closeDelay }, body.queryId);
      case "finish-close":
        refuseUnless(state.isClosing, 411);
        refuseUnless(at.now >= state.closeAt, 410);
        paying(simple);
        return closed(state, body.queryId, []);
      case "set-credit-limit":
        byOwner();
        paying(simple);
        refuseUnless(state.balance === 0n || body.creditLimit >= state.creditLimit, 413);
        return kept({ ...state, creditLimit: body.creditLimit }, body.queryId);
      default:
        return unknown(body);
    }
  });
}

/** A credit that the gateway could not take: the coins are the client's again. */
export function afterBouncedCredit(state: ClientState, at: Moment): Verdict<ClientState> {
  const back = most(at.value - gasFee(at.prices, 5_000n), 0n);
  return done({ ...state, balance: state.balance + back }, [], { type: "free" });
}

function charged(
  state: ClientState,
  terms: ClientTerms,
  body: Extract<Body, { type: "charge" }>,
  at: Moment,
): ClientState {
  const { total } = genuine(body, "charge", terms.gatewayKey, at);
  refuseUnless(total > state.charged, 406);
  const { clientSignature } = body;
  const isCountersigned = clientSignature !== undefined;
  if (isCountersigned) refuseUnless(state.sessionKey !== NO_KEY, 403);
  if (isCountersigned) refuseUnless(isSigned(body.payload, clientSignature, state.sessionKey), 403);
  else refuseUnless(total <= state.acked + state.creditLimit, 407);
  const amount = least(total - state.charged, state.balance);
  refuseUnless(amount > 0n, 409);
  return {
    ...state,
    acked: isCountersigned ? most(state.acked, total) : state.acked,
    charged: state.charged + amount,
    balance: state.balance - amount,
  };
}

function credit(amount: Nanoton, queryId: bigint, { gateway }: ClientTerms, { prices }: Moment): Send {
  return { to: gateway, body: { type: "credit", queryId, amount }, value: amount + creditGas(prices) };
}

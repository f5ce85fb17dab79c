/**
 * What the models of the contracts are written in. They follow the specification and not the Tolk beside them: a model and
 * a contract that agree on thousands of random messages were understood twice.
 */
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { forwardFee, gasFee, type Prices } from "../prices.ts";
import type { Body } from "./bodies.fake.ts";

/** What one message meets: all that a contract may know of the world. */
export interface Moment {
  readonly self: RawAddress;
  /** Undefined for nobody: an external message. */
  readonly sender: RawAddress | undefined;
  /** What came with the message. */
  readonly value: Nanoton;
  /** What the contract had before it, after rent and less what it still owes: it may be less than nothing. */
  readonly own: Nanoton;
  /** Rent that it still owes, and that is taken from the next coins without a bounce flag. */
  readonly debt: Nanoton;
  /** Unix seconds. */
  readonly now: number;
  readonly networkId: number;
  readonly prices: Prices;
}

export interface Send {
  readonly to: RawAddress;
  readonly body: Body;
  /** `rest` is all that is left; `any` is the contract's own affair. */
  readonly value: Nanoton | "rest" | "any";
  /** A send that is dropped when nothing is left for it. */
  readonly isOptional?: true;
  /** What the message carries is the body's amount less the fees, which only the contract knows. */
  readonly lessFees?: true;
}

/** How much a contract has afterwards. `free` is what the rest of the coins' law leaves it. */
export type Keeps =
  { readonly type: "exactly" | "at least" | "up to"; readonly amount: Nanoton } | { readonly type: "free" };

export type Verdict<State> =
  | { readonly type: "refused"; readonly code: number }
  | { readonly type: "done"; readonly state: State; readonly sends: readonly Send[]; readonly keeps: Keeps };

/** A refusal, thrown by a rule where it is met so that the rules read in the order of the specification. */
export class Refusal extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit code ${code}`);
    this.code = code;
  }
}

/** The code of a refusal that TVM words: any but 0. */
export const ANY_CODE = -1;

/** @throws {Refusal} always: nobody here understands this. */
export function unknown(body: Body): never {
  throw new Refusal(body.type === "malformed" ? ANY_CODE : 0xffff);
}

export function refuseUnless(holds: boolean, code: number): asserts holds {
  if (!holds) throw new Refusal(code);
}

/** The verdict of rules that throw a {@link Refusal}. */
export function verdict<State>(rules: () => Extract<Verdict<State>, { type: "done" }>): Verdict<State> {
  try {
    return rules();
  } catch (error) {
    if (error instanceof Refusal) return { type: "refused", code: error.code };
    throw error;
  }
}

export function done<State>(
  state: State,
  sends: readonly Send[],
  keeps: Keeps,
): Extract<Verdict<State>, { type: "done" }> {
  return { type: "done", state, sends, keeps };
}

export const TON = 1_000_000_000n;
export const CHANNEL_RESERVE = TON / 50n;
export const GATEWAY_RESERVE = TON / 20n;
export const REGISTRY_RESERVE = TON / 10n;
export const REGISTRY_MINIMUM = TON / 50n;
export const EXTERNAL_MINIMUM = TON / 10n;

/** min(g, n) of the specification. */
function minimum(prices: Prices, gas: bigint, messages: bigint): Nanoton {
  return gasFee(prices, gas) + messages * forwardFee(prices, 2_000n, 3n);
}

export const cashOutMinimum = (prices: Prices): Nanoton => minimum(prices, 18_000n, 4n);
export const chargeMinimum = (prices: Prices): Nanoton => minimum(prices, 16_000n, 4n);
export const simpleMinimum = (prices: Prices): Nanoton => minimum(prices, 9_000n, 2n);
export const creditGas = (prices: Prices): Nanoton => gasFee(prices, 4_000n);

export const least = (a: Nanoton, b: Nanoton): Nanoton => (a < b ? a : b);
export const most = (a: Nanoton, b: Nanoton): Nanoton => (a > b ? a : b);

/** What was not used goes back to who sent the message. */
export function excess(at: Moment, queryId: bigint, isOptional = true): Send {
  if (at.sender === undefined) throw new RangeError("nobody sent it");
  const send = { to: at.sender, body: { type: "excesses", queryId }, value: "rest" } as const;
  return isOptional ? { ...send, isOptional } : send;
}

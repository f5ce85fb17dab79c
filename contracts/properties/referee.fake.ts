import assert from "node:assert/strict";
import { EmulationError } from "@ton/sandbox";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { forwardFee, gasFee, type Prices } from "../prices.ts";
import type { AnyActor } from "./actors.fake.ts";
import { readBody, type Body } from "./bodies.fake.ts";
import type { Chain, Delivery } from "./chain.fake.ts";
import { ANY_CODE, least, simpleMinimum, type Moment, type Send, type Verdict } from "./rules.fake.ts";
import type { Sent, Transaction } from "./transactions.fake.ts";

/** One transaction with what the twin read before and after; undefined of a person. */
export interface Step {
  readonly transaction: Transaction;
  readonly actor: AnyActor | undefined;
  readonly before: Seen;
  readonly after: Seen;
}

export interface Seen {
  readonly balance: Nanoton;
  readonly read: AnyActor["read"];
}

/** What one message led to, contract by contract. */
export interface Trace {
  readonly delivery: Delivery;
  readonly steps: readonly Step[];
  /** The code with which an external message was refused, which leaves no transaction. */
  readonly refusal: number | undefined;
}

/** Above it the chain freezes an account. */
const FREEZING_DEBT = 100_000_000n;

/** Plays messages on a chain, and asserts of every transaction that it did what the model says, to the nanoton. */
export class Referee {
  readonly chain: Chain;
  readonly actors = new Map<RawAddress, AnyActor>();
  /** As of each account's last transaction. */
  readonly balances = new Map<RawAddress, Nanoton>();
  /** Rent that a contract could not pay, which its next message will. */
  readonly debts = new Map<RawAddress, Nanoton>();

  constructor(chain: Chain) {
    this.chain = chain;
  }

  async play(delivery: Delivery): Promise<Trace> {
    const steps: Step[] = [];
    try {
      for await (const transaction of this.chain.deliver(delivery)) {
        const { account } = transaction;
        const actor = this.actors.get(account);
        const before: Seen = { balance: this.balances.get(account) ?? 0n, read: actor?.read };
        await this.#check(transaction, steps.length > 0);
        steps.push({
          transaction,
          actor,
          before,
          after: { balance: this.balances.get(account) ?? 0n, read: actor?.read },
        });
      }
      return { delivery, steps, refusal: undefined };
    } catch (error) {
      if (!(error instanceof EmulationError) || error.exitCode === undefined) throw error;
      await this.#checkRefusal(delivery, error.exitCode);
      return { delivery, steps, refusal: error.exitCode };
    }
  }

  async #checkRefusal({ from, to, body }: Delivery, code: number): Promise<void> {
    assert.equal(from, undefined, "only an external message leaves no transaction");
    const own = (this.balances.get(to) ?? 0n) - (await this.chain.rentOf(to));
    const moment = this.#moment({ self: to, sender: from, value: 0n, own, debt: 0n });
    const verdict = this.actors.get(to)?.predict(readBody(body), moment, false);
    assert.ok(verdict?.type === "refused", `refused with ${code}, which the model would have done`);
    if (verdict.code !== ANY_CODE) assert.equal(code, verdict.code, "exit code of an external message");
  }

  async #check(transaction: Transaction, isFollowUp: boolean): Promise<void> {
    const { account, incoming, sent, burnt, rent, outcome } = transaction;
    const before = this.balances.get(account) ?? 0n;
    const after = await this.chain.balanceOf(account);
    const gone = sent.reduce((sum, { value }) => sum + value, 0n);
    assert.equal(after, before + incoming.value - burnt - gone, "coins of an account: what came, less what left");
    this.balances.set(account, after);

    const actor = this.actors.get(account);
    if (actor === undefined) {
      assert.equal(sent.length, 0, "a person sent something on");
      return;
    }
    const own = before - rent - transaction.importFee;
    const { debt } = transaction;
    const moment = this.#moment({ self: account, sender: incoming.from, value: incoming.value, own: own - debt, debt });
    this.debts.set(account, debt);
    if (transaction.status === "frozen") {
      assert.ok(debt > FREEZING_DEBT, "frozen for nothing");
      actor.isFrozen = true;
    }
    if (outcome.type === "no-contract" || actor.isFrozen) {
      assert.equal(actor.isDeployed, actor.isFrozen, "a contract is gone");
      assertNothingKept(transaction, { before: own, after });
      return;
    }
    const verdict = actor.predict(incoming.body, moment, incoming.isBounced);
    // Below its minimum a message may end anywhere, but never half done.
    const isPaid = isFollowUp ? !isDust(incoming, this.chain.prices) : this.#isPaidFor(incoming, own);
    const isCutShort = outcome.type === "out-of-gas" || (outcome.type === "refused" && outcome.code < 100);
    const isBroke = verdict.type === "done" && this.#isBroke(verdict, transaction, own);
    if (isCutShort && (!isPaid || isBroke)) {
      assertNothingKept(transaction, { before: own, after });
    } else if (verdict.type === "refused") {
      assert.equal(outcome.type, "refused", `${incoming.body.type} was not refused with ${verdict.code}`);
      if (verdict.code !== ANY_CODE) assert.deepEqual(outcome, { type: "refused", code: verdict.code });
      assertNothingKept(transaction, { before: own, after });
    } else {
      assert.deepEqual(outcome, { type: "done" }, `${incoming.body.type} is taken`);
      this.#checkSends(verdict.sends, transaction);
      this.#checkKept(verdict, { after, isRestSent: sent.length === verdict.sends.length });
      actor.adopt();
    }
    // Code that ran is there even when it refused its first message, but not when the gas for it was missing.
    if (actor.isDeployed || outcome.type === "done") assert.equal(transaction.status, "active", "a contract is gone");
    if (transaction.status === "active") await actor.compare(this.chain);
  }

  #checkSends(expected: readonly Send[], { sent, rent, burnt }: Transaction): void {
    const isMissing = sent.length < expected.length;
    if (isMissing) assert.ok(expected.at(-1)?.isOptional, "a message is missing");
    assert.equal(sent.length, isMissing ? expected.length - 1 : expected.length, "messages sent");
    for (const [index, message] of sent.entries()) {
      const send = expected[index];
      assert.ok(send !== undefined && !message.isBounce);
      assert.equal(message.to, send.to, `where ${send.body.type} goes`);
      if (send.lessFees) this.#checkLessFees(send, message, burnt - rent);
      else assert.deepEqual(message.body, send.body);
      if (typeof send.value === "bigint") assert.equal(message.value, send.value, `coins of ${send.body.type}`);
    }
  }

  /** What a contract takes out of an amount for its fees covers them and is not much more. */
  #checkLessFees(send: Send, message: Sent, fees: Nanoton): void {
    const amount = amountIn(send.body);
    const kept = amount - message.value;
    assert.deepEqual({ ...message.body, amount }, send.body);
    assert.ok(amountIn(message.body) <= amount, "a fee below nothing");
    assert.ok(kept >= fees, `${kept} taken for fees of ${fees}`);
    assert.ok(
      kept <= gasFee(this.chain.prices, 14_000n) + forwardFee(this.chain.prices, 3_000n, 4n),
      `${kept} for fees`,
    );
  }

  /** Whether a message brings what any contract needs to end it, one way or the other, after rent that was owed. */
  #isPaidFor({ from, value }: Transaction["incoming"], own: Nanoton): boolean {
    return from === undefined || value + least(own, 0n) >= simpleMinimum(this.chain.prices);
  }

  /** Whether less is left than what must be sent with it costs, so that all of a message is undone. */
  #isBroke(
    { sends, keeps }: Extract<Verdict<unknown>, { type: "done" }>,
    { incoming, gasFees, outcome }: Transaction,
    own: Nanoton,
  ): boolean {
    if (outcome.type !== "refused" || keeps.type !== "up to" || sends.at(-1)?.isOptional) return false;
    const given = sends.reduce((sum, { value }) => sum + (typeof value === "bigint" ? value : 0n), 0n);
    const left = own + incoming.value - gasFees - given - keeps.amount;
    return left <= BigInt(sends.length) * forwardFee(this.chain.prices, 2_000n, 3n);
  }

  #checkKept(
    { keeps }: Extract<Verdict<unknown>, { type: "done" }>,
    { after, isRestSent }: { readonly after: Nanoton; readonly isRestSent: boolean },
  ): void {
    if (keeps.type === "free") return;
    const over = after - keeps.amount;
    if (keeps.type === "at least") assert.ok(over >= 0n, `keeps ${over} more than it may`);
    else if (isRestSent) assert.equal(over, 0n, "nanoton kept above what the model says");
    // Too little above it to send back.
    else assert.ok(over <= forwardFee(this.chain.prices, 2_000n, 3n), `keeps ${over} and sends nothing back`);
  }

  #moment(at: Pick<Moment, "self" | "sender" | "value" | "own" | "debt">): Moment {
    const { prices, networkId } = this.chain;
    return { ...at, prices, networkId, now: this.chain.now() };
  }
}

/** A refused message leaves a contract's own coins as they were; what did not go back stays. */
function assertNothingKept(
  { incoming, sent, burnt, rent }: Transaction,
  { before, after }: { readonly before: Nanoton; readonly after: Nanoton },
): void {
  const [bounce, ...more] = sent;
  assert.equal(more.length, 0, "a refused message sends nothing but itself back");
  if (bounce === undefined) {
    assert.equal(after, before + incoming.value - (burnt - rent));
    return;
  }
  assert.ok(bounce.isBounce && incoming.bounces);
  assert.equal(bounce.to, incoming.from, "a bounce goes to the sender");
  assert.equal(after, before, "a refused message costs the contract nothing");
}

/** A bounced credit too small for the gas to book it, which takes all of it. */
function isDust({ isBounced, body, value }: Transaction["incoming"], prices: Prices): boolean {
  return isBounced && body.type === "credit" && value < gasFee(prices, 5_000n);
}

function amountIn(body: Body): Nanoton {
  assert.ok("amount" in body, `${body.type} has no amount`);
  return body.amount;
}

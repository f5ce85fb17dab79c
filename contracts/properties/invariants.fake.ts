import assert from "node:assert/strict";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import type { AnyActor, ClientActor, GatewayActor, WorkerActor } from "./actors.fake.ts";
import { CHANNEL_RESERVE, GATEWAY_RESERVE, least, most } from "./rules.fake.ts";
import type { Step, Trace } from "./referee.fake.ts";
import type { Transaction } from "./transactions.fake.ts";

/** SendMode 32: destroy the contract when nothing is left. A channel that came back new would take old vouchers. */
const DESTROY = 32;

/**
 * The invariants of the contract family (TON §2), from what is on the chain alone: no model is asked. They are numbered as
 * there; (5), that hostile messages are refused, is in the codes that each such message must end with.
 */
export class Invariants {
  /** All that was ever staked for a gateway, until it closes. */
  readonly #staked = new Map<RawAddress, Nanoton>();
  /** Deposits less charges, and less the rent that the reserve did not cover. */
  readonly #deposited = new Map<RawAddress, Nanoton>();
  /** What came from outside, less what validators took. */
  #coins = 0n;
  readonly #balances = new Map<RawAddress, Nanoton>();

  /** Rent since a gateway last had its whole reserve. */
  readonly #rents = new Map<RawAddress, Nanoton>();

  check({ delivery, steps, refusal }: Trace): void {
    if (refusal === undefined && delivery.from !== undefined) this.#coins += delivery.value;
    for (const step of steps) this.#checkStep(step);
    this.#checkPayouts(steps);
  }

  /** (8) All balances together are what came less what validators took. */
  checkSum(): void {
    const sum = [...this.#balances.values()].reduce((total, balance) => total + balance, 0n);
    assert.equal(sum, this.#coins, "8: coins were made or lost");
  }

  #checkStep(step: Step): void {
    const { transaction, actor } = step;
    this.#coins -= transaction.burnt;
    this.#balances.set(transaction.account, step.after.balance);
    if (actor === undefined) return;
    if (step.before.read !== undefined) assert.notEqual(transaction.status, "gone", "7: a contract was destroyed");
    for (const { mode = 0 } of transaction.sent) assert.equal(mode & DESTROY, 0, "7: a contract may be destroyed");
    checkDestinations(actor, transaction);
    if (step.after.read === undefined) return;
    if (actor.kind === "client") this.#checkClient(actor, step);
    if (actor.kind === "gateway") this.#checkGateway(actor, step);
    if (actor.kind === "worker") checkWorker(step);
    if (actor.kind === "registry") checkRegistry(step);
  }

  #checkGateway(actor: GatewayActor, step: Step): void {
    const { transaction } = step;
    const before = readOf(step.before, "gateway") ?? EMPTY_GATEWAY;
    const after = present(readOf(step.after, "gateway"));
    const order = ["open", "closing", "closed"];
    assert.ok(order.indexOf(after.status) >= order.indexOf(before.status), "3: a closed gateway opens");
    assert.ok(after.checkpoint.seqno >= before.checkpoint.seqno, "3: a checkpoint is taken back");
    assert.ok(after.pool === 0n || after.drawn === 0n, "8: a pool while the stake has a hole");
    assert.ok(after.pending <= after.pool, "8: a notice over more than the pool");

    const body = executed(transaction);
    const staked = this.#staked.get(actor.address) ?? 0n;
    const moved = {
      pool: after.pool - before.pool,
      stake: after.stake - before.stake,
      drawn: after.drawn - before.drawn,
    };
    this.#checkReserve(actor, step, after);
    switch (body?.type) {
      case "credit": {
        const credited = moved.pool + moved.stake;
        assert.ok(credited >= 0n && credited <= least(body.amount, transaction.incoming.value), "8: more than came");
        const refilled = least(before.drawn, credited);
        assert.deepEqual(moved, { pool: credited - refilled, stake: refilled, drawn: -refilled }, "8: a credit");
        break;
      }
      case "payout-request": {
        const fromPool = least(body.amount, before.pool);
        const fromStake = body.amount - fromPool;
        assert.deepEqual(moved, { pool: -fromPool, stake: -fromStake, drawn: fromStake }, "8: a payout");
        assert.equal(after.pending, least(before.pending, after.pool), "8: a payout leaves a notice over it");
        break;
      }
      case "add-stake":
        assert.deepEqual(moved, { pool: 0n, stake: body.amount, drawn: 0n }, "8: a stake");
        assert.ok(
          step.after.balance - transaction.debt >= after.pool + after.stake + GATEWAY_RESERVE,
          "2: a stake without a reserve",
        );
        this.#staked.set(actor.address, staked + body.amount);
        break;
      case "complete-withdraw":
        assert.deepEqual(moved, { pool: -before.pending, stake: 0n, drawn: 0n }, "8: a withdrawal");
        break;
      case "gateway-complete-close":
        assert.deepEqual(
          moved,
          { pool: -before.pool, stake: -before.stake, drawn: -before.drawn },
          "8: a close leaves something",
        );
        this.#staked.set(actor.address, 0n);
        break;
      default:
        assert.deepEqual(moved, { pool: 0n, stake: 0n, drawn: 0n }, `8: ${transaction.incoming.body.type}`);
    }
    assert.equal(after.stake + after.drawn, this.#staked.get(actor.address) ?? 0n, "8: stake + drawn = all AddStake");
  }

  /** (2) A gateway has what it promises, and its reserve beside, or what rent has left of the reserve. */
  #checkReserve(
    { address }: GatewayActor,
    { after: { balance }, transaction }: Step,
    counters: { readonly pool: Nanoton; readonly stake: Nanoton },
  ): void {
    const surplus = balance - transaction.debt - counters.pool - counters.stake;
    const rent =
      surplus >= GATEWAY_RESERVE ? 0n : (this.#rents.get(address) ?? 0n) + transaction.rent + transaction.debt;
    const isPromised = counters.pool + counters.stake > 0n;
    if (isPromised) assert.ok(surplus >= GATEWAY_RESERVE - rent, "2: a gateway promises what it has not");
    this.#rents.set(address, rent);
  }

  #checkClient(actor: ClientActor, step: Step): void {
    const { transaction } = step;
    const before = readOf(step.before, "client") ?? EMPTY_CLIENT;
    const after = present(readOf(step.after, "client"));
    for (const counter of ["charged", "acked", "closeSeq"] as const) {
      assert.ok(after[counter] >= before[counter], `3: ${counter} falls`);
    }
    if (transaction.outcome.type === "done" && transaction.incoming.body.type !== "empty") {
      assert.ok(step.after.balance >= after.balance, "2: a channel promises what it has not");
    }
    const body = transaction.incoming.isBounced ? undefined : executed(transaction);
    if (transaction.incoming.isBounced) {
      const back =
        after.balance - least(before.balance, step.before.balance - transaction.rent - transaction.importFee);
      assert.ok(back >= 0n && back <= transaction.incoming.value, "6: a bounced credit");
      this.#deposited.set(actor.address, after.balance);
      return;
    }
    if (body === undefined || body.type === "empty") {
      if (step.before.read !== undefined) assert.deepEqual(after, before, "6: a refused message changes a channel");
      return;
    }
    const own = most(step.before.balance - transaction.rent - transaction.importFee, 0n);
    const settled = least(before.balance, own);
    let deposited = (this.#deposited.get(actor.address) ?? 0n) - (before.balance - settled);
    assert.equal(deposited, settled, "6: balance = deposits - charges, less rent that the reserve did not cover");
    if (body.type === "open-channel" || body.type === "top-up") deposited += body.amount;
    deposited -= after.charged - before.charged;
    assert.ok(deposited >= 0n, "6: charged more than was there");
    if (body.type === "finish-close" || body.type === "close-cooperative") {
      const refund = transaction.sent.find((sent) => sent.body.type === "refund");
      const missing = most(CHANNEL_RESERVE - (own - settled), 0n);
      assert.ok(refund !== undefined && refund.value >= deposited - missing, "6: a closed channel refunds its balance");
      assert.equal(after.closeSeq, before.closeSeq + 1);
      deposited = 0n;
    }
    assert.equal(after.balance, deposited, "6: balance = deposits - charges");
    this.#deposited.set(actor.address, deposited);
  }

  /** (1) `paid` grows by what the gateway's pool and stake lost over the whole trace, and by nothing else. */
  #checkPayouts(steps: readonly Step[]): void {
    const claimed = new Map<RawAddress, Nanoton>();
    const add = (gateway: RawAddress, amount: Nanoton): void =>
      void claimed.set(gateway, (claimed.get(gateway) ?? 0n) + amount);
    for (const step of steps) {
      if (step.actor?.kind === "worker" && step.after.read !== undefined) {
        const before = readOf(step.before, "worker")?.paid ?? 0n;
        add(step.actor.terms.gateway, present(readOf(step.after, "worker")).paid - before);
      }
      if (step.actor?.kind === "gateway" && executed(step.transaction)?.type === "payout-request") {
        const [before, after] = [present(readOf(step.before, "gateway")), present(readOf(step.after, "gateway"))];
        add(step.actor.address, after.pool + after.stake - before.pool - before.stake);
      }
    }
    for (const sum of claimed.values()) assert.equal(sum, 0n, "1: paid grows by what the gateway lost");
  }
}

/** (3) A worker's total falls only by what a bounce gives back. */
function checkWorker(step: Step): void {
  const before = readOf(step.before, "worker")?.paid ?? 0n;
  const { paid } = present(readOf(step.after, "worker"));
  const { isBounced, body } = step.transaction.incoming;
  if (isBounced && body.type === "payout-request")
    assert.equal(paid, before - body.amount, "1: a bounce gives back all");
  else assert.ok(paid >= before, "3: paid falls");
}

function checkRegistry(step: Step): void {
  const before = readOf(step.before, "registry");
  const after = present(readOf(step.after, "registry"));
  if (before === undefined) return;
  const isSame = step.transaction.outcome.type !== "done" || step.transaction.incoming.body.type === "empty";
  if (isSame) assert.deepEqual(after, before);
  else assert.equal(after.version, before.version + 1, "3: a change without a new version");
}

/** (4) Coins go to whom they are due: by the address alone, whoever asks. */
function checkDestinations(actor: AnyActor, { incoming, sent }: Transaction): void {
  for (const { to, body, isBounce } of sent) {
    if (isBounce || (body.type === "excesses" && actor.kind !== "worker")) {
      assert.equal(to, incoming.from, "4: what was not used goes to the sender");
    } else if (actor.kind === "worker") {
      assert.equal(body.type, "payout-request");
      assert.equal(to, actor.terms.gateway, "4: a request goes to the gateway");
    } else if (actor.kind === "client") {
      assert.ok(body.type === "credit" || body.type === "refund", "4: a channel pays out otherwise");
      assert.equal(to, body.type === "credit" ? actor.terms.gateway : actor.terms.owner, `4: a ${body.type}`);
    } else if (actor.kind === "gateway") {
      assert.equal(body.type, "payout");
      const isRequest = incoming.body.type === "payout-request";
      if (!isRequest) assert.equal(incoming.from, actor.terms.owner, "4: only its owner takes coins out of a gateway");
      assert.equal(to, isRequest ? incoming.body.workerOwner : actor.terms.owner, "4: a payout");
    } else assert.fail("4: a registry pays nobody");
  }
}

/** What a message made a contract do; undefined when it was not taken. */
function executed({ outcome, incoming }: Transaction): Transaction["incoming"]["body"] | undefined {
  return outcome.type === "done" ? incoming.body : undefined;
}

const EMPTY_GATEWAY = {
  status: "open",
  pool: 0n,
  stake: 0n,
  drawn: 0n,
  pending: 0n,
  checkpoint: { seqno: 0 },
} as const;
const EMPTY_CLIENT = { balance: 0n, charged: 0n, acked: 0n, closeSeq: 0 } as const;

interface Reads {
  readonly client: NonNullable<ClientActor["read"]>;
  readonly gateway: NonNullable<GatewayActor["read"]>;
  readonly worker: NonNullable<WorkerActor["read"]>;
  readonly registry: NonNullable<Extract<AnyActor, { kind: "registry" }>["read"]>;
}

/** The kind is the actor's: the step is of one. */
function readOf<Kind extends keyof Reads>(seen: Step["before"], _kind: Kind): Reads[Kind] | undefined {
  return seen.read as Reads[Kind] | undefined;
}

function present<Value>(value: Value | undefined): Value {
  assert.ok(value !== undefined);
  return value;
}

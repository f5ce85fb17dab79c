import assert from "node:assert/strict";
import test from "node:test";
import { beginCell, Cell, external, internal, storeMessage, storeMessageRelaxed } from "@ton/core";
import { Address } from "@ton/core";
import {
  encodeWorkerChannelMessage,
  parseWorkerChannelMessage,
  workerChannelOf,
} from "../../contracts/WorkerChannel.ts";
import { EMPTY_CHAIN, keyPairFromSeed, payloadHash, type Nanoton, type PayoutVoucher } from "../../protocol/index.ts";
import { acceptedMessageHash, planWithdrawal, type Claim, type WithdrawalRequest } from "./withdrawal.ts";

const TON = 1_000_000_000n;
const OWNER = `0:${"11".repeat(32)}`;
const FORMER = `0:${"22".repeat(32)}`;
const key = keyPairFromSeed(new Uint8Array(32).fill(7));

interface ClaimFacts extends Partial<Omit<Claim, "terms">> {
  readonly owner?: string;
  /** Two hex digits. */
  readonly gateway?: string;
  readonly total?: Nanoton;
}

function claim({ owner = OWNER, gateway = "aa", total = 3n * TON, ...others }: ClaimFacts = {}): Claim {
  const terms = { owner, gateway: `0:${gateway.repeat(32)}`, gatewayKey: key.publicKey };
  const channel = workerChannelOf(terms).address;
  const voucher: PayoutVoucher = { type: "payout", networkId: -239, channel, total, receipt: EMPTY_CHAIN };
  const signature = key.sign(payloadHash(voucher));
  return { terms, voucher, signature, paid: 0n, isDeployed: true, cover: 1_000n * TON, ...others };
}

function plan(claims: readonly Claim[], overrides: Partial<WithdrawalRequest> = {}) {
  return planWithdrawal({ claims, amount: "all", from: OWNER, maxMessages: 255, queryId: 100n, ...overrides });
}

/** What each message asks its channel for; 0 for everything. */
function limits(messages: ReturnType<typeof plan>["messages"]): readonly Nanoton[] {
  return messages.map(({ payload }) => parsed(payload).limit);
}

function parsed(payload: string) {
  return parseWorkerChannelMessage(new Uint8Array(Buffer.from(payload, "base64"))) ?? assert.fail();
}

test("a claim is asked for with its voucher, as the contract's twin writes it", () => {
  const wanted = claim({ isDeployed: false, paid: 0n });
  const { messages, channels, nanoton } = plan([wanted]);
  const { voucher, signature, terms } = wanted;
  const body = { type: "cash-out", queryId: 100n, limit: 0n, gatewaySignature: signature, voucher } as const;
  const deployment = workerChannelOf(terms);
  assert.deepEqual(messages, [
    {
      address: Address.parseRaw(deployment.address).toString(),
      amount: "70000000",
      payload: Buffer.from(encodeWorkerChannelMessage(body)).toString("base64"),
      stateInit: Buffer.from(deployment.stateInit).toString("base64"),
    },
  ]);
  assert.deepEqual([channels, nanoton], [[deployment.address], 3n * TON]);
});

test("a channel that is there is sent 0.05 TON and no state init", () => {
  const [message] = plan([claim({ paid: TON })]).messages;
  assert.deepEqual([message?.amount, message?.stateInit], ["50000000", undefined]);
});

test("each message of a transaction has a query id of its own", () => {
  const { messages } = plan([claim({ gateway: "aa" }), claim({ gateway: "bb" })]);
  assert.deepEqual(
    messages.map(({ payload }) => parsed(payload).queryId),
    [100n, 101n],
  );
});

test("the largest claims come first, and no more than a wallet takes", () => {
  const claims = ["aa", "bb", "cc", "dd", "ee", "ff"].map((gateway, at) =>
    claim({ gateway, total: BigInt(at + 1) * TON }),
  );
  const addresses = claims.map(({ voucher }) => voucher.channel);
  assert.deepEqual(plan(claims).channels, [addresses[5], addresses[4], addresses[3], addresses[2]]);
  assert.deepEqual(plan(claims, { maxMessages: 1 }).channels, [addresses[5]]);
  assert.equal(plan(claims).nanoton, 18n * TON);
});

test("a part comes from as few channels as it can, the last one limited", () => {
  const claims = [claim({ gateway: "aa", total: 2n * TON }), claim({ gateway: "bb", total: 5n * TON })];
  assert.deepEqual(limits(plan(claims, { amount: 4n * TON }).messages), [4n * TON]);
  assert.deepEqual(limits(plan(claims, { amount: 6n * TON }).messages), [0n, TON]);
  assert.deepEqual(limits(plan(claims, { amount: 7n * TON }).messages), [0n, 0n]);
  assert.equal(plan(claims, { amount: 6n * TON }).nanoton, 6n * TON);
});

test("what a gateway cannot pay now is not asked for: it would come back unpaid", () => {
  const { messages, nanoton } = plan([claim({ cover: TON })]);
  assert.deepEqual([limits(messages), nanoton], [[TON], TON]);
  assert.throws(() => plan([claim({ cover: 0n })]), { code: "nothing_to_withdraw" });
});

test("claims at one gateway share what it can pay", () => {
  const claims = [
    claim({ total: 3n * TON, cover: 4n * TON }),
    claim({ owner: FORMER, total: 2n * TON, cover: 4n * TON }),
  ];
  assert.deepEqual([plan(claims).channels.length, plan(claims).nanoton], [1, 3n * TON]);
});

test("another owner's claim is brought to that owner whole or not at all", () => {
  const old = claim({ owner: FORMER });
  assert.deepEqual([plan([old]).nanoton, limits(plan([old]).messages)], [3n * TON, [0n]]);
  assert.throws(() => plan([claim({ owner: FORMER, cover: TON })]), { code: "nothing_to_withdraw" });
  assert.throws(() => plan([old], { amount: TON }), { code: "nothing_to_withdraw" });
  const mixed = plan([old, claim({ total: TON })], { amount: TON });
  assert.equal(mixed.nanoton, TON);
});

test("nothing is asked for where there is nothing, and never more than there is", () => {
  for (const claims of [[], [claim({ paid: 3n * TON })], [claim({ paid: 4n * TON })]])
    assert.throws(() => plan(claims), { code: "nothing_to_withdraw" });
  for (const amount of [0n, -1n, 3n * TON + 1n])
    assert.throws(() => plan([claim()], { amount }), { code: "nothing_to_withdraw" });
});

test("a voucher that is not of its terms' channel is refused", () => {
  const wanted = claim();
  const other = { ...wanted, terms: { ...wanted.terms, owner: FORMER } };
  assert.throws(() => plan([other], { from: FORMER }), { code: "bad_message" });
});

test("what the wallet sent is known by its normal hash, if it is the owner's", () => {
  const message = external({ to: Address.parseRaw(OWNER), body: beginCell().storeUint(1, 8).endCell() });
  const boc = (cell: Cell): Uint8Array => new Uint8Array(cell.toBoc());
  const sent = boc(beginCell().store(storeMessage(message)).endCell());
  assert.match(acceptedMessageHash(sent, OWNER), /^[0-9a-f]{64}$/);
  assert.throws(() => acceptedMessageHash(sent, FORMER), { code: "wallet_address" });
  const inside = internal({ to: Address.parseRaw(OWNER), value: 1n });
  for (const bytes of [
    new Uint8Array(),
    new Uint8Array(100),
    boc(new Cell()),
    boc(beginCell().store(storeMessageRelaxed(inside)).endCell()),
  ])
    assert.throws(() => acceptedMessageHash(bytes, OWNER), { code: "wallet_refused" });
});

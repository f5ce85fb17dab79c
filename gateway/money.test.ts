import assert from "node:assert/strict";
import { test } from "node:test";
import {
  chargeFor,
  DATA,
  FIN,
  formatTon,
  parsePayload,
  parseReceipt,
  receiptHashOf,
  toHex,
  type Charge,
  type TokenUsage,
} from "../protocol/index.ts";
import { OWNER, scene, type Scene } from "./gateway.fake.ts";
import {
  answer,
  ask,
  chargeVoucher,
  countersign,
  dispute,
  openStream,
  payoutVoucher,
  PRICE,
  refused,
  reserve,
  reserved,
  sealedFrame,
  sendReceipt,
  serve,
  USAGE,
  type FakeClient,
  type FakeWorker,
} from "./peers.fake.ts";

const ONE = chargeFor(USAGE, PRICE, 500);

function costOf(usage: TokenUsage): Charge {
  return chargeFor(usage, PRICE, 500);
}

interface Cast {
  readonly stage: Scene;
  readonly worker: FakeWorker;
  readonly client: FakeClient;
}

async function cast(t: Parameters<typeof scene>[0], options: Parameters<typeof scene>[1] = {}): Promise<Cast> {
  const stage = await scene(t, options);
  return { stage, worker: await stage.worker(), client: await stage.client() };
}

/** Moves time past the half minute a client has, without losing the links. */
async function halfAMinute(stage: Scene, ...peers: readonly (FakeClient | FakeWorker)[]): Promise<void> {
  for (let i = 0; i < 2; i++) {
    stage.clock.advance(15_001);
    for (const peer of peers) peer.send({ type: "heartbeat" });
    await Promise.all(peers.map((peer) => peer.heard()));
  }
}

/** Waits until everything a client has said was handled. */
async function settled(client: FakeClient): Promise<void> {
  await refused(client, { manifestRoot: "00".repeat(32) });
}

/** Waits until the worker's receipts are handled and written. */
async function booked(worker: FakeWorker, stage: Scene): Promise<void> {
  worker.send({ type: "redeem_request", id: "1", total: 0n, maxDeduction: 0n, signature: new Uint8Array(64) });
  await worker.next("error", ({ code }) => code === "unsupported_field");
  await stage.gateway.flushed();
}

test("receipts that come while a charge is unanswered share the next one, in the order of the chain", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { id: "a" });
  const first = chargeVoucher(client, await client.next("charge"));
  const streams = [await serve(client, worker, { id: "b" }), await serve(client, worker, { id: "c" })];
  await booked(worker, stage);
  countersign(client, first);
  const second = await client.next("charge");
  assert.deepEqual(
    second.receipts.map(({ reservationId }) => reservationId),
    streams.map(({ reservationId }) => reservationId),
  );
  assert.equal(chargeVoucher(client, second).total, 3n * ONE.charge);
});

test("a client that does not answer is asked again with the next receipt, all above its last signature together", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { id: "a" });
  await client.next("charge");
  await serve(client, worker, { id: "b" });
  await booked(worker, stage);
  await halfAMinute(stage, client, worker);
  const { receipts } = await client.next("charge");
  assert.equal(receipts.length, 2);
});

test("a worker is promised its earning after half a minute of the client's silence", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker);
  await client.next("charge");
  assert.equal(stage.gateway.ownerTotal(OWNER), 0n);
  await halfAMinute(stage, client, worker);
  assert.equal(payoutVoucher(stage.gateway, await worker.next("voucher")).total, ONE.earned);
});

test("an owner's vouchers are a pace apart, and the next one covers what came between", async (t) => {
  const { client, worker, stage } = await cast(t);
  const pay = async (id: string): Promise<void> => {
    await serve(client, worker, { id });
    countersign(client, chargeVoucher(client, await client.next("charge")));
    await settled(client);
    await stage.gateway.flushed();
  };
  for (const id of ["a", "b", "c"]) await pay(id);
  assert.equal(payoutVoucher(stage.gateway, await worker.next("voucher")).total, ONE.earned);
  assert.equal(stage.gateway.ownerTotal(OWNER), 3n * ONE.earned);
  await booked(worker, stage);
  assert.ok(!worker.received.some(({ type }) => type === "voucher"));

  stage.clock.advance(200);

  assert.equal(payoutVoucher(stage.gateway, await worker.next("voucher")).total, 3n * ONE.earned);
});

test("a client that never countersigns is stopped by its credit, and no worker loses by it", async (t) => {
  const stage = await scene(t);
  const worker = await stage.worker();
  const hold = costOf({ promptTokens: 912, cachedTokens: 0, completionTokens: 100 }).charge;
  const client = await stage.client({ creditLimit: hold + 3n * ONE.charge });
  for (let i = 0; i < 4; i++) {
    await serve(client, worker, { id: `r${i}` });
    await booked(worker, stage);
  }
  assert.equal((await refused(client)).code, "payment_required");
  await halfAMinute(stage, client, worker);
  await worker.next("voucher");
  assert.equal(stage.gateway.ownerTotal(OWNER), 4n * ONE.earned);
  assert.equal((await refused(client)).code, "payment_required");
});

test("a flood of reservations is stopped at 32, and by the credit that each of them holds", async (t) => {
  const { client, stage } = await cast(t);
  for (let i = 0; i < 40; i++) reserve(client, { id: `r${i}` });
  const codes = await Promise.all(Array.from({ length: 8 }, async () => (await client.next("refused")).code));
  assert.deepEqual(new Set(codes), new Set(["rate_limited"]));
  assert.equal(stage.gateway.status().reservations, 32);
  const poor = await stage.client({
    creditLimit: 3n * costOf({ promptTokens: 912, cachedTokens: 0, completionTokens: 100 }).charge,
  });
  for (let i = 0; i < 4; i++) reserve(poor, { id: `p${i}` });
  assert.equal((await poor.next("refused")).code, "payment_required");
  assert.equal(stage.gateway.status().reservations, 35);
});

test("what a client holds is freed by its release and by its going", async (t) => {
  const { client, stage } = await cast(t);
  const { reservationId } = await reserved(client, { id: "a" });
  await reserved(client, { id: "b" });
  client.send({ type: "release", reservationId });
  await settled(client);
  assert.equal(stage.gateway.status().reservations, 1);
  client.close();
  const other = await stage.client();
  await settled(other);
  assert.equal(stage.gateway.status().reservations, 0);
});

test("the hold is the worst case of the dearest candidate, fee included", async (t) => {
  const { client } = await cast(t);
  const { holdNanoton, feeBps } = await reserved(client, { maxPromptBytes: 400, maxCompletionTokens: 100 });
  assert.equal(feeBps, 500);
  assert.equal(holdNanoton, costOf({ promptTokens: 912, cachedTokens: 0, completionTokens: 100 }).charge);
});

test("a dispute is charged by the client's counts, the worker is promised those, and both add up", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker);
  const { receipts } = await client.next("charge");
  const receiptHash = toHex(receiptHashOf(receipts[0]?.receipt ?? new Uint8Array()));
  dispute(client, receiptHash, { promptTokens: 30, completionTokens: 5 });
  const less = costOf({ ...USAGE, completionTokens: 5 });
  assert.equal(payoutVoucher(stage.gateway, await worker.next("voucher")).total, less.earned);
  assert.deepEqual(stage.gateway.ledgerTotals(), {
    charges: less.charge,
    gatewayPaid: 0n,
    earnings: less.earned,
    fees: less.fee,
  });
});

test("a dispute to nothing still pays a token for each delivered frame", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker);
  const { receipts } = await client.next("charge");
  const receiptHash = toHex(receiptHashOf(receipts[0]?.receipt ?? new Uint8Array()));
  dispute(client, receiptHash, { promptTokens: 0, completionTokens: 0 });
  await worker.next("voucher");
  const least = costOf({ promptTokens: 0, cachedTokens: 0, completionTokens: 1 });
  assert.equal(stage.gateway.ledgerTotals().charges, least.charge);
});

test("after a dispute no total is signed that is not above the one before, and the receipts come again", async (t) => {
  const { client, worker } = await cast(t);
  await serve(client, worker, { id: "a" });
  const charge = await client.next("charge");
  const first = chargeVoucher(client, charge);
  const receiptHash = toHex(receiptHashOf(charge.receipts[0]?.receipt ?? new Uint8Array()));
  dispute(client, receiptHash, { promptTokens: 30, completionTokens: 5 });
  await worker.next("voucher");
  await serve(client, worker, { id: "b" });
  const again = await client.next("charge");
  const second = chargeVoucher(client, again);
  assert.equal(again.receipts.length, 2);
  assert.equal(second.total, ONE.charge + costOf({ ...USAGE, completionTokens: 5 }).charge);
  assert.ok(second.total > first.total);
  countersign(client, second);
  await worker.next("voucher");
});

test("a small charge after a large dispute waits until the total is above what was signed", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { id: "a" });
  const charge = await client.next("charge");
  const first = chargeVoucher(client, charge);
  const receiptHash = toHex(receiptHashOf(charge.receipts[0]?.receipt ?? new Uint8Array()));
  dispute(client, receiptHash, { promptTokens: 0, completionTokens: 1 });
  await worker.next("voucher");
  await serve(client, worker, { id: "b", usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 1 } });
  await booked(worker, stage);
  assert.ok(stage.gateway.clientTotals(client.channel).charged < first.total);
  assert.ok(!client.received.some(({ type }) => type === "charge"));
  await serve(client, worker, { id: "c" });
  const second = chargeVoucher(client, await client.next("charge"));
  assert.ok(second.total > first.total);
});

test("after a dispute is taken back the next charge waits until that is written, since its total rests on it", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { id: "a" });
  const charge = await client.next("charge");
  const first = chargeVoucher(client, charge);
  const receiptHash = toHex(receiptHashOf(charge.receipts[0]?.receipt ?? new Uint8Array()));
  dispute(client, receiptHash, { promptTokens: 0, completionTokens: 1 });
  await worker.next("voucher");
  const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 1 };
  await serve(client, worker, { id: "b", usage });
  await booked(worker, stage);
  stage.store.hold();
  countersign(client, first);
  await settled(client);
  const isToldEarly = client.received.some(({ type }) => type === "charge");
  stage.store.commit();
  assert.equal(isToldEarly, false);
  assert.equal(chargeVoucher(client, await client.next("charge")).total, ONE.charge + costOf(usage).charge);
});

test("a dispute that is not signed, of a foreign receipt, or too late is refused and changes nothing", async (t) => {
  const { client, worker, stage } = await cast(t);
  const stranger = await stage.client();
  await serve(client, worker);
  const { receipts } = await client.next("charge");
  const receiptHash = toHex(receiptHashOf(receipts[0]?.receipt ?? new Uint8Array()));
  const counts = { promptTokens: 0, completionTokens: 1 };
  client.send({ type: "dispute", receiptHash, ...counts, signature: new Uint8Array(64) });
  assert.equal((await client.next("error")).code, "bad_message");
  dispute(stranger, receiptHash, counts);
  assert.equal((await stranger.next("error")).code, "bad_receipt");
  dispute(client, "00".repeat(32), counts);
  assert.equal((await client.next("error")).code, "bad_receipt");
  await halfAMinute(stage, client, worker, stranger);
  await worker.next("voucher");
  dispute(client, receiptHash, counts);
  assert.equal((await client.next("error")).code, "bad_receipt");
  assert.equal(stage.gateway.ledgerTotals().charges, ONE.charge);
});

test("a fourth open dispute ends a channel's credit until it countersigns", async (t) => {
  const { client, worker } = await cast(t);
  let last;
  for (let i = 0; i < 4; i++) {
    await serve(client, worker, { id: `r${i}`, usage: { ...USAGE, completionTokens: 20 + 20 * i } });
    const charge = await client.next("charge");
    last = chargeVoucher(client, charge);
    const newest = charge.receipts.at(-1)?.receipt ?? new Uint8Array();
    const { promptTokens, completionTokens } = parseReceipt(newest).usage;
    dispute(client, toHex(receiptHashOf(newest)), { promptTokens, completionTokens: completionTokens - 1 });
    await worker.next("voucher");
  }
  assert.equal((await refused(client)).code, "payment_required");
  if (last !== undefined) countersign(client, last);
  await worker.next("voucher");
  await reserved(client);
});

test("a countersignature that is not one is refused, and the channel goes on", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker);
  const voucher = chargeVoucher(client, await client.next("charge"));
  client.send({ type: "countersign", total: voucher.total, signature: new Uint8Array(64) });
  assert.equal((await client.next("error")).code, "bad_message");
  countersign(client, { ...voucher, total: voucher.total + 1n });
  assert.equal((await client.next("error")).code, "bad_message");
  countersign(client, voucher);
  await worker.next("voucher");
  countersign(client, voucher); // said twice: nothing more to say
  await settled(client);
  assert.equal(stage.gateway.clientTotals(client.channel).countersigned, voucher.total);
});

test("after a restart the totals go on, and both sides are shown the newest they had", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { id: "a" });
  const first = chargeVoucher(client, await client.next("charge"));
  countersign(client, first);
  await worker.next("voucher");
  await stage.restart();

  const again = await stage.again(client);
  const { countersigned } = await again.next("welcome");
  assert.equal(countersigned === null ? undefined : chargeVoucherTotal(countersigned.boc, first), first.total);
  const back = await stage.worker({ keepWelcome: true });
  assert.equal(payoutVoucher(stage.gateway, (await back.next("welcome")).voucher).total, ONE.earned);
  await serve(again, back, { id: "b" });
  const second = chargeVoucher(again, await again.next("charge"));
  assert.equal(second.total, 2n * ONE.charge);
  countersign(again, second);
  assert.equal(payoutVoucher(stage.gateway, await back.next("voucher")).total, 2n * ONE.earned);
});

/** The total of the voucher in a BOC that must be the very one that was signed. */
function chargeVoucherTotal(boc: Uint8Array, expected: ReturnType<typeof chargeVoucher>): bigint {
  const again = parsePayload(boc);
  assert.deepEqual(again, expected);
  return expected.total;
}

test("a charge that was not answered before a restart is told again after it", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker);
  const before = chargeVoucher(client, await client.next("charge"));
  await stage.restart();
  const again = await stage.again(client);
  assert.deepEqual(chargeVoucher(again, await again.next("charge")), before);
});

test("a charge whose link was lost is told on the client's next link", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker);
  await client.next("charge");
  client.close();
  const again = await stage.again(client);
  const voucher = chargeVoucher(again, await again.next("charge"));
  countersign(again, voucher);
  await worker.next("voucher");
});

test("a closing or unseen channel gets nothing, and its holder is not told of another's money", async (t) => {
  const { worker, stage } = await cast(t);
  assert.ok(worker.workerId !== "");
  const closing = await stage.client({ isClosing: true });
  assert.equal((await refused(closing)).code, "payment_required");
  const impostor = await stage.client({ paymentKey: new Uint8Array(32).fill(9) });
  assert.equal((await refused(impostor)).code, "payment_required");
});

test("a trial is paid by the gateway: the client gets the receipt without a voucher, the worker its promise", async (t) => {
  const { worker, stage } = await cast(t);
  const trial = await stage.trialClient();
  await serve(trial, worker, SMALL);
  const { voucher, receipts } = await trial.next("charge");
  assert.equal(voucher, null);
  assert.equal(receipts.length, 1);
  assert.equal(payoutVoucher(stage.gateway, await worker.next("voucher")).total, ONE.earned);
  assert.deepEqual(stage.gateway.ledgerTotals(), {
    charges: 0n,
    gatewayPaid: ONE.earned,
    earnings: ONE.earned,
    fees: 0n,
  });
});

/** A request whose hold a trial can bear. */
const SMALL = { maxPromptBytes: 100, maxCompletionTokens: 20 };

test("a login without a channel is told what is left of its trial, and one with a channel is not", async (t) => {
  const { worker, client, stage } = await cast(t);
  const trial = await stage.trialClient();
  await serve(trial, worker, SMALL);
  await trial.next("charge");
  const { trial: left } = await (await stage.again(trial)).next("welcome");
  const { completionTokens } = USAGE;
  // Trials carry no fee: what they cost the gateway is what the worker earns.
  assert.deepEqual(left, { completionTokens: 20_000 - completionTokens, nanoton: 2_000_000n - ONE.earned });
  assert.equal((await (await stage.again(client)).next("welcome")).trial, undefined);
});

test("a trial key ends at 20 000 completion tokens, held ones included", async (t) => {
  const { stage } = await cast(t);
  const free = { prompt: 0n, cached: 0n, completion: 0n };
  await stage.worker({ root: "99".repeat(32), price: free, contextTokens: 100_000 });
  const trial = await stage.trialClient();
  const wish = { manifestRoot: "99".repeat(32), maxPromptBytes: 1 };
  await reserved(trial, { ...wish, id: "a", maxCompletionTokens: 15_000 });
  assert.equal((await refused(trial, { ...wish, id: "b", maxCompletionTokens: 5001 })).code, "trial_exhausted");
  await reserved(trial, { ...wish, id: "c", maxCompletionTokens: 5000 });
});

test("a trial key ends at 0.002 TON", async (t) => {
  const { stage } = await cast(t);
  const trial = await stage.trialClient();
  const wish = { maxPromptBytes: 1, maxCompletionTokens: 1 };
  const dear = { prompt: 2_000_000_000n, cached: 0n, completion: 0n };
  await stage.worker({ root: "99".repeat(32), price: dear });
  const held = (await reserved(trial, { ...wish, manifestRoot: "99".repeat(32) })).holdNanoton;
  assert.ok(held < 2_000_000n && held * 2n > 2_000_000n, formatTon(held));
  assert.equal((await refused(trial, { ...wish, manifestRoot: "99".repeat(32) })).code, "trial_exhausted");
});

test("a trial has four open reservations, and ten keys an address block", async (t) => {
  const { stage } = await cast(t, { limits: { linksPerAddress: 100 } });
  const first = await stage.trialClient();
  const cheap = { prompt: 1n, cached: 1n, completion: 1n };
  await stage.worker({ root: "99".repeat(32), price: cheap });
  const wish = { ...SMALL, manifestRoot: "99".repeat(32) };
  for (let i = 0; i < 4; i++) await reserved(first, { ...wish, id: `r${i}` });
  assert.equal((await refused(first, wish)).code, "rate_limited");
  for (let i = 1; i < 10; i++) await reserved(await stage.trialClient(), wish);
  assert.equal((await refused(await stage.trialClient(), wish)).code, "trial_exhausted");
  stage.clock.advance(20_000);
});

test("a trial is held to the reference price where there is one", async (t) => {
  const { stage } = await cast(t, { referencePrice: () => ({ ...PRICE, completion: PRICE.completion - 1n }) });
  const trial = await stage.trialClient();
  assert.equal((await refused(trial, SMALL)).code, "price_too_low");
  await reserved(await stage.client(), SMALL);
});

test("earnings without an owner are owed without a voucher, and all of it is promised when the owner is named", async (t) => {
  const { client, stage } = await cast(t);
  const seed = new Uint8Array(32).fill(5);
  const root = "99".repeat(32);
  const nameless = await stage.worker({ seed, address: "", root });
  await serveModel(client, nameless, root, "a");
  countersign(client, chargeVoucher(client, await client.next("charge")));
  await settled(client);
  await stage.gateway.flushed();
  assert.equal(stage.gateway.owedTo(nameless.workerId), ONE.earned);
  assert.equal(stage.gateway.ownerTotal(OWNER), 0n);
  assert.ok(!nameless.received.some(({ type }) => type === "voucher"));
  nameless.close();
  await nameless.closed;

  const named = await stage.worker({ seed, root });
  assert.equal(payoutVoucher(stage.gateway, await named.next("voucher")).total, ONE.earned);
  assert.equal(stage.gateway.owedTo(nameless.workerId), 0n);
});

test("a worker without an owner gets no more work once 0.2 TON is owed to it", async (t) => {
  const stage = await scene(t);
  const price = { prompt: 0n, cached: 0n, completion: 10_000_000_000_000n };
  const nameless = await stage.worker({ address: "", price });
  const client = await stage.client({ creditLimit: 10n ** 12n, balance: 10n ** 12n });
  await serve(client, nameless, {
    usage: { promptTokens: 0, cachedTokens: 0, completionTokens: 20 },
  });
  await client.next("charge");
  assert.equal(stage.gateway.owedTo(nameless.workerId), 200_000_000n);
  assert.equal((await refused(client)).code, "no_worker");
});

async function serveModel(client: FakeClient, worker: FakeWorker, root: string, id: string): Promise<void> {
  const stream = await openStream(client, worker, { id, manifestRoot: root });
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  sendReceipt(stream, { manifestRoot: root });
}

test("on a full disk nothing is told and nothing new is reserved; when there is room all of it comes, once", async (t) => {
  const { client, worker, stage } = await cast(t);
  const running = await openStream(client, worker, { id: "running" });
  await stage.gateway.flushed();
  stage.store.failWith("disk_full");
  await serve(client, worker, { id: "a" }).catch(() => undefined);
  while (stage.gateway.status().trouble === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(stage.gateway.status().trouble, "disk_full");
  assert.equal((await refused(client)).code, "internal");
  assert.ok(!client.received.some(({ type }) => type === "charge"));
  assert.ok(running.workerRoute > 0);
  stage.store.failWith(undefined);
  const voucher = chargeVoucher(client, await client.next("charge"));
  assert.equal(voucher.total, ONE.charge);
  countersign(client, voucher);
  assert.equal(payoutVoucher(stage.gateway, await worker.next("voucher")).total, ONE.earned);
  await reserved(client);
});

test("a redeem at the gateway's cost is not offered yet, and says so", async (t) => {
  const { worker } = await cast(t);
  worker.send({ type: "redeem_request", id: "1", total: 0n, maxDeduction: 1n, signature: new Uint8Array(64) });
  assert.equal((await worker.next("error")).code, "unsupported_field");
});

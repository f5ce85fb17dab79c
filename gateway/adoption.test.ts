import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import {
  chargeFor,
  encodePayload,
  payloadHash,
  type ChargeVoucher,
  type CountersignedVoucher,
  type PayoutVoucher,
  type SignedPayload,
  type SignedVoucher,
} from "../protocol/index.ts";
import { agreementIn, keptOnTop } from "./adoption.ts";
import { clientBook, emptyLedger, type OwnerBook } from "./books.ts";
import { CHANNEL, charge, dispute, someChain } from "./entries.fake.ts";
import { NETWORK_ID, OWNER, scene, type Scene } from "./gateway.fake.ts";
import { applyEntry } from "./ledger.ts";
import {
  chargeVoucher,
  countersign,
  payoutVoucher,
  PRICE,
  refused,
  serve,
  USAGE,
  type FakeClient,
  type FakeWorker,
} from "./peers.fake.ts";
import { signerFromSeed } from "./signatures.ts";

const SEED = new Uint8Array(32).fill(6);
const GATEWAY = signerFromSeed(SEED);
const WORKER_SEED = new Uint8Array(32).fill(7);
const ONE = chargeFor(USAGE, PRICE, 500);

interface Cast {
  readonly stage: Scene;
  readonly worker: FakeWorker;
  readonly client: FakeClient;
  readonly log: string[];
}

async function cast(t: TestContext): Promise<Cast> {
  const log: string[] = [];
  const stage = await scene(t, { seed: SEED, log: (line) => log.push(line) });
  return { stage, worker: await stage.worker({ seed: WORKER_SEED }), client: await stage.client(), log };
}

/** What both peers hold after an answer that was paid for. */
interface Held {
  readonly voucher: SignedVoucher;
  readonly payout: PayoutVoucher;
  readonly charged: ChargeVoucher;
  readonly countersigned: CountersignedVoucher;
}

async function paidAnswer({ stage }: Cast, worker: FakeWorker, client: FakeClient, id: string): Promise<Held> {
  await serve(client, worker, { id });
  const message = await client.next("charge");
  const charged = chargeVoucher(client, message);
  countersign(client, charged);
  const { boc, signature } = await worker.next("voucher");
  const own = client.signer.sign(payloadHash(charged));
  const gatewaySignature = message.voucher?.signature ?? new Uint8Array();
  const countersigned = { boc: message.voucher?.boc ?? new Uint8Array(), signature: own, gatewaySignature };
  return {
    voucher: { boc, signature },
    payout: payoutVoucher(stage.gateway, { boc, signature }),
    charged,
    countersigned,
  };
}

function isConserved({ stage }: Cast): boolean {
  const { charges, gatewayPaid, earnings, fees } = stage.gateway.ledgerTotals();
  return charges + gatewayPaid === earnings + fees;
}

test("a gateway with an older ledger keeps the word that its worker shows, and goes on above it", async (t) => {
  const all = await cast(t);
  const { stage, worker, client, log } = all;
  await paidAnswer(all, worker, client, "kept");
  const rows = stage.store.rows.length;
  const { voucher, payout, countersigned, charged } = await paidAnswer(all, worker, client, "lost");
  await stage.forget(rows);
  assert.equal(stage.gateway.ownerTotal(OWNER), ONE.earned);

  const back = await stage.worker({ seed: WORKER_SEED, voucher, keepWelcome: true });
  assert.deepEqual((await back.next("welcome")).voucher, voucher);
  assert.equal(stage.gateway.ledgerTotals().gatewayPaid, ONE.earned);
  const again = await stage.again(client, { countersigned });
  assert.deepEqual((await again.next("welcome")).countersigned, countersigned);
  assert.equal(stage.gateway.clientTotals(client.channel).countersigned, charged.total);
  assert.equal(log.filter((line) => line.startsWith("adopted")).length, 2);

  const next = await paidAnswer(all, back, again, "next");
  assert.equal(next.payout.total, payout.total + ONE.earned);
  assert.equal(next.charged.total, charged.total + ONE.charge);
  assert.ok(isConserved(all));
});

test("what was adopted is written: after another restart nothing has to be shown", async (t) => {
  const all = await cast(t);
  const { stage, worker, client } = all;
  const { voucher, payout, countersigned, charged } = await paidAnswer(all, worker, client, "lost");
  await stage.forget(0);
  await stage.worker({ seed: WORKER_SEED, voucher });
  await (await stage.again(client, { countersigned })).next("welcome");
  await stage.gateway.flushed();
  await stage.restart();
  assert.equal(stage.gateway.ownerTotal(OWNER), payout.total);
  assert.equal(stage.gateway.clientTotals(client.channel).countersigned, charged.total);
});

test("what was earned and charged since the restart stays on top of what is shown later", async (t) => {
  const all = await cast(t);
  const { stage, worker, client } = all;
  await paidAnswer(all, worker, client, "one");
  const lost = await paidAnswer(all, worker, client, "two");
  await stage.forget(0);
  const forgetful = await stage.worker({ seed: WORKER_SEED });
  const other = await stage.client();
  await paidAnswer(all, forgetful, other, "since");

  await stage.idleWorker({ seed: new Uint8Array(32).fill(8), voucher: lost.voucher });
  assert.equal(payoutVoucher(stage.gateway, await forgetful.next("voucher")).total, lost.payout.total + ONE.earned);
  await stage.again(client, { countersigned: lost.countersigned });
  assert.ok(isConserved(all));
});

test("a voucher of this life is nothing new, whenever it is shown", async (t) => {
  const all = await cast(t);
  const { stage, worker, client, log } = all;
  const first = await paidAnswer(all, worker, client, "one");
  const second = await paidAnswer(all, worker, client, "two");
  const rows = stage.store.rows.length;
  for (const { voucher, countersigned } of [first, second]) {
    const one = await stage.idleWorker({ voucher });
    assert.deepEqual((await one.next("welcome")).voucher, second.voucher);
    await (await stage.again(client, { countersigned })).next("welcome");
  }
  await stage.gateway.flushed();
  assert.deepEqual([stage.store.rows.length - rows, log], [2, []], "only the two new workers' names are written");
});

test("a countersignature that was lost on the way closes its charges when the client shows it at its next login", async (t) => {
  const all = await cast(t);
  const { stage, worker, client, log } = all;
  await serve(client, worker);
  const message = await client.next("charge");
  const charged = chargeVoucher(client, message);
  client.close();
  const signature = client.signer.sign(payloadHash(charged));
  const gatewaySignature = message.voucher?.signature ?? new Uint8Array();
  const countersigned = { boc: encodePayload(charged), signature, gatewaySignature };
  await (await stage.again(client, { countersigned })).next("welcome");
  await worker.next("voucher");
  assert.equal(stage.gateway.clientTotals(client.channel).countersigned, charged.total);
  assert.deepEqual([stage.gateway.ledgerTotals().gatewayPaid, log], [0n, []]);
});

test("nothing is signed for a channel at or under what the chain has seen of a lost life", async (t) => {
  const all = await cast(t);
  const { stage, worker, client } = all;
  await paidAnswer(all, worker, client, "lost");
  const lost = await paidAnswer(all, worker, client, "lost too");
  await stage.forget(0);
  const view = stage.channels.clientChannel(client.channel);
  assert.ok(view !== undefined);
  const { total } = lost.charged;
  stage.channels.open(client.channel, { ...view, charged: total, acked: total, balance: view.balance - total });
  const back = await stage.worker({ seed: WORKER_SEED });
  const again = await stage.again(client);
  await again.next("welcome");
  for (const id of ["a", "b"]) await serve(again, back, { id });
  await refused(again, { manifestRoot: "00".repeat(32) });
  assert.ok(!again.received.some(({ type }) => type === "charge"));
  await serve(again, back, { id: "c" });
  assert.equal(chargeVoucher(again, await again.next("charge")).total, 3n * ONE.charge);
});

// What is none of the gateway's own

function signed(payload: SignedPayload, signer = GATEWAY): SignedVoucher {
  return { boc: encodePayload(payload), signature: signer.sign(payloadHash(payload)) };
}

async function payoutOf(stage: Scene, overrides: Partial<PayoutVoucher> = {}): Promise<PayoutVoucher> {
  const channel = stage.channels.workerChannel(OWNER);
  return {
    type: "payout",
    networkId: NETWORK_ID,
    channel,
    total: 10n ** 12n,
    receipt: someChain("lost"),
    ...overrides,
  };
}

const STRANGER = signerFromSeed(new Uint8Array(32).fill(9));
const NOT_OURS: readonly (readonly [string, (stage: Scene) => Promise<SignedVoucher>])[] = [
  ["somebody else signed", async (stage) => signed(await payoutOf(stage), STRANGER)],
  ["is of another network", async (stage) => signed(await payoutOf(stage, { networkId: -239 }))],
  ["is of another channel", async (stage) => signed(await payoutOf(stage, { channel: CHANNEL }))],
  ["is a client's", async (stage) => signed({ ...(await payoutOf(stage)), type: "charge" })],
  ["is no payload", async () => ({ boc: new Uint8Array(100), signature: new Uint8Array(64) })],
  [
    "is cut short",
    async (stage) => ({ ...signed(await payoutOf(stage)), boc: encodePayload(await payoutOf(stage)).slice(1) }),
  ],
];
for (const [what, make] of NOT_OURS) {
  test(`a worker that shows a voucher which ${what} is not let in, and nothing is adopted`, async (t) => {
    const stage = await scene(t, { seed: SEED });
    const worker = await stage.idleWorker({ voucher: await make(stage) });
    assert.equal((await worker.next("error")).code, "bad_login");
    await worker.closed;
    assert.equal(stage.gateway.ownerTotal(OWNER), 0n);
  });
}

test("a voucher of no owner is not let in", async (t) => {
  const stage = await scene(t, { seed: SEED });
  const worker = await stage.idleWorker({ address: "", voucher: signed(await payoutOf(stage)) });
  assert.equal((await worker.next("error")).code, "bad_login");
});

test("a client that shows what either key never signed, or what is not its channel's, is not let in", async (t) => {
  const { stage, client } = await cast(t);
  const channel = client.channel;
  const payload: ChargeVoucher = {
    type: "charge",
    networkId: NETWORK_ID,
    channel,
    total: 10n ** 9n,
    receipt: someChain("lost"),
  };
  const hash = payloadHash(payload);
  const good = {
    boc: encodePayload(payload),
    signature: client.signer.sign(hash),
    gatewaySignature: GATEWAY.sign(hash),
  };
  const other = signed({ ...payload, networkId: -239 });
  const bad: readonly CountersignedVoucher[] = [
    { ...good, gatewaySignature: STRANGER.sign(hash) },
    { ...good, gatewaySignature: good.signature },
    { ...good, signature: STRANGER.sign(hash) },
    { ...good, signature: good.gatewaySignature },
    { ...good, boc: other.boc, gatewaySignature: other.signature },
    { ...good, boc: encodePayload({ ...payload, type: "payout" }) },
  ];
  for (const countersigned of bad) {
    const again = await stage.again(client, { countersigned });
    assert.equal((await again.next("error")).code, "bad_login");
  }
  assert.deepEqual(stage.gateway.clientTotals(channel), { charged: 0n, countersigned: 0n });
  await (await stage.again(client, { countersigned: good })).next("welcome");
  assert.equal(stage.gateway.clientTotals(channel).countersigned, payload.total);
});

test("a client whose channel is not seen yet is told to come back, so that its agreement is not overlooked", async (t) => {
  const all = await cast(t);
  const { stage, worker, client } = all;
  const { charged } = await paidAnswer(all, worker, client, "a");
  const unseen = await stage.again(client, { address: CHANNEL });
  assert.equal((await unseen.next("welcome")).countersigned, null);
  const payload: ChargeVoucher = { ...charged, channel: CHANNEL };
  const hash = payloadHash(payload);
  const signatures = { signature: client.signer.sign(hash), gatewaySignature: GATEWAY.sign(hash) };
  const shown = { boc: encodePayload(payload), ...signatures };
  const again = await stage.again(client, { address: CHANNEL, countersigned: shown });
  assert.equal((await again.next("error")).code, "internal");
});

test("while nothing can be written, a worker that would have to be believed is told to come back", async (t) => {
  const all = await cast(t);
  const { stage, worker, client } = all;
  const { voucher } = await paidAnswer(all, worker, client, "lost");
  await stage.forget(0);
  const busy = await stage.worker();
  const other = await stage.client();
  await stage.gateway.flushed();
  stage.store.failWith("disk_full");
  await serve(other, busy);
  while (stage.gateway.status().trouble === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  const back = await stage.idleWorker({ seed: WORKER_SEED, voucher });
  assert.equal((await back.next("error")).code, "internal");
  stage.store.failWith(undefined);
});

// The rules by themselves

const BOOK: OwnerBook = { total: 100n, chain: someChain("ours"), floor: 0n, redeemedAt: 0n };

test("a higher promise, or the same over other receipts, was lost; everything else may be ours", () => {
  const shown = (total: bigint, receipt = someChain("lost")) => ({ total, receipt });
  assert.equal(keptOnTop(BOOK, 100n, shown(101n)), 0n);
  assert.equal(keptOnTop(BOOK, 60n, shown(101n)), 40n);
  assert.equal(keptOnTop(BOOK, 100n, shown(100n)), 0n);
  assert.equal(keptOnTop(BOOK, 60n, shown(100n)), 40n);
  assert.equal(keptOnTop(BOOK, 60n, shown(100n, BOOK.chain)), undefined);
  assert.equal(keptOnTop(BOOK, 60n, shown(99n)), undefined);
});

test("an agreement over charges that are here closes them; one over others covers what was here before the start", () => {
  const ledger = emptyLedger();
  for (const entry of [charge(100), charge(200), charge(300)]) applyEntry(ledger, entry);
  const book = clientBook(ledger, CHANNEL);
  const chain = book.uncountersigned[1]?.chain ?? new Uint8Array();
  assert.deepEqual(agreementIn(book, { total: 330n, receipt: chain }, 0), { type: "known", through: 2 });
  assert.deepEqual(agreementIn(book, { total: 5000n, receipt: someChain("lost") }, 2), { type: "lost", through: 2 });
  assert.deepEqual(agreementIn(book, { total: 5000n, receipt: someChain("lost") }, 0), { type: "lost", through: 0 });
});

test("an agreement to less than the charges it names lost a dispute; to more, it was disputed here and is left alone", () => {
  const ledger = emptyLedger();
  for (const entry of [charge(100), dispute(1, 40, 200n)]) applyEntry(ledger, entry);
  const book = clientBook(ledger, CHANNEL);
  const { chain } = book;
  assert.deepEqual(agreementIn(book, { total: 20n, receipt: chain }, 1), { type: "lost", through: 1 });
  assert.deepEqual(agreementIn(book, { total: 44n, receipt: chain }, 1), { type: "known", through: 1 });
  assert.equal(agreementIn(book, { total: 110n, receipt: chain }, 1), undefined);
});

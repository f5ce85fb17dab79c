import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import {
  encodePayload,
  Failure,
  keyPairFromSeed,
  parsePayload,
  payloadHash,
  verifySignature,
  type ClientToGateway,
  type GatewayToClient,
  type MessageOf,
} from "../protocol/index.ts";
import { FAKE_CHANNEL, FAKE_NETWORK_ID, startFakeGateway, type FakeGateway, type FakeStream } from "./gateway.fake.ts";
import { memoryJournal, type Client, type Journal } from "./index.ts";
import { BODY, CHANNEL, fakeClient, fakeNetwork } from "./network.fake.ts";

/** The client's state once it has refused, looked at as it logs. */
function refusals(): { readonly log: (line: string) => void; readonly next: () => Promise<string> } {
  const lines: string[] = [];
  let wake: (() => void) | undefined;
  return {
    log(line) {
      lines.push(line);
      wake?.();
    },
    async next() {
      while (lines.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return lines.shift() ?? "";
    },
  };
}

const VOUCHER_LIES = [
  ["jumps", { total: 14n }, /total is 14, owed are 13/],
  ["is for another network", { networkId: -239 }, /another network/],
  ["is for another channel", { channel: `0:${"cd".repeat(32)}` }, /another channel/],
  ["names other receipts", { receipt: new Uint8Array(32) }, /other receipts/],
] as const;

for (const [what, changes, why] of VOUCHER_LIES) {
  test(`a voucher that ${what} is not countersigned`, async (t) => {
    const { log, next } = refusals();
    const hooks = { voucher: (honest: object) => ({ ...honest, ...changes }) as never };
    const { gateway, client } = await fakeNetwork(t, { hooks }, { log });
    await client.complete(BODY);
    assert.match(await next(), why);
    assert.match(client.account().refusal ?? "", why);
    assert.equal(client.account().total, 0n);
    assert.ok(gateway.received.every(({ type }) => type !== "countersign" && type !== "dispute"));
  });
}

test("a voucher whose total falls is not countersigned", async (t) => {
  const { log, next } = refusals();
  const { gateway, client } = await fakeNetwork(t, {}, { log });
  await client.complete(BODY);
  await gateway.next("countersign");
  gateway.hooks.voucher = (honest) => ({ ...honest, total: 12n });
  await client.complete(BODY);
  assert.match(await next(), /total fell/);
  assert.equal(client.account().total, 13n);
});

test("a voucher that the gateway's key did not sign is not countersigned", async (t) => {
  const { log, next } = refusals();
  const { gateway, client } = await fakeNetwork(t, {}, { log });
  gateway.hooks.charge = (message) =>
    message.voucher === null
      ? undefined
      : { ...message, voucher: { ...message.voucher, signature: new Uint8Array(64) } };
  await client.complete(BODY);
  assert.match(await next(), /did not sign/);
});

test("a charge without a voucher, or with another payload as one, signs nothing", async (t) => {
  const { log, next } = refusals();
  const { gateway, client } = await fakeNetwork(t, {}, { log });
  gateway.hooks.charge = (message) => ({ ...message, voucher: null });
  await client.complete(BODY);
  assert.match(await next(), /without a voucher/);
  const close = { type: "close", networkId: FAKE_NETWORK_ID, channel: FAKE_CHANNEL, total: 13n, closeSeq: 0 } as const;
  gateway.hooks.charge = (message) => ({
    ...message,
    voucher: { boc: encodePayload(close), signature: new Uint8Array(64) },
  });
  gateway.resendCharge();
  assert.match(await next(), /not a charge voucher/);
});

test("a countersignature is the payment key's over the voucher's cell hash", async (t) => {
  const paymentSeed = randomBytes(32);
  const { gateway, client } = await fakeNetwork(t, {}, { paymentSeed });
  await client.complete(BODY);
  const { signature } = await gateway.next("countersign");
  const { countersigned } = client.account();
  assert.ok(countersigned !== undefined);
  const voucher = parsePayload(countersigned.boc);
  assert.ok(verifySignature(signature, payloadHash(voucher), keyPairFromSeed(paymentSeed).publicKey));
});

test("every login shows what was countersigned, under both signatures, also after a restart", async (t) => {
  const options = { paymentSeed: randomBytes(32), journal: memoryJournal(), channel: CHANNEL };
  const { gateway, client } = await fakeNetwork(t, {}, options);
  await client.complete(BODY);
  assert.equal((await gateway.next("login")).countersigned, undefined);
  await gateway.next("countersign");
  const { countersigned } = gateway.ledger;
  assert.ok(countersigned !== null);
  await client.close();
  const again = fakeClient(t, gateway, options);
  await again.ready();
  assert.deepEqual((await gateway.next("login")).countersigned, countersigned);
});

test("a gateway that shows a countersigned voucher which its own key never signed is refused", async (t) => {
  const paymentSeed = randomBytes(32);
  const { gateway, client } = await fakeNetwork(t, {}, { paymentSeed });
  await client.complete(BODY);
  await gateway.next("countersign");
  await client.close();
  const welcome = (message: GatewayToClient): GatewayToClient =>
    message.type === "welcome" && message.countersigned !== null
      ? { ...message, countersigned: { ...message.countersigned, gatewaySignature: new Uint8Array(64) } }
      : message;
  gateway.hooks.welcome = welcome;
  await assert.rejects(fakeClient(t, gateway, { paymentSeed, channel: CHANNEL }).complete(BODY), {
    code: "bad_receipt",
  });
});

test("an inflated receipt is disputed, and signed once the voucher is down to the client's count", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.receipt = (receipt) => ({ ...receipt, usage: { ...receipt.usage, completionTokens: 50 } });
  await client.complete(BODY);
  const dispute = await gateway.next("dispute");
  assert.deepEqual([dispute.promptTokens, dispute.completionTokens], [7, 3]);
  assert.equal((await gateway.next("countersign")).total, 13n);
});

test("a receipt that the worker did not sign is disputed, though every number in it is right", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.charge = (message) => ({
    ...message,
    receipts: message.receipts.map((signed) => ({ ...signed, signature: new Uint8Array(64) })),
  });
  await client.complete(BODY);
  assert.deepEqual((await gateway.next("dispute")).completionTokens, 3);
});

test("a dispute is said again while the voucher does not follow it", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.receipt = (receipt) => ({ ...receipt, usage: { ...receipt.usage, completionTokens: 50 } });
  gateway.hooks.voucher = (honest) => ({ ...honest, total: 200n });
  await client.complete(BODY);
  await gateway.next("dispute");
  await gateway.next("dispute");
  delete gateway.hooks.voucher;
  gateway.resendCharge();
  assert.equal((await gateway.next("countersign")).total, 13n);
});

test("a charge that was answered is answered the same when it comes again", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  let sent: Parameters<NonNullable<FakeGateway["hooks"]["charge"]>>[0] | undefined;
  gateway.hooks.charge = (message) => (sent = message);
  await client.complete(BODY);
  const first = await gateway.next("countersign");
  assert.ok(sent !== undefined);
  gateway.sendToAll(sent);
  assert.deepEqual(await gateway.next("countersign"), first);
});

test("a receipt that comes before the answer is whole is held against what has come", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event({ t: "delta", text: "Hello", tokenIds: [1] });
    stream.end();
  };
  // The gateway keeps the end back: three quarters of the claim were never delivered.
  const relay = (frame: Uint8Array, index: number): readonly Uint8Array[] => (index === 0 ? [frame] : []);
  const { gateway, client } = await fakeNetwork(t, { workers: [{ answer }], hooks: { relay } });
  gateway.hooks.receipt = (receipt) => ({ ...receipt, usage: { ...receipt.usage, completionTokens: 4 } });
  const controller = new AbortController();
  const asked = client.complete(BODY, { signal: controller.signal });
  assert.equal((await gateway.next("dispute")).completionTokens, 1);
  controller.abort();
  await assert.rejects(asked, { code: "cancelled" });
});

test("under load one countersignature answers many charges", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await Promise.all(Array.from({ length: 40 }, () => client.complete(BODY)));
  let total = 0n;
  while (total < 40n * 13n) ({ total } = await gateway.next("countersign"));
  assert.equal(total, 40n * 13n);
  const signed = gateway.received.filter(({ type }) => type === "countersign").length;
  assert.ok(signed < 20, `${signed} countersignatures`);
});

// Restarts: the same key and journal in a new client.

interface Payer {
  readonly paymentSeed: Uint8Array;
  readonly journal: Journal;
}

const payer = (): Payer => ({ paymentSeed: randomBytes(32), journal: memoryJournal() });
const payingClient = (t: TestContext, gateway: FakeGateway, { paymentSeed, journal }: Payer): Client =>
  fakeClient(t, gateway, { paymentSeed, journal, channel: CHANNEL });

async function gatewayFor(t: TestContext): Promise<FakeGateway> {
  const gateway = await startFakeGateway();
  t.after(() => gateway.close());
  return gateway;
}

test("a client goes on from its journal", async (t) => {
  const gateway = await gatewayFor(t);
  const same = payer();
  const first = payingClient(t, gateway, same);
  await first.complete(BODY);
  await gateway.next("countersign");
  await first.close();
  const second = payingClient(t, gateway, same);
  assert.equal(second.account().total, 13n);
  await second.complete(BODY);
  assert.equal((await gateway.next("countersign")).total, 26n);
});

test("a client that lost its journal goes on from its own countersignature", async (t) => {
  const gateway = await gatewayFor(t);
  const { paymentSeed } = payer();
  const first = payingClient(t, gateway, { paymentSeed, journal: memoryJournal() });
  await first.complete(BODY);
  await gateway.next("countersign");
  await first.close();
  const second = payingClient(t, gateway, { paymentSeed, journal: memoryJournal() });
  await second.complete(BODY);
  assert.equal((await gateway.next("countersign")).total, 26n);
});

test("a client that lost its journal does not take up what it never signed", async (t) => {
  const gateway = await gatewayFor(t);
  const first = payingClient(t, gateway, payer());
  await first.complete(BODY);
  await gateway.next("countersign");
  await first.close();
  const stranger = payingClient(t, gateway, payer());
  await assert.rejects(stranger.ready(), { code: "bad_receipt" });
  await assert.rejects(stranger.complete(BODY), { code: "bad_receipt" });
});

test("a client whose journal is older than its own countersignature takes up the newer", async (t) => {
  const gateway = await gatewayFor(t);
  const { paymentSeed, journal } = payer();
  const first = payingClient(t, gateway, { paymentSeed, journal });
  await first.complete(BODY);
  await gateway.next("countersign");
  const old = memoryJournal();
  old.replace(journal.lines());
  await first.complete(BODY);
  await gateway.next("countersign");
  await first.close();
  const second = payingClient(t, gateway, { paymentSeed, journal: old });
  await second.ready();
  assert.equal(second.account().total, 26n);
});

test("a journal of another channel is refused", async (t) => {
  const gateway = await gatewayFor(t);
  const { paymentSeed, journal } = payer();
  const first = payingClient(t, gateway, { paymentSeed, journal });
  await first.complete(BODY);
  await gateway.next("countersign");
  await first.close();
  const elsewhere = { ...CHANNEL, address: `0:${"cd".repeat(32)}` };
  assert.throws(() => fakeClient(t, gateway, { paymentSeed, journal, channel: elsewhere }), { code: "storage_failed" });
});

test("what a killed client had asked for is paid by the worker's signed word", async (t) => {
  const gateway = await gatewayFor(t);
  const { paymentSeed, journal } = payer();
  const first = payingClient(t, gateway, { paymentSeed, journal });
  gateway.hooks.charge = () => undefined;
  await first.complete(BODY);
  const lines = [...journal.lines()];
  await first.close();
  delete gateway.hooks.charge;
  const second = payingClient(t, gateway, { paymentSeed, journal: journalOf(lines) });
  await second.ready();
  gateway.resendCharge();
  assert.equal((await gateway.next("countersign")).total, 13n);
});

test("a stream that no journal tells of is disputed with nothing", async (t) => {
  const gateway = await gatewayFor(t);
  const { paymentSeed } = payer();
  const first = payingClient(t, gateway, { paymentSeed, journal: memoryJournal() });
  gateway.hooks.charge = () => undefined;
  await first.complete(BODY);
  await first.close();
  delete gateway.hooks.charge;
  const second = payingClient(t, gateway, { paymentSeed, journal: memoryJournal() });
  await second.ready();
  gateway.resendCharge();
  const dispute: MessageOf<ClientToGateway, "dispute"> = await gateway.next("dispute");
  assert.deepEqual([dispute.promptTokens, dispute.completionTokens], [0, 0]);
});

test("what cannot be kept is not signed", async (t) => {
  const { log, next } = refusals();
  const { journal, fail } = failingJournal();
  const { gateway, client } = await fakeNetwork(t, {}, { journal, log });
  fail("signed");
  await client.complete(BODY);
  assert.match(await next(), /^did not countersign: disk_full/);
  assert.equal(client.account().total, 0n);
  fail(undefined);
  gateway.resendCharge();
  assert.equal((await gateway.next("countersign")).total, 13n);
});

test("a request whose terms cannot be kept is not sent", async (t) => {
  const { journal, fail } = failingJournal();
  const { gateway, client } = await fakeNetwork(t, {}, { journal });
  fail("leased");
  await assert.rejects(client.complete(BODY), { code: "disk_full" });
  assert.equal(gateway.requests.length, 0);
});

/** A journal on a disk that is full for entries of one kind. */
function failingJournal(): { readonly journal: Journal; readonly fail: (kind: string | undefined) => void } {
  const kept = memoryJournal();
  let failing: string | undefined;
  const append = (line: string): void => {
    if (failing !== undefined && line.startsWith(`{"t":"${failing}"`)) throw new Failure("disk_full");
    kept.append(line);
  };
  return { journal: { ...kept, append }, fail: (kind) => (failing = kind) };
}

function journalOf(lines: readonly string[]): Journal {
  const journal = memoryJournal();
  journal.replace(lines);
  return journal;
}

test("a channel that was opened again with another key goes on from what its former key signed", async (t) => {
  const options = { journal: memoryJournal(), channel: CHANNEL };
  const { gateway, client } = await fakeNetwork(t, {}, options);
  await client.complete(BODY);
  await gateway.next("login");
  await gateway.next("countersign");
  await client.close();
  const again = fakeClient(t, gateway, { ...options, paymentSeed: randomBytes(32) });
  await again.complete(BODY);
  // The former key's word is no word of the present one's.
  assert.equal((await gateway.next("login")).countersigned, undefined);
  assert.equal((await gateway.next("countersign")).total, 26n);
});

test("a new key without a state goes on from what the chain has charged, and from nothing above it", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await client.complete(BODY);
  await gateway.next("countersign");
  await client.close();
  const below = { ...CHANNEL, chargedOnChain: 12n };
  await assert.rejects(fakeClient(t, gateway, { channel: below }).complete(BODY), { code: "bad_receipt" });
  const again = fakeClient(t, gateway, { channel: { ...CHANNEL, chargedOnChain: 13n } });
  await again.complete(BODY);
  assert.equal((await gateway.next("countersign")).total, 26n);
});

test("what answers cost lately is their average, rounded up", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  assert.equal(client.account().recentCharge, undefined);
  await client.complete(BODY);
  await gateway.next("countersign");
  assert.equal(client.account().recentCharge, 13n);
});

test("on trial the account says what is left of it after each answer", async (t) => {
  const welcome = (message: GatewayToClient): GatewayToClient =>
    message.type === "welcome" ? { ...message, trial: { completionTokens: 20_000, nanoton: 20n } } : message;
  const { client } = await fakeNetwork(t, { isTrial: true, hooks: { welcome } });
  await client.ready();
  assert.deepEqual(client.account().trial, { completionTokens: 20_000, nanoton: 20n });
  await client.complete(BODY);
  while (client.account().openStreams > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(client.account().trial, { completionTokens: 19_997, nanoton: 8n });
});

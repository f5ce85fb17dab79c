import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { EMPTY_CHAIN, redeemMessage, verifySignature, type Nanoton, type SignedVoucher } from "../../protocol/index.ts";
import { ask, greet } from "./client.fake.ts";
import { sayWords } from "./engine.fake.ts";
import { startFakeGateway, type FakeGateway } from "./gateway.fake.ts";
import { serveAt, startPair, statusWhere, type TestServing } from "./serving.fake.ts";

const OWNER = `0:${"11".repeat(32)}`;
const CHANNEL = `0:${"ab".repeat(32)}`;

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(overrides: Parameters<typeof startPair>[0] = {}) {
  const pair = await startPair({ owner: { address: OWNER }, ...overrides });
  cleanups.push(() => pair.stop());
  pair.engine.onJob = sayWords("yes");
  pair.gateway.says.welcome = { ownerNamed: true };
  return pair;
}

function voucher(gateway: FakeGateway, total: Nanoton, receipt = EMPTY_CHAIN): SignedVoucher {
  return gateway.sign({ type: "payout", networkId: gateway.networkId, channel: CHANNEL, total, receipt });
}

/** Sends a voucher and waits until it is taken or refused. */
async function promise({ gateway }: { gateway: FakeGateway }, total: Nanoton): Promise<void> {
  const heard = gateway.heard.length;
  gateway.send({ type: "voucher", ...voucher(gateway, total) });
  await gateway.heardOne("voucher_ack", heard);
}

const holdOf = ({ serving }: TestServing) => serving.status().gateways[0]?.hold;

function whereHeld({ serving }: TestServing, type: string | undefined) {
  return statusWhere(serving, ({ gateways: [at] }) => at?.hold?.type === type);
}

/** What a worker answers to a client who greets while it does nothing new for the gateway. */
async function greetingRefused(gateway: FakeGateway): Promise<unknown> {
  const routeId = gateway.newRouteId();
  gateway.send({ type: "route", kind: "hello", routeId, reservationId: `late-${routeId}` });
  const answer = await gateway.nextBytes(routeId);
  return answer instanceof Uint8Array ? "greeted" : answer.code;
}

test("a gateway that owes as much as the owner lets it is offered nothing more, until the chain has paid", async () => {
  const pair = await start({ debtLimit: 16_000n });
  const { gateway, serving } = pair;
  await ask(gateway, await greet(gateway));
  await gateway.heardOne("withdraw_offer");
  assert.deepEqual(holdOf(pair), { type: "debt", debt: 16_000n, limit: 16_000n });
  assert.equal(await greetingRefused(gateway), "busy");

  await promise(pair, 16_000n);
  assert.equal(holdOf(pair)?.type, "debt", "a promise is no payment");
  const [account] = serving.accounts();
  const heard = gateway.heard.length;
  await serving.setPaid(account ?? assert.fail(), 16_000n);

  await gateway.heardOne("offer", heard);
  assert.equal(holdOf(pair), undefined);
  assert.equal((await ask(gateway, await greet(gateway))).text, "yes");
});

test("a limit that is raised lets work go on at once", async () => {
  const pair = await start({ debtLimit: 16_000n });
  await ask(pair.gateway, await greet(pair.gateway));
  await pair.gateway.heardOne("withdraw_offer");
  const heard = pair.gateway.heard.length;
  pair.serving.setDebtLimit(16_001n);
  await pair.gateway.heardOne("offer", heard);
});

test("only the gateway that owes is not served", async () => {
  const [owing, other] = [await startFakeGateway(), await startFakeGateway()];
  cleanups.push(
    () => owing.stop(),
    () => other.stop(),
  );
  const both = await serveAt([owing, other], { owner: { address: OWNER }, debtLimit: 16_000n });
  cleanups.push(() => both.serving.stop(0));
  both.engine.onJob = sayWords("yes");
  await ask(owing, await greet(owing));
  await owing.heardOne("withdraw_offer");
  assert.equal((await ask(other, await greet(other))).text, "yes");
});

test("without a named owner a worker stops at what its gateway would owe without a promise", async () => {
  const pair = await start({ owner: undefined });
  pair.gateway.says.welcome = { ownerNamed: false };
  pair.serving.setDebtLimit(16_000n);
  await ask(pair.gateway, await greet(pair.gateway));
  await whereHeld(pair, "unnamed");
});

test("a gateway whose promise fell gets nothing more, until it shows the old one again", async () => {
  const pair = await start();
  const { gateway, serving } = pair;
  await gateway.heardOne("offer");
  await promise(pair, 700n);
  gateway.send({ type: "voucher", ...voucher(gateway, 600n) });
  const { gateways } = await whereHeld(pair, "promise-fell");
  assert.equal(gateways[0]?.problem?.code, "promise_fell");
  await gateway.heardOne("withdraw_offer");
  assert.equal(serving.accounts()[0]?.vouchers.report().voucheredTotal, 700n);

  const heard = gateway.heard.length;
  await promise(pair, 700n);
  await gateway.heardOne("offer", heard);
  assert.equal(holdOf(pair), undefined);
});

test("so does one that has two promises of one total", async () => {
  const pair = await start();
  await pair.gateway.heardOne("login");
  await promise(pair, 700n);
  pair.gateway.send({ type: "voucher", ...voucher(pair.gateway, 700n, new Uint8Array(32).fill(7)) });
  await whereHeld(pair, "promise-fell");
});

test("a gateway that was put back from an older copy is served once it has taken up what it is shown", async () => {
  const pair = await start();
  const { gateway } = pair;
  await gateway.heardOne("login");
  await promise(pair, 700n);
  const heard = gateway.heard.length;
  gateway.says.welcome = { ownerNamed: true, voucher: null };
  gateway.cut();
  assert.deepEqual((await gateway.heardOne("login", heard)).voucher, voucher(gateway, 700n));
  await whereHeld(pair, "promise-fell");
  gateway.says.welcome = { ownerNamed: true, voucher: voucher(gateway, 700n) };
  gateway.cut();
  await whereHeld(pair, undefined);
});

test("forged vouchers change nothing: neither what is held nor whether there is work", async () => {
  const pair = await start();
  const { gateway, serving } = pair;
  await gateway.heardOne("offer");
  await promise(pair, 700n);
  gateway.send({ type: "voucher", ...voucher(gateway, 900n), signature: new Uint8Array(64) });
  await statusWhere(serving, ({ gateways: [at] }) => at?.problem?.code === "bad_message");
  assert.equal(holdOf(pair), undefined);
  assert.equal(serving.status().gateways[0]?.vouchers.voucheredTotal, 700n);
});

test("what was promised for a channel that turns out to be another's is no reason to work on", async () => {
  let channel: string | undefined;
  const pair = await start({ channelAt: () => channel });
  await pair.gateway.heardOne("offer");
  await promise(pair, 700n);
  channel = CHANNEL;
  await pair.serving.learnChannels();
  assert.equal(holdOf(pair), undefined);
  channel = `0:${"cd".repeat(32)}`;
  await pair.serving.learnChannels();
  assert.deepEqual(holdOf(pair), { type: "other-channel" });
  await pair.gateway.heardOne("withdraw_offer");
});

test("a contract that is not what it should be ends the work, for as long as it is so", async () => {
  const pair = await start();
  const { gateway, serving } = pair;
  await gateway.heardOne("offer");
  const address = serving.accounts()[0]?.gateway ?? assert.fail();
  serving.setDistrust(address, { code: "gateway_contract", message: "its code is not known" });
  await gateway.heardOne("withdraw_offer");
  const heard = gateway.heard.length;
  serving.setDistrust(address, undefined);
  await gateway.heardOne("offer", heard);
});

test("a redeem is asked for with a leave that only this gateway can use, and what it keeps is not owed", async () => {
  const pair = await start();
  const { gateway, serving } = pair;
  await ask(gateway, await greet(gateway));
  await promise(pair, 16_000n);
  const { gateway: address } = serving.accounts()[0] ?? assert.fail();

  const asked = serving.requestRedeem(address, 1_000n);
  const { id, total, maxDeduction, signature } = await gateway.heardOne("redeem_request");
  assert.deepEqual([total, maxDeduction], [16_000n, 1_000n]);
  const { key } = await gateway.heardOne("login");
  const terms = { gatewayKey: gateway.key, networkId: gateway.networkId, owner: OWNER, total, maxDeduction };
  assert.ok(verifySignature(signature, redeemMessage(terms), key));

  await ask(gateway, await greet(gateway));
  await promise(pair, 31_500n);
  gateway.send({ type: "redeeming", id, total: 31_500n, deduction: 500n });
  assert.deepEqual(await asked, { total: 31_500n, deduction: 500n });
  assert.equal(serving.accounts()[0]?.vouchers.report().behind, 0n);
});

test("a gateway that keeps more for a redeem than it may owes the rest", async () => {
  const pair = await start();
  const { gateway, serving } = pair;
  await ask(gateway, await greet(gateway));
  await promise(pair, 16_000n);
  const asked = serving.requestRedeem(serving.accounts()[0]?.gateway ?? assert.fail(), 1_000n);
  const { id } = await gateway.heardOne("redeem_request");
  await ask(gateway, await greet(gateway));
  await promise(pair, 20_000n);
  gateway.send({ type: "redeeming", id, total: 20_000n, deduction: 12_000n });
  await asked;
  assert.equal(serving.accounts()[0]?.vouchers.report().behind, 11_000n);
  await statusWhere(serving, ({ gateways: [at] }) => at?.problem?.message.includes("more for a redeem") === true);
});

test("a redeem is refused with the gateway's code, forgotten with the link, and replaced by the next", async () => {
  const pair = await start();
  const { gateway, serving } = pair;
  await gateway.heardOne("offer");
  await promise(pair, 700n);
  const { gateway: address } = serving.accounts()[0] ?? assert.fail();

  const first = serving.requestRedeem(address, 10n);
  const replaced = assert.rejects(first, { code: "cancelled" });
  const second = serving.requestRedeem(address, 20n);
  await replaced;
  const before = gateway.heard.indexOf(await gateway.heardOne("redeem_request"));
  const { id } = await gateway.heardOne("redeem_request", before + 1);
  gateway.send({ type: "error", id, code: "unsupported_field" });
  await assert.rejects(second, { code: "unsupported_field" });

  const third = assert.rejects(serving.requestRedeem(address, 30n), { code: "gateway_unreachable" });
  gateway.cut();
  await third;
  await assert.rejects(serving.requestRedeem(address, 30n), { code: "gateway_unreachable" });
});

test("nobody is asked to redeem nothing, and what nobody asked for is kept from nobody", async () => {
  const pair = await start();
  const { gateway, serving } = pair;
  await ask(gateway, await greet(gateway));
  const { gateway: address, vouchers } = serving.accounts()[0] ?? assert.fail();
  await assert.rejects(serving.requestRedeem(address, 10n), { code: "nothing_to_withdraw" });
  gateway.send({ type: "redeeming", id: "redeem-1", total: 1n, deduction: 16_000n });
  await promise(pair, 1n);
  assert.equal(vouchers.report().behind, 15_999n);
});

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { EMPTY_CHAIN, Failure, type SignedVoucher } from "../../protocol/index.ts";
import { ask, greet, openStream, requestFor } from "./client.fake.ts";
import { fakeDisk } from "./disk.fake.ts";
import { sayWords } from "./engine.fake.ts";
import type { FakeGateway } from "./gateway.fake.ts";
import type { Owner } from "./link.ts";
import { serveAt, startPair, statusWhere } from "./serving.fake.ts";

/** The owner of a running worker: named late, and changed. */

const A = `0:${"aa".repeat(32)}`;
const B = `0:${"bb".repeat(32)}`;
const keep = (): Promise<void> => Promise.resolve();

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(overrides: Parameters<typeof startPair>[0] = {}) {
  const pair = await startPair({ channelAt: (_, owner) => channelOf(owner), ...overrides });
  cleanups.push(() => pair.stop());
  return pair;
}

function channelOf(owner: string): string {
  return `0:${owner.slice(2, 4).repeat(31)}01`;
}

function owner(address: string): Owner {
  const signature = new Uint8Array(64);
  return {
    address,
    proof: { address, stateInit: new Uint8Array([1]), domain: "app.example", timestamp: 1, signature },
  };
}

function voucherOf(gateway: FakeGateway, address: string, total: bigint): SignedVoucher {
  const channel = channelOf(address);
  return gateway.sign({ type: "payout", networkId: -3, channel, total, receipt: EMPTY_CHAIN });
}

const loginsOf = (gateway: FakeGateway) => gateway.heard.filter((message) => message.type === "login");

test("an owner who is named late is shown to the gateway by a login with the proof, and earns what was earned before", async () => {
  const { gateway, serving, engine } = await start();
  engine.onJob = sayWords("yes");
  await ask(gateway, await greet(gateway));
  const { totals, gateways } = serving.status();
  const [before] = gateways;
  assert.ok(totals.earned > 0n && before?.vouchers.behind === totals.earned);
  gateway.says.welcome = { ownerNamed: true, voucher: voucherOf(gateway, A, totals.earned) };
  const heard = gateway.heard.length;

  await serving.setOwner(owner(A), keep);

  const login = await gateway.heardOne("login", heard);
  assert.deepEqual([login.address, login.ownerProof], [A, owner(A).proof]);
  const after = await statusWhere(serving, ({ gateways: [at] }) => at?.vouchers.voucheredTotal === totals.earned);
  assert.deepEqual([after.owner, after.gateways[0]?.vouchers.behind], [A, 0n]);
  await gateway.heardOne("offer", heard);
});

test("what was earned before a name is owed until the gateway vouchers it to the owner", async () => {
  const { gateway, serving, engine } = await start();
  engine.onJob = sayWords("yes");
  await ask(gateway, await greet(gateway));
  const { earned } = serving.status().totals;
  gateway.says.welcome = { ownerNamed: true };
  await serving.setOwner(owner(A), keep);
  const named = await statusWhere(serving, ({ gateways: [at] }) => at?.link.phase === "ready" && at.link.ownerNamed);
  assert.equal(named.gateways[0]?.vouchers.behind, earned);
});

test("an answer that runs ends before the link changes its owner, and nothing new begins", async () => {
  const { gateway, serving, engine } = await start();
  const held = Promise.withResolvers<() => void>();
  engine.onJob = (job) => held.resolve(() => sayWords("late")(job));
  const session = await greet(gateway);
  const stream = await openStream(gateway, session);
  stream.sendRequest(requestFor(session, stream));
  const answer = await held.promise;
  const connections = gateway.connections;

  await serving.setOwner(owner(A), keep);

  await gateway.heardOne("withdraw_offer");
  assert.equal(gateway.connections, connections);
  answer();
  assert.equal((await stream.reply()).text, "late");
  const login = await gateway.heardOne("login", 1);
  assert.equal(login.address, A);
});

test("a former owner's vouchers are kept beside the new one's, also over a restart", async () => {
  const disk = fakeDisk();
  const { gateway, serving } = await start({ owner: owner(A), disk });
  await gateway.heardOne("login");
  gateway.send({ type: "voucher", ...voucherOf(gateway, A, 700n) });
  await gateway.heardOne("voucher_ack");
  const heard = gateway.heard.length;
  await serving.setOwner(owner(B), keep);
  await gateway.heardOne("login", heard);
  gateway.send({ type: "voucher", ...voucherOf(gateway, B, 50n) });
  await gateway.heardOne("voucher_ack", heard);
  const both = [
    { owner: B, voucher: voucherOf(gateway, B, 50n) },
    { owner: A, voucher: voucherOf(gateway, A, 700n) },
  ];
  assert.deepEqual(
    serving.vouchers().map(({ owner: address, voucher }) => ({ owner: address, voucher })),
    both,
  );

  const again = await serveAt([gateway], {
    disk,
    owner: owner(B),
    formerOwners: [A],
    channelAt: (_, address) => channelOf(address),
  });
  cleanups.push(() => again.serving.stop(0));
  assert.deepEqual(
    again.serving.vouchers().map(({ owner: address, voucher }) => ({ owner: address, voucher })),
    both,
  );
});

test("an owner who returns goes on from the voucher of before", async () => {
  const { gateway, serving } = await start({ owner: owner(A) });
  await gateway.heardOne("login");
  gateway.send({ type: "voucher", ...voucherOf(gateway, A, 700n) });
  await gateway.heardOne("voucher_ack");
  for (const address of [B, A]) {
    const heard = gateway.heard.length;
    gateway.says.welcome = address === A ? { voucher: voucherOf(gateway, A, 700n) } : {};
    await serving.setOwner(owner(address), keep);
    const login = await gateway.heardOne("login", heard);
    assert.equal(login.address, address);
  }
  assert.equal(serving.status().gateways[0]?.vouchers.voucheredTotal, 700n);
  await statusWhere(serving, ({ gateways: [at] }) => (at?.offered.length ?? 0) > 0);
  gateway.send({ type: "voucher", ...voucherOf(gateway, A, 600n) });
  const told = await statusWhere(serving, ({ gateways: [at] }) => at?.problem !== undefined);
  assert.match(told.gateways[0]?.problem?.message ?? "", /shrunk/);
  assert.deepEqual(
    serving.vouchers().map(({ owner: address }) => address),
    [A],
  );
});

test("the same owner with a newer proof does not interrupt a gateway that knows it", async () => {
  const { gateway, serving } = await start({ owner: owner(A) });
  gateway.says.welcome = { ownerNamed: true };
  gateway.cut();
  await statusWhere(serving, ({ gateways: [at] }) => at?.link.phase === "ready" && at.link.ownerNamed);
  const { connections } = gateway;
  await serving.setOwner(owner(A), keep);
  await statusWhere(serving, ({ gateways: [at] }) => (at?.offered.length ?? 0) > 0);
  assert.equal(gateway.connections, connections);
});

test("an owner who cannot be written down changes nothing", async () => {
  const { gateway, serving } = await start();
  await gateway.heardOne("login");
  await assert.rejects(
    serving.setOwner(owner(A), () => Promise.reject(new Failure("disk_full"))),
    { code: "disk_full" },
  );
  assert.equal(serving.status().owner, undefined);
  assert.equal(loginsOf(gateway).length, 1);
});

test("a link that is down when the owner is named says the name when it is back", async () => {
  const { gateway, serving } = await start();
  await gateway.heardOne("login");
  gateway.says.refusal = { type: "error", code: "rate_limited" };
  gateway.cut();
  await statusWhere(serving, ({ gateways: [at] }) => at?.link.phase === "waiting" && at.link.code === "rate_limited");
  gateway.says.refusal = undefined;
  const heard = gateway.heard.length;
  await serving.setOwner(owner(A), keep);
  assert.equal((await gateway.heardOne("login", heard)).address, A);
});

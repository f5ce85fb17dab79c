import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodePayload,
  Failure,
  keyPairFromSeed,
  payloadHash,
  type PayoutVoucher,
  type SignedVoucher,
} from "../../protocol/index.ts";
import { fakeDisk, type FakeDisk } from "./disk.fake.ts";
import { createVerifier } from "./identity.ts";
import { openVoucherKeeper, type VoucherKeeper } from "./vouchers.ts";

const gateway = keyPairFromSeed(new Uint8Array(32).fill(1));
const stranger = keyPairFromSeed(new Uint8Array(32).fill(2));
const CHANNEL = `0:${"ab".repeat(32)}`;
const OTHER_CHANNEL = `0:${"cd".repeat(32)}`;

function voucher(total: bigint, overrides: Partial<PayoutVoucher> = {}, signer = gateway): SignedVoucher {
  const receipt = new Uint8Array(32).fill(Number(total % 251n));
  const payload: PayoutVoucher = { type: "payout", networkId: -3, channel: CHANNEL, total, receipt, ...overrides };
  return { boc: encodePayload(payload), signature: signer.sign(payloadHash(payload)) };
}

function open(disk: FakeDisk = fakeDisk(), channel?: string): Promise<VoucherKeeper> {
  const owner = `0:${"11".repeat(32)}`;
  return openVoucherKeeper({
    gatewayKey: gateway.publicKey,
    owner,
    networkId: -3,
    channel,
    disk,
    verify: createVerifier(),
  });
}

test("a voucher is on the disk before it is acknowledged, and is there after a restart", async () => {
  const disk = fakeDisk();
  const keeper = await open(disk);
  assert.equal(await keeper.take(voucher(500n)), 500n);
  assert.deepEqual((await open(disk)).newest(), voucher(500n));
});

test("a crash between receiving and acknowledging leaves the old voucher or the new one, never neither", async () => {
  for (const isWritten of [false, true]) {
    const disk = fakeDisk();
    await (await open(disk)).take(voucher(500n));
    const interrupted = await open(disk);
    disk.isFull = !isWritten;
    await interrupted.take(voucher(900n)).catch(() => undefined);
    disk.isFull = false;
    const restarted = await open(disk);
    assert.equal(restarted.report().voucheredTotal, isWritten ? 900n : 500n);
    assert.equal(await restarted.take(voucher(900n)), 900n, "what was not acknowledged comes again");
  }
});

test("a voucher that cannot be written is not acknowledged and not reported", async () => {
  const disk = fakeDisk();
  const keeper = await open(disk);
  disk.isFull = true;
  await assert.rejects(keeper.take(voucher(500n)), { code: "disk_full" });
  assert.equal(keeper.report().voucheredTotal, 0n);
  disk.isFull = false;
  assert.equal(await keeper.take(voucher(500n)), 500n);
});

const refused: { readonly name: string; readonly bad: SignedVoucher }[] = [
  { name: "a total that shrinks", bad: voucher(499n) },
  { name: "the same total for other receipts", bad: voucher(500n, { receipt: new Uint8Array(32).fill(200) }) },
  { name: "another channel", bad: voucher(900n, { channel: OTHER_CHANNEL }) },
  { name: "another TON network", bad: voucher(900n, { networkId: -239 }) },
  { name: "another signer", bad: voucher(900n, {}, stranger) },
  { name: "a signature over something else", bad: { ...voucher(900n), signature: voucher(901n).signature } },
  { name: "bytes that are no voucher", bad: { ...voucher(900n), boc: new Uint8Array(50) } },
];
for (const { name, bad } of refused) {
  test(`a voucher with ${name} is refused, and the one that is held stays`, async () => {
    const disk = fakeDisk();
    const keeper = await open(disk);
    await keeper.take(voucher(500n));
    await assert.rejects(keeper.take(bad), { code: "bad_message" });
    assert.deepEqual(keeper.newest(), voucher(500n));
    assert.deepEqual((await open(disk)).newest(), voucher(500n));
  });
}

test("a voucher signed for a client is none for a worker", async () => {
  const keeper = await open();
  const payload = {
    type: "charge",
    networkId: -3,
    channel: CHANNEL,
    total: 900n,
    receipt: new Uint8Array(32),
  } as const;
  const signed = { boc: encodePayload(payload), signature: gateway.sign(payloadHash(payload)) };
  await assert.rejects(keeper.take(signed), { code: "bad_message" });
});

test("where the channel can be computed, the very first voucher must name it", async () => {
  const keeper = await open(fakeDisk(), OTHER_CHANNEL);
  await assert.rejects(keeper.take(voucher(500n)), { code: "bad_message" });
});

test("a voucher that is held already is acknowledged again", async () => {
  const keeper = await open();
  await keeper.take(voucher(500n));
  assert.equal(await keeper.take(voucher(500n)), 500n);
});

test("of vouchers that come faster than the disk writes, the newest is kept and acknowledged for all", async () => {
  const keeper = await open();
  const totals = await Promise.all([1n, 2n, 3n, 4n].map((total) => keeper.take(voucher(total))));
  assert.deepEqual(totals, [1n, undefined, undefined, 4n]);
  assert.equal(keeper.report().voucheredTotal, 4n);
});

test("what this worker earned is held against what the vouchers grew by since", async () => {
  const keeper = await open();
  await keeper.take(voucher(1000n)); // what other workers of the owner earned before
  keeper.earn(300n);
  assert.deepEqual(keeper.report(), { earnedOwnCount: 300n, voucheredTotal: 1000n, behind: 300n });
  await keeper.take(voucher(1200n));
  assert.equal(keeper.report().behind, 100n);
  await keeper.take(voucher(1900n)); // and by what another worker earned meanwhile
  assert.equal(keeper.report().behind, 0n);
});

test("the own count survives a restart", async () => {
  const disk = fakeDisk();
  const keeper = await open(disk);
  keeper.earn(300n);
  await keeper.save();
  const restarted = await open(disk);
  assert.deepEqual(restarted.report(), { earnedOwnCount: 300n, voucheredTotal: 0n, behind: 300n });
});

test("a damaged voucher file stops the start instead of being forgotten", async () => {
  const disk = fakeDisk();
  await (await open(disk)).take(voucher(500n));
  const [name] = disk.files.keys();
  for (const damage of [
    "{",
    '{"v":1}',
    '{"v":1,"voucher":{"boc":"AAAA","signature":"AAAA"},"earnedOwnCount":"0","baseline":"0"}',
  ]) {
    disk.files.set(name ?? "", Buffer.from(damage));
    await assert.rejects(open(disk), (error) => error instanceof Failure && error.code === "storage_failed");
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodePayload,
  Failure,
  keyPairFromSeed,
  payloadHash,
  toHex,
  type FailureCode,
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

function open(disk: FakeDisk = fakeDisk(), channel?: string, counted = 0n): Promise<VoucherKeeper> {
  const owner = `0:${"11".repeat(32)}`;
  return openVoucherKeeper({
    gatewayKey: gateway.publicKey,
    owner,
    networkId: -3,
    channel,
    counted,
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

test("what else is written while a voucher is on its way to the disk does not put the older one over it", async () => {
  const disk = fakeDisk();
  const room = Promise.withResolvers<undefined>();
  const slow: FakeDisk = {
    ...disk,
    async write(name, bytes) {
      await room.promise;
      await disk.write(name, bytes);
    },
  };
  const keeper = await open(slow);
  const taken = keeper.take(voucher(500n));
  const paid = keeper.setPaid(200n);
  room.resolve(undefined);
  assert.equal(await taken, 500n);
  await paid;
  const restarted = await open(disk);
  assert.deepEqual(restarted.newest(), voucher(500n));
  assert.equal(restarted.report().paid, 200n);
});

const refused: { readonly name: string; readonly bad: SignedVoucher; readonly code?: FailureCode }[] = [
  { name: "a total that shrinks", bad: voucher(499n), code: "promise_fell" },
  {
    name: "the same total for other receipts",
    bad: voucher(500n, { receipt: new Uint8Array(32).fill(200) }),
    code: "promise_fell",
  },
  { name: "more coins than there are", bad: voucher(2n ** 63n) },
  { name: "the largest total that a cell can hold", bad: voucher(2n ** 120n - 1n) },
  { name: "half of its bytes", bad: { ...voucher(900n), boc: voucher(900n).boc.slice(0, 40) } },
  { name: "more bytes than one has", bad: { ...voucher(900n), boc: new Uint8Array([...voucher(900n).boc, 0]) } },
  { name: "half of a signature", bad: { ...voucher(900n), signature: new Uint8Array(32) } },
  { name: "another channel", bad: voucher(900n, { channel: OTHER_CHANNEL }) },
  { name: "another TON network", bad: voucher(900n, { networkId: -239 }) },
  { name: "another signer", bad: voucher(900n, {}, stranger) },
  { name: "a signature over something else", bad: { ...voucher(900n), signature: voucher(901n).signature } },
  { name: "bytes that are no voucher", bad: { ...voucher(900n), boc: new Uint8Array(50) } },
];
for (const { name, bad, code = "bad_message" } of refused) {
  test(`a voucher with ${name} is refused, and the one that is held stays`, async () => {
    const disk = fakeDisk();
    const keeper = await open(disk);
    await keeper.take(voucher(500n));
    await assert.rejects(keeper.take(bad), { code });
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
  const { earnedOwnCount, voucheredTotal, behind } = keeper.report();
  assert.deepEqual(
    { earnedOwnCount, voucheredTotal, behind },
    { earnedOwnCount: 300n, voucheredTotal: 1000n, behind: 300n },
  );
  await keeper.take(voucher(1200n));
  assert.equal(keeper.report().behind, 100n);
  await keeper.take(voucher(1900n)); // and by what another worker earned meanwhile
  assert.equal(keeper.report().behind, 0n);
});

test("what others of the owner earned before this worker did is nothing that the gateway has made good", async () => {
  const disk = fakeDisk();
  await (await open(disk)).take(voucher(1000n));
  const restarted = await open(disk);
  await restarted.take(voucher(5000n));
  restarted.earn(300n);
  assert.equal(restarted.report().behind, 300n);
});

test("the own count survives a restart", async () => {
  const disk = fakeDisk();
  const keeper = await open(disk);
  keeper.earn(300n);
  await keeper.save();
  assert.deepEqual((await open(disk)).report(), keeper.report());
});

test("an own count that a kill cut short is taken from the record of answers", async () => {
  const disk = fakeDisk();
  const keeper = await open(disk);
  await keeper.take(voucher(1000n));
  keeper.earn(300n);
  await keeper.take(voucher(1300n));
  keeper.earn(50n); // and killed
  const restarted = await open(disk, undefined, 350n);
  assert.equal(restarted.report().earnedOwnCount, 350n);
  assert.equal(restarted.report().behind, 50n);
});

test("a gateway owes what it promised and the chain has not paid, and what it has not promised yet", async () => {
  const disk = fakeDisk();
  const keeper = await open(disk);
  keeper.earn(700n);
  await keeper.take(voucher(500n));
  assert.equal(keeper.report().debt, 700n);
  await keeper.setPaid(400n);
  await keeper.setPaid(100n); // a node that lags
  assert.deepEqual([keeper.report().paid, keeper.report().debt], [400n, 300n]);
  assert.deepEqual((await open(disk)).report(), keeper.report());
});

test("the chain may have paid a voucher that another worker of the owner got", async () => {
  const keeper = await open();
  await keeper.take(voucher(500n));
  await keeper.setPaid(800n);
  assert.deepEqual([keeper.report().paid, keeper.report().debt], [500n, 0n]);
  await keeper.take(voucher(900n));
  assert.deepEqual([keeper.report().paid, keeper.report().debt], [800n, 100n]);
});

test("what a gateway may keep for a redeem is nothing that it owes", async () => {
  const disk = fakeDisk();
  const keeper = await open(disk);
  keeper.earn(700n);
  keeper.deduct(20n);
  await keeper.take(voucher(680n));
  assert.equal(keeper.report().behind, 0n);
  assert.equal((await open(disk)).report().behind, 0n);
});

test("when the channel becomes known, a voucher of another is found to be worth nothing", async () => {
  const keeper = await open();
  await keeper.take(voucher(500n));
  keeper.setChannel(CHANNEL);
  assert.equal(keeper.hasOtherChannel(), false);
  keeper.setChannel(OTHER_CHANNEL);
  assert.equal(keeper.hasOtherChannel(), true);
  await assert.rejects(keeper.take(voucher(900n)), { code: "bad_message" });
});

test("each network, gateway and owner has a file of its own, and none is taken for another's", async () => {
  const disk = fakeDisk();
  await (await open(disk)).take(voucher(500n));
  const [name = ""] = disk.files.keys();
  assert.equal(name, `voucher--3-${toHex(gateway.publicKey).slice(0, 16)}-${"11".repeat(8)}.json`);
  const bytes = disk.files.get(name) ?? new Uint8Array();
  const ofAnother = new TextDecoder().decode(bytes).replace(`0:${"11".repeat(32)}`, `0:${"11".repeat(31)}22`);
  disk.files.set(name, Buffer.from(ofAnother));
  await assert.rejects(open(disk), { code: "storage_failed" });
});

test("a damaged voucher file stops the start instead of being forgotten", async () => {
  const disk = fakeDisk();
  await (await open(disk)).take(voucher(500n));
  const [name] = disk.files.keys();
  const whole = new TextDecoder().decode(disk.files.get(name ?? ""));
  for (const damage of ["{", '{"v":2}', whole.slice(0, -1), whole.replace(/"boc":"[^"]{8}/, '"boc":"AAAAAAAA')]) {
    disk.files.set(name ?? "", Buffer.from(damage));
    await assert.rejects(open(disk), (error) => error instanceof Failure && error.code === "storage_failed");
  }
});

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { parsePayload, redeemMessage, type RedeemRequest, type SignedVoucher } from "../protocol/index.ts";
import { checkConservation, ownerBook } from "./books.ts";
import { localChannels } from "./channels.ts";
import { Charging } from "./charging.ts";
import { charge, OWNER } from "./entries.fake.ts";
import { encodeEntry, type RedeemEntry } from "./entries.ts";
import { movedClock } from "./gateway.fake.ts";
import { openJournal, type Journal } from "./journal.ts";
import { signerFromSeed } from "./signatures.ts";
import type { Sponsorship } from "./sponsoring.ts";
import { fakeStore } from "./store.fake.ts";

const GATEWAY = signerFromSeed(new Uint8Array(32).fill(1));
const WORKER = signerFromSeed(new Uint8Array(32).fill(2));
const NETWORK_ID = -777;

interface Desk {
  readonly journal: Journal;
  readonly charging: Charging;
  /** Half a minute passes: what nobody answered is promised. */
  readonly settle: () => Promise<void>;
  readonly ready: SignedVoucher[];
  readonly ask: (request: RedeemEntry["request"], deduction?: bigint) => ReturnType<Charging["sponsor"]>;
}

/** A ledger with charges of 100 and 200 nanoton that wait to be promised. */
async function desk(t: TestContext): Promise<Desk> {
  const rows = [charge(100), charge(200)].map(encodeEntry);
  const events = {
    committed: () => undefined,
    trouble: () => undefined,
    bug: (error: unknown) => assert.fail(String(error)),
  };
  const journal = await openJournal(fakeStore(rows), events);
  t.after(() => journal.close());
  const clock = movedClock();
  const charging = new Charging({ journal, signer: GATEWAY, networkId: NETWORK_ID, channels: localChannels(), clock });
  const ready: SignedVoucher[] = [];
  return {
    journal,
    charging,
    ready,
    async settle() {
      clock.advance(30_001);
      charging.tick();
      await journal.flushed();
    },
    ask(request, deduction = 30n) {
      const sponsorship: Sponsorship = { owner: OWNER, request, deduction, ready: (voucher) => ready.push(voucher) };
      return charging.sponsor(sponsorship);
    },
  };
}

function leave(overrides: Partial<RedeemRequest> = {}, signer = WORKER): RedeemEntry["request"] {
  const { total, maxDeduction, ...rest } = { total: 0n, maxDeduction: 50n, ...overrides };
  const message = redeemMessage({
    gatewayKey: GATEWAY.publicKey,
    networkId: NETWORK_ID,
    owner: OWNER,
    ...rest,
    total,
    maxDeduction,
  });
  return { identityKey: WORKER.publicKey, total, maxDeduction, signature: signer.sign(message) };
}

test("a redeem is paid out of the owner's next earnings, and the voucher to redeem is made when that is written", async (t) => {
  const { journal, ask, settle, ready } = await desk(t);
  assert.equal(ask(leave()), undefined);
  assert.equal(ready.length, 0);
  await settle();
  const totals = ready.map(({ boc }) => parsePayload(boc)).map((one) => (one.type === "payout" ? one.total : one.type));
  assert.deepEqual(totals, [270n]);
  assert.deepEqual(journal.ledger.sums, { charges: 330n, gatewayPaid: 0n, earnings: 270n, fees: 60n });
  checkConservation(journal.ledger);
});

test("without a leave nothing is deducted, and a leave is used once", async (t) => {
  const { journal, ask, settle, ready } = await desk(t);
  const request = leave();
  assert.equal(ask(request), undefined);
  await settle();
  journal.append([charge(500)]);
  assert.equal(ask(request), "replay");
  assert.equal(ask(leave({ total: 269n })), "replay");
  assert.equal(ask(leave({ total: 271n })), "replay");
  assert.equal(ask(leave({ total: 270n })), undefined);
  assert.equal(ready.length, 1);
});

test("earnings that cannot bear the deduction are promised whole, and the redeem waits", async (t) => {
  const { journal, ask, settle, ready } = await desk(t);
  assert.equal(ask(leave({ maxDeduction: 300n }), 300n), undefined);
  await settle();
  assert.equal(ownerBook(journal.ledger, OWNER).total, 300n);
  assert.deepEqual(ready, []);
});

const REFUSED: readonly (readonly [string, RedeemEntry["request"], bigint])[] = [
  ["another key signed", leave({}, GATEWAY), 30n],
  ["was given to another gateway", leave({ gatewayKey: WORKER.publicKey }), 30n],
  ["was given on another network", leave({ networkId: -239 }), 30n],
  ["was given for another owner", leave({ owner: `0:${"0b".repeat(32)}` }), 30n],
  ["allows less than is deducted", leave({ maxDeduction: 29n }), 30n],
  ["was changed to allow more", { ...leave(), maxDeduction: 1000n }, 30n],
  ["names no key", { ...leave(), identityKey: new Uint8Array(32) }, 30n],
  ["would deduct nothing", leave(), 0n],
];
for (const [what, request, deduction] of REFUSED) {
  test(`a leave that ${what} is bad_message, and earnings are promised whole`, async (t) => {
    const { journal, ask, settle } = await desk(t);
    assert.equal(ask(request, deduction), "bad_message");
    await settle();
    assert.equal(ownerBook(journal.ledger, OWNER).total, 300n);
  });
}

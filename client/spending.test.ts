import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodePayload,
  Failure,
  keyPairFromSeed,
  payloadHash,
  type GatewayToClient,
  type MessageOf,
  type Nanoton,
} from "../protocol/index.ts";
import { createAccount, type Account } from "./account.ts";
import type { FakeStream } from "./gateway.fake.ts";
import { memoryJournal, type Journal } from "./index.ts";
import { BODY, CHANNEL, fakeNetwork } from "./network.fake.ts";
import { nodeSignatures } from "./node-signing.ts";
import type { StreamFacts, StreamTerms } from "./receipts.ts";
import { checkCap, dayOf, fitsCap, type Spending, type SpendingCap } from "./spending.ts";

const SPENDING: Spending = { total: 100n, dayStart: 60n, open: 10n };

const CASES: readonly (readonly [what: string, cap: SpendingCap, worst: Nanoton, fits: boolean])[] = [
  ["without a cap everything fits", {}, 10n ** 18n, true],
  ["a day's cap counts what was signed today and what is open", { perDay: 80n }, 30n, true],
  ["a nanoton more than is left today does not fit", { perDay: 80n }, 31n, false],
  ["a cap in all counts every day", { inAll: 140n }, 30n, true],
  ["a nanoton more than is left in all does not fit", { inAll: 140n }, 31n, false],
  ["the smaller of two caps decides", { perDay: 1000n, inAll: 140n }, 31n, false],
  ["a cap that was passed before leaves nothing", { perDay: 20n }, 1n, false],
  ["what costs nothing fits a cap that is used up", { perDay: 50n }, 0n, true],
];

for (const [what, cap, worst, fits] of CASES) {
  test(what, () => {
    assert.equal(fitsCap(cap, SPENDING, worst), fits);
    if (fits) assert.doesNotThrow(() => checkCap(cap, SPENDING, worst));
    else assert.throws(() => checkCap(cap, SPENDING, worst), { code: "spending_cap" });
  });
}

test("a refusal says what it could cost and what is left of which cap", () => {
  assert.throws(() => checkCap({ inAll: 2_000_000_110n }, SPENDING, 3_000_000_000n), {
    message: /could cost 3 TON, and 2 TON of the cap are left in all/,
  });
});

test("days end at midnight UTC", () => {
  assert.equal(dayOf(Date.UTC(2026, 8, 1, 23, 59, 59, 999)) + 1, dayOf(Date.UTC(2026, 8, 2)));
});

const SHORT = { ...BODY, max_tokens: 4 };

test("a request that could pass the cap is refused before its first byte leaves", async (t) => {
  const { gateway, client } = await fakeNetwork(t, {}, { cap: { inAll: 100n } });
  await assert.rejects(client.complete(SHORT), { code: "spending_cap" });
  assert.deepEqual(gateway.requests, []);
  assert.ok(gateway.received.every(({ type }) => type !== "open"));
  assert.equal(client.account().openStreams, 0);
});

test("what is under way is held at its worst, and what has ended at what it costs", async (t) => {
  const held: FakeStream[] = [];
  const answer = (stream: FakeStream): void => void held.push(stream);
  const measured = await fakeNetwork(t, { workers: [{ answer }] });
  const asked = measured.client.complete(SHORT).catch(() => undefined);
  while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const worst = measured.client.account().openNanoton;
  assert.ok(worst > 500n, `${worst} nanoton`);
  held[0]?.end();
  await asked;

  // Room for one at its worst beside one that has ended, not for two at their worst.
  const { gateway, client } = await fakeNetwork(t, { workers: [{ answer }] }, { cap: { perDay: worst + 50n } });
  gateway.hooks.charge = () => undefined; // no receipt comes
  const first = client.complete(SHORT);
  while (held.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  await assert.rejects(client.complete(SHORT), { code: "spending_cap" });
  held[1]?.end();
  await first;
  assert.ok(client.account().openNanoton < 50n);
  const second = client.complete(SHORT);
  while (held.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  held[2]?.end();
  await second;
});

const DAY_MS = 86_400_000;
const NOON = Date.UTC(2026, 8, 1, 12);
const gatewayKeys = keyPairFromSeed(new Uint8Array(32).fill(1));
const payer = nodeSignatures().paymentKey(new Uint8Array(32).fill(2));

/** 512 prompt tokens beside its bytes, at one nanoton each: 600 at most. */
const TERMS: StreamTerms = {
  reservationId: "r1",
  sessionId: "00".repeat(16),
  streamId: 1,
  identityKey: new Uint8Array(32),
  manifestRoot: "11".repeat(32),
  offerHash: "22".repeat(32),
  price: { prompt: 1_000_000n, cached: 1_000_000n, completion: 1_000_000n },
  feeBps: 0,
  promptBytes: 80,
  maxTokens: 8,
};

const NOTHING_YET: StreamFacts = {
  requestHash: undefined,
  responseHash: undefined,
  end: undefined,
  tokenIds: 0,
  dataFrames: 0,
  bound: 0,
};

function accountAt(now: () => number, journal: Journal, cap: SpendingCap, elapsed = () => 0): Account {
  const { verify } = nodeSignatures();
  const options = { key: payer, verify, gatewayKey: gatewayKeys.publicKey, channel: CHANNEL, cap, journal };
  return createAccount({ ...options, now, elapsed, log: () => undefined });
}

/** What the gateway shows of a total that was countersigned. */
async function welcome(total: Nanoton): Promise<MessageOf<GatewayToClient, "welcome">> {
  const { networkId, address } = CHANNEL;
  const voucher = { type: "charge", networkId, channel: address, total, receipt: new Uint8Array(32) } as const;
  const hash = payloadHash(voucher);
  const signatures = { signature: await payer.sign(hash), gatewaySignature: gatewayKeys.sign(hash) };
  return { type: "welcome", feeBps: 500, countersigned: { boc: encodePayload(voucher), ...signatures } };
}

/** Whether a stream that could cost 600 may be opened; it then never is charged. */
function opens(account: Account, reservationId: string, facts: Partial<StreamFacts> = {}): boolean {
  try {
    account.opened({ ...TERMS, reservationId }, { facts: () => ({ ...NOTHING_YET, ...facts }) });
    return true;
  } catch (error) {
    if (error instanceof Failure && error.code === "spending_cap") return false;
    throw error;
  }
}

test("a day's cap is whole again on the next day, and a restart does not make it so", async () => {
  const journal = memoryJournal();
  let now = NOON;
  const day = accountAt(() => now, journal, { perDay: 1000n });
  day.welcome(await welcome(5_000n));
  assert.equal(opens(day, "r1"), true);
  day.welcome(await welcome(5_401n));

  const restarted = accountAt(() => now, journal, { perDay: 1000n });
  assert.equal(opens(restarted, "r2"), false);
  now += DAY_MS;
  assert.equal(opens(restarted, "r3"), true);
});

test("the day a total was reached on outlives the journal's rewriting", async () => {
  const journal = memoryJournal();
  const account = accountAt(() => NOON, journal, { perDay: 1000n });
  account.welcome(await welcome(5_000n));
  opens(account, "r1");
  account.welcome(await welcome(5_401n));
  for (let restarts = 0; restarts < 2; restarts++) {
    assert.equal(
      opens(
        accountAt(() => NOON, journal, { perDay: 1000n }),
        "r2",
      ),
      false,
    );
  }
});

test("a stream that was never charged is held until its receipt cannot come any more", () => {
  let elapsed = 0;
  const account = accountAt(
    () => NOON,
    memoryJournal(),
    { inAll: 700n },
    () => elapsed,
  );
  assert.equal(opens(account, "r1"), true);
  elapsed = 900_000;
  assert.equal(opens(account, "r2"), false);
  elapsed = 900_001;
  assert.equal(opens(account, "r3"), true);
});

test("an answer that was aborted is held at the tokens that arrived", () => {
  const account = accountAt(() => NOON, memoryJournal(), { inAll: 605n });
  assert.equal(opens(account, "r1", { responseHash: new Uint8Array(32), tokenIds: 5 }), true);
  assert.equal(account.summary().openNanoton, 5n);
  assert.equal(opens(account, "r2"), true);
  assert.equal(opens(account, "r3"), false);
});

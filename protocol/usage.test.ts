import assert from "node:assert/strict";
import test from "node:test";
import { Failure } from "./failure.ts";
import { pick, seededRandom } from "./parties.fake.ts";
import { askFits, chargeFor, checkPriceSheet, holdFor, NO_USAGE, type PriceSheet, type TokenUsage } from "./usage.ts";

const PRICE: PriceSheet = { prompt: 100n, cached: 10n, completion: 400n };

function usage(promptTokens: number, cachedTokens: number, completionTokens: number): TokenUsage {
  return { promptTokens, cachedTokens, completionTokens };
}

test("the worker's part rounds down, the client's rounds up, and the fee is what lies between", () => {
  const cases: readonly (readonly [TokenUsage, PriceSheet, number, bigint, bigint])[] = [
    [NO_USAGE, PRICE, 500, 0n, 0n],
    // one token at one nanoton per million: the worker gets nothing, the client pays the least coin there is
    [usage(1, 0, 0), { prompt: 1n, cached: 0n, completion: 0n }, 500, 0n, 1n],
    [usage(1_000_000, 0, 0), PRICE, 0, 100n, 100n],
    [usage(1_000_000, 0, 0), PRICE, 500, 100n, 105n],
    [usage(1_000_000, 1_000_000, 0), PRICE, 500, 10n, 11n],
    [usage(1_000_000, 400_000, 1_000_000), PRICE, 500, 464n, 488n],
    [usage(24, 8, 7), { prompt: 50_000_000n, cached: 10_000_000n, completion: 200_000_000n }, 500, 2280n, 2394n],
    // exactly on the border, and one token past it
    [usage(10_000, 0, 0), { prompt: 100n, cached: 0n, completion: 0n }, 0, 1n, 1n],
    [usage(10_001, 0, 0), { prompt: 100n, cached: 0n, completion: 0n }, 0, 1n, 2n],
    [usage(19_999, 0, 0), { prompt: 100n, cached: 0n, completion: 0n }, 0, 1n, 2n],
  ];
  for (const [used, price, feeBps, earned, charge] of cases)
    assert.deepEqual(chargeFor(used, price, feeBps), { charge, earned, fee: charge - earned });
});

test("cached tokens are a part of the prompt, never added to it", () => {
  assert.equal(chargeFor(usage(1_000_000, 1_000_000, 0), PRICE, 0).earned, PRICE.cached);
});

test("no coin is made or lost: charge = earned + fee, for any usage, price and fee", () => {
  const random = seededRandom(11);
  for (let i = 0; i < 20_000; i++) {
    const promptTokens = pick(random, 2 ** (i % 32));
    const used = usage(promptTokens, pick(random, promptTokens + 1), pick(random, 2 ** 20));
    const prompt = BigInt(pick(random, 2 ** 31)) ** BigInt(1 + (i % 3));
    const price = { prompt, cached: prompt / 3n, completion: BigInt(pick(random, 2 ** 31)) };
    const feeBps = pick(random, 1001);
    const { charge, earned, fee } = chargeFor(used, price, feeBps);
    assert.equal(charge, earned + fee);
    assert.ok(earned >= 0n && fee >= 0n);
    const exact = sumOf(used, price) * BigInt(10_000 + feeBps);
    assert.ok(earned * 10n ** 6n <= sumOf(used, price) && (earned + 1n) * 10n ** 6n > sumOf(used, price));
    assert.ok(charge * 10n ** 10n >= exact && (charge - 1n) * 10n ** 10n < exact);
  }
});

test("a hold covers every charge that the reservation allows", () => {
  const random = seededRandom(12);
  for (let i = 0; i < 5000; i++) {
    const maxPromptBytes = pick(random, 100_000);
    const maxCompletionTokens = pick(random, 10_000);
    const promptTokens = pick(random, maxPromptBytes + 513);
    const used = usage(promptTokens, pick(random, promptTokens + 1), pick(random, maxCompletionTokens + 1));
    const hold = holdFor(maxPromptBytes, maxCompletionTokens, PRICE, 1000);
    assert.ok(chargeFor(used, PRICE, 1000).charge <= hold);
  }
});

test("a hold counts the bytes as tokens, the template's 512, and no cache", () => {
  assert.equal(holdFor(1_000_000 - 512, 0, PRICE, 0), 100n);
  assert.equal(holdFor(88, 0, { ...PRICE, prompt: 1_000_000n }, 0), 600n);
  assert.equal(holdFor(0, 1_000_000, { ...PRICE, prompt: 0n, cached: 0n }, 500), 420n);
});

test("an ask fits when each kind with the fee is at most the highest price", () => {
  const ask = { prompt: 100n, cached: 100n, completion: 100n };
  const most = { prompt: 105n, cached: 105n, completion: 105n };
  assert.ok(askFits(ask, 500, most));
  assert.ok(!askFits(ask, 501, most));
  assert.ok(!askFits({ ...ask, prompt: 101n }, 500, most));
  assert.ok(!askFits({ ...ask, cached: 101n }, 500, most));
  assert.ok(!askFits({ ...ask, completion: 101n }, 500, most));
  assert.ok(askFits({ prompt: 0n, cached: 0n, completion: 0n }, 1000, { prompt: 0n, cached: 0n, completion: 0n }));
});

test("a price sheet that rewards guessing at the cache, or pays the client, is refused", () => {
  assert.equal(checkPriceSheet(PRICE), PRICE);
  for (const bad of [{ cached: 101n }, { prompt: -1n, cached: -1n }, { cached: -1n }, { completion: -1n }])
    assert.throws(
      () => checkPriceSheet({ ...PRICE, ...bad }),
      (error) => error instanceof Failure && error.code === "bad_offer",
    );
});

test("counts that contradict each other are a bug of the caller, not a discount", () => {
  for (const bad of [usage(1, 2, 0), usage(-1, 0, 0), usage(0, 0, -1), usage(1, -1, 0), usage(0.5, 0, 0)])
    assert.throws(() => chargeFor(bad, PRICE, 0), RangeError);
});

function sumOf(used: TokenUsage, price: PriceSheet): bigint {
  const fresh = BigInt(used.promptTokens) - BigInt(used.cachedTokens);
  return (
    fresh * price.prompt + BigInt(used.cachedTokens) * price.cached + BigInt(used.completionTokens) * price.completion
  );
}

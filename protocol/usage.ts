import { Failure } from "./failure.ts";
import type { Nanoton } from "./units.ts";

/** Token counts of one request. `promptTokens` includes `cachedTokens`; `completionTokens` includes reasoning. */
export interface TokenUsage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

export const NO_USAGE: TokenUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };

/** Nanoton per million tokens of each kind; `cached` ≤ `prompt`. */
export interface PriceSheet {
  readonly prompt: Nanoton;
  readonly cached: Nanoton;
  readonly completion: Nanoton;
}

/** What one request moves: `charge = earned + fee`, always (NETWORK §2). */
export interface Charge {
  readonly charge: Nanoton;
  readonly earned: Nanoton;
  readonly fee: Nanoton;
}

const TOKENS_PER_PRICE = 1_000_000n;
const BPS = 10_000n;

/**
 * The charge of one request: the worker's part rounds down, the client's rounds up, the fee is the difference.
 *
 * @throws {RangeError} for counts that contradict each other: whoever takes counts from outside checks or clips them.
 */
export function chargeFor(usage: TokenUsage, price: PriceSheet, feeBps: number): Charge {
  const { promptTokens, cachedTokens, completionTokens } = usage;
  if (cachedTokens < 0 || cachedTokens > promptTokens || completionTokens < 0) throw new RangeError("impossible usage");
  const sum =
    BigInt(promptTokens - cachedTokens) * price.prompt +
    BigInt(cachedTokens) * price.cached +
    BigInt(completionTokens) * price.completion;
  const earned = sum / TOKENS_PER_PRICE;
  const charge = ceilDivide(sum * (BPS + BigInt(feeBps)), TOKENS_PER_PRICE * BPS);
  return { charge, earned, fee: charge - earned };
}

/** Prompt tokens a worker may count beyond the bytes of the request: the chat template's own tokens (ACN/1 §3.4). */
export const TEMPLATE_TOKENS = 512;

/** The worst case a client must have credit for before a request is let through. */
export function holdFor(
  maxPromptBytes: number,
  maxCompletionTokens: number,
  price: PriceSheet,
  feeBps: number,
): Nanoton {
  return chargeFor(
    { promptTokens: maxPromptBytes + TEMPLATE_TOKENS, cachedTokens: 0, completionTokens: maxCompletionTokens },
    price,
    feeBps,
  ).charge;
}

/** Whether an ask, with the gateway's fee on top, is within the client's highest price. */
export function askFits(ask: PriceSheet, feeBps: number, maxPrice: PriceSheet): boolean {
  const withFee = BPS + BigInt(feeBps);
  return (
    ask.prompt * withFee <= maxPrice.prompt * BPS &&
    ask.cached * withFee <= maxPrice.cached * BPS &&
    ask.completion * withFee <= maxPrice.completion * BPS
  );
}

/** @throws {Failure} `bad_offer` when cached tokens would cost more than fresh ones, or a price is negative. */
export function checkPriceSheet(price: PriceSheet): PriceSheet {
  if (price.prompt < 0n || price.cached < 0n || price.completion < 0n)
    throw new Failure("bad_offer", "a price is negative");
  if (price.cached > price.prompt) throw new Failure("bad_offer", "cached tokens cost more than prompt tokens");
  return price;
}

function ceilDivide(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}

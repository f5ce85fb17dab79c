import type { Nanoton } from "../protocol/index.ts";
import { forwardFee, gasFee, type Prices } from "./prices.ts";

/** What stays on a contract to pay its rent. */
export const CHANNEL_RESERVE: Nanoton = 20_000_000n;
export const GATEWAY_RESERVE: Nanoton = 50_000_000n;
export const REGISTRY_RESERVE: Nanoton = 100_000_000n;

/** Enough for any message of ours at several times today's prices; what is not used comes back. */
export const ATTACHED: Nanoton = 50_000_000n;

/**
 * What to attach to a message, above the amount it is about: for its fees, and for what the contract, with this balance
 * now, lacks of its reserve. A contract that is not there yet has 0. What is not used comes back.
 */
export function valueToAttach(balance: Nanoton, reserve: Nanoton): Nanoton {
  return ATTACHED + (balance < reserve ? reserve - balance : 0n);
}

/** A channel takes no external message about less. */
export const MIN_EXTERNAL_AMOUNT: Nanoton = 100_000_000n;

/** The least a message must carry, as the contracts compute it (`fees.tolk`); below it they refuse with 408. */
export const MINIMUM_VALUES = {
  /** Of a cash-out, with what the channel lacks of its reserve on top. */
  cashOut: (prices: Prices): Nanoton => feeFor(prices, 18_000n, 4n),
  /** Of a charge and of a cooperative close. */
  charge: (prices: Prices): Nanoton => feeFor(prices, 16_000n, 4n),
  /** Of everything else that has a minimum, above the amount it is about. */
  simple: (prices: Prices): Nanoton => feeFor(prices, 9_000n, 2n),
  /** What a Gateway may spend on booking a credit. */
  creditGas: (prices: Prices): Nanoton => gasFee(prices, 4_000n),
} as const;

function feeFor(prices: Prices, gasUnits: bigint, messages: bigint): Nanoton {
  return gasFee(prices, gasUnits) + messages * forwardFee(prices, 2000n, 3n);
}

import type { ClientChannelState } from "../../contracts/ClientChannel.ts";
import type { Nanoton } from "../../protocol/index.ts";

/** Where the coins of a channel are, and what comes back of them. Nanoton; `deposited = charged + promised + refundable`. */
export interface ChannelMoney {
  /** Paid in since the channel was last opened, and all that was charged before. */
  readonly deposited: Nanoton;
  /** Sent to the gateway. */
  readonly charged: Nanoton;
  /** Countersigned and not charged yet. */
  readonly promised: Nanoton;
  /** What a close brings back when the gateway charges what was countersigned, and no more. */
  readonly refundable: Nanoton;
  /** What comes back for certain: a gateway that cheats can take the credit limit beyond what was countersigned. */
  readonly guaranteed: Nanoton;
}

type Counters = Pick<ClientChannelState, "balance" | "charged" | "acked" | "creditLimit">;

/** @param countersigned The highest total that the payment key has signed, on chain or off. */
export function moneyOf({ balance, charged, acked, creditLimit }: Counters, countersigned: Nanoton): ChannelMoney {
  const signed = greatest(countersigned, acked, charged);
  const promised = least(signed - charged, balance);
  const refundable = balance - promised;
  return {
    deposited: balance + charged,
    charged,
    promised,
    refundable,
    guaranteed: refundable - least(creditLimit, refundable),
  };
}

function least(a: Nanoton, b: Nanoton): Nanoton {
  return a < b ? a : b;
}

function greatest(...amounts: readonly Nanoton[]): Nanoton {
  return amounts.reduce((most, amount) => (amount > most ? amount : most), 0n);
}

import type { RawAddress } from "../../protocol/index.ts";

/**
 * Whoever signs for the coins: a wallet app over TON Connect, a person with a payment link, a key on a devnet. Its key
 * never comes here.
 */
export interface Wallet {
  /** The account that pays. A channel's owner is the one its refunds go to. */
  readonly address: RawAddress;
  /**
   * Asks for these messages to be confirmed and sent as one transaction. Resolves when the wallet says that it has; what
   * came of it is for the chain to say.
   *
   * @throws {Failure} `wallet_declined` and `wallet_refused` when nothing was sent and never will be; any other code
   *   leaves that open until the transaction has lapsed.
   */
  sendTransaction(transaction: WalletTransaction): Promise<void>;
}

/** What TON Connect's `sendTransaction` takes, with the network's id as a number and the account as a raw address. */
export interface WalletTransaction {
  /** Unix seconds; the wallet sends nothing later. */
  readonly validUntil: number;
  readonly networkId: number;
  readonly from: RawAddress;
  readonly messages: readonly WalletMessage[];
}

export interface WalletMessage {
  /** User-friendly and bounceable: what the contract refuses comes back. */
  readonly address: string;
  /** Nanoton, in digits. */
  readonly amount: string;
  /** A bag of cells, base64. */
  readonly payload: string;
  /** The same, when the message brings the contract to its address. */
  readonly stateInit?: string;
}

/**
 * The same request as a link that any wallet app opens, for one message. The wallet that opens it says nothing back.
 *
 * @throws {RangeError} for more than one message.
 */
export function paymentLink({ validUntil, messages }: WalletTransaction): string {
  const [message, ...more] = messages;
  if (message === undefined || more.length > 0) throw new RangeError("a link carries one message");
  const { address, amount, payload, stateInit } = message;
  const query = new URLSearchParams({ amount, bin: urlSafe(payload), exp: `${validUntil}` });
  if (stateInit !== undefined) query.set("init", urlSafe(stateInit));
  return `ton://transfer/${address}?${query.toString()}`;
}

/** Base64 as links have it (RFC 4648 §5), without padding. */
function urlSafe(base64: string): string {
  return base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

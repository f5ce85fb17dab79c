import list from "./known-wallets.json" with { type: "json" };

/** A wallet app that speaks TON Connect over a bridge. */
export interface KnownWallet {
  /** What the app calls itself in an answer. */
  readonly appName: string;
  readonly name: string;
  readonly aboutUrl: string;
  /** Where the link of a connection begins. */
  readonly universalLink: string;
  readonly bridgeUrl: string;
  readonly platforms: readonly string[];
  /** Messages it takes in one transaction. */
  readonly maxMessages: number;
}

/**
 * Pinned with the program, and not fetched when it runs: whoever serves such a list could put a bridge of their own into
 * it, and would learn who looks. Bridges that are not in it are not spoken to.
 */
export const KNOWN_WALLETS: readonly KnownWallet[] = list.wallets;

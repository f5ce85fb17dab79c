import type { ChainTransaction, History } from "../../contracts/chain-reader.ts";
import { parseClientChannelMessage } from "../../contracts/ClientChannel.ts";
import { parseWalletMessage } from "../../contracts/wallet-messages.ts";
import { Failure, type Nanoton, type RawAddress } from "../../protocol/index.ts";
import type { ChannelOrder } from "./orders.ts";

/** An order that a wallet was asked to send, kept until it is known what came of it. */
export interface SentOrder {
  readonly type: ChannelOrder["type"];
  /** Chance: by it the order is found again among the channel's transactions. */
  readonly queryId: bigint;
  /** What it adds to the deposit. */
  readonly amount: Nanoton;
  /** Unix seconds; a wallet sends it no later. */
  readonly validUntil: number;
  /** Logical time of the channel's last transaction before it. */
  readonly afterLt: bigint;
}

export type Fate =
  | { readonly type: "executed"; readonly transaction: ChainTransaction }
  | { readonly type: "refused"; readonly exitCode: number | undefined }
  /** It may still come. */
  | { readonly type: "under-way" }
  /** It was never sent, and will not be. */
  | { readonly type: "lapsed" };

/** From a wallet to the channel is two hops, each some seconds; a busy chain takes longer. */
const HOPS_SECONDS = 120;

/** What the channel's transactions since an order say of it. `now` is the chain's, in Unix seconds. */
export function fateOf({ queryId, validUntil }: SentOrder, { transactions }: History, now: number): Fate {
  const transaction = transactions.find(({ inMessage }) => {
    if (inMessage?.type !== "internal" || inMessage.isBounced) return false;
    return parseClientChannelMessage(inMessage.body)?.queryId === queryId;
  });
  if (transaction === undefined) return { type: now > validUntil + HOPS_SECONDS ? "lapsed" : "under-way" };
  const { outcome } = transaction;
  if (outcome.type === "succeeded") return { type: "executed", transaction };
  return { type: "refused", exitCode: outcome.type === "failed" ? outcome.exitCode : undefined };
}

/** The newest refund among a channel's transactions, to its owner and no one else. */
export function refundIn(
  transactions: readonly ChainTransaction[],
  owner: RawAddress,
): { readonly amount: Nanoton; readonly at: number } | undefined {
  for (const { outMessages, executedAt } of transactions.toReversed()) {
    for (const message of outMessages) {
      if (message.type !== "internal" || message.destination !== owner) continue;
      if (parseWalletMessage(message.body)?.type === "refund") return { amount: message.value, at: executedAt };
    }
  }
  return undefined;
}

/** Why a channel refused what was sent to it: somebody changed it meanwhile, or another wallet sent it. */
export function refusalOf(exitCode: number | undefined): Failure {
  const why = exitCode === undefined ? undefined : WORDS[exitCode];
  return new Failure("chain_refused", why ?? `exit code ${exitCode ?? "unknown"}`);
}

const WORDS: Readonly<Record<number, string>> = {
  401: "it came from another account than the channel's owner",
  403: "a signature on it is not the gateway's",
  408: "too few coins came with it",
  410: "the time to close has not come",
  411: "the channel is closing, or not closing any more",
  412: "it was signed for an earlier opening of the channel",
  413: "the channel has a deposit, so its key and limit stay",
};

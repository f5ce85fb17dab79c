import { Address } from "@ton/core";
import { ATTACHED, CHANNEL_RESERVE } from "../../contracts/fees.ts";
import { encodeWorkerChannelMessage, workerChannelOf, type WorkerChannelTerms } from "../../contracts/WorkerChannel.ts";
import { normalHash, readExternal } from "../../contracts/external-message.ts";
import { Failure, toHex, type Nanoton, type PayoutVoucher, type RawAddress } from "../../protocol/index.ts";
import type { OutgoingMessage } from "./ton-connect/session.ts";

/** The newest voucher of one gateway to one owner, beside what the chain says of it. */
export interface Claim {
  readonly terms: WorkerChannelTerms;
  readonly voucher: PayoutVoucher;
  /** 64 bytes, the gateway's. */
  readonly signature: Uint8Array;
  /** Of the owner's channel; 0 before it is deployed. */
  readonly paid: Nanoton;
  readonly isDeployed: boolean;
  /** What the gateway's contract can pay now, pool and stake: a cash-out of more comes back unpaid. */
  readonly cover: Nanoton;
}

export interface WithdrawalRequest {
  readonly claims: readonly Claim[];
  readonly amount: Nanoton | "all";
  /** The wallet that sends. Only an owner can take part of a claim; for others it is all or nothing. */
  readonly from: RawAddress;
  /** Messages the wallet takes at once. */
  readonly maxMessages: number;
  /** u64: returns with the payout. */
  readonly queryId: bigint;
}

/** One transaction of the owner's wallet: at most one message a channel. */
export interface Withdrawal {
  readonly messages: readonly OutgoingMessage[];
  readonly channels: readonly RawAddress[];
  /** What the channels are asked for together. */
  readonly nanoton: Nanoton;
}

/** What the oldest wallets take; each message is one more line that the owner has to check. */
const MAX_MESSAGES = 4;

/**
 * The messages that bring an owner's earnings: the largest claims first, one transaction's worth. What does not fit
 * stays claimable for the next.
 *
 * @throws {Failure} `nothing_to_withdraw` when the claims do not hold the amount; `bad_message` for a voucher of another
 *   channel than its terms have.
 */
export function planWithdrawal(request: WithdrawalRequest): Withdrawal {
  const { claims, amount, maxMessages, queryId } = request;
  const available = takeable(request).slice(0, Math.min(MAX_MESSAGES, maxMessages));
  const most = available.reduce((sum, part) => sum + part.amount, 0n);
  if (most === 0n) throw new Failure("nothing_to_withdraw", `${claims.length} vouchers hold nothing that is covered`);
  if (amount !== "all" && (amount <= 0n || amount > most))
    throw new Failure("nothing_to_withdraw", `at most ${most} nanoton can be withdrawn at once`);
  const parts = amount === "all" ? available : upTo(available, amount);
  return {
    messages: parts.map((part, at) => cashOut(part, queryId + BigInt(at))),
    channels: parts.map(({ claim }) => claim.voucher.channel),
    nanoton: parts.reduce((sum, part) => sum + part.amount, 0n),
  };
}

/**
 * By what the message that the wallet says it has sent is found on the chain: lowercase hex.
 *
 * @throws {Failure} `wallet_refused` for what is no message, `wallet_address` for one of another account.
 */
export function acceptedMessageHash(boc: Uint8Array, from: RawAddress): string {
  const message = attempt(() => readExternal(boc));
  if (message?.info.type !== "external-in") throw new Failure("wallet_refused", "the wallet's answer is no message");
  if (message.info.dest.toRawString() !== from)
    throw new Failure("wallet_address", "the wallet sent from another account than it was asked for");
  return toHex(normalHash(message));
}

interface Part {
  readonly claim: Claim;
  readonly amount: Nanoton;
}

/** Each claim with what can be taken of it, the largest first. Claims at one gateway share its cover. */
function takeable({ claims, amount, from }: WithdrawalRequest): readonly Part[] {
  const cover = new Map<RawAddress, Nanoton>();
  const parts: Part[] = [];
  for (const claim of [...claims].sort((a, b) => descending(unpaid(a), unpaid(b)))) {
    const { gateway, owner } = claim.terms;
    const left = cover.get(gateway) ?? claim.cover;
    const isWhole = unpaid(claim) <= left;
    if (owner !== from && !(isWhole && amount === "all")) continue;
    const taken = isWhole ? unpaid(claim) : left;
    cover.set(gateway, left - taken);
    if (taken > 0n) parts.push({ claim, amount: taken });
  }
  return parts.sort((a, b) => descending(a.amount, b.amount));
}

function upTo(parts: readonly Part[], amount: Nanoton): readonly Part[] {
  let left = amount;
  const taken: Part[] = [];
  for (const part of parts) {
    if (left === 0n) break;
    const some = part.amount < left ? part.amount : left;
    left -= some;
    taken.push({ ...part, amount: some });
  }
  return taken;
}

function cashOut({ claim, amount }: Part, queryId: bigint): OutgoingMessage {
  const { terms, voucher, signature, isDeployed } = claim;
  const channel = workerChannelOf(terms);
  if (channel.address !== voucher.channel) throw new Failure("bad_message", "a voucher for another channel");
  const limit = amount < unpaid(claim) ? amount : 0n;
  const body = encodeWorkerChannelMessage({ type: "cash-out", queryId, limit, gatewaySignature: signature, voucher });
  const message = {
    // What a contract refuses comes back to the wallet, less fees.
    address: Address.parseRaw(channel.address).toString({ bounceable: true }),
    amount: String(isDeployed ? ATTACHED : ATTACHED + CHANNEL_RESERVE),
    payload: base64(body),
  };
  return isDeployed ? message : { ...message, stateInit: base64(channel.stateInit) };
}

function unpaid({ voucher, paid }: Claim): Nanoton {
  return voucher.total > paid ? voucher.total - paid : 0n;
}

function descending(a: Nanoton, b: Nanoton): number {
  return a === b ? 0 : a > b ? -1 : 1;
}

function attempt<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch {
    return undefined; // whatever is wrong with it, it is not what a wallet answers
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

import {
  chargeFor,
  EMPTY_CHAIN,
  equalBytes,
  Failure,
  nextChargeChain,
  NO_USAGE,
  parsePayload,
  TEMPLATE_TOKENS,
  type Charge,
  type ChargeVoucher,
  type DisputeCounts,
  type FinishReason,
  type Nanoton,
  type PriceSheet,
  type RawAddress,
  type Receipt,
  type SealedEnd,
  type TokenUsage,
} from "../protocol/index.ts";

// What this client owes, and what it will sign. Pure: keys, sockets and files are the account's.

/** What was agreed for one stream, known before its first byte left. */
export interface StreamTerms {
  readonly reservationId: string;
  /** Lowercase hex, 16 bytes. */
  readonly sessionId: string;
  readonly streamId: number;
  /** 32 bytes: who must have signed the receipt. */
  readonly identityKey: Uint8Array;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  /** Lowercase hex. */
  readonly offerHash: string;
  readonly price: PriceSheet;
  readonly feeBps: number;
  /** Bytes of the request's plaintext. */
  readonly promptBytes: number;
  readonly maxTokens: number;
}

/** What this client saw of one stream: the hashes of what passed, and what it counted itself. */
export interface StreamFacts {
  /** 32 bytes over the request's frames; undefined when not all of them were sent. */
  readonly requestHash: Uint8Array | undefined;
  /** 32 bytes over the response's frames; undefined when neither FIN nor ABORT arrived. */
  readonly responseHash: Uint8Array | undefined;
  /** What FIN said; undefined after an ABORT or without an end. */
  readonly end: SealedEnd | undefined;
  /** Token ids received. */
  readonly tokenIds: number;
  /** DATA frames received: a delivered frame is never charged as less than one token (NETWORK §4.5). */
  readonly dataFrames: number;
  /** More tokens than this cannot have made the bytes that arrived. */
  readonly bound: number;
}

/** One stream as the client remembers it until it is charged. */
export interface StreamRecord {
  readonly terms: StreamTerms;
  /** Undefined after a crash, which forgets what was seen but not what was agreed. */
  readonly facts: StreamFacts | undefined;
}

export type Verdict =
  | { readonly type: "owed"; readonly charge: Charge }
  | { readonly type: "disputed"; readonly counts: DisputeCounts; readonly charge: Charge; readonly why: string };

/**
 * What one receipt costs, or the counts to dispute it with. The signature was checked by the caller; without a good one,
 * and for a stream this client knows nothing of, everything is disputed.
 */
export function judgeReceipt(receipt: Receipt, record: StreamRecord | undefined, signatureHolds: boolean): Verdict {
  if (record === undefined) return unknownStream(receipt);
  const why = signatureHolds ? refusalOf(receipt, record) : "not signed by the worker";
  if (why === undefined) return { type: "owed", charge: chargeOwed(receipt.usage, receipt.finish, record.terms) };
  const usage = ownCount(receipt, record);
  const { promptTokens, completionTokens } = usage;
  return {
    type: "disputed",
    counts: { promptTokens, completionTokens },
    charge: chargeOwed(usage, receipt.finish, record.terms),
    why,
  };
}

/**
 * What an answer costs. A claim is cut to the reservation (NETWORK §4.2); prompt tokens are charged to the worker that ends
 * an answer, not to one that failed or handed it over (§4.6).
 */
export function chargeOwed(usage: TokenUsage, finish: FinishReason, { price, feeBps, maxTokens }: StreamTerms): Charge {
  const completionTokens = Math.min(usage.completionTokens, maxTokens);
  const isUnfinished = finish === "failed" || finish === "handed_over";
  const { promptTokens, cachedTokens } = isUnfinished ? NO_USAGE : usage;
  return chargeFor({ promptTokens, cachedTokens, completionTokens }, price, feeBps);
}

/** How FIN contradicts what the client asked for and counted, if it does (ACN/1 §3.6, *FIN*). */
export function refusalOfEnd(end: SealedEnd, terms: StreamTerms, facts: StreamFacts): string | undefined {
  const { usage } = end;
  const counted = completionTokens(facts, end.finish_reason === "stop");
  if (end.manifestRoot !== terms.manifestRoot) return "another model answered";
  if (end.offerHash !== terms.offerHash) return "another offer was charged";
  if (usage.completionTokens !== counted)
    return `${usage.completionTokens} completion tokens claimed, ${counted} received`;
  if (counted > facts.bound) return "more tokens than the delivered bytes allow";
  if (usage.promptTokens > terms.promptBytes + TEMPLATE_TOKENS)
    return "more prompt tokens than the request's bytes allow";
  return undefined;
}

/** The total and chain of a channel: how much was charged so far, and for which receipts. */
export interface Standing {
  readonly total: Nanoton;
  /** 32 bytes. */
  readonly chain: Uint8Array;
}

export const NOTHING_CHARGED: Standing = { total: 0n, chain: EMPTY_CHAIN };

/** Where vouchers must be redeemable to be signed. */
export interface ChannelId {
  readonly networkId: number;
  readonly address: RawAddress;
}

/** A receipt that was judged as owed, with its hash. */
export interface OwedReceipt {
  /** 32 bytes. */
  readonly receiptHash: Uint8Array;
  readonly charge: Nanoton;
}

/** The voucher of these bytes if it is a charge to this channel. @throws {Failure} `bad_receipt`. */
export function parseChargeVoucher(boc: Uint8Array, channel: ChannelId): ChargeVoucher {
  const payload = parsePayload(boc);
  if (payload.type !== "charge") throw new Failure("bad_receipt", "not a charge voucher");
  if (payload.networkId !== channel.networkId) throw new Failure("bad_receipt", "a voucher for another network");
  if (payload.channel !== channel.address) throw new Failure("bad_receipt", "a voucher for another channel");
  return payload;
}

/**
 * The standing a voucher leads to, if it follows from the one before by exactly these receipts. A total below what is owed
 * is the gateway's gift; one above it, or below the last, is never signed.
 *
 * @throws {Failure} `bad_receipt`.
 */
export function standingAfter(before: Standing, owed: readonly OwedReceipt[], voucher: ChargeVoucher): Standing {
  const total = totalAfter(before, owed);
  const chain = owed.reduce((chained, { receiptHash }) => nextChargeChain(chained, receiptHash), before.chain);
  if (voucher.total < before.total) throw new Failure("bad_receipt", "the voucher's total fell");
  if (voucher.total > total)
    throw new Failure("bad_receipt", `the voucher's total is ${voucher.total}, owed are ${total}`);
  if (!equalBytes(voucher.receipt, chain)) throw new Failure("bad_receipt", "the voucher names other receipts");
  return { total: voucher.total, chain };
}

/** The highest total that these receipts justify. */
export function totalAfter(before: Standing, owed: readonly OwedReceipt[]): Nanoton {
  return owed.reduce((total, { charge }) => total + charge, before.total);
}

/** Completion tokens as ACN/1 §3.4 counts them. */
export function completionTokens(facts: Pick<StreamFacts, "tokenIds">, stoppedByItself: boolean): number {
  return facts.tokenIds + (stoppedByItself ? 1 : 0);
}

/** Why a genuine receipt is not the one for what was sent and received. */
function refusalOf(receipt: Receipt, record: StreamRecord): string | undefined {
  const { terms, facts } = record;
  const isThisStream = receipt.sessionId === terms.sessionId && receipt.streamId === terms.streamId;
  if (!isThisStream) return "a receipt of another stream";
  if (receipt.manifestRoot !== terms.manifestRoot) return "another model answered";
  if (receipt.offerHash !== terms.offerHash) return "another offer was charged";
  if (receipt.usage.promptTokens > terms.promptBytes + TEMPLATE_TOKENS) return "more prompt tokens than bytes allow";
  // After a crash only the terms are left: the worker's signed word counts, within what was reserved.
  if (facts === undefined) return undefined;
  if (facts.requestHash !== undefined && !equalBytes(receipt.requestHash, facts.requestHash)) return "another request";
  if (facts.responseHash === undefined) return refusalWithoutEnd(receipt, facts);
  if (!equalBytes(receipt.responseHash, facts.responseHash)) return "another response";
  return facts.end === undefined ? refusalAfterAbort(receipt, facts) : refusalAfterFin(receipt, record, facts.end);
}

/** A stream that was cancelled or cut: what was delivered is owed, and not a token more. */
function refusalWithoutEnd(receipt: Receipt, facts: StreamFacts): string | undefined {
  return receipt.usage.completionTokens > facts.tokenIds ? "more tokens than were delivered" : undefined;
}

function refusalAfterAbort(receipt: Receipt, facts: StreamFacts): string | undefined {
  if (receipt.finish !== "failed") return "an aborted stream did not fail";
  return refusalWithoutEnd(receipt, facts);
}

function refusalAfterFin(receipt: Receipt, { terms, facts }: StreamRecord, end: SealedEnd): string | undefined {
  const { usage } = receipt;
  const isAsSaid =
    usage.promptTokens === end.usage.promptTokens &&
    usage.cachedTokens === end.usage.cachedTokens &&
    usage.completionTokens === end.usage.completionTokens &&
    receipt.finish === end.finish_reason;
  if (!isAsSaid) return "other counts than inside the seal";
  return facts === undefined ? undefined : refusalOfEnd(end, terms, facts);
}

/** What the client's own count makes of a receipt it disputes. */
function ownCount(receipt: Receipt, { terms, facts }: StreamRecord): TokenUsage {
  const claimed = receipt.usage;
  const received =
    facts === undefined ? claimed.completionTokens : completionTokens(facts, facts.end?.finish_reason === "stop");
  const plausible = facts === undefined ? received : Math.max(Math.min(received, facts.bound), facts.dataFrames);
  const promptTokens = Math.min(claimed.promptTokens, terms.promptBytes + TEMPLATE_TOKENS);
  return {
    promptTokens,
    cachedTokens: Math.min(claimed.cachedTokens, promptTokens),
    completionTokens: Math.min(claimed.completionTokens, plausible, terms.maxTokens),
  };
}

function unknownStream(receipt: Receipt): Verdict {
  const nothing = { charge: 0n, earned: 0n, fee: 0n };
  const counts = { promptTokens: 0, completionTokens: 0 };
  return { type: "disputed", counts, charge: nothing, why: `stream ${receipt.streamId} is not known here` };
}

import { concat, equalBytes, fromHex, label, readU32, readU64, toHex, u8, u32, u64 } from "./bytes.ts";
import { Failure } from "./failure.ts";
import { hash } from "./keys.ts";
import type { TokenUsage } from "./usage.ts";

/** How an answer ended; the position is its number in a receipt. 0–4 end in FIN, 5 in ABORT. */
export const FINISH_REASONS = ["stop", "length", "tool_calls", "cancelled", "handed_over", "failed"] as const;
export type FinishReason = (typeof FINISH_REASONS)[number];

/** What a worker signs about one stream: hashes of what was sent, and counts; no content (ACN/1 §3.4). */
export interface Receipt {
  /** Lowercase hex, 16 bytes. */
  readonly sessionId: string;
  readonly streamId: number;
  /** 32 bytes: H over the request's frames as sent, length prefixes included, `enc` excluded. */
  readonly requestHash: Uint8Array;
  /** 32 bytes: H over the response's frames, FIN or ABORT included. */
  readonly responseHash: Uint8Array;
  /** Lowercase hex. */
  readonly manifestRoot: string;
  /** Lowercase hex. */
  readonly offerHash: string;
  readonly usage: TokenUsage;
  readonly finish: FinishReason;
}

export const RECEIPT_BYTES = 178;

const LABEL = label("receipt");

/** The 178 bytes a worker signs. @throws {RangeError} for a field that does not fit. */
export function encodeReceipt(receipt: Receipt): Uint8Array {
  const bytes = concat(
    LABEL,
    fromHex(receipt.sessionId),
    u64(receipt.streamId),
    receipt.requestHash,
    receipt.responseHash,
    fromHex(receipt.manifestRoot),
    fromHex(receipt.offerHash),
    u32(receipt.usage.promptTokens),
    u32(receipt.usage.cachedTokens),
    u32(receipt.usage.completionTokens),
    u8(FINISH_REASONS.indexOf(receipt.finish)),
  );
  if (bytes.length !== RECEIPT_BYTES) throw new RangeError("a field of the receipt has the wrong length");
  return bytes;
}

/** @throws {Failure} `bad_receipt` when the bytes are not a receipt or its counts contradict each other. */
export function parseReceipt(bytes: Uint8Array): Receipt {
  const finish = FINISH_REASONS[bytes[RECEIPT_BYTES - 1] ?? FINISH_REASONS.length];
  const hasShape = bytes.length === RECEIPT_BYTES && equalBytes(bytes.subarray(0, LABEL.length), LABEL);
  if (!hasShape || finish === undefined) throw new Failure("bad_receipt");
  const at = LABEL.length;
  const usage = {
    promptTokens: readU32(bytes, at + 152),
    cachedTokens: readU32(bytes, at + 156),
    completionTokens: readU32(bytes, at + 160),
  };
  if (usage.cachedTokens > usage.promptTokens) throw new Failure("bad_receipt", "more cached than prompt tokens");
  const streamId = readU64(bytes, at + 16, "bad_receipt");
  if (streamId === 0) throw new Failure("bad_receipt", "stream 0 is reserved");
  return {
    sessionId: toHex(bytes.subarray(at, at + 16)),
    streamId,
    requestHash: bytes.slice(at + 24, at + 56),
    responseHash: bytes.slice(at + 56, at + 88),
    manifestRoot: toHex(bytes.subarray(at + 88, at + 120)),
    offerHash: toHex(bytes.subarray(at + 120, at + 152)),
    usage,
    finish,
  };
}

/** H(receipt): the name of a charge in vouchers, disputes and the ledger. 32 bytes. */
export function receiptHashOf(bytes: Uint8Array): Uint8Array {
  return hash(bytes);
}

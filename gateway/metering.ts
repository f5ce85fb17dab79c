import {
  ENC_BYTES,
  equalBytes,
  Failure,
  TEMPLATE_TOKENS,
  type FinishReason,
  type Receipt,
  type TokenUsage,
} from "../protocol/index.ts";

/** What the gateway saw of one stream: enough to judge a receipt, nothing of what it said. */
export interface RelayedStream {
  readonly sessionId: string;
  readonly streamId: number;
  readonly manifestRoot: string;
  readonly offerHash: string;
  readonly maxPromptBytes: number;
  readonly maxCompletionTokens: number;
  /** 32 bytes each, over the frames as relayed. */
  readonly requestHash: Uint8Array;
  readonly responseHash: Uint8Array;
  /** Most plaintext bytes the relayed request can hold. */
  readonly requestCapacity: number;
  /** DATA frames that went out to the client. */
  readonly deliveredFrames: number;
  /** Most token ids those frames can hold. */
  readonly deliveredTokens: number;
  /** The worker's last frame; `close` when it was told to stop and sent none. */
  readonly endedBy: "fin" | "abort" | "close";
  /** Whether the client closed, aborted, fell behind or was lost before the end. */
  readonly wasCancelled: boolean;
}

export interface Metered {
  /** What is charged. */
  readonly usage: TokenUsage;
  /** Whether the worker claimed more than it could have been. */
  readonly isClipped: boolean;
}

/**
 * The part of a receipt's claim that reservation and bytes support (NETWORK §4.2, §4.6).
 *
 * @throws {Failure} `bad_receipt` when it is not about the stream that was relayed.
 */
export function meter(receipt: Receipt, stream: RelayedStream): Metered {
  refuseUnless(receipt.sessionId === stream.sessionId && receipt.streamId === stream.streamId, "another stream");
  refuseUnless(receipt.manifestRoot === stream.manifestRoot, "another model");
  refuseUnless(receipt.offerHash === stream.offerHash, "another offer");
  refuseUnless(equalBytes(receipt.requestHash, stream.requestHash), "another request");
  refuseUnless(equalBytes(receipt.responseHash, stream.responseHash), "another response");
  refuseUnless(endsAs(receipt.finish, stream.endedBy), "another end");
  const claimed = receipt.usage;
  const clipped = clip(claimed, stream);
  const isClipped =
    clipped.promptTokens < claimed.promptTokens ||
    (clipped.completionTokens < claimed.completionTokens && !stream.wasCancelled);
  return { usage: paysPrompt(receipt.finish, stream.wasCancelled) ? clipped : completionOnly(clipped), isClipped };
}

/**
 * What a client's signed counts leave of a charge: never more than was charged, never less than one token for each DATA
 * frame it was sent (NETWORK §4.5).
 */
export function disputedUsage(
  charged: TokenUsage,
  counts: { readonly promptTokens: number; readonly completionTokens: number },
  deliveredFrames: number,
): TokenUsage {
  const promptTokens = Math.min(charged.promptTokens, counts.promptTokens);
  return {
    promptTokens,
    cachedTokens: Math.min(charged.cachedTokens, promptTokens),
    completionTokens: Math.min(charged.completionTokens, Math.max(counts.completionTokens, deliveredFrames)),
  };
}

/** Most plaintext bytes in one frame of this length: it ends with a tag and starts with three lengths and a type. */
export function frameCapacity(frameLength: number): number {
  return frameLength - 25;
}

/** Most token ids one DATA frame of this length can hold: an id and its comma take two bytes of the event's JSON. */
export function tokensThatFit(frameLength: number): number {
  return Math.max(0, Math.floor((frameCapacity(frameLength) - EMPTY_EVENT_BYTES + 1) / 2));
}

/** Whether a client's first message is the session's `enc`: no frame has that length. */
export function isEnc(message: { readonly length: number }): boolean {
  return message.length === ENC_BYTES;
}

const EMPTY_EVENT_BYTES = '{"t":"delta","text":"","tokenIds":[]}'.length;
/** The model's own end, which is counted and not sent (ACN/1 §3.4). */
const END_TOKEN = 1;

function clip(claimed: TokenUsage, stream: RelayedStream): TokenUsage {
  const promptBytes = Math.min(stream.maxPromptBytes, stream.requestCapacity);
  const promptTokens = Math.min(claimed.promptTokens, promptBytes + TEMPLATE_TOKENS);
  return {
    promptTokens,
    cachedTokens: Math.min(claimed.cachedTokens, promptTokens),
    completionTokens: Math.min(
      claimed.completionTokens,
      stream.maxCompletionTokens,
      stream.deliveredTokens + (stream.endedBy === "fin" && !stream.wasCancelled ? END_TOKEN : 0),
    ),
  };
}

function endsAs(finish: FinishReason, endedBy: RelayedStream["endedBy"]): boolean {
  if (endedBy === "close") return finish === "cancelled" || finish === "failed";
  return (finish === "failed") === (endedBy === "abort");
}

/** Prompt tokens are charged once: to the worker that ends the answer, or when the client itself stopped it. */
function paysPrompt(finish: FinishReason, wasCancelled: boolean): boolean {
  switch (finish) {
    case "stop":
    case "length":
    case "tool_calls":
      return true;
    case "cancelled":
      return wasCancelled;
    case "handed_over":
    case "failed":
      return false;
  }
}

function completionOnly(usage: TokenUsage): TokenUsage {
  return { promptTokens: 0, cachedTokens: 0, completionTokens: usage.completionTokens };
}

function refuseUnless(holds: boolean, why: string): void {
  if (!holds) throw new Failure("bad_receipt", why);
}

import { createHash } from "node:crypto";
import {
  ABORT,
  concat,
  DATA,
  Failure,
  parseRequestBody,
  parseRequestEnvelope,
  sealedBytes,
  type FrameOpener,
  type SealedRequest,
} from "../../protocol/index.ts";

/** What the gateway routed, for what the client sealed to be held against. */
export interface RoutedTerms {
  readonly reservationId: string;
  /** Lowercase hex. */
  readonly offerHash: string;
  /** Lowercase hex, as routed. */
  readonly manifestRoot: string;
  readonly maxPromptBytes: number;
  readonly maxCompletionTokens: number;
}

/** Collects the frames of one request and opens them. */
export class RequestReader {
  readonly #opener: FrameOpener;
  readonly #maxSealedBytes: number;
  readonly #hash = createHash("sha256");
  readonly #parts: Uint8Array[] = [];
  #sealedBytes = 0;

  constructor(opener: FrameOpener, maxPromptBytes: number) {
    this.#opener = opener;
    this.#maxSealedBytes = sealedBytes(maxPromptBytes);
  }

  /**
   * The plaintext with the last frame, "cancelled" when the client took it back, undefined before that.
   *
   * @throws {Failure} `reservation_exceeded` before anything oversize is opened, then those of a frame (ACN/1 §3.6).
   */
  read(frame: Uint8Array): Uint8Array | "cancelled" | undefined {
    if (this.#opener.endedBy !== undefined) throw new Failure("data_after_fin");
    this.#sealedBytes += frame.length;
    if (this.#sealedBytes > this.#maxSealedBytes) throw new Failure("reservation_exceeded");
    const { type, data } = this.#opener.open(frame);
    this.#hash.update(frame);
    if (type === ABORT) return "cancelled";
    if (type === DATA) {
      this.#parts.push(data);
      return undefined;
    }
    if (data.length > 0) throw new Failure("bad_message", "the end of a request carries nothing");
    return concat(...this.#parts.splice(0));
  }

  /** H(request frames). Call once, after the last. */
  digest(): Uint8Array {
    return new Uint8Array(this.#hash.digest());
  }
}

/**
 * The request, when it is what was reserved. `sessionRoot` is the model the client greeted for.
 *
 * @throws {Failure} in this order: `reservation_exceeded`, `bad_message`, `reservation_mismatch`, `reservation_exceeded`,
 *   `unsupported_field`.
 */
export function checkRequest(plaintext: Uint8Array, terms: RoutedTerms, sessionRoot: string): SealedRequest {
  if (plaintext.length > terms.maxPromptBytes) throw new Failure("reservation_exceeded");
  const outer = parseRequestEnvelope(plaintext);
  const isAsRouted =
    outer.reservationId === terms.reservationId &&
    outer.offerHash === terms.offerHash &&
    terms.manifestRoot === sessionRoot;
  if (!isAsRouted) throw new Failure("reservation_mismatch");
  if (outer.maxTokens > terms.maxCompletionTokens) throw new Failure("reservation_exceeded");
  return parseRequestBody(outer);
}

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { concat, fromUtf8, readU32, utf8, writeU32, writeU64 } from "./bytes.ts";
import { Failure, isFailureCode, type FailureCode } from "./failure.ts";

/** Direction of a stream: 0 client → worker, 1 worker → client. */
export type Direction = 0 | 1;

/** Frame types of ACN/1 §3.4. */
export const DATA = 0;
export const FIN = 1;
export const ABORT = 2;
export type FrameType = typeof DATA | typeof FIN | typeof ABORT;

/** Keys and identity of one direction of one stream. Prints as `[secret]`, in JSON, text and a debugger's dump alike. */
export interface StreamKeys {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** 12 bytes, combined with the frame's position to give each frame its own nonce. */
  readonly iv: Uint8Array;
  /** 16 bytes. */
  readonly sessionId: Uint8Array;
  readonly direction: Direction;
  readonly streamId: number;
  toJSON(): string;
  toString(): string;
}

/** Stream keys whose fields no logger walks into: they are there to read, and not enumerable. */
export function streamKeysOf(fields: Omit<StreamKeys, "toJSON" | "toString">): StreamKeys {
  const hidden = { ...fields, toJSON: () => SECRET, toString: () => SECRET };
  return Object.defineProperties(
    {},
    Object.fromEntries(Object.entries(hidden).map(([name, value]) => [name, { value, enumerable: false }])),
  ) as StreamKeys;
}

const SECRET = "[secret]";

export interface OpenedFrame {
  readonly type: FrameType;
  readonly data: Uint8Array;
}

/** Plaintext sizes: the length field, the data and zeros fill the least of these, so that a relay learns only which. */
export const PADDED_SIZES = [64, 256, 1024, 4096, 16_384, 65_536] as const;

/** Most data bytes one frame carries. */
export const MAX_FRAME_DATA = 65_536 - 4;

const TAG_BYTES = 16;
const HEADER_BYTES = 5;
const LENGTH_BYTES = 4;
const ALIGNMENT = 3;
const MAX_FRAMES = 2 ** 32;
const AAD_BYTES = 38;
const VERSION = utf8("ACN1");

/** The bytes a frame with this much data takes on the wire. */
export function frameBytes(dataLength: number): number {
  return paddedSize(dataLength) + TAG_BYTES + HEADER_BYTES;
}

/** Bytes of a whole request or response on the wire when its data is cut into the fewest frames, FIN included. */
export function sealedBytes(dataLength: number): number {
  const full = Math.floor(dataLength / MAX_FRAME_DATA);
  const rest = dataLength - full * MAX_FRAME_DATA;
  return full * frameBytes(MAX_FRAME_DATA) + (rest > 0 ? frameBytes(rest) : 0) + frameBytes(0);
}

/** Seals one direction of one stream, frame after frame. */
export class FrameSealer {
  readonly #keys: StreamKeys;
  readonly #aad: Uint8Array;
  readonly #nonce = new Uint8Array(12);
  #sequence = 0;
  #ended = false;

  constructor(keys: StreamKeys) {
    this.#keys = keys;
    this.#aad = aadTemplate(keys);
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * One frame, which is one message.
   *
   * @throws {Failure} `data_after_fin` once ended; `frame_limit` for more than 65,532 bytes or 2³² frames.
   */
  seal(data: Uint8Array, type: FrameType = DATA): Uint8Array {
    if (this.#ended) throw new Failure("data_after_fin", "the stream has ended");
    if (this.#sequence >= MAX_FRAMES) throw new Failure("frame_limit");
    const frame = emptyFrame(paddedSize(data.length), type);
    const sealed = frame.subarray(HEADER_BYTES);
    const plaintext = sealed.subarray(0, -TAG_BYTES);
    writeU32(plaintext, 0, data.length);
    plaintext.set(data, LENGTH_BYTES);
    cipherAt(this.#keys, this.#nonce, this.#aad, this.#sequence, type).encrypt(plaintext, sealed); // in place
    this.#sequence++;
    if (type !== DATA) this.#ended = true;
    return frame;
  }

  abort(code: FailureCode): Uint8Array {
    return this.seal(utf8(code), ABORT);
  }
}

/** Opens one direction of one stream; nothing is released before its frame authenticates. */
export class FrameOpener {
  readonly #keys: StreamKeys;
  readonly #aad: Uint8Array;
  readonly #nonce = new Uint8Array(12);
  #sequence = 0;
  #ended: FrameType | undefined;

  constructor(keys: StreamKeys) {
    this.#keys = keys;
    this.#aad = aadTemplate(keys);
  }

  /** FIN or ABORT once one was opened. */
  get endedBy(): FrameType | undefined {
    return this.#ended;
  }

  /** @throws {Failure} in this order: `data_after_fin`, `frame_limit`, `bad_frame`, `decrypt_failed`, `bad_padding`. */
  open(message: Uint8Array): OpenedFrame {
    if (this.#ended !== undefined) throw new Failure("data_after_fin");
    if (this.#sequence >= MAX_FRAMES) throw new Failure("frame_limit");
    const type = frameType(message);
    const plaintext = this.#decrypt(message, type);
    this.#sequence++;
    const data = unpad(plaintext);
    if (type !== DATA) this.#ended = type;
    return { type, data };
  }

  /** @throws {Failure} `truncated` when the route ended without FIN or ABORT: nothing may be taken as complete. */
  end(): FrameType {
    if (this.#ended === undefined) throw new Failure("truncated");
    return this.#ended;
  }

  #decrypt(message: Uint8Array, type: FrameType): Uint8Array {
    try {
      const cipher = cipherAt(this.#keys, this.#nonce, this.#aad, this.#sequence, type);
      return cipher.decrypt(message.subarray(HEADER_BYTES));
    } catch (cause) {
      throw new Failure("decrypt_failed", undefined, { cause });
    }
  }
}

/** The type byte of a message that has a frame's shape. @throws {Failure} `bad_frame`. */
export function frameType(message: Uint8Array): FrameType {
  const type = message[LENGTH_BYTES];
  const isWhole = message.length >= HEADER_BYTES && readU32(message, 0) === message.length - LENGTH_BYTES;
  const plaintextLength = message.length - HEADER_BYTES - TAG_BYTES;
  const isPadded = PADDED_SIZES.some((size) => size === plaintextLength);
  if (!isWhole || !isPadded || (type !== DATA && type !== FIN && type !== ABORT)) throw new Failure("bad_frame");
  return type;
}

/** The code an ABORT carries; an unknown one is `internal`, since the peer may be newer. */
export function abortCode(data: Uint8Array): FailureCode {
  const code = fromUtf8(data);
  return isFailureCode(code) ? code : "internal";
}

/**
 * A frame with its header written and zeros after it. The array starts three bytes into its buffer, so that what is
 * sealed starts at a multiple of four: noble is a sixth faster there.
 */
function emptyFrame(plaintextLength: number, type: FrameType): Uint8Array {
  const length = HEADER_BYTES + plaintextLength + TAG_BYTES;
  const frame = new Uint8Array(new ArrayBuffer(ALIGNMENT + length), ALIGNMENT);
  writeU32(frame, 0, length - LENGTH_BYTES);
  frame[LENGTH_BYTES] = type;
  return frame;
}

function paddedSize(dataLength: number): number {
  const size = PADDED_SIZES.find((candidate) => candidate >= dataLength + LENGTH_BYTES);
  if (size === undefined) throw new Failure("frame_limit", "a frame carries at most 65,532 bytes");
  return size;
}

function unpad(plaintext: Uint8Array): Uint8Array {
  const end = readU32(plaintext, 0) + LENGTH_BYTES;
  if (end > plaintext.length) throw new Failure("bad_padding");
  for (let i = end; i < plaintext.length; i++) if (plaintext[i] !== 0) throw new Failure("bad_padding");
  return plaintext.subarray(LENGTH_BYTES, end);
}

/** "ACN1" ‖ sessionId ‖ direction ‖ streamId ‖ sequence ‖ type; the last two are written for each frame. */
function aadTemplate(keys: StreamKeys): Uint8Array {
  const aad = new Uint8Array(AAD_BYTES);
  aad.set(concat(VERSION, keys.sessionId, Uint8Array.of(keys.direction)));
  writeU64(aad, 21, keys.streamId);
  return aad;
}

function cipherAt(
  keys: StreamKeys,
  nonce: Uint8Array,
  aad: Uint8Array,
  sequence: number,
  type: FrameType,
): ReturnType<typeof chacha20poly1305> {
  const high = Math.floor(sequence / 2 ** 32);
  writeU32(aad, 29, high);
  writeU32(aad, 33, sequence);
  aad[37] = type;
  nonce.set(keys.iv);
  for (let i = 0; i < 4; i++) {
    nonce[4 + i] = (nonce[4 + i] ?? 0) ^ ((high >>> (24 - 8 * i)) & 0xff);
    nonce[8 + i] = (nonce[8 + i] ?? 0) ^ ((sequence >>> (24 - 8 * i)) & 0xff);
  }
  return chacha20poly1305(keys.key, nonce, aad);
}

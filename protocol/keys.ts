import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, label, lengthPrefixed, toHex, u128, u8, u32, u64, utf8 } from "./bytes.ts";
import type { Nanoton } from "./units.ts";

/** Signs bytes with one Ed25519 key the holder keeps to itself. 64 bytes. */
export type Sign = (message: Uint8Array) => Uint8Array;

/** Checks an Ed25519 signature, strictly (RFC 8032, no ZIP 215). Never throws: a malformed key or signature is false. */
export type Verify = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;

/** SHA-256. */
export function hash(...parts: readonly Uint8Array[]): Uint8Array {
  return sha256(parts.length === 1 && parts[0] !== undefined ? parts[0] : concat(...parts));
}

/** The pure-JavaScript verifier, for browsers and for rare signatures; roles that check many use their platform's. */
export const verifySignature: Verify = (signature, message, publicKey) => {
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false; // noble throws on a wrong length; to us that is one more bad signature
  }
};

/** A key pair from its 32-byte seed. */
export function keyPairFromSeed(seed: Uint8Array): { readonly publicKey: Uint8Array; readonly sign: Sign } {
  return { publicKey: ed25519.getPublicKey(seed), sign: (message) => ed25519.sign(message, seed) };
}

/** The name of a worker: H over its identity key, lowercase hex (ACN/1 §3.1). */
export function workerIdOf(identityKey: Uint8Array): string {
  return toHex(hash(label("worker id"), identityKey));
}

const ROLES = { worker: 1, client: 2 } as const;

export interface LinkLogin {
  readonly role: keyof typeof ROLES;
  /** 32 bytes: the gateway the peer dialled. */
  readonly gatewayKey: Uint8Array;
  /** 32 bytes, chosen by the gateway. */
  readonly nonce: Uint8Array;
  /** Unix seconds. */
  readonly time: number;
  /** `0:hex` of the owner (worker) or the ClientChannel (client), or empty. */
  readonly address: string;
}

// Every byte string an identity or payment key signs starts with a label of its own, so no nonce another party chose can
// be a voucher's hash or a transcript (ACN/1 §3.1).

export function linkMessage(login: LinkLogin): Uint8Array {
  return concat(
    label("link"),
    u8(ROLES[login.role]),
    login.gatewayKey,
    login.nonce,
    u64(login.time),
    lengthPrefixed(utf8(login.address)),
  );
}

/** Signed by the old and by the new identity key. `time` in Unix seconds. */
export function rotateMessage(oldIdentityKey: Uint8Array, newIdentityKey: Uint8Array, time: number): Uint8Array {
  return concat(label("rotate"), oldIdentityKey, newIdentityKey, u64(time));
}

/** `claims` and `hw` are the exact bytes of the evidence document. */
export function evidenceMessage(claims: Uint8Array, hw: Uint8Array): Uint8Array {
  return concat(label("evidence"), hash(claims), hash(hw));
}

/** `offer` is the exact bytes of the offer's JSON. */
export function offerMessage(offer: Uint8Array): Uint8Array {
  return concat(label("offer"), hash(offer));
}

/** `transcript` is th, 32 bytes. */
export function workerHelloMessage(transcript: Uint8Array): Uint8Array {
  return concat(label("worker hello"), transcript);
}

export interface DisputeCounts {
  readonly completionTokens: number;
  readonly promptTokens: number;
}

/** `receiptHash` is H(receipt), 32 bytes. */
export function disputeMessage(receiptHash: Uint8Array, counts: DisputeCounts): Uint8Array {
  return concat(label("dispute"), receiptHash, u32(counts.completionTokens), u32(counts.promptTokens));
}

export interface RedeemRequest {
  /** 32 bytes: the gateway that is asked. */
  readonly gatewayKey: Uint8Array;
  readonly networkId: number;
  /** `0:hex`. */
  readonly owner: string;
  /** Of the newest voucher the worker has. */
  readonly total: Nanoton;
  /** The most that may be taken out of what was earned above it. */
  readonly maxDeduction: Nanoton;
}

/** A worker's leave to deduct the fees of a redeem that the gateway pays for (NETWORK §4.9). */
export function redeemMessage({ gatewayKey, networkId, owner, total, maxDeduction }: RedeemRequest): Uint8Array {
  return concat(
    label("redeem"),
    gatewayKey,
    u32(networkId >>> 0), // i32 as two's complement
    lengthPrefixed(utf8(owner)),
    u128(total),
    u128(maxDeduction),
  );
}

/** What a wallet's ton_proof carries as payload when it names the owner of a worker: hex of this hash (NETWORK §1). */
export function ownerProofPayload(identityKey: Uint8Array, networkId: number): Uint8Array {
  return hash(label("owner"), identityKey, u32(networkId >>> 0)); // i32 as two's complement
}

import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import type { Sign, Verify } from "../protocol/index.ts";

/** An Ed25519 key made ready once, since a link's key checks many signatures. */
export interface PublicKey {
  /** 32 bytes. */
  readonly bytes: Uint8Array;
  readonly handle: KeyObject;
}

/** Undefined unless the bytes are the one encoding of a point outside the small subgroup. */
export function importPublicKey(bytes: Uint8Array): PublicKey | undefined {
  if (bytes.length !== KEY_BYTES || !isCanonical(bytes) || isSmallOrder(bytes)) return undefined;
  try {
    const handle = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: "der", type: "spki" });
    return { bytes, handle };
  } catch {
    return undefined; // OpenSSL's refusal has no more to say than ours
  }
}

/**
 * RFC 8032, strictly. OpenSSL refuses S ≥ L and compares R as bytes, so with the key checked by {@link importPublicKey}
 * no second signature and no second key stands for the same message.
 */
export function isSignedBy(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  return signature.length === SIGNATURE_BYTES && verify(null, message, key.handle, signature);
}

/** The same in the form `protocol/` takes it. */
export const verifyByOpenSsl: Verify = (signature, message, publicKey) => {
  const key = importPublicKey(publicKey);
  return key !== undefined && isSignedBy(key, message, signature);
};

export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly sign: Sign;
}

/** The gateway's voucher key from its 32-byte seed. */
export function signerFromSeed(seed: Uint8Array): Signer {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    publicKey: new Uint8Array(spki.subarray(SPKI_PREFIX.length)),
    sign: (message) => new Uint8Array(sign(null, message, key)),
  };
}

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** y of the points of order 1, 2, 4 and 8, little-endian; each also with the sign bit. */
const SMALL_ORDER = new Set([
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
]);

/** y < 2²⁵⁵ − 19: OpenSSL takes a larger y for the same point. */
function isCanonical(bytes: Uint8Array): boolean {
  if (((bytes[31] ?? 0) & 0x7f) !== 0x7f) return true;
  for (let i = 1; i < 31; i++) if (bytes[i] !== 0xff) return true;
  return (bytes[0] ?? 0) < 0xed;
}

function isSmallOrder(bytes: Uint8Array): boolean {
  const y = Buffer.from(bytes);
  y[31] = (y[31] ?? 0) & 0x7f;
  return SMALL_ORDER.has(y.toString("hex"));
}

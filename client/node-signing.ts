import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { keyPairFromSeed } from "../protocol/index.ts";
import { KeyCache, PKCS8_PREFIX, type Signatures } from "./signing.ts";

/** RFC 8410 §4: the wrapping of a 32-byte key as SubjectPublicKeyInfo. */
const SPKI_PREFIX = Uint8Array.of(0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0);
const SIGNATURE_BYTES = 64;

/** OpenSSL on this thread: handing one signature to another thread costs more than making it. */
export function nodeSignatures(): Signatures {
  const keys = new KeyCache(importOrUndefined);
  return {
    paymentKey(seed) {
      const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
      return {
        publicKey: keyPairFromSeed(seed).publicKey,
        sign: async (message) => new Uint8Array(sign(null, message, key)),
        toJSON: () => "[secret]",
      };
    },
    async verify(signature, message, publicKey) {
      const key = keys.get(publicKey);
      return key !== undefined && signature.length === SIGNATURE_BYTES && verify(null, message, key, signature);
    },
  };
}

function importOrUndefined(publicKey: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: "der", type: "spki" });
  } catch {
    return undefined; // a malformed key signs nothing
  }
}

import { concat, keyPairFromSeed, verifySignature } from "../protocol/index.ts";
import { KeyCache, PKCS8_PREFIX, type Signatures } from "./signing.ts";

type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

/** WebCrypto where the browser knows Ed25519, else JavaScript. */
export function browserSignatures(): Signatures {
  const keys = new KeyCache((publicKey) => importOrUndefined("raw", publicKey, "verify"));
  return {
    paymentKey(seed) {
      const pure = keyPairFromSeed(seed);
      const imported = importOrUndefined("pkcs8", concat(PKCS8_PREFIX, seed), "sign");
      return {
        publicKey: pure.publicKey,
        async sign(message) {
          const key = await imported;
          if (key === undefined) return pure.sign(message);
          return new Uint8Array(await crypto.subtle.sign("Ed25519", key, view(message)));
        },
        toJSON: () => "[secret]",
      };
    },
    async verify(signature, message, publicKey) {
      const key = await keys.get(publicKey);
      if (key === undefined) return verifySignature(signature, message, publicKey);
      return crypto.subtle.verify("Ed25519", key, view(signature), view(message));
    },
  };
}

/** Undefined where there is no Ed25519, or no WebCrypto at all (a page without TLS). */
async function importOrUndefined(
  format: "pkcs8" | "raw",
  bytes: Uint8Array,
  usage: "sign" | "verify",
): Promise<CryptoKey | undefined> {
  try {
    return await crypto.subtle.importKey(format, view(bytes), "Ed25519", false, [usage]);
  } catch {
    return undefined;
  }
}

/** WebCrypto's types refuse views on shared memory, which ours never are. */
function view(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

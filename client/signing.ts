import { concat, fromHex, keyPairFromSeed, verifySignature } from "../protocol/index.ts";

/** The key a client pays with. Signs through WebCrypto where it knows Ed25519, ten times as fast as JavaScript. */
export interface PaymentKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Promise<Uint8Array>;
  toJSON(): string;
}

/** Checks an Ed25519 signature off the main thread where the platform can; false for anything malformed. */
export type VerifyLater = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => Promise<boolean>;

/** RFC 8410 §7: the wrapping of a 32-byte seed as PKCS #8, the only form WebCrypto imports. */
const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420");

/** `seed` is 32 bytes; whoever has it can spend the channel. */
export function paymentKeyFromSeed(seed: Uint8Array): PaymentKey {
  const pure = keyPairFromSeed(seed);
  const imported = importOrUndefined("pkcs8", concat(PKCS8_PREFIX, seed), "sign");
  return {
    publicKey: pure.publicKey,
    async sign(message) {
      const key = await imported;
      return key === undefined
        ? pure.sign(message)
        : new Uint8Array(await crypto.subtle.sign("Ed25519", key, view(message)));
    },
    toJSON: () => "[secret]",
  };
}

/** Keys seen before stay imported: a client meets few workers and one gateway. */
export function createVerifier(): VerifyLater {
  const imported = new Map<string, Promise<CryptoKey | undefined>>();
  return async (signature, message, publicKey) => {
    const name = publicKey.join();
    let importing = imported.get(name);
    if (importing === undefined) {
      if (imported.size >= MAX_KEYS) imported.clear();
      importing = importOrUndefined("raw", publicKey, "verify");
      imported.set(name, importing);
    }
    const key = await importing;
    if (key === undefined) return verifySignature(signature, message, publicKey);
    return crypto.subtle.verify("Ed25519", key, view(signature), view(message));
  };
}

const MAX_KEYS = 1024;

type CryptoKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

/** Undefined where the platform has no Ed25519, or no WebCrypto at all (a page without TLS). */
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

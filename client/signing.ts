/** The key a client pays with. */
export interface PaymentKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Promise<Uint8Array>;
  toJSON(): string;
}

/** Ed25519 as the platform does it best: in JavaScript one check takes a millisecond, and every answer needs one. */
export interface Signatures {
  /** `seed` is 32 bytes; whoever has it can spend the channel. */
  paymentKey(seed: Uint8Array): PaymentKey;
  /** False for anything malformed. */
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): Promise<boolean>;
}

/** RFC 8410 §7: the wrapping of a 32-byte seed as PKCS #8, which platforms import. */
export const PKCS8_PREFIX = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);

/** Imported keys by their bytes: a client meets few workers and one gateway. */
export class KeyCache<Key> {
  readonly #keys = new Map<string, Key>();
  readonly #import: (publicKey: Uint8Array) => Key;

  constructor(importKey: (publicKey: Uint8Array) => Key) {
    this.#import = importKey;
  }

  get(publicKey: Uint8Array): Key {
    const name = publicKey.join();
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    if (this.#keys.size >= MAX_KEYS) this.#keys.clear();
    const key = this.#import(publicKey);
    this.#keys.set(name, key);
    return key;
  }
}

const MAX_KEYS = 1024;

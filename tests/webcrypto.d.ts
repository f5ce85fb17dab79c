import type { webcrypto } from "node:crypto";

// The browser's names, which the types of the independent HPKE implementation take for granted.
declare global {
  type CryptoKey = webcrypto.CryptoKey;
  type CryptoKeyPair = webcrypto.CryptoKeyPair;
}

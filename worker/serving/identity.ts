import { createPrivateKey, createPublicKey, sign as nodeSign, verify as nodeVerify, type KeyObject } from "node:crypto";
import { inspect } from "node:util";
import { concat, Failure, fromHex, keyPairFromSeed, workerIdOf, type Sign, type Verify } from "../../protocol/index.ts";
import type { Disk } from "./disk.ts";

/** A worker's long-lived Ed25519 key (ACN/1 §3.1), usable and unreadable: it prints as `[secret]`. */
export interface Identity {
  /** Lowercase hex. */
  readonly workerId: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly sign: Sign;
  toJSON(): string;
}

/** Where the seed is kept: a file now, the system's keychain in the app. */
export interface Keys {
  read(): Promise<Uint8Array | undefined>;
  write(seed: Uint8Array): Promise<void>;
}

const SEED_BYTES = 32;
const KEY_FILE = "identity.key";

/**
 * The identity kept in `keys`; makes and keeps one at the first start.
 *
 * @throws {Failure} `storage_failed` when what is kept is damaged: a new identity in its place would lose the old one's
 *   standing without anybody having asked for it.
 */
export async function loadIdentity(keys: Keys, random: (length: number) => Uint8Array): Promise<Identity> {
  const kept = await keys.read();
  if (kept?.length === SEED_BYTES) return identityOf(kept);
  if (kept !== undefined)
    throw new Failure("storage_failed", "the identity key is damaged: restore it, or remove it to be a new worker");
  const seed = random(SEED_BYTES);
  await keys.write(seed);
  return identityOf(seed);
}

export function keysOnDisk(disk: Disk): Keys {
  return { read: () => disk.read(KEY_FILE), write: (seed) => disk.write(KEY_FILE, seed) };
}

/** RFC 8410 §7: what stands before the seed in PKCS #8, and before the key in SPKI. */
const PKCS8_PREFIX = fromHex("302e020100300506032b657004220420");
const SPKI_PREFIX = fromHex("302a300506032b6570032100");

export function identityOf(seed: Uint8Array): Identity {
  const { publicKey } = keyPairFromSeed(seed);
  const key = createPrivateKey({ key: Buffer.from(concat(PKCS8_PREFIX, seed)), format: "der", type: "pkcs8" });
  const identity = {
    workerId: workerIdOf(publicKey),
    publicKey,
    sign: (message: Uint8Array) => new Uint8Array(nodeSign(null, message, key)),
    toJSON: () => "[secret]",
  };
  Object.defineProperty(identity, inspect.custom, { value: () => "[secret]", enumerable: false });
  return identity;
}

/** Checks signatures of a few keys over and over: the parsed keys are kept. */
export function createVerifier(): Verify {
  const keys = new Map<string, KeyObject>();
  return (signature, message, publicKey) => {
    try {
      return nodeVerify(null, message, keyObject(keys, publicKey), signature);
    } catch {
      return false; // a malformed key is one more bad signature
    }
  };
}

const MAX_KEPT_KEYS = 64;

function keyObject(keys: Map<string, KeyObject>, publicKey: Uint8Array): KeyObject {
  const name = Buffer.from(publicKey).toString("hex");
  const kept = keys.get(name);
  if (kept !== undefined) return kept;
  const key = createPublicKey({ key: Buffer.from(concat(SPKI_PREFIX, publicKey)), format: "der", type: "spki" });
  if (keys.size >= MAX_KEPT_KEYS) keys.clear();
  keys.set(name, key);
  return key;
}

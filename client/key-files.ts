import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, fromBase64url, toBase64url } from "../protocol/index.ts";

/** The two secrets of an endpoint, made at the first start. */
export interface KeyFiles {
  /** 32 bytes: who has it can spend the channel. */
  readonly paymentSeed: Uint8Array;
  /** What programs on this computer show to the endpoint. */
  readonly apiKey: string;
}

const SEED_FILE = "payment.seed";
const API_KEY_FILE = "api.key";
const API_KEY_PREFIX = "sk-cocoon-";
const SECRET_BYTES = 32;

/** Readable by their owner alone. @throws {Failure} `storage_failed`, `disk_full`. */
export function openKeyFiles(folder: string, random: (length: number) => Uint8Array): KeyFiles {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const seed = readOrMake(join(folder, SEED_FILE), () => toBase64url(random(SECRET_BYTES)));
    const paymentSeed = fromBase64url(seed);
    if (paymentSeed?.length !== SECRET_BYTES)
      throw new Failure("storage_failed", `${SEED_FILE} is damaged: restore it from a copy`);
    const apiKey = readOrMake(join(folder, API_KEY_FILE), () => API_KEY_PREFIX + toBase64url(random(SECRET_BYTES)));
    if (!/^\S+$/.test(apiKey))
      throw new Failure("storage_failed", `${API_KEY_FILE} is damaged: delete it, and a new key is made`);
    return { paymentSeed, apiKey };
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const isFull = cause instanceof Error && "code" in cause && cause.code === "ENOSPC";
    throw new Failure(isFull ? "disk_full" : "storage_failed", cause instanceof Error ? cause.message : undefined, {
      cause,
    });
  }
}

function readOrMake(path: string, make: () => string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  const made = make();
  writeFileSync(path, `${made}\n`, { mode: 0o600, flag: "wx" });
  return made;
}

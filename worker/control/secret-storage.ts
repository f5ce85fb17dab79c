import type { Disk } from "../serving/disk.ts";

/** One secret of a worker's owner, as text: a session with a wallet app. Never the key of a wallet. */
export interface SecretStorage {
  /** Undefined when there is none. @throws {Failure} `storage_failed` when what is kept cannot be reached now. */
  read(): Promise<string | undefined>;
  /** @throws {Failure} `disk_full`, `storage_failed`. */
  write(secret: string): Promise<void>;
  /** @throws {Failure} `storage_failed`. */
  remove(): Promise<void>;
}

const FILE = "wallet-session.json";

/**
 * A file of mode 0600 in the data folder. The desktop app keeps the same text in the system's keychain; without a desktop
 * there is none, and a key beside the file would protect it from nobody. Who reads it can ask the owner's wallet app in
 * this worker's name, where the owner sees and confirms each request; it moves no coins by itself.
 */
export function secretsOnDisk(disk: Disk): SecretStorage {
  const write = (text: string): Promise<void> => disk.write(FILE, new TextEncoder().encode(text));
  return {
    async read() {
      const text = new TextDecoder().decode((await disk.read(FILE)) ?? new Uint8Array());
      return text === "" ? undefined : text;
    },
    write,
    // Whole files only: an empty one says that there is no session any more.
    remove: () => write(""),
  };
}

import { Failure } from "../../protocol/index.ts";
import type { SecretStorage } from "./secret-storage.ts";

export interface FakeSecrets extends SecretStorage {
  secret: string | undefined;
  /** While set, everything fails, as with a locked keychain. */
  isLocked: boolean;
}

export function fakeSecrets(secret?: string): FakeSecrets {
  const refuseIfLocked = (isLocked: boolean): void => {
    if (isLocked) throw new Failure("storage_failed", "the keychain is locked");
  };
  return {
    secret,
    isLocked: false,
    async read() {
      refuseIfLocked(this.isLocked);
      return this.secret;
    },
    async write(text) {
      refuseIfLocked(this.isLocked);
      this.secret = text;
    },
    async remove() {
      refuseIfLocked(this.isLocked);
      this.secret = undefined;
    },
  };
}

import { Failure } from "../../protocol/index.ts";
import type { Disk } from "./disk.ts";

export interface FakeDisk extends Disk {
  readonly files: Map<string, Uint8Array>;
  /** While set, writes fail as on a full disk. */
  isFull: boolean;
}

export function fakeDisk(): FakeDisk {
  const files = new Map<string, Uint8Array>();
  return {
    files,
    isFull: false,
    async read(name) {
      return files.get(name);
    },
    async write(name, bytes) {
      if (this.isFull) throw new Failure("disk_full");
      files.set(name, bytes);
    },
    async names() {
      return [...files.keys()];
    },
  };
}

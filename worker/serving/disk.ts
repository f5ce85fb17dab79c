/** Small files of a worker, by name. Whole files only, so that a crash leaves the old one or the new one. */
export interface Disk {
  /** Undefined when there is none. @throws {Failure} `storage_failed`. */
  read(name: string): Promise<Uint8Array | undefined>;
  /** On the disk, flushed, when it resolves. @throws {Failure} `disk_full`, `storage_failed`. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Of the files that are there now, in no order. @throws {Failure} `storage_failed`. */
  names(): Promise<readonly string[]>;
}

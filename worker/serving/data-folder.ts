import { chmod, mkdir, open, readdir, readFile, rename, stat, unlink, writeFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { readFileSync, unlinkSync } from "node:fs";
import { uptime } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { Failure } from "../../protocol/index.ts";
import type { Disk } from "./disk.ts";

/** A worker's own folder, locked for as long as this process uses it. */
export interface DataFolder extends Disk {
  /** Removes the lock; an exit of the process does too. */
  release(): void;
}

const LOCK_NAME = "worker.lock";
const OWNER_ONLY = 0o600;

/** Two readings of one boot's time differ by clock corrections; two boots differ by more than this. */
const BOOT_TOLERANCE_MS = 60_000;

/**
 * Opens the folder for one process alone: two workers with one identity would take each other's sessions and vouchers.
 *
 * @throws {Failure} `bad_configuration` when another process has it, `storage_failed`, `disk_full`.
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  await guarded(() => mkdir(path, { recursive: true, mode: 0o700 }));
  const unlock = await takeLock(join(path, LOCK_NAME));
  process.once("exit", unlock);
  return {
    release() {
      process.off("exit", unlock);
      unlock();
    },
    read: (name) => guarded(() => readIfThere(join(path, name))),
    write: (name, bytes) => guarded(() => writeWhole(path, name, bytes)),
    names: () => guarded(() => readdir(path)),
  };
}

/** To look into a folder that another process may be using: each file is whole. Nothing is written through it. */
export function readDataFolder(path: string): Pick<Disk, "read" | "names"> {
  return {
    read: (name) => guarded(() => readIfThere(join(path, name))),
    names: () => guarded(() => readdir(path)),
  };
}

const lockSchema = z.object({ pid: z.int().positive(), bootedAt: z.number() });

/** Looked at and written behind a guard, so that of several that find the same stale lock one takes it over. */
async function takeLock(path: string): Promise<() => void> {
  const mine = JSON.stringify({ pid: process.pid, bootedAt: Math.round(bootedAt()), takenAt: Date.now() });
  const guard = `${path}.guard`;
  await takeGuard(guard);
  try {
    const holder = await guarded(() => readIfThere(path));
    if (holder !== undefined) refuseLivingHolder(holder, path);
    await guarded(() => writeFile(path, mine, { mode: OWNER_ONLY }));
    return () => removeIfMine(path, mine);
  } finally {
    await unlink(guard).catch(() => undefined);
  }
}

async function takeGuard(guard: string): Promise<void> {
  for (let waited = 0; waited < MOST_WAIT_MS; waited += GUARD_PAUSE_MS) {
    if (await createNew(guard)) return;
    await pause(GUARD_PAUSE_MS);
    if (await isOld(guard)) await unlink(guard).catch(() => undefined);
  }
  throw new Failure("bad_configuration", `another worker keeps taking the data folder (${guard})`);
}

/** A guard is held for milliseconds: one this old was left by a process that died. */
async function isOld(guard: string): Promise<boolean> {
  try {
    return Math.abs(Date.now() - (await stat(guard)).mtimeMs) > GUARD_OLD_MS;
  } catch {
    return false; // given back meanwhile
  }
}

const GUARD_PAUSE_MS = 10;
const GUARD_OLD_MS = 3000;
const MOST_WAIT_MS = 10_000;

function bootedAt(): number {
  return Date.now() - uptime() * 1000;
}

function refuseLivingHolder(content: Uint8Array, path: string): void {
  const holder = parseLock(content);
  if (holder === undefined || !isAlive(holder.pid)) return;
  // After a reboot the number of a dead worker belongs to somebody else.
  if (Math.abs(holder.bootedAt - bootedAt()) > BOOT_TOLERANCE_MS) return;
  throw new Failure(
    "bad_configuration",
    `another worker (process ${holder.pid}) already uses this data folder; stop it or choose another folder (${path})`,
  );
}

function parseLock(content: Uint8Array): z.output<typeof lockSchema> | undefined {
  try {
    return lockSchema.parse(JSON.parse(Buffer.from(content).toString("utf8")));
  } catch {
    return undefined; // half-written by a process that died: nobody holds it
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

async function createNew(path: string): Promise<boolean> {
  try {
    await (await open(path, "wx", OWNER_ONLY)).close();
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw storageFailure(error);
  }
}

function removeIfMine(path: string, mine: string): void {
  try {
    if (readFileSync(path, "utf8") === mine) unlinkSync(path);
  } catch {
    // Already gone: there is nothing left to release.
  }
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Temporary file, flush, rename, flush of the folder: a power cut leaves the old content or the new. */
async function writeWhole(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  const temporary = join(folder, `${name}.new`);
  const file = await open(temporary, "w", OWNER_ONLY);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(temporary, OWNER_ONLY);
  await rename(temporary, join(folder, name));
  await flushFolder(folder);
}

async function flushFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    await handle.sync().finally(() => handle.close());
  } catch {
    // Windows cannot open a folder; there NTFS keeps the rename in its own journal.
  }
}

async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageFailure(error);
  }
}

function storageFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const code = errorCode(error);
  const isFull = code === "ENOSPC" || code === "EDQUOT";
  return new Failure(isFull ? "disk_full" : "storage_failed", code, { cause: error });
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

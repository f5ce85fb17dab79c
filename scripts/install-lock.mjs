import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";

const POLL_MS = 200;
/** Longer than any install we have seen; after it a person is told which folder to look at. */
const GIVE_UP_AFTER_MS = 15 * 60_000;

/** @typedef {{ host: string; pids: number[] }} Holder */

/**
 * Runs the action while holding the one lock of its folder; waits for a living holder, takes over from a dead one.
 *
 * @template T
 * @param {string} folder made when missing
 * @param {(watch: (pid: number) => void) => Promise<T>} action `watch` adds a process that also keeps the lock alive,
 *   so that an installer whose parent was killed is still waited for
 * @returns {Promise<T>}
 */
export async function withInstallLock(folder, action) {
  mkdirSync(folder, { recursive: true });
  const lock = join(folder, "install.lock");
  await take(folder, lock);
  try {
    return await action((pid) => writeHolder(lock, [process.pid, pid]));
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

/** @param {string} folder @param {string} lock */
async function take(folder, lock) {
  const until = Date.now() + GIVE_UP_AFTER_MS;
  let told = false;
  while (!tryToTake(folder, lock)) {
    const holder = readHolder(lock);
    if (holder !== undefined && !isAlive(holder)) {
      takeOver(lock, `${lock}.${process.pid}`);
      continue;
    }
    if (!told) process.stderr.write("Another start is installing dependencies: waiting for it…\n");
    told = true;
    if (Date.now() > until) {
      throw new Error(`Waited too long for another install. If none is running, remove ${lock} and start again.`);
    }
    await pause(POLL_MS);
  }
}

/**
 * The lock is filled before it gets its name, so it is never seen without its holder.
 *
 * @param {string} folder @param {string} lock
 */
function tryToTake(folder, lock) {
  const mine = mkdtempSync(join(folder, "lock-"));
  try {
    writeHolder(mine, [process.pid]);
    return renamed(mine, lock);
  } finally {
    rmSync(mine, { recursive: true, force: true });
  }
}

/**
 * Moves a dead holder's lock away. Moved, it is looked at once more: had another start taken over in between, this
 * is a living lock, and goes back.
 *
 * @param {string} lock @param {string} aside
 */
function takeOver(lock, aside) {
  if (!renamed(lock, aside)) return;
  const holder = readHolder(aside);
  if (holder !== undefined && isAlive(holder)) renamed(aside, lock);
  rmSync(aside, { recursive: true, force: true });
}

/**
 * Renaming a folder onto another that is not empty fails on every system: that makes it the atomic step.
 *
 * @param {string} from @param {string} to
 */
function renamed(from, to) {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (["EEXIST", "ENOTEMPTY", "EPERM", "EACCES", "ENOENT"].includes(codeOf(error))) return false;
    throw error;
  }
}

/** @param {string} lock @param {number[]} pids */
function writeHolder(lock, pids) {
  /** @type {Holder} */
  const holder = { host: hostname(), pids };
  writeFileSync(join(lock, "holder.json"), JSON.stringify(holder));
}

/**
 * @param {string} lock
 * @returns {Holder | undefined} undefined while it changes hands
 */
function readHolder(lock) {
  try {
    /** @type {unknown} */
    const holder = JSON.parse(readFileSync(join(lock, "holder.json"), "utf8"));
    return /** @type {Holder} */ (holder);
  } catch {
    return undefined;
  }
}

/** @param {Holder} holder */
function isAlive({ host, pids }) {
  // Process ids of another machine (a shared folder) say nothing here: assume it lives.
  return host !== hostname() || pids.some((pid) => exists(pid));
}

/** @param {number} pid */
function exists(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

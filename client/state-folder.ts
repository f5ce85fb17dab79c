import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { Failure } from "../protocol/index.ts";
import type { Journal } from "./journal.ts";

const JOURNAL = "channel.jsonl";
const LOCK = "lock";

/**
 * A journal in a folder that one client at a time may use: two that both count would sign what the other does not know.
 *
 * Appends go to the operating system before they return, so a killed process loses nothing; after a power cut the
 * gateway's copy of the last countersignature fills in what the disk had not written.
 *
 * @throws {Failure} `storage_failed`, `disk_full`.
 */
export function openStateFolder(folder: string): Journal {
  const path = join(folder, JOURNAL);
  return attempt(() => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const unlock = lock(join(folder, LOCK));
    const lines = wholeLines(readOrEmpty(path));
    writeAtomically(path, lines);
    let file = openSync(path, "a", 0o600);
    return {
      lines: () => lines,
      append: (line) => attempt(() => appendWhole(file, Buffer.from(`${line}\n`))),
      replace: (shorter) =>
        attempt(() => {
          writeAtomically(path, shorter);
          closeSync(file);
          file = openSync(path, "a", 0o600);
        }),
      close() {
        closeSync(file);
        unlock();
      },
    };
  });
}

/** A last line without its newline was cut by a crash: it was never acted upon. */
function wholeLines(text: string): string[] {
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .slice(0, -1);
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "";
    throw error;
  }
}

/** Half a line is taken back: the next one would be glued to it. */
function appendWhole(file: number, line: Uint8Array): void {
  const written = writeSync(file, line);
  if (written === line.length) return;
  ftruncateSync(file, fstatSync(file).size - written);
  throw new Failure("disk_full");
}

function writeAtomically(path: string, lines: readonly string[]): void {
  const next = `${path}.next`;
  writeFileSync(next, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 });
  renameSync(next, path);
}

/** The file holds the process id, so that a lock left by a crash can be told from a living one. */
function lock(path: string): () => void {
  for (let attempts = 0; attempts < 2; attempts++) {
    try {
      writeFileSync(path, `${process.pid}`, { flag: "wx", mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
      if (isAlive(Number(readOrEmpty(path)))) break;
      rmSync(path, { force: true });
    }
  }
  throw new Failure("storage_failed", `another client uses this folder (${path})`);
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

function attempt<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const code = errorCode(cause) === "ENOSPC" ? "disk_full" : "storage_failed";
    throw new Failure(code, cause instanceof Error ? cause.message : undefined, { cause });
  }
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

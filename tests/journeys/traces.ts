import { closeSync, openSync, readFileSync, readSync } from "node:fs";

/** Where a text was found, by how it was written there. */
export type Trace = "utf-8" | "utf-16le" | "utf-16be" | "base64" | "base64url" | "hex" | "HEX";

/** Every way a text may lie in bytes. Base64 is looked for at each of its three alignments. */
export function tracesOf(text: string, bytes: Buffer): readonly Trace[] {
  return patterns(text).flatMap(([trace, pattern]) => (bytes.includes(pattern) ? [trace] : []));
}

/** The same over what a Linux process has in writable memory, buffers outside the heap included. */
export function tracesInMemory(text: string, processId: number): readonly Trace[] {
  const found = new Set<Trace>();
  const memory = openSync(`/proc/${processId}/mem`, "r");
  for (const [start, end] of writableRegions(processId)) {
    for (let at = start; at < end; at += CHUNK_BYTES) {
      const bytes = readRegion(memory, at, Math.min(CHUNK_BYTES + OVERLAP_BYTES, end - at));
      for (const trace of tracesOf(text, bytes)) found.add(trace);
    }
  }
  closeSync(memory);
  return [...found];
}

const CHUNK_BYTES = 8 * 2 ** 20;
const OVERLAP_BYTES = 4096;

function patterns(text: string): readonly (readonly [Trace, Buffer])[] {
  const utf8 = Buffer.from(text, "utf8");
  const utf16 = Buffer.from(text, "utf16le");
  const aligned = [0, 1, 2].map((shift) => base64Core(utf8, shift));
  return [
    ["utf-8", utf8],
    ["utf-16le", utf16],
    ["utf-16be", Buffer.from(utf16).swap16()],
    ["hex", Buffer.from(utf8.toString("hex"))],
    ["HEX", Buffer.from(utf8.toString("hex").toUpperCase())],
    ...aligned.map((core): readonly [Trace, Buffer] => ["base64", Buffer.from(core)]),
    ...aligned.map((core): readonly [Trace, Buffer] => [
      "base64url",
      Buffer.from(core.replaceAll("+", "-").replaceAll("/", "_")),
    ]),
  ];
}

/** The characters of base64 that depend on the text alone when it starts `shift` bytes into a group. */
function base64Core(bytes: Buffer, shift: number): string {
  const encoded = Buffer.concat([Buffer.alloc(shift), bytes])
    .toString("base64")
    .replace(/=+$/, "");
  const isWhole = (shift + bytes.length) % 3 === 0;
  return encoded.slice(shift === 0 ? 0 : shift + 1, isWhole ? encoded.length : -1);
}

function writableRegions(processId: number): readonly (readonly [number, number])[] {
  return readFileSync(`/proc/${processId}/maps`, "utf8")
    .split("\n")
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
      return match === null ? [] : [[parseInt(match[1] ?? "", 16), parseInt(match[2] ?? "", 16)] as const];
    });
}

/** What of a region can be read; pages that were never touched may not be. */
function readRegion(memory: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  try {
    return bytes.subarray(0, readSync(memory, bytes, 0, length, at));
  } catch {
    return Buffer.alloc(0);
  }
}

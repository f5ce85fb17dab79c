import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { setImmediate } from "node:timers/promises";

/** Where a text was found, by how it was written there. */
export type Trace = "utf-8" | "utf-16le" | "utf-16be" | "base64" | "base64url" | "hex" | "HEX";

/** Every way a text may lie in bytes. Base64 is looked for at each of its three alignments. */
export function tracesOf(text: string, bytes: Buffer): readonly Trace[] {
  return patterns(text).flatMap(([trace, pattern]) => (bytes.includes(pattern) ? [trace] : []));
}

/** The same over what a Linux process has in writable memory, buffers outside the heap included. */
export async function tracesInMemory(
  texts: readonly string[],
  processId: number,
): Promise<ReadonlyMap<string, ReadonlySet<Trace>>> {
  const found = new Map(texts.map((text) => [text, new Set<Trace>()]));
  const memory = openSync(`/proc/${processId}/mem`, "r");
  const chunk = Buffer.alloc(CHUNK_BYTES + OVERLAP_BYTES);
  for (const [start, end] of writableRegions(processId)) {
    for (let at = start; at < end; at += CHUNK_BYTES) {
      const bytes = readRegion(memory, chunk, at, Math.min(chunk.length, end - at));
      for (const [text, traces] of found) for (const trace of tracesOf(text, bytes)) traces.add(trace);
      await setImmediate(); // streams run while this looks, and their heartbeats must not stop
    }
  }
  closeSync(memory);
  return found;
}

const CHUNK_BYTES = 2 ** 20;
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

/** Regions that can be written and have at least one page in memory. */
function writableRegions(processId: number): readonly (readonly [number, number])[] {
  return readFileSync(`/proc/${processId}/smaps`, "utf8")
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .flatMap((region) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(region);
      const isResident = !/^Rss: +0 kB$/m.test(region);
      return match === null || !isResident
        ? []
        : [[parseInt(match[1] ?? "", 16), parseInt(match[2] ?? "", 16)] as const];
    });
}

/** What of a region can be read; a page that was never touched may not be. */
function readRegion(memory: number, chunk: Buffer, at: number, length: number): Buffer {
  try {
    return chunk.subarray(0, readSync(memory, chunk, 0, length, at));
  } catch {
    return Buffer.alloc(0);
  }
}

import { Failure, FAILURE_TEXT } from "../protocol/index.ts";

/** Runs a command of the devnet. What it fails with is said in words, and its exit code is 1. */
export async function runCommand(usage: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    process.stderr.write(wordsFor(error, usage));
    process.exitCode = 1;
  }
}

/** Resolves when a person or the system wants the command to end. */
export function interruption(): Promise<"interrupted"> {
  return new Promise((resolve) => {
    // `on`, not `once`: npm may pass a terminal's Ctrl-C on a second time, and the second must not end us half-way.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => resolve("interrupted"));
  });
}

/** @throws {Failure} `bad_configuration`. */
export function portOf(text: string): number {
  return wholeNumberOf("--port", text, { least: 0, most: 65_535 });
}

/** @throws {Failure} `bad_configuration`. */
export function wholeNumberOf(
  flag: string,
  text: string,
  { least, most }: { readonly least: number; readonly most: number },
): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new Failure("bad_configuration", `${flag}: a number from ${least} to ${most}`);
  }
  return value;
}

function wordsFor(error: unknown, usage: string): string {
  if (error instanceof Failure) return `${FAILURE_TEXT[error.code]}\n(${error.message})\n`;
  if (error instanceof TypeError && "code" in error) return `${error.message}\n${usage}`;
  return `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
}

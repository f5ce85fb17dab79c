/** `npm run contracts`: compiles the contracts into the code that is committed and shipped. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTolkCompiler } from "@ton/tolk-js";

export const folder = join(import.meta.dirname, "..", "contracts");

export const CONTRACTS = ["Registry", "Gateway", "ClientChannel", "WorkerChannel"] as const;

/** What a contract's source compiles to, as it stands in `contracts/code/`. */
export interface CompiledContract {
  /** A bag of cells in base64. */
  readonly codeBoc64: string;
  readonly codeHashHex: string;
  readonly tolkVersion: string;
}

/**
 * Compiles the sources of the folder, or what `read` has under their names.
 *
 * @throws {Error} with the compiler's message for a source that does not compile.
 */
export async function compileContract(
  name: string,
  read: (path: string) => string = readSource,
): Promise<CompiledContract> {
  const result = await runTolkCompiler({
    entrypointFileName: `${name}.tolk`,
    fsReadCallback: read,
    optimizationLevel: 2,
    withStackComments: false,
  });
  if (result.status === "error") throw new Error(`${name}.tolk: ${result.message}`);
  const { codeBoc64, codeHashHex, tolkVersion } = result;
  return { codeBoc64, codeHashHex, tolkVersion };
}

function readSource(path: string): string {
  return readFileSync(join(folder, path), "utf8");
}

export function codeFile(name: string): string {
  return join(folder, "code", `${name}.json`);
}

async function main(): Promise<void> {
  mkdirSync(join(folder, "code"), { recursive: true });
  for (const name of CONTRACTS) {
    const compiled = await compileContract(name);
    writeFileSync(codeFile(name), `${JSON.stringify(compiled, undefined, 2)}\n`);
    process.stdout.write(`${name} ${compiled.codeHashHex}\n`);
  }
}

if (import.meta.main) await main();

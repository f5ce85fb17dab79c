import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beginCell, Cell } from "@ton/core";
import { runTolkCompiler } from "@ton/tolk-js";
import { deploymentOf, toAddress, type Deployment } from "../contracts/cells.ts";
import type { RawAddress } from "../protocol/index.ts";

const root = join(import.meta.dirname, "..");

/** The yardstick's channel (`PlainChannel.tolk`): it takes a WorkerChannel's own CashOut. */
export async function plainChannelOf(terms: {
  readonly owner: RawAddress;
  /** 32 bytes. */
  readonly payerKey: Uint8Array;
}): Promise<Deployment> {
  const compiled = await runTolkCompiler({
    entrypointFileName: "bench/PlainChannel.tolk",
    fsReadCallback: (path) => readFileSync(join(root, path), "utf8"),
    optimizationLevel: 2,
    withStackComments: false,
  });
  if (compiled.status === "error") throw new Error(`PlainChannel.tolk: ${compiled.message}`);
  const data = beginCell()
    .storeCoins(0)
    .storeAddress(toAddress(terms.owner))
    .storeBuffer(Buffer.from(terms.payerKey), 32)
    .endCell();
  return deploymentOf(Cell.fromBase64(compiled.codeBoc64), data);
}

/** `npm run devnet`: a chain on this machine that stays up until it is interrupted. */
import { parseArgs } from "node:util";
import { COIN_NAME } from "../protocol/index.ts";
import { startChain, type DevnetChain } from "./chain.ts";
import { FAUCET } from "./chain/chain.ts";
import { interruption, portOf, runCommand, wholeNumberOf } from "./command.ts";

const USAGE = `Usage: npm run devnet [-- OPTIONS]
  --state FOLDER   keep the chain there, and go on with the one that is there
  --block-ms MS    how long a message waits for its block, and for each hop after it (default: 1000)
  --port PORT      where the chain's API listens (default: any free port)
  --json           one JSON line on standard output (use npm run -s devnet -- --json)
`;

/** An hour: nobody waits longer for a block by intention. */
const MAX_BLOCK_MS = 3_600_000;

interface ServeOptions {
  readonly folder: string | undefined;
  readonly blockMs: number;
  readonly port: number;
  readonly json: boolean;
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const interrupted = interruption();
  const { folder, blockMs, port } = options;
  const chain = await startChain({
    blocks: { everyMs: blockMs },
    port,
    log: (line) => process.stderr.write(`${line}\n`),
    ...(folder === undefined ? {} : { folder }),
  });
  try {
    process.stdout.write(options.json ? jsonLine(chain, options) : sentences(chain, options));
    const end = await Promise.race([interrupted, chain.ended]);
    if (end !== "interrupted") throw new Error("the chain ended by itself");
  } finally {
    await chain.close();
  }
}

function jsonLine({ endpoint, networkId, faucetUrl }: DevnetChain, { folder, blockMs }: ServeOptions): string {
  const facts = { ready: true, endpoint, networkId, faucetUrl, faucetAddress: FAUCET, blockMs };
  return `${JSON.stringify({ ...facts, ...(folder === undefined ? {} : { stateFolder: folder }) })}\n`;
}

function sentences({ endpoint, networkId, faucetUrl }: DevnetChain, { folder, blockMs }: ServeOptions): string {
  return `A chain of its own runs on this machine. Its coins are worth nothing, and its prices are those of mainnet.

  endpoint     ${endpoint} (toncenter API v2)
  network id   ${networkId}
  coins        curl '${faucetUrl}?address=ADDRESS&amount=10'   (${COIN_NAME})
               they come from ${FAUCET}
  blocks       one in ${blockMs} ms; each message that a message causes takes another
  state        ${folder ?? "in memory: gone when this ends (--state FOLDER keeps it)"}

Press Ctrl-C to stop.
`;
}

function readOptions(args: readonly string[]): ServeOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      state: { type: "string" },
      "block-ms": { type: "string", default: "1000" },
      port: { type: "string", default: "0" },
      json: { type: "boolean", default: false },
    },
  });
  return {
    folder: values.state,
    blockMs: wholeNumberOf("--block-ms", values["block-ms"], { least: 1, most: MAX_BLOCK_MS }),
    port: portOf(values.port),
    json: values.json,
  };
}

await runCommand(USAGE, main);

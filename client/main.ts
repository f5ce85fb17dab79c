import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_POLICY, Failure, parsePolicy, TIER_BADGES, type Policy } from "../protocol/index.ts";
import { parseCatalogue, type Catalogue } from "./catalogue.ts";
import { explain } from "./client-failure.ts";
import { createClient, serveOpenAi, type Client, type OpenAiEndpoint } from "./index.ts";
import { openKeyFiles } from "./key-files.ts";
import { parseServeSettings, USAGE, type ServeSettings } from "./settings.ts";

// `npm run client -- serve`: an OpenAI-compatible endpoint on this computer. The one place of the client that reads the
// environment and decides how a process ends.

interface Serving {
  readonly client: Client;
  readonly endpoint: OpenAiEndpoint;
  readonly apiKey: string;
  readonly policy: Policy;
}

async function main([command, ...args]: readonly string[]): Promise<number> {
  if (args.includes("--help") || command === "--help" || command === undefined) {
    process.stdout.write(USAGE);
    return command === undefined ? 64 : 0;
  }
  if (command !== "serve")
    throw new Failure("bad_configuration", `unknown command ${JSON.stringify(command)}; there is: serve`);
  const settings = parseServeSettings(args, process.env);
  const ended = untilEnded();
  const serving = await start(settings);
  try {
    await Promise.race([reachGateway(serving, settings), ended]);
    await ended;
    return 0;
  } finally {
    await serving.endpoint.close();
    await serving.client.close();
  }
}

async function start(settings: ServeSettings): Promise<Serving> {
  const { gatewayUrl, gatewayKey, port, allowTier, dataFolder, maxPrice, channel } = settings;
  const policy =
    settings.policyFile === undefined ? DEFAULT_POLICY : parsePolicy(readSettingsFile(settings.policyFile, "--policy"));
  const catalogue = readCatalogue(settings.catalogueFile);
  const { paymentSeed, apiKey } = openKeyFiles(dataFolder, (length) => crypto.getRandomValues(new Uint8Array(length)));
  const price = maxPrice === undefined ? {} : { maxPrice };
  const client = createClient({
    gateway: { url: gatewayUrl, key: gatewayKey },
    policy,
    paymentSeed,
    catalogue,
    log: (line) => process.stderr.write(`${line}\n`),
    ...(channel === undefined ? {} : { channel, stateFolder: stateFolderOf(dataFolder, channel) }),
    ...price,
  });
  try {
    const endpoint = await serveOpenAi({ client, apiKey, port, minTier: policy.minTier, allowTier, ...price });
    return { client, endpoint, apiKey, policy };
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** Says so once the gateway has let us in, and until then why not; the link itself goes on trying. */
async function reachGateway(serving: Serving, { isJson, gatewayUrl }: ServeSettings): Promise<void> {
  for (let said: string | undefined; ;) {
    try {
      await serving.client.ready();
      break;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.code === "cancelled") return; // we are ending
      if (error.code === "bad_login" || error.code === "bad_receipt") throw error;
      if (said !== error.code) process.stderr.write(`${error.code}: ${explain(error)}\n`);
      said = error.code;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  announce(serving, isJson, gatewayUrl);
}

const RETRY_MS = 1000;

function announce({ client, endpoint, apiKey, policy }: Serving, isJson: boolean, gatewayUrl: string): void {
  const { baseUrl } = endpoint;
  const models = client.models().map(({ id }) => id);
  const { minTier } = policy;
  if (isJson) {
    process.stdout.write(`${JSON.stringify({ ready: true, baseUrl, apiKey, models, minTier, gatewayUrl })}\n`);
    return;
  }
  process.stdout.write(
    [
      `OpenAI-compatible endpoint: ${baseUrl}`,
      `API key:                    ${apiKey}`,
      `Models:                     ${models.length === 0 ? "by manifest root (no catalogue was given)" : models.join(", ")}`,
      `Least tier:                 ${minTier} (${TIER_BADGES[minTier]})`,
      "",
    ].join("\n"),
  );
}

function readCatalogue(file: string | undefined): Catalogue {
  return file === undefined ? [] : parseCatalogue(readSettingsFile(file, "--catalogue"));
}

function readSettingsFile(file: string, setting: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new Failure("bad_configuration", `${setting}: ${file} cannot be read`, { cause });
  }
}

function stateFolderOf(dataFolder: string, { networkId, address }: NonNullable<ServeSettings["channel"]>): string {
  return join(dataFolder, `channel-${networkId}-${address.slice(2, 18)}`);
}

function untilEnded(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => resolve());
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`${error.code}: ${explain(error)}\n`);
  process.exitCode = 1;
}

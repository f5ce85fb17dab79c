import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import OpenAI from "openai";
import { serveOpenAi } from "../../client/index.ts";
import {
  startDevnet,
  type Devnet,
  type DevnetClient,
  type DevnetClientOptions,
  type DevnetOptions,
} from "../../devnet/index.ts";

/** A folder that is gone after the test. */
export function temporaryFolder(context: { after(run: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-journey-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A devnet that ends with the test. */
export async function devnetFor(context: TestContext, options: Partial<DevnetOptions> = {}): Promise<Devnet> {
  const devnet = await startDevnet({ folder: temporaryFolder(context), ...options });
  context.after(() => devnet.close());
  return devnet;
}

export interface Endpoint extends DevnetClient {
  readonly openai: OpenAI;
  readonly baseUrl: string;
  readonly apiKey: string;
}

/** A client's endpoint, with the official OpenAI client in front of it. */
export async function endpointFor(
  context: TestContext,
  devnet: Devnet,
  name = "journey",
  options: DevnetClientOptions & { readonly minTier?: "software" | "tee"; readonly allowTier?: boolean } = {},
): Promise<Endpoint> {
  const { minTier = "software", allowTier = false, ...clientOptions } = options;
  const devnetClient = await devnet.client(name, clientOptions);
  const apiKey = "sk-cocoon-journey";
  const endpoint = await serveOpenAi({ client: devnetClient.client, apiKey, minTier, allowTier });
  context.after(() => endpoint.close());
  const openai = new OpenAI({ baseURL: endpoint.baseUrl, apiKey, maxRetries: 0 });
  return { ...devnetClient, openai, baseUrl: endpoint.baseUrl, apiKey };
}

const POLL_MS = 10;

/** Waits for a fact that several processes have to agree on. @throws {Error} after `limitMs`. */
export async function until(what: string, isSo: () => boolean, limitMs = 20_000): Promise<void> {
  const giveUpAt = performance.now() + limitMs;
  while (!isSo()) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain until ${what}`);
    await delay(POLL_MS);
  }
}

/** What the first worker's owner was promised. */
export function vouchered(devnet: Devnet): bigint {
  return devnet.workers[0]?.worker.status().gateways[0]?.vouchers.voucheredTotal ?? 0n;
}

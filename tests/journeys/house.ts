import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

/** What can end something with a test: the test itself, or the whole file. */
export interface Scope {
  after(run: () => Promise<void>): void;
}

const closers = new WeakMap<Scope, (() => unknown)[]>();

/** Runs when the test is over, last registered first: a folder goes after who writes into it. */
export function atEnd(scope: Scope, close: () => unknown): void {
  const known = closers.get(scope);
  if (known !== undefined) {
    known.push(close);
    return;
  }
  const own = [close];
  closers.set(scope, own);
  scope.after(async () => {
    for (const next of own.reverse()) await next();
  });
}

/** A folder that is gone after the test. */
export function temporaryFolder(scope: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-journey-"));
  atEnd(scope, () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A devnet that ends with the test. */
export async function devnetFor(scope: Scope, options: Partial<DevnetOptions> = {}): Promise<Devnet> {
  const devnet = await startDevnet({ ...options, folder: options.folder ?? temporaryFolder(scope) });
  atEnd(scope, () => devnet.close());
  return devnet;
}

export interface Endpoint extends DevnetClient {
  readonly openai: OpenAI;
  readonly baseUrl: string;
  readonly apiKey: string;
}

/** A client's endpoint, with the official OpenAI client in front of it. */
export async function endpointFor(
  scope: Scope,
  devnet: Devnet,
  name = "journey",
  options: DevnetClientOptions & { readonly minTier?: "software" | "tee"; readonly allowTier?: boolean } = {},
): Promise<Endpoint> {
  const { minTier = "software", allowTier = false, ...clientOptions } = options;
  const devnetClient = await devnet.client(name, clientOptions);
  const apiKey = "sk-cocoon-journey";
  const endpoint = await serveOpenAi({ client: devnetClient.client, apiKey, minTier, allowTier });
  atEnd(scope, () => endpoint.close());
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

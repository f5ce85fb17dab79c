/** `npm run demo`: the whole network on this machine, and one question asked through it. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { serveOpenAi, type Client } from "../client/index.ts";
import { DEMO_POLICY, Failure } from "../protocol/index.ts";
import { ask } from "./ask.ts";
import { interruption, portOf, runCommand } from "./command.ts";
import { jsonVoice, plainVoice, type DemoAnswer, type DemoReady, type DemoVoice } from "./demo-voice.ts";
import { startDevnet, type Devnet } from "./index.ts";

const QUESTION = "Hello! Who are you, and who can read what I write?";
/** A model without a chat template goes on with whatever it was given, so it gets an opening and not a question. */
const OPENING = "Once upon a time";
const MAX_TOKENS = 256;
const SETTLE_MS = 20_000;

const USAGE = `Usage: npm run demo [-- OPTIONS]
  --once         end after the first answer
  --json         JSON lines on standard output (use npm run -s demo -- --json)
  --model FILE   any GGUF instead of the practice model
  --ask TEXT     ask this instead of the demo's own question
  --port PORT    where the OpenAI endpoint listens (default: any free port)
`;

interface DemoOptions {
  readonly once: boolean;
  readonly json: boolean;
  readonly modelPath: string | undefined;
  readonly question: string;
  readonly port: number;
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const write = (text: string): void => void process.stdout.write(text);
  const voice = options.json ? jsonVoice(write) : plainVoice(write);
  const interrupted = interruption();
  const folder = mkdtempSync(join(tmpdir(), "cocoon-demo-"));
  try {
    await runDemo(options, voice, folder, interrupted);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runDemo(
  options: DemoOptions,
  voice: DemoVoice,
  folder: string,
  interrupted: Promise<"interrupted">,
): Promise<void> {
  const { modelPath } = options;
  const model = modelPath === undefined ? undefined : { id: basename(modelPath, ".gguf"), path: modelPath };
  const devnet = await startDevnet({ folder, ...(model === undefined ? {} : { model }) });
  try {
    const { client } = await devnet.client("demo");
    const apiKey = `sk-cocoon-${randomBytes(24).toString("base64url")}`;
    const endpoint = await serveOpenAi({ client, apiKey, port: options.port, minTier: DEMO_POLICY.minTier });
    try {
      const ready = { baseUrl: endpoint.baseUrl, apiKey, model: devnet.model.id, gatewayUrl: devnet.gateway.httpUrl };
      voice.ready(ready);
      const isOver = await Promise.race([demonstrate(devnet, client, ready, options, voice), interrupted]);
      if (isOver === "interrupted" || options.once) return;
      voice.waiting(ready);
      await interrupted;
    } finally {
      await endpoint.close();
    }
  } finally {
    await devnet.close();
  }
}

async function demonstrate(
  devnet: Devnet,
  client: Client,
  ready: DemoReady,
  options: DemoOptions,
  voice: DemoVoice,
): Promise<"answered"> {
  voice.question(options.question);
  const { baseUrl, apiKey, model } = ready;
  const answered = await ask({ baseUrl, apiKey, model, text: options.question, maxTokens: MAX_TOKENS }, voice.text);
  const money = await settled(devnet, client);
  const { answer, tier, usage, ttftMs, tokensPerSecond } = answered;
  voice.answered({ answer, model, tier, usage, ttftMs, tokensPerSecond, ...money });
  return "answered";
}

type Money = Pick<DemoAnswer, "chargedNanoton" | "earnedNanoton" | "feeNanoton">;

/** Three amounts from three parties, once the newest voucher has reached the worker. */
async function settled(devnet: Devnet, client: Client): Promise<Money> {
  const worker = devnet.workers[0]?.worker;
  if (worker === undefined) throw new Failure("no_worker");
  const arrived = Promise.withResolvers<undefined>();
  const look = (): Money | undefined => {
    const earnedNanoton = worker.status().gateways[0]?.vouchers.voucheredTotal ?? 0n;
    const chargedNanoton = client.account().total;
    if (earnedNanoton === 0n || chargedNanoton === 0n) return undefined;
    return { chargedNanoton, earnedNanoton, feeNanoton: devnet.gateway.ledgerTotals().fees };
  };
  const stop = worker.onStatus(() => {
    if (look() !== undefined) arrived.resolve(undefined);
  });
  const timer = setTimeout(() => arrived.reject(new Failure("internal", "no voucher after the answer")), SETTLE_MS);
  try {
    if (look() === undefined) await arrived.promise;
    return look() ?? { chargedNanoton: 0n, earnedNanoton: 0n, feeNanoton: 0n };
  } finally {
    clearTimeout(timer);
    stop();
  }
}

function readOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      once: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      model: { type: "string" },
      ask: { type: "string" },
      port: { type: "string", default: "0" },
    },
  });
  const port = portOf(values.port);
  const question = values.ask ?? (values.model === undefined ? QUESTION : OPENING);
  return { once: values.once, json: values.json, modelPath: values.model, question, port };
}

await runCommand(USAGE, main);

import { parseArgs } from "node:util";
import { checkPriceSheet, Failure, fromBase64url, fromHex, type PriceSheet } from "../protocol/index.ts";
import type { EnginePlan } from "./engine/messages.ts";
import { rawAddress } from "./owner-address.ts";
import type { GatewayAddress } from "./serving/gateway-address.ts";

export interface ServeCommand {
  readonly gateways: readonly GatewayAddress[];
  readonly plans: readonly EnginePlan[];
  readonly price: PriceSheet;
  /** `0:hex`; undefined: the one named last, or nobody yet. */
  readonly owner: string | undefined;
  readonly dataFolder: string | undefined;
  readonly networkId: number;
  readonly isJson: boolean;
}

export const USAGE = `Usage: npm run worker -- serve --gateway URL --gateway-key KEY --model FILE.gguf [options]

  --gateway URL        a gateway's address; may be repeated, with one --gateway-key each
  --gateway-key KEY    its public key, as the gateway prints it (hex or base64url)
  --model FILE         a GGUF file to serve; may be repeated
  --price P,C,O        nanoton per million prompt, cached and completion tokens (default 20000000,10000000,60000000)
  --owner ADDRESS      the TON wallet this worker earns for; default the one named last, and without any, earnings
                       are owed until you name one
  --slots N            requests answered at once (default 4)
  --context N          tokens of one request, prompt and answer together (default 4096)
  --gpu KIND           auto, cuda, vulkan, metal or off (default auto)
  --threads N          processor threads for the model (default: let the engine choose)
  --data DIR           where identity and vouchers are kept
  --network N          TON network id (default -239, the main network)
  --json               print the state as JSON lines instead of sentences
`;

const DEFAULT_PRICE = "20000000,10000000,60000000";
const MAIN_NETWORK = "-239";

/** @throws {Failure} `bad_configuration`, naming the option and what it should be. */
export function parseCommandLine(args: readonly string[]): ServeCommand {
  const { values, positionals } = read(args);
  const [command, ...rest] = positionals;
  if (command !== "serve" || rest.length > 0) throw wrong(`"${positionals.join(" ")}" is not a command; use "serve"`);
  return {
    gateways: gateways(values.gateway ?? [], values["gateway-key"] ?? []),
    plans: plans(values),
    price: price(values.price ?? DEFAULT_PRICE),
    owner: values.owner === undefined ? undefined : owner(values.owner),
    dataFolder: values.data,
    networkId: whole("--network", values.network ?? MAIN_NETWORK, { min: -0x8000_0000, max: 0x7fff_ffff }),
    isJson: values.json ?? false,
  };
}

const OPTIONS = {
  gateway: { type: "string", multiple: true },
  "gateway-key": { type: "string", multiple: true },
  model: { type: "string", multiple: true },
  price: { type: "string" },
  owner: { type: "string" },
  slots: { type: "string" },
  context: { type: "string" },
  gpu: { type: "string" },
  threads: { type: "string" },
  data: { type: "string" },
  network: { type: "string" },
  json: { type: "boolean" },
} as const;

function read(args: readonly string[]) {
  try {
    return parseArgs({ args: joinNegative(args), options: OPTIONS, allowPositionals: true });
  } catch (cause) {
    throw wrong(cause instanceof Error ? cause.message : "the options cannot be read", cause);
  }
}

/** `--network -3` is what people write; parseArgs wants `--network=-3`. */
function joinNegative(args: readonly string[]): string[] {
  return args.flatMap((arg, at) => {
    if (/^-\d+$/.test(arg) && args[at - 1] === "--network") return [];
    const next = args[at + 1];
    return arg === "--network" && next !== undefined && /^-\d+$/.test(next) ? [`${arg}=${next}`] : [arg];
  });
}

function gateways(urls: readonly string[], keys: readonly string[]): readonly GatewayAddress[] {
  if (urls.length === 0) throw wrong("--gateway is missing: which gateway should this worker serve?");
  if (keys.length !== urls.length) throw wrong("each --gateway needs its --gateway-key, in the same order");
  return urls.map((url, at) => ({ url, key: key(keys[at] ?? "") }));
}

function key(text: string): Uint8Array {
  const bytes = /^[0-9a-fA-F]{64}$/.test(text) ? fromHex(text.toLowerCase()) : fromBase64url(text);
  if (bytes?.length !== 32)
    throw wrong(`--gateway-key ${text} is not a key: 64 hex digits or 43 characters of base64url`);
  return bytes;
}

function plans(values: ReturnType<typeof read>["values"]): readonly EnginePlan[] {
  const models = values.model ?? [];
  if (models.length === 0) throw wrong("--model is missing: which GGUF file should be served?");
  const slots = whole("--slots", values.slots ?? "4", { min: 1, max: 64 });
  const plan = {
    contextTokens: whole("--context", values.context ?? "4096", { min: 256, max: 1_000_000 }),
    slots,
    queueLimit: slots,
    batchTokens: 512,
    threads: whole("--threads", values.threads ?? "0", { min: 0, max: 1024 }),
    gpu: gpu(values.gpu ?? "auto"),
    gpuLayers: "auto",
    kvCache: "f16",
  } as const;
  return models.map((modelPath) => ({ modelPath, ...plan }));
}

function gpu(kind: string): EnginePlan["gpu"] {
  switch (kind) {
    case "auto":
    case "cuda":
    case "vulkan":
    case "metal":
      return kind;
    case "off":
      return false;
    default:
      throw wrong(`--gpu ${kind}: choose auto, cuda, vulkan, metal or off`);
  }
}

function price(text: string): PriceSheet {
  const [prompt, cached, completion, ...rest] = text.split(",");
  if (prompt === undefined || cached === undefined || completion === undefined || rest.length > 0) {
    throw wrong(`--price ${text}: three whole numbers with commas between, prompt,cached,completion`);
  }
  try {
    return checkPriceSheet({ prompt: amount(prompt), cached: amount(cached), completion: amount(completion) });
  } catch (cause) {
    if (cause instanceof Failure && cause.code === "bad_offer") throw wrong(`--price ${text}: ${cause.message}`, cause);
    throw cause;
  }
}

function amount(text: string): bigint {
  if (!/^\d{1,18}$/.test(text)) throw wrong(`--price: ${text} is not a whole number of nanoton`);
  return BigInt(text);
}

function owner(text: string): string {
  const raw = rawAddress(text);
  if (raw === undefined) throw wrong(`--owner ${text} is not a TON address; copy it from your wallet app`);
  return raw;
}

function whole(name: string, text: string, { min, max }: { min: number; max: number }): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || value < min || value > max)
    throw wrong(`${name} ${text}: a whole number from ${min} to ${max}`);
  return value;
}

function wrong(message: string, cause?: unknown): Failure {
  return new Failure("bad_configuration", message, { cause });
}

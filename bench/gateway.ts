import { fork, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { WebSocket, WebSocketServer } from "ws";
import { frameBytes, fromBase64url, toHex } from "../protocol/index.ts";
import type { Benchmark, Figures } from "./benchmark.ts";
import {
  BENCH_ROOT,
  linkClient,
  linkWorker,
  type GatewayAt,
  type ScriptedClient,
  type ScriptedWorker,
} from "./gateway-peers.ts";
import type { ProcessUsage } from "./gateway-role.ts";
import { median, percentile, rounded } from "./statistics.ts";

/** A gateway in a process of its own, with many idle workers and streams at a steady rate; the load is this process. */
export const gateway: Benchmark = {
  purpose:
    "added latency a frame, memory and CPU [--idle N] [--streams N] [--rate N] [--clients N] [--rounds N] [--seconds S]",
  run: async (args) => {
    const sizes = sizesOf(args);
    const folder = mkdtempSync(join(tmpdir(), "bench-gateway-"));
    const role = fileURLToPath(new URL("./gateway-role.ts", import.meta.url));
    const child = fork(role, [folder], { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: NODE_FLAGS });
    try {
      return await measure(child, sizes);
    } finally {
      child.kill("SIGTERM");
      await once(child, "exit");
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

interface Sizes {
  readonly idle: number;
  readonly streams: number;
  /** Frames a second of each stream. */
  readonly rate: number;
  readonly clients: number;
  readonly rounds: number;
  readonly seconds: number;
}

/** As the gateway's README says to start it: by default Node keeps twice as much for what dies young. */
const NODE_FLAGS = ["--max-semi-space-size=16"];
/** Streams one scripted worker runs. */
const SLOTS = 8;
/** A token or two with the JSON around them fit the second-smallest frame. */
const FRAME_BYTES = frameBytes(100);
const ROUTE_BYTES = 8;
const STAMP_AT = ROUTE_BYTES + 5;
/** As often as streams are looked through for those that are due. */
const STEP_MS = 2;
const LOGINS_AT_ONCE = 50;

function sizesOf(args: readonly string[]): Sizes {
  const flag = (value: string) => ({ type: "string", default: value }) as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      idle: flag("1000"),
      streams: flag("200"),
      rate: flag("20"),
      clients: flag("20"),
      rounds: flag("5"),
      seconds: flag("10"),
    },
  });
  const numbers = Object.entries(values).map(([name, text]) => {
    const number = Number(text);
    if (!Number.isInteger(number) || number < 0) throw new Error(`--${name} takes a whole number`);
    return [name, number] as const;
  });
  return Object.fromEntries(numbers) as unknown as Sizes;
}

async function measure(child: ChildProcess, sizes: Sizes): Promise<Figures> {
  const [{ url, httpUrl, gatewayKey }] = (await once(child, "message")) as [Record<string, string>];
  const at = {
    url: url ?? "",
    httpUrl: httpUrl ?? "",
    gatewayKey: fromBase64url(gatewayKey ?? "") ?? new Uint8Array(),
  };
  const empty = await usageOf(child);
  const idle = await inGroups(sizes.idle, () => linkWorker(at, SLOTS));
  say(`${sizes.idle} idle workers are linked`);
  const linked = await usageOf(child);
  for (const worker of idle) worker.send({ type: "withdraw_offer", manifestRoot: BENCH_ROOT });
  const streams = await openStreams(at, sizes);
  say(`${sizes.streams} streams are open`);
  const direct = await openDirect(sizes.streams);
  const rounds: Round[] = [];
  for (let i = 1; i <= sizes.rounds; i++) {
    rounds.push(await oneRound(child, { streams, direct }, sizes));
    say(`round ${i} of ${sizes.rounds}: p99 ${rounded(percentile(rounds.at(-1)?.through ?? [], 0.99))} ms`);
  }
  for (const { source, target } of [...streams, ...direct]) for (const socket of [source, target]) socket.terminate();
  for (const { socket } of idle) socket.terminate();
  return { ...sizes, ...figuresOf(rounds), emptyMib: mib(empty.rssBytes), idleMib: mib(linked.rssBytes) };
}

/** One way for frames: what leaves `source` under `message` comes in at `target` under `routeId`. */
interface Way {
  readonly source: WebSocket;
  readonly target: WebSocket;
  readonly message: Buffer;
  readonly routeId: number;
}

async function openStreams(at: GatewayAt, { streams, clients }: Sizes): Promise<readonly Way[]> {
  const workers = new Map<string, ScriptedWorker>();
  for (const worker of await inGroups(Math.ceil(streams / SLOTS), () => linkWorker(at, SLOTS))) {
    workers.set(worker.workerId, worker);
  }
  const asking = await inGroups(clients, () => linkClient(at));
  const ways: Way[] = [];
  for (let i = 0; i < streams; i++) {
    const client = asking[i % asking.length];
    if (client === undefined) throw new Error("--clients must be at least 1");
    ways.push(await openStream(client, workers));
  }
  return ways;
}

async function openStream(client: ScriptedClient, workers: ReadonlyMap<string, ScriptedWorker>): Promise<Way> {
  client.send({
    type: "reserve",
    id: "r",
    model: "scripted",
    manifestRoot: BENCH_ROOT,
    maxPromptBytes: 1000,
    maxCompletionTokens: 100_000,
    maxPrice: null,
    minTier: "software",
    candidates: 1,
  });
  const { reservationId, candidates } = await client.next("reserved");
  const worker = workers.get(candidates[0]?.workerId ?? "");
  if (worker === undefined) throw new Error("an idle worker was chosen");
  const sessionId = toHex(new Uint8Array(randomBytes(16)));
  client.send({ type: "open", id: "o", reservationId, workerId: worker.workerId, sessionId, streamId: 1 });
  const { routeId } = await client.next("route");
  const route = await worker.next("route");
  return { source: worker.socket, target: client.socket, message: stamped(route.routeId), routeId };
}

/** As many ways over bare sockets in this process: what the load itself takes, without a gateway. */
async function openDirect(streams: number): Promise<readonly Way[]> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const ways: Way[] = [];
  for (let i = 0; i < Math.ceil(streams / SLOTS); i++) {
    const accepted = once(server, "connection");
    const target = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
    const [source] = (await accepted) as [WebSocket];
    await once(target, "open");
    for (let slot = 0; slot < SLOTS; slot++) ways.push({ source, target, message: stamped(slot), routeId: slot });
  }
  server.close();
  return ways.slice(0, streams);
}

/** A DATA frame as a gateway sees one, with room for the time it left. */
function stamped(routeId: number): Buffer {
  const message = Buffer.concat([Buffer.alloc(ROUTE_BYTES), randomBytes(FRAME_BYTES)]);
  message.writeBigUInt64BE(BigInt(routeId));
  message.writeUInt32BE(FRAME_BYTES - 4, ROUTE_BYTES);
  message[ROUTE_BYTES + 4] = 0;
  return message;
}

interface Round {
  /** Ms from one end to the other, of each frame. */
  readonly through: readonly number[];
  readonly direct: readonly number[];
  readonly rssBytes: number;
  /** Share of one core. */
  readonly cpu: number;
}

async function oneRound(
  child: ChildProcess,
  ways: { readonly streams: readonly Way[]; readonly direct: readonly Way[] },
  sizes: Sizes,
): Promise<Round> {
  const direct = await latencies(ways.direct, sizes);
  const before = await usageOf(child);
  const through = await latencies(ways.streams, sizes);
  const after = await usageOf(child);
  const cpu = (after.cpuMicroseconds - before.cpuMicroseconds) / 1000 / (after.atMs - before.atMs);
  return { through, direct, rssBytes: after.rssBytes, cpu };
}

/** Sends at the steady rate, each way with a phase of its own, and measures every frame. */
async function latencies(ways: readonly Way[], { rate, seconds }: Sizes): Promise<readonly number[]> {
  const taken: number[] = [];
  const targets = new Set(ways.map(({ target }) => target));
  const receive = (data: Buffer, isBinary: boolean): void => {
    if (isBinary) taken.push(performance.now() - data.readDoubleBE(STAMP_AT));
  };
  for (const target of targets) target.on("message", receive);
  const periodMs = 1000 / rate;
  const start = performance.now();
  const due = ways.map((_, i) => start + (i / ways.length) * periodMs);
  const frames = Math.round(rate * seconds);
  const sent = ways.map(() => 0);
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const now = performance.now();
      ways.forEach((way, i) => {
        while ((due[i] ?? 0) <= now && (sent[i] ?? 0) < frames) {
          const message = Buffer.from(way.message);
          message.writeDoubleBE(performance.now(), STAMP_AT);
          way.source.send(message);
          due[i] = (due[i] ?? 0) + periodMs;
          sent[i] = (sent[i] ?? 0) + 1;
        }
      });
      if (taken.length < frames * ways.length) return;
      clearInterval(timer);
      resolve();
    }, STEP_MS);
  });
  for (const target of targets) target.off("message", receive);
  return taken;
}

function figuresOf(rounds: readonly Round[]): Figures {
  const over = (of: (round: Round) => number): number => rounded(median(rounds.map(of)));
  const at = (share: number) => ({
    throughMs: over(({ through }) => percentile(through, share)),
    directMs: over(({ direct }) => percentile(direct, share)),
    addedMs: over(({ through, direct }) => percentile(through, share) - percentile(direct, share)),
  });
  return {
    p50: at(0.5),
    p99: at(0.99),
    worstMs: over(({ through }) => Math.max(...through)),
    residentMib: mib(Math.max(...rounds.map(({ rssBytes }) => rssBytes))),
    cpuShareOfOneCore: over(({ cpu }) => cpu),
  };
}

async function inGroups<One>(count: number, make: () => Promise<One>): Promise<One[]> {
  const made: One[] = [];
  while (made.length < count) {
    const group = Math.min(LOGINS_AT_ONCE, count - made.length);
    made.push(...(await Promise.all(Array.from({ length: group }, make))));
  }
  return made;
}

async function usageOf(child: ChildProcess): Promise<ProcessUsage> {
  child.send("usage");
  const [usage] = (await once(child, "message")) as [ProcessUsage];
  return usage;
}

function mib(bytes: number): number {
  return rounded(bytes / 2 ** 20);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

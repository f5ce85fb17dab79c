import { fork, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DEVNET_NETWORK_ID, devnetAddress, devnetKey, ensureBenchmarkModel } from "../devnet/index.ts";
import type { EnginePlan } from "../worker/index.ts";
import type { Benchmark, Figures } from "./benchmark.ts";
import { runLoad, type LoadResult } from "./engine-load.ts";
import { planOf, startEngine, type EngineSetting } from "./engine.ts";
import { BENCH_API_KEY, BENCH_MODEL, type Parties, type RoleOrder, type RoleReport } from "./network-role.ts";
import { networkServer } from "./network-server.ts";
import { openSseConnection, steadyNow, type LoadTarget, type SseConnection } from "./sse-load.ts";
import { promptFor, type Pace } from "./stamping-engine.ts";
import { median, percentile, rounded } from "./statistics.ts";

/** What Telegram's Cocoon needed on a machine like this for the same, without end-to-end sealing. */
const COCOON: Figures = {
  firstChunkMs: { p50: 1.3, p99: 2.2 },
  chunkMsAt30: { p50: 0.43, p99: 1.66 },
  chunkMsAt200: { p50: 0.97, p99: 7.1 },
  answersPerSecond: { connections1: 499, connections30: 1504, connections100: 1652 },
  cpuMsPerAnswer: { low: 0.56, high: 1.4 },
  residentMiB: 126,
};

/** The path of a request, each role in a process of its own. */
export const network: Benchmark = {
  purpose: "an engine through client, gateway and worker, beside the engine alone; or the path alone [--scripted]",
  run: async (args) => {
    const { values } = parseArgs({
      args: [...args],
      options: {
        /** The path alone, with an engine that costs nothing. */
        scripted: { type: "boolean", default: false },
        model: { type: "string" },
        seconds: { type: "string", default: "5" },
        rounds: { type: "string", default: "3" },
        threads: { type: "string", default: String(Math.max(1, availableParallelism() - 1)) },
      },
    });
    const rounds = Number(values.rounds);
    const folder = mkdtempSync(join(tmpdir(), "cocoon-bench-"));
    try {
      if (values.scripted)
        return await withRoles(folder, undefined, (roles) => measurePath(roles, Number(values.seconds), rounds));
      const modelPath = values.model ?? ensureBenchmarkModel();
      const setting = {
        model: modelPath,
        slots: SLOTS,
        contextTokens: CONTEXT_TOKENS,
        threads: Number(values.threads),
      };
      return await withRoles(folder, planOf(setting), (roles) => measureModel(roles, setting, rounds));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function withRoles(
  folder: string,
  plan: EnginePlan | undefined,
  run: (roles: Roles) => Promise<Figures>,
): Promise<Figures> {
  const roles = await startRoles(folder, plan);
  try {
    return await run(roles);
  } finally {
    roles.stop();
  }
}

const WIDTHS = [1, 2, 4, 8, 16];
const SLOTS = 16;
const CONTEXT_TOKENS = 512;

/** Rounds of the engine alone and of the same engine's twin behind the network, in turn. */
async function measureModel(roles: Roles, setting: EngineSetting, rounds: number): Promise<Figures> {
  const alone = await startEngine(setting);
  const through = networkServer(roles.target);
  const results = new Map<number, { alone: LoadResult[]; through: LoadResult[] }>();
  for (const server of [alone, through]) await runLoad(server, 2, 1000);
  for (let round = 0; round < rounds; round++) {
    for (const width of WIDTHS) {
      const at = results.get(width) ?? { alone: [], through: [] };
      results.set(width, at);
      // Whoever goes second may find the machine warmer: they take turns.
      for (const side of round % 2 === 0 ? (["alone", "through"] as const) : (["through", "alone"] as const)) {
        at[side].push(await runLoad(side === "alone" ? alone : through, width, round));
      }
    }
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  await Promise.all([alone.stop(), through.stop()]);
  const widths = [...results].map(([width, { alone: without, through: with_ }]): [string, Figures] => {
    const pairs = without.map((one, at) => (with_[at]?.tokensPerSecond ?? NaN) / one.tokensPerSecond);
    const ttft = (side: readonly LoadResult[]): number => median(side.flatMap((result) => result.ttftsMs));
    return [
      `parallel${width}`,
      {
        engineTokensPerSecond: rounded(median(without.map((one) => one.tokensPerSecond))),
        networkTokensPerSecond: rounded(median(with_.map((one) => one.tokensPerSecond))),
        ratio: rounded(median(pairs)),
        addedTtftMs: rounded(ttft(with_) - ttft(without)),
      },
    ];
  });
  return { threads: setting.threads, rounds, ...Object.fromEntries(widths) };
}

async function measurePath(roles: Roles, seconds: number, rounds: number): Promise<Figures> {
  const { target } = roles;
  await warmUp(target);
  const first = await firstChunks(target, 400);
  process.stderr.write("first chunks measured\n");
  const at30 = await paced(target, 30, { chunks: 30 * seconds, rate: 30 });
  process.stderr.write("30 streams measured\n");
  const at200 = await paced(target, 200, { chunks: 30 * seconds, rate: 30 });
  process.stderr.write("200 streams measured\n");
  const rates: Record<string, number> = {};
  let cpuMsPerAnswer = 0;
  for (const connections of [1, 30, 100]) {
    const runs: { rate: number; cpuMs: number }[] = [];
    for (let round = 0; round < rounds; round++) runs.push(await answers(roles, connections, seconds));
    rates[`connections${connections}`] = rounded(median(runs.map((run) => run.rate)));
    cpuMsPerAnswer = rounded(median(runs.map((run) => run.cpuMs)));
    process.stderr.write(`${connections} connections measured\n`);
  }
  const memory = await Promise.all(roles.children.map(measureRole));
  return {
    engine: "scripted",
    firstChunkMs: percentiles(first),
    chunkMsAt30: percentiles(at30),
    chunkMsAt200: percentiles(at200),
    answersPerSecond: rates,
    cpuMsPerAnswer,
    residentMiB: rounded(memory.reduce((sum, role) => sum + role.residentBytes, 0) / 2 ** 20),
    cocoon: COCOON,
  };
}

function percentiles(sample: readonly number[]): Figures {
  return { p50: rounded(percentile(sample, 0.5)), p99: rounded(percentile(sample, 0.99)), count: sample.length };
}

async function warmUp(target: LoadTarget): Promise<void> {
  await paced(target, 20, { chunks: 50, rate: 0 });
  await firstChunks(target, 300);
}

/** Milliseconds from writing the request to its first chunk, one request at a time. */
async function firstChunks(target: LoadTarget, count: number): Promise<readonly number[]> {
  const connection = await openSseConnection(target);
  const sample: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = steadyNow();
    let firstAt: number | undefined;
    await connection.ask(promptFor({ chunks: 1, rate: 0 }), 8, (_text, at) => (firstAt ??= at));
    sample.push((firstAt ?? NaN) - startedAt);
  }
  connection.close();
  return sample;
}

/** Milliseconds each chunk took from the engine to the reader. */
async function paced(target: LoadTarget, streams: number, pace: Pace): Promise<readonly number[]> {
  const sample: number[] = [];
  const one = async (at: number): Promise<void> => {
    const connection = await openSseConnection(target);
    // Streams of real people do not start in one instant.
    await new Promise((resolve) => setTimeout(resolve, (1000 * at) / streams));
    await connection.ask(promptFor(pace), pace.chunks + 1, (text, readAt) => sample.push(readAt - Number(text)));
    connection.close();
  };
  await Promise.all(Array.from({ length: streams }, (_, at) => one(at)));
  return sample;
}

/** Whole answers of 50 chunks a second over keep-alive connections, and the processor time of all roles for each. */
async function answers(roles: Roles, count: number, seconds: number): Promise<{ rate: number; cpuMs: number }> {
  const connections = await Promise.all(Array.from({ length: count }, () => openSseConnection(roles.target)));
  const before = await Promise.all(roles.children.map(measureRole));
  const startedAt = steadyNow();
  const until = startedAt + seconds * 1000;
  let done = 0;
  const loop = async (connection: SseConnection): Promise<void> => {
    while (steadyNow() < until) {
      await connection.ask(promptFor({ chunks: 50, rate: 0 }), 64, () => undefined);
      done++;
    }
  };
  await Promise.all(connections.map(loop));
  const elapsed = (steadyNow() - startedAt) / 1000;
  const after = await Promise.all(roles.children.map(measureRole));
  for (const connection of connections) connection.close();
  const cpuMs = after.reduce((sum, role, at) => sum + role.cpuMs - (before[at]?.cpuMs ?? 0), 0);
  return { rate: done / elapsed, cpuMs: cpuMs / done };
}

/** The three roles, running. */
export interface Roles {
  readonly target: LoadTarget;
  readonly children: readonly ChildProcess[];
  stop(): void;
}

const SEED = 9;

function makeParties(): Parties {
  return {
    networkId: DEVNET_NETWORK_ID,
    gateway: keyPairOf("gateway"),
    client: keyPairOf("client"),
    channel: devnetAddress(SEED, "channel"),
    owner: devnetAddress(SEED, "owner"),
  };
}

function keyPairOf(party: string): Parties["gateway"] {
  const { seed, publicKey } = devnetKey(SEED, party);
  return { seed, publicKey };
}

/** Starts gateway, worker and endpoint; the worker runs `plan`, or the scripted engine. */
export async function startRoles(folder: string, plan: EnginePlan | undefined): Promise<Roles> {
  const children: ChildProcess[] = [];
  const parties = makeParties();
  const stop = (): void => {
    for (const child of children) child.kill();
  };
  const role = async (order: RoleOrder): Promise<Extract<RoleReport, { type: "up" }>> => {
    const child = fork(new URL("./network-role.ts", import.meta.url), {
      // As the gateway's README says to start a long-lived process.
      execArgv: ["--max-semi-space-size=16"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    children.push(child);
    const report = nextReport(child);
    child.send(order);
    const answer = await report;
    if (answer.type === "up") return answer;
    throw new Error(`${order.role}: ${answer.type === "failed" ? answer.message : "no answer"}`);
  };
  try {
    const gateway = await role({ role: "gateway", parties, folder: join(folder, "gateway") });
    const gatewayUrl = gateway.url;
    const worker = await role({ role: "worker", parties, folder: join(folder, "worker"), gatewayUrl, plan });
    const { manifestRoot } = worker;
    const client = await role({ role: "client", parties, folder: join(folder, "client"), gatewayUrl, manifestRoot });
    const { hostname, port } = new URL(client.url);
    const target = { host: hostname, port: Number(port), apiKey: BENCH_API_KEY, model: BENCH_MODEL };
    return { target, children, stop };
  } catch (error) {
    stop();
    throw error;
  }
}

async function measureRole(child: ChildProcess): Promise<Extract<RoleReport, { type: "measured" }>> {
  const report = nextReport(child);
  child.send("measure");
  const answer = await report;
  if (answer.type !== "measured") throw new Error("a role did not measure itself");
  return answer;
}

function nextReport(child: ChildProcess): Promise<RoleReport> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error("a role ended"));
    child.once("exit", ended);
    child.once("message", (report) => {
      child.off("exit", ended);
      resolve(report as RoleReport);
    });
  });
}

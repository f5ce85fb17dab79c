import { fork } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { ensureBenchmarkModel } from "../devnet/index.ts";
import type { EnginePlan, FromEngine, ToEngine } from "../worker/engine/messages.ts";
import type { Benchmark, Figures } from "./benchmark.ts";
import { type Completion, type LoadResult, type Prompted, runLoad, type Server } from "./engine-load.ts";
import { startLlamaServer } from "./llama-server.ts";
import { geometricMean, median, rounded } from "./statistics.ts";

const WIDTHS = [1, 2, 4, 8, 16];
const SLOTS = 16;
const CONTEXT_TOKENS = 512;

/** Our engine process, and beside it in turn a llama-server of the same llama.cpp. */
export const engine: Benchmark = {
  purpose: "tokens a second and time to the first [--model FILE] [--peer LLAMA_SERVER] [--rounds N] [--threads N]",
  run: async (args) => {
    const { values } = parseArgs({
      args: [...args],
      options: {
        model: { type: "string" },
        peer: { type: "string" },
        rounds: { type: "string", default: "5" },
        // Both sides: a core is left for the client and the shell.
        threads: { type: "string", default: String(Math.max(1, availableParallelism() - 1)) },
      },
    });
    const model = values.model ?? ensureBenchmarkModel();
    const setting = { model, slots: SLOTS, contextTokens: CONTEXT_TOKENS, threads: Number(values.threads) };
    const ours = await startEngine(setting);
    const peer = values.peer === undefined ? undefined : await startLlamaServer(values.peer, setting);
    try {
      const rounds = await measure(ours, peer, Number(values.rounds));
      return { threads: setting.threads, rounds: rounds.length, ...report(rounds) };
    } finally {
      await ours.stop();
      await peer?.stop();
    }
  },
};

/** The results of one round, by width. */
interface Round {
  readonly ours: readonly LoadResult[];
  readonly peer: readonly LoadResult[] | undefined;
}

async function measure(ours: Server, peer: Server | undefined, count: number): Promise<Round[]> {
  for (const server of [ours, peer]) if (server !== undefined) await runLoad(server, 2, 1000);
  const rounds: Round[] = [];
  for (let round = 0; round < count; round++) {
    const results: { ours: LoadResult[]; peer: LoadResult[] } = { ours: [], peer: [] };
    for (const width of WIDTHS) {
      // Whoever goes second may find the machine warmer: they take turns.
      const order = round % 2 === 0 ? (["ours", "peer"] as const) : (["peer", "ours"] as const);
      for (const side of order) {
        const server = side === "ours" ? ours : peer;
        if (server !== undefined) results[side].push(await runLoad(server, width, round));
      }
    }
    rounds.push({ ours: results.ours, peer: peer === undefined ? undefined : results.peer });
    process.stderr.write(
      `round ${round + 1} of ${count}: ${WIDTHS.map((_, i) => ratioAt(rounds.slice(-1), i)).join(" ")}\n`,
    );
  }
  return rounds;
}

function report(rounds: readonly Round[]): Figures {
  const ratios = WIDTHS.map((_, i) => ratioAt(rounds, i));
  const known = ratios.filter((ratio) => ratio !== null);
  const widths = WIDTHS.map((width, i): [string, Figures] => [
    `parallel${width}`,
    { ours: side(rounds, i, "ours"), peer: side(rounds, i, "peer"), ratio: ratios[i] ?? null },
  ]);
  return {
    ...Object.fromEntries(widths),
    ratio: known.length === 0 ? null : rounded(geometricMean(known)),
    ...(known.length === 0 && { note: "no --peer LLAMA_SERVER was given: nothing to compare with" }),
  };
}

function side(rounds: readonly Round[], width: number, of: "ours" | "peer"): Figures | null {
  const results = rounds.flatMap((round) => round[of]?.[width] ?? []);
  if (results.length === 0) return null;
  return {
    tokensPerSecond: rounded(median(results.map((result) => result.tokensPerSecond))),
    ttftMsP50: rounded(median(results.flatMap((result) => result.ttftsMs))),
  };
}

/** Of each round's pair, which ran side by side in time; the median of them. */
function ratioAt(rounds: readonly Round[], width: number): number | null {
  const pairs = rounds.flatMap(({ ours, peer }) => {
    const [a, b] = [ours[width], peer?.[width]];
    return a === undefined || b === undefined ? [] : [a.tokensPerSecond / b.tokensPerSecond];
  });
  return pairs.length === 0 ? null : rounded(median(pairs));
}

/** One engine under load. */
export interface EngineSetting {
  readonly model: string;
  readonly slots: number;
  readonly contextTokens: number;
  readonly threads: number;
}

export function planOf({ model, slots, contextTokens, threads }: EngineSetting): EnginePlan {
  return {
    modelPath: model,
    contextTokens,
    slots,
    queueLimit: 0,
    batchTokens: 512,
    threads,
    gpu: false,
    gpuLayers: 0,
    kvCache: "f16",
  };
}

/** Our engine as the worker runs it: a process, spoken to by messages. */
export async function startEngine(setting: EngineSetting): Promise<Server> {
  const child = fork(new URL("../worker/engine/process.ts", import.meta.url), { serialization: "advanced" });
  const send = (message: ToEngine): void => void child.send(message);
  const running = new Map<number, Running>();
  const ready = Promise.withResolvers<undefined>();
  child.on("message", (message: FromEngine) => {
    if (message.type === "ready") ready.resolve(undefined);
    else if (message.type === "load_failed") ready.reject(new Error(message.message));
    else if ("jobId" in message) running.get(message.jobId)?.take(message);
  });
  child.on("exit", () => ready.reject(new Error("the engine ended")));
  send({ type: "load", plan: planOf(setting) });
  await ready.promise;
  let lastJobId = 0;
  return {
    complete: async (prompted) => {
      const jobId = ++lastJobId;
      const job = startJob();
      running.set(jobId, job);
      send(generate(jobId, prompted));
      return await job.completion.finally(() => running.delete(jobId));
    },
    stop: async () => {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

interface Running {
  readonly completion: Promise<Completion>;
  take(event: Extract<FromEngine, { jobId: number }>): void;
}

function startJob(): Running {
  const begin = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<Completion>();
  let ttftMs: number | undefined;
  let tokens = 0;
  return {
    completion: promise,
    take: (event) => {
      if (event.type === "delta") {
        ttftMs ??= performance.now() - begin;
        tokens += event.tokenIds.length;
      } else if (event.type === "done") resolve({ ttftMs: ttftMs ?? NaN, tokens });
      else if (event.type === "failed") reject(new Error(event.message));
    },
  };
}

/** Each job in a partition of its own: nothing may be reused, as nothing is at the peer. */
function generate(jobId: number, { prompt, tokens }: Prompted): ToEngine {
  return {
    type: "generate",
    job: {
      jobId,
      partition: String(jobId),
      path: "/v1/completions",
      body: { model: "benchmark", prompt, temperature: 0 },
      maxTokens: tokens,
      maxPromptTokens: CONTEXT_TOKENS,
    },
  };
}

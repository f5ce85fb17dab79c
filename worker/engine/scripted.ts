import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { contentText, Failure } from "../../protocol/index.ts";
import { Engine } from "./engine.ts";
import type { EngineCapabilities, EnginePlan, FromEngine, Job } from "./messages.ts";
import { Meter } from "./metering.ts";
import type { JobEnd, JobPort, PreparedJob, Runner } from "./runner.ts";
import { bodyMaxTokens } from "./sampling.ts";

/** What a scripted engine says, and how fast. */
export interface Script {
  /** Said to every prompt; each word with the space before it is a token. */
  readonly text: string;
  /** Undefined: as fast as events can be sent. */
  readonly tokensPerSecond?: number;
}

/**
 * An engine without a model: the same messages, queue, limits and counts, and an answer known beforehand. For tests of
 * everything around an engine, and for benchmarks of the way to it.
 */
export function scriptedEngine(post: (message: FromEngine) => void, script: Script): Engine {
  return new Engine(post, async (plan) => new ScriptedRunner(script, plan));
}

class ScriptedRunner implements Runner {
  readonly capabilities: EngineCapabilities;
  readonly #tokens: readonly string[];
  readonly #pauseMs: number;
  #busySlots = 0;
  #generated = 0;

  constructor({ text, tokensPerSecond }: Script, { contextTokens, slots }: EnginePlan) {
    this.#tokens = words(text);
    this.#pauseMs = tokensPerSecond === undefined ? 0 : 1000 / tokensPerSecond;
    this.capabilities = {
      engineName: "scripted",
      engineVersion: "1",
      backend: "cpu",
      contextTokens,
      slots,
      architecture: "script",
      modelName: "script",
      quantisation: "none",
      parameters: 0,
      canThink: false,
      canCallTools: false,
    };
  }

  get hasFreeSlot(): boolean {
    return this.#busySlots < this.capabilities.slots;
  }

  get generatedTokens(): number {
    return this.#generated;
  }

  async prepare(job: Job): Promise<PreparedJob> {
    const promptTokens = words(promptText(job)).length;
    const maxTokens = Math.min(job.maxTokens, bodyMaxTokens(job.body));
    if (promptTokens > job.maxPromptTokens) throw new Failure("reservation_exceeded", `${promptTokens} prompt tokens`);
    if (promptTokens + maxTokens > this.capabilities.contextTokens) {
      throw new Failure("context_overflow", `${promptTokens} + ${maxTokens} tokens`);
    }
    return { run: (port) => this.#run(job, { promptTokens, maxTokens }, port) };
  }

  forget(): void {
    // It remembers nothing.
  }

  async close(): Promise<void> {
    // It holds nothing.
  }

  async #run(job: Job, limits: { promptTokens: number; maxTokens: number }, port: JobPort): Promise<JobEnd> {
    this.#busySlots++;
    try {
      return await this.#speak(job, limits, port);
    } finally {
      this.#busySlots--;
    }
  }

  async #speak(
    { jobId, body }: Job,
    { promptTokens, maxTokens }: { promptTokens: number; maxTokens: number },
    { signal, emit }: JobPort,
  ): Promise<JobEnd> {
    const meter = new Meter(promptTokens, 0);
    const said = body.cocoon?.continue.tokenIds.length ?? 0;
    const end = Math.min(this.#tokens.length, said + maxTokens);
    const startedAt = performance.now();
    emit({ type: "started", jobId, promptTokens, cachedTokens: 0 });
    for (let at = said; at < end; at++) {
      // Against the clock, so that late timers do not add up.
      await this.#pauseUntil(startedAt + (at - said + 1) * this.#pauseMs);
      if (signal.aborted) return { finishReason: "cancelled", usage: meter.usage("cancelled") };
      meter.deliver([at]);
      this.#generated++;
      emit({ type: "delta", jobId, text: this.#tokens[at] ?? "", tokenIds: [at], reasoning: false });
    }
    const finishReason = end === this.#tokens.length ? "stop" : "length";
    return { finishReason, usage: meter.usage(finishReason) };
  }

  async #pauseUntil(at: number): Promise<void> {
    const left = at - performance.now();
    if (this.#pauseMs === 0 || left <= 0) await nextTurn();
    else await pause(left);
  }
}

function words(text: string): string[] {
  return text.match(/\s*\S+/gu) ?? [];
}

function promptText({ body }: Job): string {
  if (!("messages" in body)) return body.prompt;
  return body.messages.map((message) => contentText(message.content)).join("\n");
}

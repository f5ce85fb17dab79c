import { NO_USAGE, type FailureCode, type TokenUsage } from "../../protocol/index.ts";
import type { EngineEvent, EnginePlan, EngineStats } from "../engine/messages.ts";
import type { CancelTimer, Clock } from "../serving/clock.ts";
import type { Engine, EngineState, NewJob, RunningJob } from "../serving/engine.ts";
import { parseFromEngine } from "./engine-door.ts";
import { nextRestart, recentCrashes } from "./restarts.ts";
import type { EngineProcess, Spawn } from "./spawn.ts";

/** An engine in a process of its own, kept running: it may crash, and nothing above it hangs or ends for that. */
export interface SupervisedEngine extends Engine {
  /** Newest figures of the engine; undefined while it is not up. */
  stats(): EngineStats | undefined;
  /** Tries again now, and forgets earlier crashes: the owner has changed something. */
  revive(): void;
  /** Ends the process, the only sure way to give its memory back. Running jobs fail. */
  stop(): Promise<void>;
}

export interface SupervisorOptions {
  readonly plan: EnginePlan;
  readonly spawn: Spawn;
  readonly clock: Clock;
}

const TICK_MS = 5000;
/** Counted in pings, not in time: a laptop that slept for an hour has missed none. */
const MISSED_PINGS = 6;
const LOAD_TICKS = 360;
/** No token for a minute while busy: a step of native code hangs. */
const SILENT_TICKS = 12;
/** A slow processor reads a long prompt for longer than that before its first token. */
const PROMPT_TOKENS_PER_TICK = 100;
const UNLOAD_MS = 3000;
/** What may work once somebody else has given memory back; a broken file never will. */
const RETRY_LOAD_MS = 60_000;

interface RunningState {
  readonly sink: (event: EngineEvent) => void;
  usage: TokenUsage;
  hasToken: boolean;
}

export function superviseEngine(options: SupervisorOptions): SupervisedEngine {
  return new Supervisor(options);
}

class Supervisor implements SupervisedEngine {
  readonly #options: SupervisorOptions;
  readonly #listeners = new Set<(state: EngineState) => void>();
  readonly #jobs = new Map<number, RunningState>();
  #state: EngineState = { phase: "starting" };
  #process: EngineProcess | undefined;
  #stats: EngineStats | undefined;
  #crashedAt: readonly number[] = [];
  #lastJobId = 0;
  #nonce = 0;
  #missedPings = 0;
  #silentTicks = 0;
  #killReason: string | undefined;
  #cancelTick: CancelTimer | undefined;
  #cancelRestart: CancelTimer | undefined;
  #onStopped: (() => void) | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#launch();
  }

  state(): EngineState {
    return this.#state;
  }

  onState(listener: (state: EngineState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stats(): EngineStats | undefined {
    return this.#stats;
  }

  start(job: NewJob, sink: (event: EngineEvent) => void): RunningJob {
    const jobId = ++this.#lastJobId;
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      const failed = { type: "failed", jobId, code: refusal, message: "not started", usage: NO_USAGE } as const;
      queueMicrotask(() => sink(failed));
      return { cancel: () => undefined };
    }
    this.#jobs.set(jobId, { sink, usage: NO_USAGE, hasToken: false });
    this.#process?.send({ type: "generate", job: { jobId, ...job } });
    return {
      cancel: () => {
        if (this.#jobs.has(jobId)) this.#process?.send({ type: "cancel", jobId });
      },
    };
  }

  forget(partition: string): void {
    if (this.#state.phase === "up") this.#process?.send({ type: "forget", partition });
  }

  revive(): void {
    if (this.#process !== undefined || this.#onStopped !== undefined) return;
    this.#crashedAt = [];
    this.#launch();
  }

  async stop(): Promise<void> {
    this.#cancelRestart?.();
    const running = this.#process;
    if (running === undefined) {
      this.#enter(STOPPED);
      return;
    }
    const stopped = new Promise<void>((resolve) => {
      this.#onStopped = resolve;
    });
    running.send({ type: "unload" });
    const cancelKill = this.#options.clock.after(UNLOAD_MS, () => running.kill());
    await stopped;
    cancelKill();
  }

  #refusal(): FailureCode | undefined {
    const { slots, queueLimit } = this.#options.plan;
    if (this.#state.phase !== "up" || this.#onStopped !== undefined) return "model_unavailable";
    return this.#jobs.size >= slots + queueLimit ? "busy" : undefined;
  }

  #launch(): void {
    const { spawn, plan } = this.#options;
    this.#cancelRestart?.();
    this.#killReason = undefined;
    this.#missedPings = 0;
    this.#silentTicks = 0;
    this.#enter({ phase: "starting" });
    const ours = (run: () => void): void => {
      if (this.#process === launched) run();
    };
    const launched: EngineProcess = spawn({
      onMessage: (message) => ours(() => this.#onMessage(message)),
      onExit: (how) => ours(() => this.#onExit(how)),
    });
    this.#process = launched;
    launched.send({ type: "load", plan });
    this.#scheduleTick();
  }

  #onMessage(value: unknown): void {
    const message = parseFromEngine(value);
    if (message === undefined) {
      this.#kill("the engine said something it never should");
      return;
    }
    switch (message.type) {
      case "ready":
        this.#enter({ phase: "up", capabilities: message.capabilities });
        break;
      case "load_failed":
        if (this.#onStopped === undefined) this.#onLoadFailed(message.code, message.message);
        else this.#process?.kill();
        break;
      case "stats":
        this.#stats = message.stats;
        break;
      case "pong":
        if (message.nonce === this.#nonce) this.#missedPings = 0;
        break;
      default:
        this.#onEvent(message);
    }
  }

  #onEvent(event: EngineEvent): void {
    const job = this.#jobs.get(event.jobId);
    if (job === undefined) return;
    this.#silentTicks = 0;
    if (event.type === "done" || event.type === "failed") this.#jobs.delete(event.jobId);
    else keepCount(job, event);
    job.sink(event);
  }

  /** The file or the memory is at fault, not the process: nothing is gained by starting it again at once. */
  #onLoadFailed(code: FailureCode, message: string): void {
    const retryAt = code === "model_invalid" ? undefined : this.#options.clock.now() + RETRY_LOAD_MS;
    const failed = this.#process;
    this.#leave();
    failed?.kill();
    if (retryAt !== undefined) this.#cancelRestart = this.#options.clock.after(RETRY_LOAD_MS, () => this.#launch());
    this.#enter({ phase: "down", code, message, ...(retryAt === undefined ? {} : { retryAt }) });
  }

  #onExit(how: string): void {
    const { clock } = this.#options;
    this.#leave();
    if (this.#onStopped !== undefined) {
      this.#enter(STOPPED);
      this.#onStopped();
      return;
    }
    const now = clock.now();
    this.#crashedAt = recentCrashes([...this.#crashedAt, now], now);
    const { delayMs, isQuarantined } = nextRestart(this.#crashedAt);
    this.#cancelRestart = clock.after(delayMs, () => this.#launch());
    const why = this.#killReason ?? `the engine ended unexpectedly (${how})`;
    const words = isQuarantined ? `${why}; ${this.#crashedAt.length} times in ten minutes: ${QUARANTINE_ADVICE}` : why;
    this.#enter({ phase: "down", code: "worker_crashed", message: words, retryAt: now + delayMs });
  }

  /** From here on the process is nobody's: its jobs fail, its late words are not heard. */
  #leave(): void {
    this.#process = undefined;
    this.#stats = undefined;
    this.#cancelTick?.();
    const jobs = [...this.#jobs];
    this.#jobs.clear();
    for (const [jobId, { sink, usage }] of jobs) {
      sink({ type: "failed", jobId, code: "worker_crashed", message: "the engine process ended", usage });
    }
  }

  #kill(reason: string): void {
    this.#killReason ??= reason;
    this.#process?.kill();
  }

  #scheduleTick(): void {
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => {
      this.#tick();
      if (this.#process !== undefined) this.#scheduleTick();
    });
  }

  #tick(): void {
    this.#missedPings++;
    this.#silentTicks = this.#jobs.size === 0 ? 0 : this.#silentTicks + 1;
    // Native loading may hold the other side's event loop for as long as the disk takes.
    const patience = this.#state.phase === "starting" ? LOAD_TICKS : MISSED_PINGS;
    if (this.#missedPings > patience) this.#kill("the engine has stopped answering");
    else if (this.#silentTicks > this.#allowedSilence()) this.#kill("the engine made no token for too long");
    else {
      this.#process?.send({ type: "ping", nonce: ++this.#nonce });
      this.#process?.send({ type: "stats" });
    }
  }

  #allowedSilence(): number {
    let promptTokens = 0;
    for (const job of this.#jobs.values()) if (!job.hasToken) promptTokens += job.usage.promptTokens;
    return SILENT_TICKS + promptTokens / PROMPT_TOKENS_PER_TICK;
  }

  #enter(state: EngineState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }
}

const STOPPED: EngineState = { phase: "down", code: "model_unavailable", message: "stopped" };

const QUARANTINE_ADVICE =
  "choose a smaller model or a shorter context, update the graphics driver, or download the model again; it is still tried";

function keepCount(job: RunningState, event: Exclude<EngineEvent, { type: "done" | "failed" }>): void {
  if (event.type === "started") {
    const { promptTokens, cachedTokens } = event;
    job.usage = { promptTokens, cachedTokens, completionTokens: 0 };
  } else {
    job.hasToken = true;
    job.usage = { ...job.usage, completionTokens: job.usage.completionTokens + event.tokenIds.length };
  }
}

import { codeOf, Failure, NO_USAGE, type FailureCode, type TokenUsage } from "../../protocol/index.ts";
import type { EnginePlan, EngineStats, FromEngine, Job, ToEngine } from "./messages.ts";
import { FairQueue } from "./queue.ts";
import type { PreparedJob, Runner } from "./runner.ts";

/** Brings a model into memory. @throws {Failure} `model_invalid`, `out_of_memory`. */
export type LoadRunner = (plan: EnginePlan) => Promise<Runner>;

interface WaitingJob {
  readonly job: Job;
  readonly prepared: PreparedJob;
  readonly stopper: AbortController;
}

/**
 * One engine: answers the messages of its port with the events of its jobs. It lives as long as its process; a model is
 * unloaded for good by ending that.
 */
export class Engine {
  readonly #post: (message: FromEngine) => void;
  readonly #load: LoadRunner;
  #runner: Runner | undefined;
  #queue = new FairQueue<WaitingJob>(0);
  readonly #jobs = new Map<number, AbortController>();
  #running = 0;
  /** Jobs being rendered: they count as waiting, so that a flood cannot slip past the bound. */
  #preparing = 0;
  #queueLimit = 0;

  constructor(post: (message: FromEngine) => void, load: LoadRunner) {
    this.#post = post;
    this.#load = load;
  }

  handle(message: ToEngine): void {
    switch (message.type) {
      case "load":
        void this.#loadModel(message.plan);
        return;
      case "generate":
        void this.#admit(message.job);
        return;
      case "cancel":
        this.#cancel(message.jobId);
        return;
      case "forget":
        this.#runner?.forget(message.partition);
        return;
      case "stats":
        this.#post({ type: "stats", stats: this.#stats() });
        return;
      case "ping":
        this.#post({ type: "pong", nonce: message.nonce });
        return;
      case "unload":
        void this.close();
        return;
    }
  }

  /** Ends every job as cancelled and gives the model's memory back. */
  async close(): Promise<void> {
    const runner = this.#runner;
    this.#runner = undefined;
    for (const stopper of this.#jobs.values()) stopper.abort();
    for (let waiting = this.#queue.shift(); waiting !== undefined; waiting = this.#queue.shift()) {
      this.#refuse(waiting.job, "cancelled", "the model was unloaded");
    }
    await runner?.close();
  }

  async #loadModel(plan: EnginePlan): Promise<void> {
    try {
      const runner = await this.#load(plan);
      this.#queueLimit = plan.queueLimit;
      this.#queue = new FairQueue(plan.queueLimit);
      this.#runner = runner;
      this.#post({ type: "ready", capabilities: runner.capabilities });
    } catch (error) {
      this.#post({ type: "load_failed", code: codeOf(error), message: sentence(error) });
    }
  }

  async #admit(job: Job): Promise<void> {
    const runner = this.#runner;
    if (runner === undefined) {
      this.#refuse(job, "model_unavailable", "no model is loaded");
      return;
    }
    if (this.#isFull(runner)) {
      this.#refuse(job, "busy", "every slot and every place in the queue is taken");
      return;
    }
    const stopper = new AbortController();
    this.#jobs.set(job.jobId, stopper);
    this.#preparing++;
    try {
      const prepared = await runner.prepare(job).finally(() => this.#preparing--);
      this.#place(runner, { job, prepared, stopper });
    } catch (error) {
      this.#refuse(job, codeOf(error), jobSentence(error));
    }
  }

  #isFull(runner: Runner): boolean {
    const freeSlots = Math.max(0, runner.capabilities.slots - this.#running);
    return this.#preparing + this.#queue.length >= freeSlots + this.#queueLimit;
  }

  #place(runner: Runner, waiting: WaitingJob): void {
    if (waiting.stopper.signal.aborted) this.#refuse(waiting.job, "cancelled", "cancelled before it began");
    else if (runner.hasFreeSlot) void this.#run(waiting);
    else if (!this.#queue.push(waiting.job.partition, waiting)) this.#refuse(waiting.job, "busy", "the queue is full");
  }

  async #run({ job, prepared, stopper }: WaitingJob): Promise<void> {
    const { jobId } = job;
    this.#running++;
    let counted: TokenUsage = NO_USAGE;
    try {
      const { finishReason, usage } = await prepared.run({
        signal: stopper.signal,
        emit: (event) => {
          counted = countedUsage(counted, event);
          this.#post(event);
        },
      });
      this.#post({ type: "done", jobId, finishReason, usage });
    } catch (error) {
      const code = error instanceof Failure ? error.code : "worker_crashed";
      this.#post({ type: "failed", jobId, code, message: jobSentence(error), usage: counted });
    }
    this.#jobs.delete(jobId);
    this.#running--;
    this.#next();
  }

  #next(): void {
    if (this.#runner?.hasFreeSlot !== true) return;
    const waiting = this.#queue.shift();
    if (waiting !== undefined) void this.#run(waiting);
  }

  #cancel(jobId: number): void {
    this.#jobs.get(jobId)?.abort();
    const waiting = this.#queue.remove(({ job }) => job.jobId === jobId);
    if (waiting !== undefined) this.#refuse(waiting.job, "cancelled", "cancelled before it began");
  }

  #refuse({ jobId }: Job, code: FailureCode, message: string): void {
    this.#jobs.delete(jobId);
    this.#post({ type: "failed", jobId, code, message, usage: NO_USAGE });
  }

  #stats(): EngineStats {
    return {
      runningJobs: this.#running,
      queuedJobs: this.#queue.length + this.#preparing,
      generatedTokens: this.#runner?.generatedTokens ?? 0,
      residentBytes: process.memoryUsage.rss(),
    };
  }
}

/** What was delivered before a job failed. */
function countedUsage(usage: TokenUsage, event: FromEngine): TokenUsage {
  switch (event.type) {
    case "started":
      return { ...usage, promptTokens: event.promptTokens, cachedTokens: event.cachedTokens };
    case "delta":
    case "tool_call":
      return { ...usage, completionTokens: usage.completionTokens + event.tokenIds.length };
    default:
      return usage;
  }
}

/** For the owner's log. A failure's message holds no prompt; a stranger's error might. */
function jobSentence(error: unknown): string {
  return error instanceof Failure ? error.message : "the model failed";
}

/** While a model is loaded there is no prompt yet. */
function sentence(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}

import type { FinishReason, TokenUsage } from "../../protocol/index.ts";
import type { EngineCapabilities, EngineEvent, Job } from "./messages.ts";

/** A model in memory that works on some jobs at once: the real one, or a script in its place. */
export interface Runner {
  readonly capabilities: EngineCapabilities;
  /** Whether a job could start now. */
  readonly hasFreeSlot: boolean;
  /** Tokens generated since the model was loaded. */
  readonly generatedTokens: number;
  /** Everything that can refuse a job, before it takes a slot. @throws {Failure} */
  prepare(job: Job): Promise<PreparedJob>;
  /** The job's partition is gone: nothing of its text stays. */
  forget(partition: string): void;
  /** Gives the memory back; jobs must have ended. */
  close(): Promise<void>;
}

export interface PreparedJob {
  /** Takes a free slot and works until the end; rejects when the model fails. */
  run(port: JobPort): Promise<JobEnd>;
}

/** A running job's way out. */
export interface JobPort {
  readonly signal: AbortSignal;
  readonly emit: (event: EngineEvent) => void;
}

export interface JobEnd {
  readonly finishReason: FinishReason;
  readonly usage: TokenUsage;
}

import type { FailureCode } from "../../protocol/index.ts";
import type { EngineCapabilities, EngineEvent, Job } from "../engine/messages.ts";

/** What serving needs of an engine, wherever it runs. It may go down and come back at any time. */
export interface Engine {
  state(): EngineState;
  /** Calls back at every change until the returned function is called. */
  onState(listener: (state: EngineState) => void): () => void;
  /**
   * Starts a job. The sink is called only after `start` has returned, and ends with exactly one `done` or `failed`,
   * whatever happens to the engine.
   */
  start(job: NewJob, sink: (event: EngineEvent) => void): RunningJob;
  /** A session ended: nothing of it may stay in the engine's memory. */
  forget(partition: string): void;
}

export type NewJob = Omit<Job, "jobId">;

export interface RunningJob {
  /** Stops at the next token; the sink still gets its end. */
  cancel(): void;
}

export type EngineState =
  | { readonly phase: "starting" }
  | { readonly phase: "up"; readonly capabilities: EngineCapabilities }
  | {
      readonly phase: "down";
      readonly code: FailureCode;
      /** For the owner; never holds a prompt. */
      readonly message: string;
      /** Unix ms of the next attempt; absent when somebody has to change something first. */
      readonly retryAt?: number;
    };

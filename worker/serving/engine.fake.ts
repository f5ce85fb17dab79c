import { NO_USAGE, type FinishReason, type TokenUsage } from "../../protocol/index.ts";
import type { EngineCapabilities, EngineEvent } from "../engine/messages.ts";
import type { Engine, EngineState, NewJob } from "./engine.ts";

/** One job of the fake, played by the test. */
export interface FakeJob {
  readonly job: NewJob;
  readonly isCancelled: boolean;
  emit(event: EngineEvent): void;
  started(promptTokens: number, cachedTokens?: number): void;
  delta(text: string, ...tokenIds: number[]): void;
  done(finishReason: FinishReason, usage?: Partial<TokenUsage>): void;
  fail(code: Extract<EngineEvent, { type: "failed" }>["code"]): void;
}

export interface FakeEngine extends Engine {
  readonly jobs: FakeJob[];
  readonly forgotten: string[];
  /** Called for each new job; by default nothing happens until the test plays it. */
  onJob: (job: FakeJob) => void;
  become(state: EngineState): void;
}

export const FAKE_CAPABILITIES: EngineCapabilities = {
  engineName: "scripted",
  engineVersion: "1.0.0",
  backend: "cpu",
  contextTokens: 2048,
  slots: 4,
  architecture: "scripted",
  modelName: "scripted",
  quantisation: "F32",
  parameters: 0,
  canThink: false,
  canCallTools: true,
};

export function fakeEngine(slots = FAKE_CAPABILITIES.slots): FakeEngine {
  let state: EngineState = { phase: "up", capabilities: { ...FAKE_CAPABILITIES, slots } };
  const listeners = new Set<(state: EngineState) => void>();
  const jobs: FakeJob[] = [];
  const forgotten: string[] = [];
  const engine: FakeEngine = {
    jobs,
    forgotten,
    onJob: () => undefined,
    state: () => state,
    onState(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    become(next) {
      state = next;
      for (const listener of listeners) listener(next);
    },
    start(job, sink) {
      const played = play(job, sink);
      jobs.push(played.job);
      queueMicrotask(() => engine.onJob(played.job));
      return { cancel: played.cancel };
    },
    forget(partition) {
      forgotten.push(partition);
    },
  };
  return engine;
}

/** A job that answers these words, one token each, and stops. */
export function sayWords(...words: readonly string[]): (job: FakeJob) => void {
  return (job) => {
    job.started(10);
    words.forEach((word, at) => job.delta(word, at + 1));
    job.done("stop");
  };
}

function play(job: NewJob, sink: (event: EngineEvent) => void): { job: FakeJob; cancel: () => void } {
  const jobId = 1;
  let isCancelled = false;
  let ids = 0;
  let prompt = { promptTokens: 0, cachedTokens: 0 };
  const played: FakeJob = {
    job,
    get isCancelled() {
      return isCancelled;
    },
    emit: sink,
    started(promptTokens, cachedTokens = 0) {
      prompt = { promptTokens, cachedTokens };
      sink({ type: "started", jobId, ...prompt });
    },
    delta(text, ...tokenIds) {
      ids += tokenIds.length;
      sink({ type: "delta", jobId, text, tokenIds, reasoning: false });
    },
    done(finishReason, usage) {
      const completionTokens = ids + (finishReason === "stop" ? 1 : 0);
      sink({ type: "done", jobId, finishReason, usage: { ...prompt, completionTokens, ...usage } });
    },
    fail(code) {
      sink({ type: "failed", jobId, code, message: "as the test asked", usage: NO_USAGE });
    },
  };
  return {
    job: played,
    cancel: () => {
      isCancelled = true;
    },
  };
}

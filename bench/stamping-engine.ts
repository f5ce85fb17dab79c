import type { EngineCapabilities, EngineEvent } from "../worker/engine/messages.ts";
import type { Engine } from "../worker/index.ts";
import { steadyNow } from "./sse-load.ts";

/** How the engine answers; travels as the text of the prompt, so that one worker serves every measurement. */
export interface Pace {
  readonly chunks: number;
  /** Chunks a second; 0: all at once. */
  readonly rate: number;
}

export function promptFor(pace: Pace): string {
  return JSON.stringify(pace);
}

const CAPABILITIES: EngineCapabilities = {
  engineName: "stamping",
  engineVersion: "1",
  backend: "cpu",
  contextTokens: 65_536,
  slots: 256,
  architecture: "scripted",
  modelName: "stamping",
  quantisation: "none",
  parameters: 0,
  canThink: false,
  canCallTools: false,
};

/**
 * An engine without a model: each chunk is the steady clock at the moment it was made, so whoever reads it knows what the
 * path has added. It shares the worker's process, since a real engine's process is not part of what is compared.
 */
export function stampingEngine(): Engine {
  let jobs = 0;
  return {
    state: () => ({ phase: "up", capabilities: CAPABILITIES }),
    onState: () => () => undefined,
    forget: () => undefined,
    start(job, sink) {
      const jobId = ++jobs;
      const pace = paceOf(job.body);
      let sent = 0;
      let timer: NodeJS.Timeout | undefined;
      const usage = (): { promptTokens: number; cachedTokens: number; completionTokens: number } => ({
        promptTokens: 16,
        cachedTokens: 0,
        completionTokens: sent,
      });
      const emit = (event: EngineEvent): void => sink(event);
      const stamp = (): void => {
        sent++;
        emit({ type: "delta", jobId, text: steadyNow().toFixed(3), tokenIds: [sent], reasoning: false });
      };
      const finish = (finishReason: "length" | "cancelled"): void => {
        clearInterval(timer);
        emit({ type: "done", jobId, finishReason, usage: usage() });
      };
      queueMicrotask(() => {
        emit({ type: "started", jobId, promptTokens: 16, cachedTokens: 0 });
        if (pace.rate === 0) {
          while (sent < pace.chunks) stamp();
          finish("length");
          return;
        }
        stamp();
        timer = setInterval(() => {
          stamp();
          if (sent >= pace.chunks) finish("length");
        }, 1000 / pace.rate);
      });
      return { cancel: () => finish("cancelled") };
    },
  };
}

function paceOf(body: object): Pace {
  const text = JSON.stringify(body);
  const match = /\{\\"chunks\\":(\d+),\\"rate\\":([\d.]+)\}/.exec(text);
  return { chunks: Number(match?.[1] ?? 1), rate: Number(match?.[2] ?? 0) };
}

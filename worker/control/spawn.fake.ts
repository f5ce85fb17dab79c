import type { EnginePlan, FromEngine, ToEngine } from "../engine/messages.ts";
import type { EngineProcessEvents, Spawn } from "./spawn.ts";

/** One process that was "started", played by the test. */
export interface FakeProcess {
  readonly received: ToEngine[];
  readonly isKilled: boolean;
  say(message: FromEngine): void;
  /** Anything at all, as a broken engine might say it. */
  sayUnchecked(message: unknown): void;
  crash(how?: string): void;
}

export interface FakeSpawn {
  readonly spawn: Spawn;
  readonly processes: FakeProcess[];
  /** The newest. */
  current(): FakeProcess;
}

export const FAKE_PLAN: EnginePlan = {
  modelPath: "/nowhere/model.gguf",
  contextTokens: 2048,
  slots: 2,
  queueLimit: 1,
  batchTokens: 512,
  threads: 1,
  gpu: false,
  gpuLayers: 0,
  kvCache: "f16",
};

export function fakeSpawn(): FakeSpawn {
  const processes: FakeProcess[] = [];
  const spawn: Spawn = (events: EngineProcessEvents) => {
    const received: ToEngine[] = [];
    let isKilled = false;
    let isGone = false;
    const end = (how: string): void => {
      if (isGone) return;
      isGone = true;
      events.onExit(how);
    };
    processes.push({
      received,
      get isKilled() {
        return isKilled;
      },
      say: (message) => events.onMessage(message),
      sayUnchecked: (message) => events.onMessage(message),
      crash: (how = "SIGSEGV") => end(how),
    });
    return {
      send: (message) => {
        received.push(message);
        if (message.type === "unload") queueMicrotask(() => end("exit code 0"));
      },
      kill: () => {
        isKilled = true;
        end("SIGKILL");
      },
    };
  };
  return {
    spawn,
    processes,
    current() {
      const newest = processes.at(-1);
      if (newest === undefined) throw new RangeError("no process was started");
      return newest;
    },
  };
}

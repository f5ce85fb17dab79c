import { fork } from "node:child_process";
import type { ToEngine } from "../engine/messages.ts";

/** A running engine process, as its supervisor needs it. */
export interface EngineProcess {
  send(message: ToEngine): void;
  /** Ends it at once, whatever it is doing; `onExit` follows. */
  kill(): void;
}

export interface EngineProcessEvents {
  /** Unchecked: the other side runs native code on strangers' models. */
  onMessage(message: unknown): void;
  /** Exactly once. `how` is a signal or an exit code, in words. */
  onExit(how: string): void;
}

/** Starts an engine process: `fork` headless, `utilityProcess` in the app, none at all in tests. */
export type Spawn = (events: EngineProcessEvents) => EngineProcess;

/** An engine in a Node process of its own. Its output is dropped: native code may print what it is working on. */
export function forkEngine(entry: URL, args: readonly string[] = []): Spawn {
  return (events) => {
    const child = fork(entry, args, {
      serialization: "advanced",
      execArgv: [],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    let hasExited = false;
    const exit = (how: string): void => {
      if (hasExited) return;
      hasExited = true;
      events.onExit(how);
    };
    child.on("message", (message) => events.onMessage(message));
    child.on("error", (error) => exit(error.message));
    child.on("exit", (code, signal) => exit(signal ?? `exit code ${code ?? "unknown"}`));
    return {
      // A process that has just died refuses the message; its exit tells what has to be told.
      send: (message) => {
        if (child.connected) child.send(message, () => undefined);
      },
      kill: () => void child.kill("SIGKILL"),
    };
  };
}

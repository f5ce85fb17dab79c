import { Engine } from "./engine.ts";
import { LlamaRunner } from "./llama-runner.ts";
import type { FromEngine, ToEngine } from "./messages.ts";

/**
 * The entry of an engine process: Electron's `utilityProcess` gives a port, `child_process.fork` (with
 * `serialization: "advanced"`) a channel. It ends with its parent.
 */

interface ParentPort {
  on(event: "message", listener: (message: { readonly data: ToEngine }) => void): void;
  postMessage(message: FromEngine): void;
}

const { parentPort } = process as unknown as { readonly parentPort?: ParentPort };
const engine = new Engine(post, (plan) => LlamaRunner.load(plan));

function post(message: FromEngine): void {
  if (parentPort !== undefined) parentPort.postMessage(message);
  // The callback takes the error of a parent that is just gone; `disconnect` follows.
  else if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

if (parentPort !== undefined) {
  parentPort.on("message", ({ data }) => engine.handle(data));
} else {
  process.on("message", (message: ToEngine) => engine.handle(message));
  // Nobody is left to answer. An orderly exit would tear the model down under a batch that still computes, and crash.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
}

import { execFileSync } from "node:child_process";

/** Process ids of the engine processes this process has started (Linux and macOS). */
export function engineProcesses(): readonly number[] {
  return execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" })
    .split("\n")
    .flatMap((line) => {
      const [, processId, parent, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
      const isOurs = Number(parent) === process.pid && command?.includes("worker/engine/process.ts") === true;
      return isOurs ? [Number(processId)] : [];
    });
}

import { spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";

/** A second Ctrl-C this much later is a person who insists, not the terminal and npm both reporting the first. */
const INSISTS_AFTER_MS = 1_000;

/**
 * Runs a program with this process's input and output, passes signals on, and never ends before it does.
 *
 * @param {string} file
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>} its exit code, or 128 + the signal that ended it
 */
export function runToTheEnd(file, args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: "inherit", env });
    const stopListening = forwardSignals(child);
    child.once("error", (cause) => {
      stopListening();
      reject(new Error(`Could not start ${file}: ${cause.message}`, { cause }));
    });
    child.once("exit", (code, signal) => {
      stopListening();
      resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
    });
  });
}

/** @param {import("node:child_process").ChildProcess} child */
function forwardSignals(child) {
  const terminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  let interruptedAt = 0;
  const handlers = {
    SIGINT: () => {
      const before = interruptedAt;
      interruptedAt = Date.now();
      const isRepeat = before !== 0 && interruptedAt - before < INSISTS_AFTER_MS;
      // A terminal interrupts the whole group, so the child has the first one already.
      if (!isRepeat && (before !== 0 || !terminal)) forward("SIGINT");
    },
    SIGTERM: () => forward("SIGTERM"),
    SIGHUP: () => forward("SIGHUP"),
  };
  /** @param {NodeJS.Signals} signal */
  const forward = (signal) => {
    // Windows has no signals to send: kill() would end the child at once, and its console has told it already.
    if (process.platform !== "win32") child.kill(signal);
  };
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
  };
}

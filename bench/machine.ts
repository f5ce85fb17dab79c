import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { join } from "node:path";
import type { Figures } from "./benchmark.ts";

const root = join(import.meta.dirname, "..");

/** What a figure was measured on; without it a figure says nothing. */
export function describeMachine(): Figures {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${platform()} ${release()} ${arch()}`,
  };
}

/** What was measured. */
export function describeVersions(): Figures {
  return {
    project: stringIn("package.json", "version"),
    commit: commit(),
    node: process.versions.node,
    nodeLlamaCpp: stringIn("node_modules/node-llama-cpp/package.json", "version"),
    llamaCpp: stringIn("node_modules/node-llama-cpp/llama/binariesGithubRelease.json", "release"),
  };
}

/** One text field of a JSON file, or null where there is no such file or field. */
function stringIn(file: string, field: string): string | null {
  try {
    const content = JSON.parse(readFileSync(join(root, file), "utf8")) as Readonly<Record<string, unknown>>;
    const value = content[field];
    return typeof value === "string" ? value : null;
  } catch {
    return null;
  }
}

/** The commit, marked when files differ from it; null outside a git checkout. */
function commit(): string | null {
  try {
    const args = ["describe", "--always", "--dirty", "--exclude=*"];
    return execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
}

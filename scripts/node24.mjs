import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";

/** The first Node that runs `.ts` files as they are. */
const NEEDED_MAJOR = 24;

/**
 * A Node that runs TypeScript: the one running this, or the one the lock file pins for this platform.
 *
 * @param {string} root the project's folder, with dependencies installed
 * @returns {string} an absolute path
 */
export function findNode(root) {
  if (Number.parseInt(process.versions.node, 10) >= NEEDED_MAJOR) return process.execPath;
  const platform = process.platform === "win32" ? "win" : process.platform;
  const file = process.platform === "win32" ? "node.exe" : "node";
  const pinned = join(root, "node_modules", `node-${platform}-${process.arch}`, "bin", file);
  if (existsSync(pinned)) return pinned;
  throw new Error(
    `Node ${NEEDED_MAJOR} or newer is needed, this is ${process.versions.node}, and no pinned one is installed for ` +
      `${process.platform} on ${process.arch}.\nInstall Node ${NEEDED_MAJOR} from https://nodejs.org and start again` +
      (process.platform === "linux" || process.platform === "win32"
        ? `;\nif dependencies were installed with --omit=optional, "npm ci" without it brings the pinned one.`
        : "."),
  );
}

/**
 * This environment, with the chosen Node found first by whatever the command starts, and a place where it keeps what it
 * compiled: a role starts in half the time and, with no compiler of TypeScript in it, takes 25 MB less.
 *
 * @param {string} node
 * @param {string} root the project's folder
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentFor(node, root) {
  // Windows spells it Path, and an environment object copied from process.env is case-sensitive.
  const key = Object.keys(process.env).find((name) => name.toUpperCase() === "PATH") ?? "PATH";
  const compiled = join(root, ".cache", "compiled");
  return {
    NODE_COMPILE_CACHE: compiled,
    ...process.env,
    [key]: [dirname(node), process.env[key] ?? ""].join(delimiter),
  };
}

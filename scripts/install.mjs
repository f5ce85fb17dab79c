import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, sep } from "node:path";
import process from "node:process";
import { withInstallLock } from "./install-lock.mjs";

/** What went wrong, as npm says it, and what a person can do about it. */
const REMEDIES = /** @type {const} */ ([
  [
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network/i,
    "npm cannot reach its registry. Check the network (and `npm config get registry`), then start again.",
  ],
  [/ENOSPC|no space left/i, "The disk is full. Dependencies need about 1 GB: make room, then start again."],
  [/EACCES|EPERM|EROFS/, "This folder cannot be written. Start from a folder that is yours."],
  [/EINTEGRITY/, "A download does not match package-lock.json. `npm cache clean --force`, then start again."],
]);

/**
 * Makes node_modules what package-lock.json says; at once when it already is.
 *
 * @param {string} root the project's folder
 */
export async function installMissing(root) {
  if (isInstalled(root)) return;
  await withInstallLock(join(root, ".cache"), async (/** @type {(pid: number) => void} */ watch) => {
    // Another start may have installed while this one waited for the lock.
    if (isInstalled(root)) return;
    process.stderr.write("Installing dependencies (once; a minute or two)…\n");
    await install(root, watch);
    writeFileSync(stampFile(root), stamp(root));
  });
}

/**
 * Whether node_modules holds what the lock file asks for, by our own stamp or package by package.
 *
 * @param {string} root
 */
export function isInstalled(root) {
  try {
    return readFileSync(stampFile(root), "utf8") === stamp(root);
  } catch {
    return holdsEverything(root);
  }
}

/** @param {string} root */
function stampFile(root) {
  return join(root, "node_modules", ".cocoon-lock-hash");
}

/**
 * Bound to what npm was asked for, what it did, and the machine: any of them changing asks for a new look.
 *
 * @param {string} root
 */
function stamp(root) {
  return createHash("sha256")
    .update(`${process.platform} ${process.arch}\n`)
    .update(readFileSync(join(root, "package-lock.json")))
    .update(readFileSync(join(root, "node_modules", ".package-lock.json")))
    .digest("hex");
}

/**
 * For a node_modules that npm filled without us. npm writes its own record last, so half an install has none.
 *
 * @param {string} root
 */
function holdsEverything(root) {
  const record = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(record)) return false;
  const present = packagesOf(record);
  return Object.entries(packagesOf(join(root, "package-lock.json"))).every(
    ([path, asked]) => path === "" || present[path]?.version === asked.version || !isNeededHere(asked),
  );
}

/**
 * An optional package is needed when it names this platform: the pinned Node and llama.cpp's binaries do. Others may
 * be for another C library, or belong to a package that is.
 *
 * @param {Package} asked
 */
function isNeededHere({ optional, os, cpu, libc }) {
  if (optional !== true) return true;
  return os?.includes(process.platform) === true && cpu?.includes(process.arch) === true && libc === undefined;
}

/** @typedef {{ readonly version?: string; readonly optional?: boolean; readonly os?: string[]; readonly cpu?: string[]; readonly libc?: string[] }} Package */

/**
 * npm's own file: a damaged one throws here, and JSON.parse says where.
 *
 * @param {string} file
 * @returns {Record<string, Package>}
 */
function packagesOf(file) {
  /** @type {unknown} */
  const content = JSON.parse(readFileSync(file, "utf8"));
  return /** @type {{ packages: Record<string, Package> }} */ (content).packages;
}

/**
 * @param {string} root
 * @param {(pid: number) => void} watch told the installer's process id
 * @returns {Promise<void>}
 */
function install(root, watch) {
  const { file, args, shell } = npm();
  // A running node.exe cannot be replaced, so on Windows what is right already is left in place.
  const runsFromHere = process.execPath.startsWith(join(root, "node_modules") + sep);
  const verb = process.platform === "win32" && runsFromHere ? "install" : "ci";
  // Optional and dev whatever the person's npm is set to: the pinned Node, llama.cpp's binaries and the tools are there.
  const flags = ["--include=optional", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...args, verb, ...flags], { cwd: root, shell, stdio: ["ignore", "pipe", "pipe"] });
    if (child.pid !== undefined) watch(child.pid);
    let said = "";
    const stopListening = endWith(child);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (/** @type {string} */ text) => {
        said = (said + text).slice(-64_000);
        process.stderr.write(text);
      });
    }
    child.once("error", (cause) => {
      stopListening();
      reject(new Error("npm was not found. It comes with Node: install Node 24 from https://nodejs.org.", { cause }));
    });
    child.once("close", (code, signal) => {
      stopListening();
      if (code === 0) resolve();
      else reject(new Error(whyItFailed(said, code, signal)));
    });
  });
}

/**
 * While npm works, a request to end goes to npm, and this process ends once npm has.
 *
 * @param {import("node:child_process").ChildProcess} child
 */
function endWith(child) {
  /** @type {readonly NodeJS.Signals[]} */
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  const handler = (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal);
  for (const signal of signals) process.on(signal, handler);
  return () => {
    for (const signal of signals) process.off(signal, handler);
  };
}

/** The npm that started us, else the one on the path. */
function npm() {
  const started = process.env.npm_execpath;
  if (started !== undefined && basename(started) === "npm-cli.js" && existsSync(started)) {
    return { file: process.execPath, args: [started], shell: false };
  }
  // npm on Windows is a .cmd file, which only a shell runs.
  return process.platform === "win32"
    ? { file: "npm.cmd", args: [], shell: true }
    : { file: "npm", args: [], shell: false };
}

/**
 * @param {string} said
 * @param {number | null} code
 * @param {NodeJS.Signals | null} signal
 */
function whyItFailed(said, code, signal) {
  if (signal !== null) return `Installing was ended by ${signal}; the next start begins it again.`;
  const remedy = REMEDIES.find(([sign]) => sign.test(said))?.[1];
  return `Installing dependencies failed (npm ended with ${code ?? "no code"}). ${remedy ?? "What npm said stands above."}`;
}

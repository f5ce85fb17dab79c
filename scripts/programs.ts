import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

interface Program {
  readonly name: string;
  /** File names it goes by, looked up on the path. */
  readonly files: readonly string[];
  readonly debianPackage: string;
  readonly neededBy: string;
}

/** What tests need and npm cannot bring. */
const PROGRAMS: readonly Program[] = [
  {
    name: "Chromium",
    files: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome.exe"],
    debianPackage: "chromium",
    neededBy: "the test that loads protocol/ in a browser",
  },
];

/** Installs what is missing where that is allowed (root on Debian and its kin), and says so where it is not. */
export function ensurePrograms(): void {
  const missing = PROGRAMS.filter((program) => !isOnPath(program.files));
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0 || !isOnPath(["apt-get"])) {
    for (const { name, debianPackage, neededBy } of missing) {
      process.stderr.write(
        `${name} is not installed; ${neededBy} needs it (Debian: apt-get install ${debianPackage})\n`,
      );
    }
    return;
  }
  const packages = missing.map((program) => program.debianPackage);
  process.stderr.write(`Installing ${packages.join(", ")} with apt-get…\n`);
  const installed = aptGet(["update"]) && aptGet(["install", "--yes", "--no-install-recommends", ...packages]);
  if (!installed)
    process.stderr.write(`apt-get could not install ${packages.join(", ")}: the tests that need it fail.\n`);
}

function aptGet(args: readonly string[]): boolean {
  const { status } = spawnSync("apt-get", ["-qq", ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    // Standard output belongs to the tests.
    stdio: ["ignore", 2, 2],
  });
  return status === 0;
}

function isOnPath(files: readonly string[]): boolean {
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  return folders.some((folder) => files.some((file) => existsSync(join(folder, file))));
}

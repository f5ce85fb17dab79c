import { homedir } from "node:os";
import { join } from "node:path";

/** Where a worker's data is when nobody says otherwise, as each system has it. */
export function defaultDataFolder(environment: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  const { XDG_DATA_HOME, APPDATA, COCOON_WORKER_DATA } = environment;
  if (COCOON_WORKER_DATA !== undefined) return COCOON_WORKER_DATA;
  if (platform === "win32" && APPDATA !== undefined) return join(APPDATA, "cocoon-worker");
  if (platform === "darwin") return join(homedir(), "Library", "Application Support", "cocoon-worker");
  return join(XDG_DATA_HOME ?? join(homedir(), ".local", "share"), "cocoon-worker");
}

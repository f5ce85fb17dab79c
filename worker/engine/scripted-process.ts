import type { FromEngine, ToEngine } from "./messages.ts";
import { type Script, scriptedEngine } from "./scripted.ts";

/** A scripted engine as a process: the script is its argument, as JSON. */

const script = JSON.parse(process.argv[2] ?? "{}") as Script;
const engine = scriptedEngine((message: FromEngine) => process.send?.(message), script);
process.on("message", (message: ToEngine) => engine.handle(message));
process.on("disconnect", () => process.exit(0));

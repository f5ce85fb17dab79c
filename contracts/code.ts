import { Cell } from "@ton/core";
import clientChannel from "./code/ClientChannel.json" with { type: "json" };
import gateway from "./code/Gateway.json" with { type: "json" };
import registry from "./code/Registry.json" with { type: "json" };
import workerChannel from "./code/WorkerChannel.json" with { type: "json" };

/** The code this build knows, as compiled from the `.tolk` beside (a test compiles it again). */
export const CODE = {
  registry: Cell.fromBase64(registry.codeBoc64),
  gateway: Cell.fromBase64(gateway.codeBoc64),
  clientChannel: Cell.fromBase64(clientChannel.codeBoc64),
  workerChannel: Cell.fromBase64(workerChannel.codeBoc64),
} as const;

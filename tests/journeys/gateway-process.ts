/** A gateway in a process of its own, so that its memory, files and output can be looked at from outside. */
import { fork, type ChildProcess } from "node:child_process";
import { writeHeapSnapshot } from "node:v8";
import { DEVNET_NETWORK_ID } from "../../devnet/index.ts";
import { localChannels, startGateway, type Gateway, type LedgerSums } from "../../gateway/index.ts";

export type GatewayOrder =
  | {
      readonly type: "start";
      readonly dataDir: string;
      readonly port: number;
      readonly channel: string;
      readonly paymentKey: Uint8Array;
    }
  | { readonly type: "snapshot"; readonly path: string }
  | { readonly type: "sums" };

export type GatewayReport =
  | { readonly type: "up"; readonly httpUrl: string; readonly gatewayKey: Uint8Array }
  | { readonly type: "written" }
  | { readonly type: "sums"; readonly sums: LedgerSums };

const DEPOSIT = 10n ** 12n;

let gateway: Gateway | undefined;

async function obey(order: GatewayOrder): Promise<GatewayReport> {
  if (order.type === "sums") {
    if (gateway === undefined) throw new Error("not started");
    return { type: "sums", sums: gateway.ledgerTotals() };
  }
  if (order.type === "snapshot") {
    writeHeapSnapshot(order.path);
    return { type: "written" };
  }
  const channels = localChannels();
  const view = { paymentKey: order.paymentKey, balance: DEPOSIT, charged: 0n, acked: 0n };
  channels.open(order.channel, { ...view, creditLimit: DEPOSIT, isClosing: false });
  const { dataDir, port } = order;
  const log = (line: string): void => console.log(line);
  gateway = await startGateway({
    dataDir,
    port,
    verifyOwnerProof: (proof) => proof.address,
    networkId: DEVNET_NETWORK_ID,
    channels,
    log,
  });
  return { type: "up", httpUrl: gateway.httpUrl, gatewayKey: gateway.gatewayKey };
}

/** An order to this process, from the test that started it. */
export function orderGateway(child: ChildProcess, order: GatewayOrder): Promise<GatewayReport> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error("the gateway process ended"));
    child.once("exit", ended);
    child.once("message", (report) => {
      child.off("exit", ended);
      resolve(report as GatewayReport);
    });
    child.send(order);
  });
}

/** Starts a gateway process; it has to be told `start`. */
export function forkGateway(): ChildProcess {
  return fork(new URL(import.meta.url), { serialization: "advanced", silent: true });
}

if (process.argv[1] === import.meta.filename) {
  process.on("disconnect", () => process.exit(0));
  process.on("message", (order: GatewayOrder) => {
    void obey(order).then((report) => process.send?.(report));
  });
}

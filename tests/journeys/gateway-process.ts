/** A gateway in a process of its own, so that its memory, files and output can be looked at from outside. */
import { writeHeapSnapshot } from "node:v8";
import { DEVNET_NETWORK_ID } from "../../devnet/index.ts";
import { localChannels, startGateway } from "../../gateway/index.ts";

export type GatewayOrder =
  | { readonly type: "start"; readonly dataDir: string; readonly channel: string; readonly paymentKey: Uint8Array }
  | { readonly type: "snapshot"; readonly path: string };

export type GatewayReport =
  { readonly type: "up"; readonly httpUrl: string; readonly gatewayKey: Uint8Array } | { readonly type: "written" };

const DEPOSIT = 10n ** 12n;

async function obey(order: GatewayOrder): Promise<GatewayReport> {
  if (order.type === "snapshot") {
    writeHeapSnapshot(order.path);
    return { type: "written" };
  }
  const channels = localChannels();
  const view = { paymentKey: order.paymentKey, balance: DEPOSIT, charged: 0n, acked: 0n };
  channels.open(order.channel, { ...view, creditLimit: DEPOSIT, isClosing: false });
  const { dataDir } = order;
  const log = (line: string): void => console.log(line);
  const gateway = await startGateway({ dataDir, networkId: DEVNET_NETWORK_ID, channels, log });
  return { type: "up", httpUrl: gateway.httpUrl, gatewayKey: gateway.gatewayKey };
}

if (process.send !== undefined) {
  process.on("disconnect", () => process.exit(0));
  process.on("message", (order: GatewayOrder) => {
    void obey(order).then((report) => process.send?.(report));
  });
}

/** The gateway of `bench gateway`, in a process of its own: prints where it is, answers `usage` with what it has used. */
import { toBase64url } from "../protocol/index.ts";
import { localChannels, startGateway } from "../gateway/index.ts";

/** What one look at the process says. */
export interface ProcessUsage {
  readonly rssBytes: number;
  /** User and system, µs since the start. */
  readonly cpuMicroseconds: number;
  readonly atMs: number;
}

const [, , dataDir = ""] = process.argv;
const gateway = await startGateway({
  dataDir,
  networkId: -777,
  channels: openChannels(),
  // All peers come from this machine, and all at once.
  limits: { linksPerAddress: 100_000, putsPerSecond: 100_000, openReservations: 100_000, documentBytes: 256 * 2 ** 20 },
});
process.send?.({ url: gateway.url, httpUrl: gateway.httpUrl, gatewayKey: toBase64url(gateway.gatewayKey) });
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  const usage: ProcessUsage = {
    rssBytes: process.memoryUsage.rss(),
    cpuMicroseconds: user + system,
    atMs: performance.now(),
  };
  process.send?.(usage);
});
process.once("SIGTERM", () => void gateway.close().then(() => process.exit(0)));
process.once("disconnect", () => process.exit(0));

/** A channel whose address is its own payment key, with credit for any load. */
function openChannels(): ReturnType<typeof localChannels> {
  const none = localChannels();
  const limit = 10n ** 18n;
  return {
    ...none,
    clientChannel: (address) => ({
      paymentKey: Uint8Array.from(Buffer.from(address.slice(2), "hex")),
      balance: limit,
      charged: 0n,
      acked: 0n,
      creditLimit: limit,
      isClosing: false,
    }),
  };
}

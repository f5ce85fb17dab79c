import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** A relay in front of a server that keeps every byte both sides say. */
export interface SocketRecorder {
  /** `http://127.0.0.1:PORT` of the relay. */
  readonly url: string;
  bytes(): Buffer;
  close(): Promise<void>;
}

export async function recordSockets(targetUrl: string): Promise<SocketRecorder> {
  const { hostname, port } = new URL(targetUrl);
  const kept: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ host: hostname, port: Number(port) });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes: Buffer) => {
        kept.push(bytes);
        to.write(bytes);
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: ownPort } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${ownPort}`,
    bytes: () => Buffer.concat(kept),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

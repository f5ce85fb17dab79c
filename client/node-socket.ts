import type { Socket as TcpSocket } from "node:net";
import { WebSocket } from "ws";
import type { OpenSocket } from "./socket.ts";

/** Far above a frame of 65,553 bytes, so that an oversize one costs its stream and not the link. */
const MAX_MESSAGE_BYTES = 1_048_576;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** What was sent last gets this long to arrive. */
const CLOSE_TIMEOUT_MS = 1_000;

/** A socket of the `ws` package: Node's own WebSocket copies each message once more and cannot bound its size. */
export const openNodeSocket: OpenSocket = (url, events) => {
  const socket = new WebSocket(url, {
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  let tcp: TcpSocket | undefined;
  let why = "closed by the gateway";
  socket.on("upgrade", (response) => {
    tcp = response.socket;
  });
  socket.on("open", events.opened);
  socket.on("message", (data: Buffer, isBinary) => {
    if (isBinary) events.binary(new Uint8Array(data.buffer, data.byteOffset, data.length));
    else events.text(data.toString());
  });
  socket.on("error", (error) => {
    why = error.message;
    socket.terminate(); // else an oversize message would keep the socket for half a minute
  });
  socket.on("close", () => events.closed(why));
  return {
    send(data) {
      if (socket.readyState !== WebSocket.OPEN) return;
      if (tcp !== undefined) corkThisTurn(tcp);
      socket.send(data);
    },
    close() {
      if (socket.readyState === WebSocket.CONNECTING) socket.terminate();
      else socket.close();
      setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS).unref();
    },
  };
};

/** What is sent in one turn of the event loop leaves in one write: each of them alone would be a system call. */
function corkThisTurn(tcp: TcpSocket): void {
  if (tcp.writableCorked > 0) return;
  tcp.cork();
  process.nextTick(() => tcp.uncork());
}

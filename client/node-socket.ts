import { WebSocket } from "ws";
import type { OpenSocket } from "./socket.ts";

/** Larger than any message of a link: one frame of 65,553 bytes with its route, or 64 KiB of control text. */
const MAX_MESSAGE_BYTES = 131_072;
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** A socket of the `ws` package: Node's own WebSocket copies each message once more and cannot bound its size. */
export const openNodeSocket: OpenSocket = (url, events) => {
  const socket = new WebSocket(url, {
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  let why = "closed by the gateway";
  socket.on("open", events.opened);
  socket.on("message", (data: Buffer, isBinary) => {
    if (isBinary) events.binary(new Uint8Array(data.buffer, data.byteOffset, data.length));
    else events.text(data.toString());
  });
  socket.on("error", (error) => {
    why = error.message;
  });
  socket.on("close", () => events.closed(why));
  return {
    send(data) {
      if (socket.readyState === WebSocket.OPEN) socket.send(data);
    },
    close() {
      if (socket.readyState === WebSocket.CONNECTING) socket.terminate();
      else socket.close();
    },
  };
};

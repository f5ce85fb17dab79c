import type { OpenSocket } from "./socket.ts";

/** The platform's own WebSocket, for pages and workers. */
export const openBrowserSocket: OpenSocket = (url, events) => {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", events.opened);
  socket.addEventListener("message", (event) => {
    const data = event.data as string | ArrayBuffer;
    if (typeof data === "string") events.text(data);
    else events.binary(new Uint8Array(data));
  });
  socket.addEventListener("close", ({ reason }) => events.closed(reason === "" ? "connection closed" : reason));
  return {
    send(data) {
      if (socket.readyState === WebSocket.OPEN) socket.send(data);
    },
    close: () => socket.close(),
  };
};

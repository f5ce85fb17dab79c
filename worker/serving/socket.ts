import type { Socket as TcpSocket } from "node:net";
import { WebSocket } from "ws";

/** One open connection to a gateway. */
export interface Socket {
  send(data: string | Uint8Array): void;
  /** Bytes handed over and not yet taken by the network. */
  readonly bufferedBytes: number;
  /** Ends it at once. `onClose` still comes. */
  close(): void;
}

export interface SocketEvents {
  onOpen(): void;
  onText(text: string): void;
  onBytes(bytes: Uint8Array): void;
  /** Exactly once, also when it never opened. */
  onClose(reason: string): void;
}

export type Dial = (url: string, events: SocketEvents) => Socket;

/** Far above a frame, so that an oversize one costs its stream and not the whole link. */
const MAX_MESSAGE_BYTES = 1_048_576;
const CONNECT_TIMEOUT_MS = 10_000;

/** A WebSocket whose sends of one turn of the event loop leave in one write: each of them alone costs a system call. */
export const dialWebSocket: Dial = (url, events) => {
  const socket = new WebSocket(url, {
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handshakeTimeout: CONNECT_TIMEOUT_MS,
  });
  const cork = corker();
  let reason = "closed";
  socket.binaryType = "nodebuffer";
  socket.on("upgrade", (response) => cork.use(response.socket));
  socket.on("open", () => events.onOpen());
  socket.on("message", (data: Buffer, isBinary) => {
    if (isBinary) events.onBytes(data);
    else events.onText(data.toString("utf8"));
  });
  socket.on("error", (error) => {
    reason = error.message;
  });
  socket.on("close", () => events.onClose(reason));
  return {
    send(data) {
      if (socket.readyState !== WebSocket.OPEN) return;
      cork.thisTurn();
      socket.send(data);
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    close: () => socket.terminate(),
  };
};

function corker(): { use(socket: TcpSocket): void; thisTurn(): void } {
  let tcp: TcpSocket | undefined;
  let isCorked = false;
  const uncork = (): void => {
    isCorked = false;
    tcp?.uncork();
  };
  return {
    use(socket) {
      tcp = socket;
    },
    thisTurn() {
      if (isCorked || tcp === undefined) return;
      isCorked = true;
      tcp.cork();
      setImmediate(uncork);
    },
  };
}

/** What a link needs of a WebSocket, whichever kind the platform has. Binary messages are plain `Uint8Array`s. */
export interface Socket {
  send(data: string | Uint8Array): void;
  close(): void;
}

export interface SocketEvents {
  readonly opened: () => void;
  readonly text: (text: string) => void;
  readonly binary: (bytes: Uint8Array) => void;
  /** Once, whatever the reason; also when the socket never opened. */
  readonly closed: (why: string) => void;
}

/** Dials out; never throws: what goes wrong arrives as `closed`. */
export type OpenSocket = (url: string, events: SocketEvents) => Socket;

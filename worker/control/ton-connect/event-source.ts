import { openBridgeStream, type BridgeStream, type BridgeStreamOptions } from "./bridge-stream.ts";
import type { Admitted, Guard } from "./guard.ts";

export interface EventSourceOptions extends Pick<BridgeStreamOptions, "fetch" | "random" | "onReachable"> {
  /** The door of the session with this client id; undefined when there is none. */
  readonly guardFor: (clientId: string) => Guard | undefined;
  /** Resolves when an answer of the wallet can be matched with its question. */
  readonly untilAsked: () => Promise<void>;
  onConnectError(code: number): void;
}

/**
 * What TON Connect's SDK takes for the global `EventSource`: streams that pass on what their guard admits. The SDK is
 * told that one is open at once and never of an error, since coming back is the stream's own business.
 */
export function eventSourceClass(options: EventSourceOptions) {
  return class BridgeEventSource {
    static readonly CONNECTING = 0;
    static readonly OPEN = 1;
    static readonly CLOSED = 2;
    readyState = BridgeEventSource.CONNECTING as number;
    onopen: (() => void) | undefined;
    onerror: (() => void) | undefined;
    onmessage: ((event: { readonly data: string; readonly lastEventId: string }) => void) | undefined;
    readonly #stream: BridgeStream;
    readonly #guard: Guard | undefined;
    #delivered: Promise<void> = Promise.resolve();

    constructor(url: string) {
      this.#guard = options.guardFor(new URL(url).searchParams.get("client_id") ?? "");
      this.#stream = openBridgeStream({
        url,
        ...options,
        onEvent: ({ id, data }) => {
          for (const admitted of this.#guard?.admit(data) ?? [])
            this.#delivered = this.#delivered.then(() => this.#deliver(admitted, id));
        },
      });
      queueMicrotask(() => {
        if (this.readyState !== BridgeEventSource.CONNECTING) return;
        this.readyState = BridgeEventSource.OPEN;
        this.onopen?.();
      });
    }

    close(): void {
      this.readyState = BridgeEventSource.CLOSED;
      this.#stream.close();
    }

    /** One at a time: the SDK handles each over several turns, and two at once would see one state. */
    async #deliver(admitted: Admitted, lastEventId: string): Promise<void> {
      if (this.readyState === BridgeEventSource.CLOSED) return;
      if (admitted.type === "connect-error") {
        options.onConnectError(admitted.code);
        return;
      }
      if (admitted.type === "response") await options.untilAsked();
      this.onmessage?.({ data: admitted.text, lastEventId });
      await new Promise(setImmediate);
    }
  };
}

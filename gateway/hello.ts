import { type FailureCode } from "../protocol/index.ts";
import type { Link, RouteEnd } from "./link.ts";

/** How a handshake ended, as the gateway sees it. */
export type HelloEnd =
  | { readonly type: "answered" }
  | { readonly type: "refused"; readonly code: FailureCode }
  | { readonly type: "worker-lost" }
  | { readonly type: "timed-out" }
  | { readonly type: "client-gone" };

/** A worker answers a ClientHello within this time (NETWORK §2). */
export const HELLO_MS = 5000;
/** Either message; the longest is a ClientHello with a TPM challenge. */
const MOST_HELLO_BYTES = 8192;

/** One ClientHello on its way there and one WorkerHello on its way back. */
export class Hello {
  readonly client: RouteEnd;
  readonly worker: RouteEnd;
  readonly deadline: number;
  readonly #ended: (hello: Hello, end: HelloEnd) => void;
  #isAsked = false;
  #isOver = false;

  constructor(client: Link, worker: Link, context: { now: number; ended: (hello: Hello, end: HelloEnd) => void }) {
    this.deadline = context.now + HELLO_MS;
    this.#ended = context.ended;
    this.worker = worker.openRoute({
      receive: (message) => this.#answer(message),
      closed: (code) => this.#refuse(code),
      lost: () => this.#lost(),
      drained: () => undefined,
    });
    this.client = client.openRoute({
      receive: (message) => this.#ask(message),
      closed: () => this.#leave(),
      lost: () => this.#leave(),
      drained: () => undefined,
    });
  }

  expire(): void {
    this.#finish({ type: this.#isAsked ? "timed-out" : "client-gone" }, "truncated");
  }

  #ask(message: Buffer): void {
    if (this.#isAsked || message.length > MOST_HELLO_BYTES) return this.#finish({ type: "client-gone" }, "bad_hello");
    this.#isAsked = true;
    this.worker.link.forward(this.worker, message);
  }

  #answer(message: Buffer): void {
    if (!this.#isAsked || message.length > MOST_HELLO_BYTES)
      return this.#finish({ type: "refused", code: "bad_hello_sig" }, "bad_hello_sig");
    this.client.link.forward(this.client, message);
    this.#finish({ type: "answered" });
  }

  #refuse(code: FailureCode): void {
    this.#finish({ type: "refused", code }, code);
  }

  #lost(): void {
    this.#finish({ type: "worker-lost" }, "worker_crashed");
  }

  #leave(): void {
    this.#finish({ type: "client-gone" }, "cancelled");
  }

  #finish(end: HelloEnd, code?: FailureCode): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.client.link.closeRoute(this.client, code);
    this.worker.link.closeRoute(this.worker, code);
    this.#ended(this, end);
  }
}

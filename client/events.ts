import { Failure, type SealedEvent } from "../protocol/index.ts";
import { AnswerBuilder, type AnswerParts } from "./answer.ts";
import type { AnswerEnd, AnsweringWorker, AnswerListener } from "./session.ts";

/** What a request tells, in this order: `worker` once, deltas and tool calls, `end` once. */
export type ClientEvent =
  | ({ readonly type: "worker" } & AnsweringWorker)
  | {
      readonly type: "delta";
      /** May be empty: the text lags behind the ids while a character is incomplete. */
      readonly text: string;
      readonly reasoning: boolean;
      readonly tokenIds: readonly number[];
    }
  | {
      readonly type: "tool_call";
      /** 0-based; pieces with one index belong together, `id` and `name` come with the first. */
      readonly index: number;
      readonly id: string | undefined;
      readonly name: string | undefined;
      /** A piece of JSON text. */
      readonly arguments: string;
      readonly tokenIds: readonly number[];
    }
  | ({ readonly type: "end" } & AnswerEnd);

/** A whole answer. */
export interface Completion extends AnswerEnd, AnswerParts {
  readonly worker: AnsweringWorker;
}

/** Starts a request and returns its cancel. */
export type StartRequest = (listener: AnswerListener) => () => void;

/** Turns calls into an iterator. Whoever leaves it early, or aborts the signal, cancels the request. */
export async function* eventsOf(
  start: StartRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<ClientEvent, undefined> {
  const queue: ClientEvent[] = [];
  const over: { failure: Failure | undefined; isWhole: boolean } = { failure: undefined, isWhole: false };
  let wake = Promise.withResolvers<undefined>();
  const push = (event: ClientEvent): void => {
    queue.push(event);
    wake.resolve(undefined);
  };
  if (signal?.aborted === true) throw new Failure("cancelled");
  const cancel = start({
    worker: (worker) => push({ type: "worker", ...worker }),
    event: (event) => push(clientEvent(event)),
    end(end) {
      over.isWhole = true;
      push({ type: "end", ...end });
    },
    failed(reason) {
      over.failure = reason;
      wake.resolve(undefined);
    },
  });
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for (;;) {
      for (const event of queue.splice(0)) yield event;
      if (queue.length > 0) continue;
      if (over.failure !== undefined) throw over.failure;
      if (over.isWhole) return undefined;
      await wake.promise;
      wake = Promise.withResolvers();
    }
  } finally {
    signal?.removeEventListener("abort", cancel);
    cancel();
  }
}

/** The whole answer. @throws {Failure} what the request failed with. */
export function collect(start: StartRequest, signal: AbortSignal | undefined): Promise<Completion> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new Failure("cancelled"));
      return;
    }
    const builder = new AnswerBuilder();
    let answering: AnsweringWorker | undefined;
    const cancel = start({
      worker(worker) {
        answering = worker;
      },
      event: (event) => builder.add(event),
      end(end) {
        signal?.removeEventListener("abort", cancel);
        if (answering === undefined) reject(new Failure("internal", "an answer from nobody"));
        else resolve({ ...end, ...builder.parts(), worker: answering });
      },
      failed(failure) {
        signal?.removeEventListener("abort", cancel);
        reject(failure);
      },
    });
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

function clientEvent(event: SealedEvent): ClientEvent {
  const { tokenIds } = event;
  if (event.t === "delta") return { type: "delta", text: event.text, reasoning: event.reasoning ?? false, tokenIds };
  const { index, id, name } = event;
  return { type: "tool_call", index, id, name, arguments: event.arguments ?? "", tokenIds };
}

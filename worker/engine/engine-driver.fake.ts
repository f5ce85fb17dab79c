import type { ChatRequestBody, CompletionRequestBody, TokenUsage } from "../../protocol/index.ts";
import type { EngineEvent, EnginePlan, FromEngine, Job, ToEngine } from "./messages.ts";

/** An engine's other side in tests: sends jobs, gathers what comes back. */
export interface Answer {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly { readonly id: string; readonly name: string; readonly arguments: string }[];
  readonly tokenIds: readonly number[];
  readonly started: Extract<EngineEvent, { type: "started" }> | undefined;
  readonly end: Extract<EngineEvent, { type: "done" | "failed" }>;
  readonly events: readonly EngineEvent[];
}

export type Body = Partial<ChatRequestBody> | Partial<CompletionRequestBody>;

export interface Asking {
  readonly jobId: number;
  readonly answer: Promise<Answer>;
  /** Resolves with the first event that matches. */
  until(matches: (event: EngineEvent) => boolean): Promise<EngineEvent>;
}

interface Open {
  readonly events: EngineEvent[];
  readonly answer: PromiseWithResolvers<Answer>;
  readonly waiting: { matches: (event: EngineEvent) => boolean; resolve: (event: EngineEvent) => void }[];
}

export class EngineDriver {
  readonly #send: (message: ToEngine) => void;
  readonly #open = new Map<number, Open>();
  readonly #others: { matches: (message: FromEngine) => boolean; resolve: (message: FromEngine) => void }[] = [];
  #lastJobId = 0;

  constructor(send: (message: ToEngine) => void) {
    this.#send = send;
  }

  receive(message: FromEngine): void {
    if (!("jobId" in message)) {
      const at = this.#others.findIndex(({ matches }) => matches(message));
      if (at !== -1) this.#others.splice(at, 1)[0]?.resolve(message);
      return;
    }
    const open = this.#open.get(message.jobId);
    if (open === undefined) throw new Error(`an event of job ${message.jobId}, which is over`);
    open.events.push(message);
    for (const { matches, resolve } of open.waiting) if (matches(message)) resolve(message);
    if (message.type !== "done" && message.type !== "failed") return;
    this.#open.delete(message.jobId);
    open.answer.resolve(answerOf(open.events, message));
  }

  async load(plan: EnginePlan): Promise<Extract<FromEngine, { type: "ready" | "load_failed" }>> {
    const loaded = this.#next((message) => message.type === "ready" || message.type === "load_failed");
    this.#send({ type: "load", plan });
    return (await loaded) as Extract<FromEngine, { type: "ready" | "load_failed" }>;
  }

  async stats(): Promise<Extract<FromEngine, { type: "stats" }>["stats"]> {
    const stats = this.#next((message) => message.type === "stats");
    this.#send({ type: "stats" });
    return ((await stats) as Extract<FromEngine, { type: "stats" }>).stats;
  }

  ask(body: Body, overrides: Partial<Job> = {}): Asking {
    const jobId = ++this.#lastJobId;
    const open: Open = { events: [], answer: Promise.withResolvers(), waiting: [] };
    this.#open.set(jobId, open);
    this.#send({
      type: "generate",
      job: {
        jobId,
        partition: "client",
        path: "prompt" in body ? "/v1/completions" : "/v1/chat/completions",
        body: { model: "m", temperature: 0, ...body } as Job["body"],
        maxTokens: 200,
        maxPromptTokens: 100_000,
        ...overrides,
      },
    });
    return {
      jobId,
      answer: open.answer.promise,
      until: (matches) =>
        new Promise((resolve) => {
          const past = open.events.find(matches);
          if (past === undefined) open.waiting.push({ matches, resolve });
          else resolve(past);
        }),
    };
  }

  async answer(body: Body, overrides?: Partial<Job>): Promise<Answer> {
    return await this.ask(body, overrides).answer;
  }

  cancel(jobId: number): void {
    this.#send({ type: "cancel", jobId });
  }

  forget(partition: string): void {
    this.#send({ type: "forget", partition });
  }

  #next(matches: (message: FromEngine) => boolean): Promise<FromEngine> {
    return new Promise((resolve) => this.#others.push({ matches, resolve }));
  }
}

function answerOf(events: readonly EngineEvent[], end: Answer["end"]): Answer {
  const calls: { id: string; name: string; arguments: string }[] = [];
  let text = "";
  let reasoning = "";
  for (const event of events) {
    if (event.type === "delta" && event.reasoning) reasoning += event.text;
    else if (event.type === "delta") text += event.text;
    else if (event.type === "tool_call") {
      const call = (calls[event.index] ??= { id: "", name: "", arguments: "" });
      call.id += event.id ?? "";
      call.name += event.name ?? "";
      call.arguments += event.arguments ?? "";
    }
  }
  const tokenIds = events.flatMap((event) => ("tokenIds" in event ? event.tokenIds : []));
  const started = events.find((event) => event.type === "started");
  return { text, reasoning, calls, tokenIds, started, end, events };
}

/** What a client counts (ACN/1 §3.4): the ids it received, and an end token when the finish is stop. */
export function clientCount({ tokenIds, end }: Answer): number {
  return tokenIds.length + (end.type === "done" && end.finishReason === "stop" ? 1 : 0);
}

export function usageOf({ end }: Answer): TokenUsage {
  return end.usage;
}

export function planFor(modelPath: string, overrides: Partial<EnginePlan> = {}): EnginePlan {
  return {
    modelPath,
    contextTokens: 1024,
    slots: 2,
    queueLimit: 4,
    batchTokens: 256,
    threads: 1,
    gpu: false,
    gpuLayers: 0,
    kvCache: "f16",
    ...overrides,
  };
}

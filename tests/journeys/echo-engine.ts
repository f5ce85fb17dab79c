import { contentText, type ChatRequestBody } from "../../protocol/index.ts";
import type { Engine, EngineCapabilities, EngineEvent } from "../../worker/index.ts";

/** An engine under a test's hand: it says what the last message said, and ends when it is told to. */
export interface EchoEngine extends Engine {
  /** Jobs that have answered and are held open. */
  readonly held: number;
  /** Ends every held answer, and from now on each at once. */
  release(): void;
  readonly forgotten: readonly string[];
}

export const ECHO_CAPABILITIES: EngineCapabilities = {
  engineName: "echo",
  engineVersion: "1",
  backend: "cpu",
  contextTokens: 4096,
  slots: 8,
  architecture: "echo",
  modelName: "echo",
  quantisation: "none",
  parameters: 0,
  canThink: false,
  canCallTools: false,
};

export function echoEngine({ isHeld = false, capabilities = ECHO_CAPABILITIES } = {}): EchoEngine {
  const ends = new Map<number, (finishReason: "stop" | "cancelled") => void>();
  const forgotten: string[] = [];
  let jobs = 0;
  let holds = isHeld;
  return {
    forgotten,
    state: () => ({ phase: "up", capabilities }),
    onState: () => () => undefined,
    forget: (partition) => void forgotten.push(partition),
    get held() {
      return ends.size;
    },
    release() {
      holds = false;
      for (const end of [...ends.values()]) end("stop");
    },
    start(job, sink) {
      const jobId = ++jobs;
      const text = lastText(job.body as ChatRequestBody);
      const usage = { promptTokens: text.length, cachedTokens: 0, completionTokens: 3 };
      const emit = (event: EngineEvent): void => sink(event);
      const end = (finishReason: "stop" | "cancelled"): void => {
        if (!ends.delete(jobId)) return;
        const completionTokens = finishReason === "stop" ? 3 : 2;
        emit({ type: "done", jobId, finishReason, usage: { ...usage, completionTokens } });
      };
      ends.set(jobId, end);
      queueMicrotask(() => {
        emit({ type: "started", jobId, promptTokens: text.length, cachedTokens: 0 });
        emit({ type: "delta", jobId, text, tokenIds: [1, 2], reasoning: false });
        if (!holds) end("stop");
      });
      return { cancel: () => end("cancelled") };
    },
  };
}

function lastText(body: ChatRequestBody): string {
  const last = body.messages.at(-1);
  return last === undefined ? "" : contentText(last.content);
}

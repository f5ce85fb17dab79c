import type {
  ChatRequestBody,
  CompletionRequestBody,
  FailureCode,
  FinishReason,
  TokenUsage,
} from "../../protocol/index.ts";

/**
 * What crosses between the shell and an engine process. Plain data only (structured clone): no functions, no class
 * instances. The engine gets opened jobs and returns tokens; it has no socket and no key.
 */
export type ToEngine =
  | { readonly type: "load"; readonly plan: EnginePlan }
  | { readonly type: "generate"; readonly job: Job }
  | { readonly type: "cancel"; readonly jobId: number }
  /** A session ended: its cached prefix must not stay in memory. */
  | { readonly type: "forget"; readonly partition: string }
  | { readonly type: "stats" }
  | { readonly type: "ping"; readonly nonce: number }
  | { readonly type: "unload" };

export type FromEngine =
  | { readonly type: "ready"; readonly capabilities: EngineCapabilities }
  | { readonly type: "load_failed"; readonly code: FailureCode; readonly message: string }
  | EngineEvent
  | { readonly type: "stats"; readonly stats: EngineStats }
  | { readonly type: "pong"; readonly nonce: number };

/** How to load: decided by control (capacity.ts), obeyed by the engine. */
export interface EnginePlan {
  readonly modelPath: string;
  /** Tokens one request may span, prompt and completion together. */
  readonly contextTokens: number;
  /** Requests decoded at once; the context allocates `contextTokens` for each. */
  readonly slots: number;
  /** Requests that may wait beyond the slots before `busy`. */
  readonly queueLimit: number;
  readonly batchTokens: number;
  /** Threads for native work; 0 = let the engine choose (physical cores − 1, at least 1). */
  readonly threads: number;
  readonly gpu: "auto" | "cuda" | "vulkan" | "metal" | false;
  readonly gpuLayers: "auto" | "max" | number;
  readonly kvCache: "f16" | "q8_0";
}

export interface EngineCapabilities {
  readonly engineName: string;
  readonly engineVersion: string;
  readonly backend: "cpu" | "cuda" | "vulkan" | "metal" | "upstream";
  readonly contextTokens: number;
  readonly slots: number;
  /** From GGUF metadata. */
  readonly architecture: string;
  readonly modelName: string;
  readonly quantisation: string;
  readonly parameters: number;
  readonly canThink: boolean;
  readonly canCallTools: boolean;
}

/** One opened request. `partition` is the client's session: prefixes are reused within one partition only. */
export interface Job {
  readonly jobId: number;
  readonly partition: string;
  readonly path: "/v1/chat/completions" | "/v1/completions";
  readonly body: ChatRequestBody | CompletionRequestBody;
  /** Rules over whatever the body says. */
  readonly maxTokens: number;
  /** More prompt tokens than this is `reservation_exceeded`, before anything is generated. */
  readonly maxPromptTokens: number;
}

/**
 * Life of a job: `started` once, then `delta` and `tool_call`, then exactly one of `done` or `failed`. A refusal before
 * generation (`busy`, `context_overflow`, `unsupported_field`, `reservation_exceeded`) is `failed` without `started`.
 */
export type EngineEvent =
  | { readonly type: "started"; readonly jobId: number; readonly promptTokens: number; readonly cachedTokens: number }
  | {
      readonly type: "delta";
      readonly jobId: number;
      /** May lag behind the ids while a character, or a stop string, is incomplete. */
      readonly text: string;
      readonly tokenIds: readonly number[];
      readonly reasoning: boolean;
    }
  | {
      readonly type: "tool_call";
      readonly jobId: number;
      readonly index: number;
      readonly id?: string;
      readonly name?: string;
      readonly arguments?: string;
      readonly tokenIds: readonly number[];
    }
  | { readonly type: "done"; readonly jobId: number; readonly finishReason: FinishReason; readonly usage: TokenUsage }
  | {
      readonly type: "failed";
      readonly jobId: number;
      readonly code: FailureCode;
      readonly message: string;
      /** Counted so far; delivered tokens are charged. Zeros when nothing was generated. */
      readonly usage: TokenUsage;
    };

export interface EngineStats {
  readonly runningJobs: number;
  readonly queuedJobs: number;
  readonly generatedTokens: number;
  readonly residentBytes: number;
}

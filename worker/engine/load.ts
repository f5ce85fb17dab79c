import { stat } from "node:fs/promises";
import { Failure } from "../../protocol/index.ts";
import {
  getLlama,
  type GgufFileInfo,
  GgufInsights,
  InsufficientMemoryError,
  type Llama,
  type LlamaContext,
  LlamaLogLevel,
  type LlamaModel,
  NoBinaryFoundError,
  readGgufFileInfo,
} from "node-llama-cpp";
import { dispatchAfterAll, orderedStrategy } from "./batching.ts";
import { gigabytes, memoryBytes, type ModelSizes } from "./memory.ts";
import type { EnginePlan } from "./messages.ts";

export interface LoadedModel {
  readonly llama: Llama;
  readonly model: LlamaModel;
  readonly context: LlamaContext;
  /** Tokens one request may span: the plan's, or fewer where the model was trained on fewer. */
  readonly contextTokens: number;
}

/**
 * Checks the file and the memory, then loads. The estimate comes first: a system that runs out of memory ends some
 * process, perhaps not this one.
 * @throws {Failure} `model_invalid` or `out_of_memory`, with a sentence that says what to do.
 */
export async function loadModel(plan: EnginePlan): Promise<LoadedModel> {
  const info = await readHeader(plan.modelPath);
  const llama = await startLlama(plan);
  const insights = await GgufInsights.from(info, llama);
  await checkFile(plan, info, insights);
  const contextTokens = Math.min(plan.contextTokens, insights.trainContextSize ?? plan.contextTokens);
  await checkMemory({ ...plan, contextTokens }, llama, modelSizes(info, insights));
  try {
    const model = await llama.loadModel({
      modelPath: plan.modelPath,
      gpuLayers: llama.gpu === false ? 0 : plan.gpuLayers,
    });
    const context = await createContext(model, plan, contextTokens);
    return { llama, model, context, contextTokens };
  } catch (cause) {
    if (cause instanceof InsufficientMemoryError) throw outOfMemory(plan, "the model and its contexts", cause);
    throw new Failure("model_invalid", `llama.cpp could not load ${plan.modelPath}. ${DOWNLOAD_AGAIN}`, { cause });
  }
}

const DOWNLOAD_AGAIN = "Download it again, or choose another model.";

async function readHeader(path: string): Promise<GgufFileInfo> {
  try {
    const file = await stat(path);
    if (!file.isFile()) throw new Error("not a file");
    return await readGgufFileInfo(path, { logWarnings: false });
  } catch (cause) {
    const isAbsent = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    const reason = isAbsent ? "There is no file" : "There is no readable GGUF model";
    throw new Failure("model_invalid", `${reason} at ${path}. ${DOWNLOAD_AGAIN}`, { cause });
  }
}

/** Native logs go nowhere: at their lower levels they may hold what a prompt holds. */
async function startLlama({ gpu, threads }: EnginePlan): Promise<Llama> {
  try {
    const llama = await getLlama({
      build: "never",
      skipDownload: true,
      progressLogs: false,
      gpu,
      logLevel: LlamaLogLevel.error,
      logger: () => undefined,
      ...(threads > 0 && { maxThreads: threads }),
    });
    // One core stays free for the shell and the network; more threads than cores make a small machine crawl.
    if (threads === 0) llama.maxThreads = Math.max(1, llama.cpuMathCores - 1);
    return llama;
  } catch (cause) {
    if (!(cause instanceof NoBinaryFoundError)) throw cause;
    throw new Failure("model_invalid", `There is no llama.cpp here for ${gpu === false ? "this processor" : gpu}.`, {
      cause,
    });
  }
}

async function checkFile({ modelPath }: EnginePlan, info: GgufFileInfo, insights: GgufInsights): Promise<void> {
  const architecture: string = info.metadata.general.architecture;
  if (!insights.isSupportedByLlamaCpp) {
    throw new Failure(
      "model_invalid",
      `This version does not know models of the kind "${architecture}". Choose another.`,
    );
  }
  const { size } = await stat(modelPath);
  const expected = (info.infoEndOffset ?? 0) + insights.modelSize;
  if (info.splicedParts === 1 && size < expected) {
    throw new Failure("model_invalid", `${modelPath} is cut off after ${size} of ${expected} bytes. ${DOWNLOAD_AGAIN}`);
  }
}

async function checkMemory(plan: EnginePlan, llama: Llama, sizes: ModelSizes): Promise<void> {
  const needed = memoryBytes(sizes, plan);
  const vram = llama.gpu === false ? 0 : (await llama.getVramState()).free;
  // Respects the limit of a container, where there is one.
  const free = process.availableMemory() + vram;
  if (needed > free) throw outOfMemory(plan, `about ${gigabytes(needed)} of the ${gigabytes(free)} that are free`);
}

function outOfMemory({ modelPath, slots, contextTokens }: EnginePlan, what: string, cause?: unknown): Failure {
  const advice = "Choose a smaller model, a shorter context or fewer requests at once.";
  const setting = `${slots} × ${contextTokens} tokens of context`;
  return new Failure("out_of_memory", `${modelPath} with ${setting} needs ${what}. ${advice}`, { cause });
}

function modelSizes({ architectureMetadata, metadata }: GgufFileInfo, insights: GgufInsights): ModelSizes {
  const attention = architectureMetadata.attention;
  const heads = largest(attention?.head_count) ?? 1;
  const headLength = (architectureMetadata.embedding_length ?? 0) / heads;
  return {
    weightBytes: insights.modelSize,
    layers: architectureMetadata.block_count ?? insights.totalLayers,
    keyValueHeads: largest(attention?.head_count_kv) ?? heads,
    keyLength: attention?.key_length ?? headLength,
    valueLength: attention?.value_length ?? headLength,
    vocabularySize: metadata.tokenizer.ggml.tokens.length,
  };
}

function largest(value: number | readonly number[] | undefined): number | undefined {
  return typeof value === "object" ? Math.max(...value) : value;
}

/** One context with all sequences, made once: llama.cpp batches only within a context. */
async function createContext(model: LlamaModel, plan: EnginePlan, contextTokens: number): Promise<LlamaContext> {
  return await model.createContext({
    contextSize: contextTokens,
    sequences: plan.slots,
    batchSize: Math.max(plan.batchTokens, plan.slots),
    ...(plan.threads > 0 && { threads: plan.threads }),
    flashAttention: "auto",
    failedCreationRemedy: false,
    batching: { dispatchSchedule: dispatchAfterAll, itemPrioritizationStrategy: orderedStrategy },
    ...(plan.kvCache === "q8_0" && { experimentalKvCacheKeyType: "Q8_0", experimentalKvCacheValueType: "Q8_0" }),
  });
}

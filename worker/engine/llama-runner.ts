import { randomBytes, randomInt } from "node:crypto";
import { type ChatRequestBody, type CompletionRequestBody, Failure, type FinishReason } from "../../protocol/index.ts";
import { getModuleVersion, type LlamaContextSequence, type LlamaModel, type Token } from "node-llama-cpp";
import { type AnswerMarks, type AnswerPart, AnswerReader, markTexts } from "./answer.ts";
import { StepLoop } from "./batching.ts";
import { ChatFormat } from "./chat-format.ts";
import { type AnswerForm, answerForm, Constraint } from "./constraint.ts";
import { Generation } from "./generation.ts";
import { type LoadedModel, loadModel } from "./load.ts";
import type { EngineCapabilities, EngineEvent, EnginePlan, Job } from "./messages.ts";
import { Meter } from "./metering.ts";
import type { JobEnd, JobPort, PreparedJob, Runner } from "./runner.ts";
import { bodyMaxTokens, samplingOptions, stopStrings } from "./sampling.ts";
import { chooseSlot, type Slot } from "./slots.ts";
import { TokenText } from "./token-text.ts";

/** A job as tokens, with everything known that could have refused it. */
interface RenderedJob {
  readonly job: Job;
  /** The prompt, and after it the part of a continued answer. */
  readonly tokens: readonly Token[];
  readonly continued: readonly Token[];
  readonly marks: AnswerMarks;
  readonly form: AnswerForm;
  readonly maxTokens: number;
}

interface SequenceSlot extends Slot {
  readonly sequence: LlamaContextSequence;
  /** Resolves when a forgotten text is out of the sequence. */
  emptied: Promise<void>;
}

/** The model runner: node-llama-cpp, one context, a sequence for each slot. */
export class LlamaRunner implements Runner {
  readonly capabilities: EngineCapabilities;
  readonly #loaded: LoadedModel;
  readonly #format: ChatFormat;
  readonly #slots: readonly SequenceSlot[];
  readonly #loop: StepLoop;
  #generated = 0;
  #uses = 0;

  static async load(plan: EnginePlan): Promise<LlamaRunner> {
    const loaded = await loadModel(plan);
    return new LlamaRunner(loaded, plan, await getModuleVersion());
  }

  constructor(loaded: LoadedModel, plan: EnginePlan, version: string) {
    this.#loaded = loaded;
    this.#format = new ChatFormat(loaded.model);
    this.#slots = Array.from({ length: plan.slots }, (_, index) => ({
      index,
      sequence: loaded.context.getSequence(),
      emptied: Promise.resolve(),
      isBusy: false,
      partition: undefined,
      lastUsedAt: 0,
    }));
    this.#loop = new StepLoop(loaded.context.batchSize);
    this.capabilities = capabilities(loaded, plan, version, this.#format);
  }

  get hasFreeSlot(): boolean {
    return this.#slots.some((slot) => !slot.isBusy);
  }

  get generatedTokens(): number {
    return this.#generated;
  }

  async prepare(job: Job): Promise<PreparedJob> {
    const rendered = await this.#render(job);
    this.#checkLimits(rendered);
    return { run: (port) => this.#run(rendered, port) };
  }

  forget(partition: string): void {
    for (const slot of this.#slots) {
      if (slot.partition !== partition) continue;
      slot.partition = undefined;
      if (!slot.isBusy) slot.emptied = slot.sequence.clearHistory();
    }
  }

  async close(): Promise<void> {
    await this.#loaded.model.dispose();
    await this.#loaded.llama.dispose();
  }

  async #render(job: Job): Promise<RenderedJob> {
    const { model, llama } = this.#loaded;
    const continued = continuedTokens(job.body, model);
    const maxTokens = Math.min(job.maxTokens, bodyMaxTokens(job.body));
    if (!isChat(job.body)) {
      const tokens = this.#format.renderPlain(job.body.prompt);
      const marks = { thought: undefined, call: undefined, ends: [], stops: stopStrings(job.body) };
      const form = { whole: undefined, call: undefined, check: () => undefined };
      return { job, tokens: [...tokens, ...continued], continued, marks, form, maxTokens };
    }
    const { tokens, marks } = this.#format.render(job.body);
    const syntax =
      marks.call === undefined ? undefined : { marks: marks.call, ...this.#format.callTrigger(marks.call) };
    const form = await answerForm(llama, job.body, syntax);
    return { job, tokens: [...tokens, ...continued], continued, marks, form, maxTokens };
  }

  #checkLimits({ job, tokens, maxTokens }: RenderedJob): void {
    const { contextTokens } = this.#loaded;
    if (tokens.length === 0) throw new Failure("unsupported_field", "the prompt is empty");
    if (tokens.length > job.maxPromptTokens) {
      throw new Failure("reservation_exceeded", `${tokens.length} prompt tokens, ${job.maxPromptTokens} reserved`);
    }
    if (tokens.length + maxTokens > contextTokens) {
      throw new Failure("context_overflow", `${tokens.length} + ${maxTokens} tokens, ${contextTokens} fit`);
    }
  }

  async #run(rendered: RenderedJob, port: JobPort): Promise<JobEnd> {
    const { job, tokens } = rendered;
    const slot = chooseSlot(this.#slots, job.partition, ({ sequence }) => commonPrefix(sequence, tokens));
    if (slot === undefined) throw new Error("no free slot");
    return await this.#occupy(slot, async () => {
      const cachedTokens = await takeOver(slot, job.partition, tokens);
      const answer = new RunningAnswer(rendered, this.#loaded.model, cachedTokens, port);
      const generation = new Generation(
        {
          sequence: slot.sequence,
          slotIndex: slot.index,
          prompt: tokens.slice(cachedTokens),
          sampling: answer.sampling(() => generation.report()),
          maxTokens: rendered.maxTokens,
        },
        {
          signal: port.signal,
          read: (token) => {
            this.#generated++;
            return answer.read(token);
          },
          end: (reason) => answer.end(reason),
        },
      );
      answer.start();
      this.#loop.add(generation);
      return answer.close(await generation.finished);
    });
  }

  /** Holds the slot; a sequence whose state is in doubt, or whose partition is gone, is emptied before the next use. */
  async #occupy<Result>(slot: SequenceSlot, use: () => Promise<Result>): Promise<Result> {
    slot.isBusy = true;
    try {
      return await use();
    } catch (error) {
      slot.partition = undefined;
      throw error;
    } finally {
      if (slot.partition === undefined) await slot.sequence.clearHistory();
      slot.lastUsedAt = ++this.#uses;
      slot.isBusy = false;
    }
  }
}

/** From tokens to events: reads, constrains, counts. One a running job. */
class RunningAnswer {
  readonly #rendered: RenderedJob;
  readonly #port: JobPort;
  readonly #reader: AnswerReader;
  readonly #text: TokenText;
  readonly #constraint: Constraint;
  readonly #meter: Meter;
  readonly #cachedTokens: number;
  readonly #callIdPrefix = `call_${randomBytes(9).toString("hex")}`;
  readonly #generated: Token[];
  #content = "";

  constructor(rendered: RenderedJob, model: LlamaModel, cachedTokens: number, port: JobPort) {
    const { tokens, continued, marks, form } = rendered;
    this.#rendered = rendered;
    this.#port = port;
    this.#cachedTokens = cachedTokens;
    this.#meter = new Meter(tokens.length, cachedTokens);
    this.#reader = new AnswerReader(marks);
    this.#text = new TokenText(model.tokenizer, tokens.slice(0, tokens.length - continued.length), markTexts(marks));
    this.#constraint = new Constraint(form, model, this.#reader);
    this.#generated = [...continued];
    for (const token of continued) {
      this.#constraint.replay(token);
      for (const part of this.#reader.push(this.#text.push(token))) this.#keep(part);
    }
  }

  /** `beforeSampling` brings the answer up to date: what was said decides what may follow. */
  sampling(beforeSampling: () => void): ReturnType<typeof samplingOptions> {
    const { job, form } = this.#rendered;
    const options = samplingOptions({
      body: job.body,
      randomSeed: randomInt(2 ** 32),
      generated: () => this.#generated,
    });
    if (form.whole === undefined && form.call === undefined) return options;
    return {
      ...options,
      grammarEvaluationState: () => {
        beforeSampling();
        return this.#constraint.current();
      },
    };
  }

  start(): void {
    const { job, tokens } = this.#rendered;
    this.#port.emit({
      type: "started",
      jobId: job.jobId,
      promptTokens: tokens.length,
      cachedTokens: this.#cachedTokens,
    });
  }

  read(token: Token): boolean {
    this.#generated.push(token);
    this.#emit(this.#reader.push(this.#text.push(token)), [token]);
    return this.#reader.isStopped;
  }

  end(reason: "ended" | "length" | "cancelled"): FinishReason {
    const left = this.#reader.isStopped ? [] : [...this.#reader.push(this.#text.end()), ...this.#reader.end()];
    if (left.length > 0) this.#emit(left, []);
    if (reason !== "ended") return reason;
    return this.#reader.callCount > 0 ? "tool_calls" : "stop";
  }

  close(finishReason: FinishReason): JobEnd {
    if (finishReason === "stop") this.#rendered.form.check(this.#content);
    return { finishReason, usage: this.#meter.usage(finishReason) };
  }

  /** The ids go with the first event, and go even where the text lags behind them. */
  #emit(parts: readonly AnswerPart[], tokenIds: readonly number[]): void {
    this.#meter.deliver(tokenIds);
    const { jobId } = this.#rendered.job;
    if (parts.length === 0) {
      this.#port.emit({ type: "delta", jobId, text: "", tokenIds, reasoning: this.#reader.isReasoning });
    }
    parts.forEach((part, i) => {
      this.#keep(part);
      this.#port.emit(this.#event(part, i === 0 ? tokenIds : []));
    });
  }

  #keep(part: AnswerPart): void {
    if (part.type === "text" && !part.reasoning) this.#content += part.text;
  }

  #event(part: AnswerPart, tokenIds: readonly number[]): EngineEvent {
    const { jobId } = this.#rendered.job;
    switch (part.type) {
      case "text":
        return { type: "delta", jobId, text: part.text, tokenIds, reasoning: part.reasoning };
      case "call": {
        const { index, name } = part;
        return { type: "tool_call", jobId, index, id: `${this.#callIdPrefix}${index}`, name, arguments: "", tokenIds };
      }
      case "arguments":
        return { type: "tool_call", jobId, index: part.index, arguments: part.text, tokenIds };
    }
  }
}

function isChat(body: ChatRequestBody | CompletionRequestBody): body is ChatRequestBody {
  return "messages" in body;
}

function continuedTokens(body: Job["body"], model: LlamaModel): Token[] {
  const ids = body.cocoon?.continue.tokenIds ?? [];
  const size = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
  const tokens = ids as Token[];
  if (tokens.some((token) => token >= size || model.isEogToken(token))) {
    throw new Failure("unsupported_field", "cocoon.continue: not token ids of this model's answer");
  }
  return tokens;
}

/** Tokens at the beginning of a prompt that stand in a sequence already; the last one is always decoded again. */
function commonPrefix(sequence: LlamaContextSequence, tokens: readonly Token[]): number {
  const { firstDifferentIndex } = sequence.compareContextTokens([...tokens]);
  return Math.min(firstDifferentIndex, tokens.length - 1);
}

/** Makes a sequence hold a prefix of the prompt and nothing else, and says how long a prefix. */
async function takeOver(slot: SequenceSlot, partition: string, tokens: readonly Token[]): Promise<number> {
  const { sequence } = slot;
  await slot.emptied;
  const reusable = slot.partition === partition ? commonPrefix(sequence, tokens) : 0;
  // A sliding window or a recurrent state cannot be wound back for free: then it begins anew, so that cached means cached.
  const isFree = reusable === sequence.nextTokenIndex || !sequence.needsCheckpoints;
  slot.partition = partition;
  if (reusable === 0 || !isFree) {
    await sequence.clearHistory();
    return 0;
  }
  await sequence.eraseContextTokenRanges([{ start: reusable, end: sequence.nextTokenIndex }]);
  return sequence.nextTokenIndex;
}

function capabilities(
  { llama, model, contextTokens }: LoadedModel,
  plan: EnginePlan,
  version: string,
  format: ChatFormat,
): EngineCapabilities {
  const { general } = model.fileInfo.metadata;
  return {
    engineName: "node-llama-cpp",
    engineVersion: version,
    backend: llama.gpu === false ? "cpu" : llama.gpu,
    contextTokens,
    slots: plan.slots,
    architecture: general.architecture,
    modelName: general.name ?? "",
    quantisation: model.typeDescription,
    parameters: model.fileInsights.totalParameters,
    canThink: format.canThink,
    canCallTools: format.canCallTools,
  };
}

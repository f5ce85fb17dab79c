import type { FinishReason } from "../../protocol/index.ts";
import type { EvaluationPriority, LlamaContextSequence, SequenceEvaluateOptions, Token } from "node-llama-cpp";
import type { Member } from "./batching.ts";

/** What a generation tells while it runs, and asks. */
export interface GenerationPort {
  readonly signal: AbortSignal;
  /** Takes the newest token into the answer; true when the answer is complete with it. */
  read(token: Token): boolean;
  /** The answer is over: what was held back is let go. Gives the reason when the answer itself had one. */
  end(reason: "ended" | "length" | "cancelled"): FinishReason;
}

export interface GenerationInputs {
  readonly sequence: LlamaContextSequence;
  readonly slotIndex: number;
  /** What of the prompt is not in the sequence yet; at least one token. */
  readonly prompt: readonly Token[];
  readonly sampling: SequenceEvaluateOptions;
  readonly maxTokens: number;
}

type TokenStream = ReturnType<LlamaContextSequence["evaluateWithMetadata"]>;

/** One answer being made: a member of the step loop from its prompt's first token to its last. */
export class Generation implements Member {
  /** Rejects when the model fails. */
  readonly finished: Promise<FinishReason>;
  readonly #inputs: GenerationInputs;
  readonly #port: GenerationPort;
  readonly #outcome = Promise.withResolvers<FinishReason>();
  #prompt: readonly Token[];
  #stream: TokenStream | undefined;
  #unread: Token[] = [];
  #generated = 0;
  #end: "ended" | "length" | "cancelled" | "stopped" | undefined;
  #isStepping = false;
  #isReported = false;

  constructor(inputs: GenerationInputs, port: GenerationPort) {
    this.#inputs = inputs;
    this.#port = port;
    this.#prompt = inputs.prompt;
    this.finished = this.#outcome.promise;
  }

  get waitingTokens(): number {
    return Math.max(1, this.#prompt.length);
  }

  get isDone(): boolean {
    return this.#end !== undefined;
  }

  async step(tokens: number): Promise<void> {
    if (this.#port.signal.aborted) {
      this.#end ??= "cancelled";
      return;
    }
    this.#isStepping = true;
    try {
      if (tokens < this.#prompt.length) await this.#decodePrompt(tokens);
      else await this.#decodeNext();
    } catch (error) {
      this.#end = "ended";
      this.#isReported = true;
      this.#outcome.reject(error instanceof Error ? error : new Error("decoding failed"));
    } finally {
      this.#isStepping = false;
    }
  }

  report(): void {
    for (const token of this.#unread.splice(0)) {
      if (this.#end === "stopped") break;
      if (this.#port.read(token)) this.#end = "stopped";
    }
    // While a step runs its token still comes into the sequence: the slot is not free yet.
    if (this.#end === undefined || this.#isReported || this.#isStepping) return;
    this.#isReported = true;
    void this.#stream?.return();
    this.#outcome.resolve(this.#port.end(this.#end === "stopped" ? "ended" : this.#end));
  }

  async #decodePrompt(tokens: number): Promise<void> {
    const { sequence } = this.#inputs;
    const part = this.#prompt.slice(0, tokens);
    this.#prompt = this.#prompt.slice(tokens);
    await sequence.evaluateWithoutGeneratingNewTokens([...part], { evaluationPriority: this.#priority() });
  }

  async #decodeNext(): Promise<void> {
    const { sequence, sampling, maxTokens } = this.#inputs;
    this.#stream ??= sequence.evaluateWithMetadata(
      [...this.#prompt],
      {},
      {
        ...sampling,
        evaluationPriority: this.#priority(),
        yieldEogToken: true,
      },
    );
    this.#prompt = [];
    const { value } = await this.#stream.next();
    // A stop string found while this step ran: its token is not part of the answer.
    if (this.isDone) return;
    if (value === undefined || sequence.model.isEogToken(value.token)) {
      this.#end = "ended";
      return;
    }
    this.#unread.push(value.token);
    this.#generated++;
    if (this.#port.signal.aborted) this.#end = "cancelled";
    else if (this.#generated >= maxTokens) this.#end = "length";
  }

  /** The strategy sorts by it: see {@link orderedStrategy}. The type knows priorities 1 to 5, the library any number. */
  #priority(): EvaluationPriority {
    return this.#inputs.slotIndex as EvaluationPriority;
  }
}

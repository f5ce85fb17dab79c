import * as z from "zod";
import { Failure } from "../protocol/index.ts";
import type { ChainClock } from "./chain-clock.ts";
import { parseEndpoint, type Endpoint } from "./endpoint.ts";
import { Pace, pause } from "./pace.ts";

/** How one node is asked. */
export interface NodeOptions {
  /** A toncenter v2 API: its base, or its JSON-RPC address. */
  readonly endpoint: string;
  /** The user's own; none ships with the app. */
  readonly apiKey?: string;
  readonly fetch: typeof fetch;
  readonly clock: ChainClock;
  /** In [0, 1): spreads the pauses of many apps that lost the same node. */
  readonly random: () => number;
  /** Default: no limit on this machine, 9 with a key (toncenter allows 10), else one in 1.1 s. */
  readonly requestsPerSecond?: number;
  /** For one attempt. Default 15 s. */
  readonly timeoutMs?: number;
  /** Default 4, with 1, 2 and 4 s between them. */
  readonly attempts?: number;
  /** Ends every question with `cancelled`. */
  readonly signal?: AbortSignal;
}

export interface Question {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** Whether asking twice is the same as asking once; what is not is repeated only when it surely was not taken. */
  readonly isRepeatable: boolean;
  /** Whether an error is what the question is answered with. Others are trouble of the node. */
  readonly isAnswer?: (error: string) => boolean;
}

export type NodeAnswer =
  { readonly type: "result"; readonly result: unknown } | { readonly type: "error"; readonly error: string };

type Attempt = NodeAnswer | Trouble;

interface Trouble {
  readonly type: "trouble";
  readonly failure: Failure;
  readonly mayRepeat: boolean;
  /** What the node asked for, when it said that it is asked too often. */
  readonly quietMs?: number;
}

const DEFAULT_TIMEOUT_MS = 15_000;
const DEFAULT_ATTEMPTS = 4;
/** Toncenter answers one question a second without a key; a tenth more, since its second is not ours. */
const KEYLESS_INTERVAL_MS = 1_100;
const KEYED_PER_SECOND = 9;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_QUIET_MS = 60_000;
/** A hundred transactions with everything in them stay far below. */
const MAX_ANSWER_BYTES = 8_388_608;
const MAX_ERROR_CHARACTERS = 300;

const envelope = z.object({
  ok: z.boolean(),
  result: z.unknown().optional(),
  error: z.union([z.string(), z.object({ message: z.string() })]).optional(),
  code: z.int().optional(),
});

/** One toncenter v2 node: its queue, its time-outs and its repeats. */
export class ToncenterNode {
  readonly endpoint: Endpoint;
  readonly #options: NodeOptions;
  readonly #pace: Pace;

  /** @throws {Failure} `bad_configuration`. */
  constructor(options: NodeOptions) {
    const { clock, signal } = options;
    this.#options = options;
    this.endpoint = parseEndpoint(options.endpoint, options.apiKey);
    const intervalMs = intervalOf(options, this.endpoint);
    this.#pace = new Pace({ intervalMs, clock, ...(signal === undefined ? {} : { signal }) });
  }

  /**
   * @throws {Failure} `chain_unreachable`, `chain_rate_limited`, `chain_malformed`, `bad_configuration` for a refused
   *   key, `cancelled`.
   */
  async ask(question: Question): Promise<NodeAnswer> {
    const { attempts = DEFAULT_ATTEMPTS, clock, signal } = this.#options;
    for (let attempt = 1; ; attempt++) {
      await this.#pace.turn();
      const answer = await this.#attempt(question);
      if (answer.type !== "trouble") return answer;
      if (!answer.mayRepeat || attempt >= attempts) throw answer.failure;
      const waitMs = Math.max(this.#backOffMs(attempt), answer.quietMs ?? 0);
      if (answer.quietMs === undefined) await pause(clock, waitMs, signal);
      else this.#pace.hold(waitMs);
    }
  }

  /** For what is wrong with an answer that came. */
  malformed(why: string, cause?: unknown): Failure {
    return new Failure("chain_malformed", `${this.endpoint.host}: ${why}`, { cause });
  }

  /** Doubles, give or take a half. */
  #backOffMs(attempt: number): number {
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
    return longest * (0.5 + this.#options.random());
  }

  async #attempt(question: Question): Promise<Attempt> {
    const { clock, timeoutMs = DEFAULT_TIMEOUT_MS, signal } = this.#options;
    const timeout = clock.timeout(timeoutMs);
    try {
      const response = await this.#fetch(question, signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
      const bytes = await readBody(response);
      return this.#judge(question, response, bytes);
    } catch (cause) {
      if (cause instanceof Failure) throw cause;
      if (signal?.aborted === true) throw new Failure("cancelled", "the chain is no longer read", { cause });
      return this.#trouble("chain_unreachable", reasonOf(cause), {
        mayRepeat: question.isRepeatable || wasNeverSent(cause),
        cause,
      });
    }
  }

  #fetch({ method, params }: Question, signal: AbortSignal): Promise<Response> {
    const { apiKey, fetch } = this.#options;
    const headers = { "content-type": "application/json", ...(apiKey === undefined ? {} : { "x-api-key": apiKey }) };
    // A redirect would carry the key to wherever it points.
    return fetch(this.endpoint.url, {
      method: "POST",
      headers,
      body: JSON.stringify({ id: "1", jsonrpc: "2.0", method, params }),
      redirect: "manual",
      signal,
    });
  }

  #judge(question: Question, response: Response, bytes: Uint8Array | undefined): Attempt {
    const { status } = response;
    if (bytes === undefined) return this.#trouble("chain_malformed", "an answer without end");
    if (status === 429) return this.#tooOften(response);
    if (status === 401 || status === 403) {
      return this.#trouble("bad_configuration", `the node refused the API key or wants one (HTTP ${status})`);
    }
    const parsed = envelope.safeParse(jsonOf(bytes));
    if (!parsed.success) {
      // A proxy in front of a node that is down answers in HTML.
      if (status >= 500) return this.#down(question, `HTTP ${status}`);
      return this.#trouble("chain_malformed", `HTTP ${status}, and not the answer of a toncenter API`);
    }
    const { ok, result, error, code = status } = parsed.data;
    if (ok) return { type: "result", result };
    if (code === 429) return this.#tooOften(response);
    const text = printable(typeof error === "string" ? error : (error?.message ?? "no reason given"));
    if (question.isAnswer?.(text) === true) return { type: "error", error: text };
    if (code >= 500) return this.#down(question, `HTTP ${code}: ${text}`);
    return this.#trouble("chain_malformed", `HTTP ${code}: ${text}`);
  }

  #down(question: Question, why: string): Trouble {
    return this.#trouble("chain_unreachable", why, { mayRepeat: question.isRepeatable });
  }

  /** Refused before anybody looked at it, so it may always be repeated. */
  #tooOften(response: Response): Trouble {
    const seconds = Number(response.headers.get("retry-after") ?? 0);
    const quietMs = seconds > 0 ? Math.min(seconds * 1_000, LONGEST_QUIET_MS) : 0;
    return { ...this.#trouble("chain_rate_limited", "asked too often", { mayRepeat: true }), quietMs };
  }

  #trouble(
    code: "chain_unreachable" | "chain_rate_limited" | "chain_malformed" | "bad_configuration",
    why: string,
    { mayRepeat = false, cause }: { mayRepeat?: boolean; cause?: unknown } = {},
  ): Trouble {
    return { type: "trouble", mayRepeat, failure: new Failure(code, `${this.endpoint.host}: ${why}`, { cause }) };
  }
}

function intervalOf({ requestsPerSecond, apiKey }: NodeOptions, { isLocal }: Endpoint): number {
  if (requestsPerSecond !== undefined) {
    if (!(requestsPerSecond > 0)) throw new Failure("bad_configuration", "chain requests a second: more than none");
    return 1_000 / requestsPerSecond;
  }
  if (isLocal) return 0;
  return apiKey === undefined ? KEYLESS_INTERVAL_MS : 1_000 / KEYED_PER_SECOND;
}

/** Undefined when it is longer than any answer is. */
async function readBody({ body }: Response): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of (body ?? []) as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined; // whatever it is, it is not an envelope
  }
}

const NEVER_CONNECTED = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]);

/** Node's fetch hides what happened in the cause. */
function wasNeverSent(error: unknown): boolean {
  return NEVER_CONNECTED.has(systemCodeOf(error));
}

function reasonOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "TimeoutError") return "no answer in time";
  const code = systemCodeOf(error);
  return code === "" ? "the connection broke" : `the connection broke (${code})`;
}

function systemCodeOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "";
}

/** A stranger's text, for one line of a log. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, " ").slice(0, MAX_ERROR_CHARACTERS);
}

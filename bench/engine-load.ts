import { setTimeout as pause } from "node:timers/promises";

/** One request of the load: a raw prompt, greedy, exactly this many tokens. */
export interface Prompted {
  readonly prompt: string;
  readonly tokens: number;
}

export interface Completion {
  readonly ttftMs: number;
  readonly tokens: number;
}

/** What is measured: ours, or a peer. */
export interface Server {
  complete(prompted: Prompted): Promise<Completion>;
  stop(): Promise<void>;
}

export interface LoadResult {
  readonly tokensPerSecond: number;
  readonly ttftsMs: readonly number[];
}

const REQUESTS_PER_LANE = 2;
/** Later lanes begin while earlier ones are answered already. */
const STAGGER_MS = 40;
/** Of the prompts, in words of two to four tokens; a lane has two different ones. */
const PROMPT_WORDS = [6, 24, 2, 45, 12];
const COMPLETION_TOKENS = 32;

/** So many requests at once, of mixed length, each lane's second one joining the others' late. */
export async function runLoad(server: Server, width: number, round: number): Promise<LoadResult> {
  const begin = performance.now();
  const lanes = await Promise.all(Array.from({ length: width }, (_, lane) => runLane(server, lane, round)));
  const seconds = (performance.now() - begin) / 1000;
  const completions = lanes.flat();
  const tokens = completions.reduce((sum, completion) => sum + completion.tokens, 0);
  const expected = width * REQUESTS_PER_LANE * COMPLETION_TOKENS;
  if (tokens !== expected) throw new Error(`${tokens} tokens came, ${expected} were asked for`);
  return { tokensPerSecond: tokens / seconds, ttftsMs: completions.map(({ ttftMs }) => ttftMs) };
}

async function runLane(server: Server, lane: number, round: number): Promise<Completion[]> {
  await pause(lane * STAGGER_MS);
  const completions: Completion[] = [];
  for (let request = 0; request < REQUESTS_PER_LANE; request++) {
    const words = PROMPT_WORDS[(lane + 2 * request) % PROMPT_WORDS.length] ?? 0;
    completions.push(
      await server.complete({ prompt: promptOf(words, lane * 7 + request + round * 131), tokens: COMPLETION_TOKENS }),
    );
  }
  return completions;
}

/** Words that differ from request to request, so that no prefix can be reused. */
function promptOf(words: number, salt: number): string {
  return Array.from({ length: words }, (_, i) => ((salt * 7919 + i * 104_729) % 31_000).toString(36)).join(" ");
}

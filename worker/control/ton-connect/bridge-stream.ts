import { eventsOf, type StreamEvent } from "./event-stream.ts";

/** Messages of a bridge for as long as it is open: comes back by itself, from where it was. */
export interface BridgeStream {
  close(): void;
}

export interface BridgeStreamOptions {
  /** With the client id, and the last event that an earlier run has seen. */
  readonly url: string;
  readonly fetch: (url: string, init: { readonly signal: AbortSignal }) => Promise<Response>;
  /** In [0, 1). */
  readonly random: () => number;
  onEvent(event: StreamEvent): void;
  onReachable(isReachable: boolean): void;
}

/** Bridges send a heartbeat every few seconds; a connection that slept with the computer says nothing, for ever. */
const SILENCE_MS = 60_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;

/**
 * In the place of the EventSource that TON Connect's SDK brings along: with that one the SDK (3.4.1) gives a connection
 * up for good when an open stream breaks, and never notices one that is half open.
 */
export function openBridgeStream(options: BridgeStreamOptions): BridgeStream {
  const ended = new AbortController();
  void run(options, ended.signal);
  return { close: () => ended.abort() };
}

async function run(options: BridgeStreamOptions, ended: AbortSignal): Promise<void> {
  const url = new URL(options.url);
  let failures = 0;
  while (!ended.aborted) {
    try {
      await listen(url, options, ended, () => (failures = 0));
    } catch {
      // Whatever it was, what follows is the same: another attempt.
    }
    if (isOver(ended)) return;
    options.onReachable(false);
    await pause(delayMs(failures++, options.random), ended);
  }
}

/** Resolves when the stream ends. */
async function listen(
  url: URL,
  { fetch, onEvent, onReachable }: BridgeStreamOptions,
  ended: AbortSignal,
  onOpen: () => void,
): Promise<void> {
  const silent = new AbortController();
  const watch = setTimeout(() => silent.abort(), SILENCE_MS);
  try {
    const response = await fetch(url.href, { signal: AbortSignal.any([ended, silent.signal]) });
    if (!response.ok || response.body === null) throw new Error(`the bridge answers ${response.status}`);
    onOpen();
    onReachable(true);
    const body: AsyncIterable<Uint8Array> = response.body;
    for await (const event of eventsOf(heard(body, () => watch.refresh()))) {
      if (event.id !== "") url.searchParams.set("last_event_id", event.id);
      onEvent(event);
    }
  } finally {
    clearTimeout(watch);
  }
}

async function* heard(body: AsyncIterable<Uint8Array>, onHeard: () => void): AsyncGenerator<Uint8Array> {
  for await (const bytes of body) {
    onHeard();
    yield bytes;
  }
}

/** Full jitter, so that a bridge that restarts does not meet everybody at once. */
function delayMs(failures: number, random: () => number): number {
  return random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
}

function pause(ms: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      ended.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    ended.addEventListener("abort", done);
  });
}

/** Read afresh: it changes while something is awaited. */
function isOver(ended: AbortSignal): boolean {
  return ended.aborted;
}

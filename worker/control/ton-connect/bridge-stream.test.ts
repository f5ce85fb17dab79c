import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { openBridgeStream, type BridgeStream } from "./bridge-stream.ts";

const URL_OF_BRIDGE = "https://bridge.example/bridge/events?client_id=aa";

interface Played {
  readonly stream: BridgeStream;
  readonly urls: string[];
  readonly reachable: boolean[];
  readonly events: string[];
  /** Answers the newest request. */
  readonly answer: (response: Response | Error) => Promise<void>;
}

function play(): Played {
  const urls: string[] = [];
  const reachable: boolean[] = [];
  const events: string[] = [];
  let waiting = Promise.withResolvers<Response>();
  const stream = openBridgeStream({
    url: URL_OF_BRIDGE,
    fetch(url, { signal }) {
      urls.push(url);
      waiting = Promise.withResolvers();
      const { promise, reject } = waiting;
      signal.addEventListener("abort", () => reject(new Error("aborted")));
      return promise;
    },
    random: () => 0.5,
    onEvent: ({ data }) => events.push(data),
    onReachable: (isReachable) => reachable.push(isReachable),
  });
  return {
    stream,
    urls,
    reachable,
    events,
    async answer(response) {
      if (response instanceof Error) waiting.reject(response);
      else waiting.resolve(response);
      await turns();
    },
  };
}

async function turns(): Promise<void> {
  for (let at = 0; at < 20; at++) await new Promise(setImmediate);
}

const body = (text: string): Response => new Response(text);

test("a stream that ends is opened again, after the last event that was seen", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { stream, urls, events, reachable, answer } = play();
    await answer(body("id: 41\ndata: a\n\n"));
    assert.deepEqual([events, reachable], [["a"], [true, false]]);
    mock.timers.tick(250);
    await turns();
    assert.deepEqual(urls, [URL_OF_BRIDGE, `${URL_OF_BRIDGE}&last_event_id=41`]);
    await answer(body("id: 42\ndata: b\n\n"));
    assert.deepEqual(
      [events, reachable],
      [
        ["a", "b"],
        [true, false, true, false],
      ],
    );
    stream.close();
  } finally {
    mock.timers.reset();
  }
});

test("a bridge that refuses is tried again less and less often", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { stream, urls, answer, reachable } = play();
    const pauses: number[] = [];
    for (let at = 0; at < 7; at++) {
      const before = urls.length;
      await answer(at % 2 === 0 ? new Error("refused") : new Response("", { status: 429 }));
      let waited = 0;
      while (urls.length === before) {
        mock.timers.tick(250);
        waited += 250;
        await turns();
      }
      pauses.push(waited);
    }
    assert.deepEqual(pauses, [250, 500, 1000, 2000, 4000, 7500, 7500]);
    assert.deepEqual(new Set(reachable), new Set([false]));
    stream.close();
  } finally {
    mock.timers.reset();
  }
});

test("a stream that says nothing for a minute is taken for broken", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { stream, reachable, answer } = play();
    const pipe = new TransformStream<Uint8Array, Uint8Array>();
    const writer = pipe.writable.getWriter();
    await answer(new Response(pipe.readable));
    mock.timers.tick(59_000);
    await writer.write(Buffer.from(": heartbeat\n"));
    await turns();
    mock.timers.tick(59_000);
    await turns();
    assert.deepEqual(reachable, [true]);
    stream.close();
  } finally {
    mock.timers.reset();
  }
});

test("a request that is never answered is given up after a minute", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { stream, reachable } = play();
    mock.timers.tick(60_000);
    await turns();
    assert.deepEqual(reachable, [false]);
    stream.close();
  } finally {
    mock.timers.reset();
  }
});

test("a stream that is closed asks for nothing more", async () => {
  const { stream, urls, reachable } = play();
  stream.close();
  await turns();
  assert.deepEqual([urls.length, reachable], [1, []]);
});

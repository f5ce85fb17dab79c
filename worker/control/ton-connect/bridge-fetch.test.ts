import assert from "node:assert/strict";
import test from "node:test";
import { createBridgeFetch } from "./bridge-fetch.ts";

function played(respond: (init: RequestInit | undefined) => Promise<Response>) {
  const asked: { readonly url: string; readonly init: RequestInit | undefined }[] = [];
  const refused: string[] = [];
  const reachable: boolean[] = [];
  const fetch = createBridgeFetch({
    bridges: ["https://bridge.example/bridge/", "https://other.example/tc"],
    fetch: async (url, init) => {
      asked.push({ url: url instanceof Request ? url.url : url.toString(), init });
      return respond(init);
    },
    onRefused: (origin) => refused.push(origin),
    onReachable: (isReachable) => reachable.push(isReachable),
  });
  return { fetch, asked, refused, reachable };
}

const ok = async (): Promise<Response> => new Response("");

test("known bridges are reached, without following them elsewhere", async () => {
  const { fetch, asked, refused } = played(ok);
  await fetch(new URL("https://bridge.example/bridge/message?to=x"), { method: "post" });
  await fetch("https://other.example/tc/events?client_id=x");
  assert.deepEqual(
    asked.map(({ init }) => init?.redirect),
    ["error", "error"],
  );
  assert.deepEqual(refused, []);
});

for (const url of [
  "https://analytics.ton.org/events",
  "https://config.ton.org/wallets-v2.json",
  "https://bridge.example/else",
  "https://bridge.example/bridge",
  "https://bridge.example.evil.example/bridge/",
  "http://bridge.example/bridge/message",
  "https://user@bridge.example/bridge/",
  "file:///etc/passwd",
  "nothing",
]) {
  test(`${url} is not reached`, async () => {
    const { fetch, asked, refused } = played(ok);
    await assert.rejects(fetch(url));
    await assert.rejects(fetch(url, { method: "post" }));
    assert.deepEqual([asked.length, refused.length], [0, 2]);
    assert.ok(refused.every((origin) => !origin.includes("message")));
  });
}

test("the list of wallets is read from the program itself", async () => {
  const { fetch, asked } = played(ok);
  await fetch("data:application/json,[]");
  assert.deepEqual(
    asked.map(({ url }) => url),
    ["data:application/json,[]"],
  );
});

test("whether a message was taken says whether the bridge is there", async () => {
  const outcomes = [ok, async () => new Response("", { status: 500 }), () => Promise.reject(new Error("down"))];
  for (const [at, respond] of outcomes.entries()) {
    const { fetch, reachable } = played(respond);
    await fetch("https://other.example/tc/message", { method: "post" }).catch(() => undefined);
    assert.deepEqual(reachable, [at === 0]);
  }
});

test("a message that the program itself gave up says nothing of the bridge", async () => {
  const { fetch, reachable } = played((init) =>
    init?.signal?.aborted === true ? Promise.reject(new Error("aborted")) : ok(),
  );
  await assert.rejects(fetch("https://other.example/tc/message", { method: "post", signal: AbortSignal.abort() }));
  assert.deepEqual(reachable, []);
});

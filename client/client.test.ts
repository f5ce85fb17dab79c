import assert from "node:assert/strict";
import { test } from "node:test";
import {
  codeOf,
  DEFAULT_POLICY,
  encodeSealedRequest,
  type ClientToGateway,
  type MessageOf,
  type SealedEvent,
} from "../protocol/index.ts";
import { fakeWorker, HELLO_WORLD, type FakeStream } from "./gateway.fake.ts";
import type { Client, ClientEvent } from "./index.ts";
import { BODY, fakeClient, fakeNetwork } from "./network.fake.ts";
import { sealedBody } from "./sealed-body.ts";

async function eventsOf(client: Client): Promise<ClientEvent[]> {
  const events: ClientEvent[] = [];
  for await (const event of client.chat(BODY)) events.push(event);
  return events;
}

/** What was yielded, and the code of what came instead of the rest. */
async function brokenOff(client: Client): Promise<{ readonly events: readonly ClientEvent[]; readonly code: string }> {
  const events: ClientEvent[] = [];
  try {
    for await (const event of client.chat(BODY)) events.push(event);
  } catch (error) {
    return { events, code: codeOf(error) };
  }
  throw new assert.AssertionError({ message: "the request did not fail" });
}

const typesOf = (events: readonly { readonly type: string }[]): string[] => events.map(({ type }) => type);
const oneToken: SealedEvent = { t: "delta", text: "x", tokenIds: [1] };

test("an answer comes as events, is charged by the client's own count and countersigned", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  const events = await eventsOf(client);
  assert.deepEqual(typesOf(events), ["worker", "delta", "delta", "end"]);
  const end = events.at(-1);
  assert.ok(end?.type === "end");
  // 5 fresh at 1, 2 cached at 0.5 and 3 completion tokens at 2 nanoton; 5 % on top, rounded up.
  assert.deepEqual([end.earnedNanoton, end.feeNanoton, end.chargedNanoton], [12n, 1n, 13n]);
  const signed = await gateway.next("countersign");
  assert.equal(signed.total, 13n);
  assert.equal(client.account().total, 13n);
});

test("what a worker opens is byte for byte what the protocol's encoder writes", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await eventsOf(client);
  const [request] = gateway.requests;
  assert.ok(request !== undefined);
  const { reservationId, offerHash, maxTokens } = request;
  const asked = { path: "/v1/chat/completions", body: BODY } as const;
  const made = sealedBody(asked);
  const plaintext = made.plaintext({ maxTokens, reservationId, offerHash });
  assert.deepEqual(plaintext, encodeSealedRequest({ v: 1, ...asked, maxTokens, reservationId, offerHash }));
  assert.ok(plaintext.length <= made.maxBytes);
  assert.equal(JSON.stringify(made), '"[secret]"');
});

test("the second request to a worker needs no handshake", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await eventsOf(client);
  await eventsOf(client);
  const opens = gateway.received.filter(({ type }) => type === "hello" || type === "open");
  assert.deepEqual(typesOf(opens), ["hello", "open", "open"]);
  const streamIds = opens.filter((message) => message.type === "open").map(({ streamId }) => streamId);
  assert.deepEqual(streamIds, [1, 2]);
});

test("thirty requests at once share one handshake and all are answered", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  const answers = await Promise.all(Array.from({ length: 30 }, () => client.complete(BODY)));
  assert.ok(answers.every(({ text }) => text === "Hello world"));
  assert.equal(gateway.received.filter(({ type }) => type === "hello").length, 1);
});

test("a long prompt travels in several frames and is put together again", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  const content = "word ".repeat(50_000);
  await client.complete({ ...BODY, messages: [{ role: "user", content }] });
  assert.deepEqual(gateway.requests[0]?.body, { ...BODY, messages: [{ role: "user", content }] });
});

test("a conversation asks for the worker that answered it before", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  const { workerId } = await client.complete(BODY);
  const later = [...BODY.messages, { role: "assistant" as const, content: "Hello world" }, ...BODY.messages];
  await client.complete({ ...BODY, messages: later });
  await client.complete({ ...BODY, messages: [{ role: "user", content: "Something else" }] });
  const asked = gateway.received
    .filter((message) => message.type === "reserve")
    .map(({ preferWorker }) => preferWorker);
  assert.deepEqual(asked, [undefined, workerId, undefined]);
});

test("a gateway that hands the greeting to another worker learns nothing of the prompt", async (t) => {
  const { gateway, client } = await fakeNetwork(t, { workers: [{}, {}] });
  gateway.hooks.candidates = (candidates) => candidates.slice(0, 1);
  gateway.hooks.helloWorker = () => gateway.workers[1] ?? assert.fail();
  const { events, code } = await brokenOff(client);
  assert.deepEqual([events, code], [[], "bad_hello_sig"]);
  assert.ok(gateway.received.every(({ type }) => type !== "open"));
});

test("a WorkerHello that is played again opens no session", async (t) => {
  let first: Uint8Array | undefined;
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.workerHello = (message) => (first ??= message);
  await client.complete(BODY);
  const second = fakeClient(t, gateway);
  assert.equal((await brokenOff(second)).code, "bad_hello_sig");
});

test("a WorkerHello with one bit changed opens no session", async (t) => {
  const { client } = await fakeNetwork(t, { hooks: { workerHello: (message) => flip(message, 60) } });
  assert.equal((await brokenOff(client)).code, "bad_hello_sig");
});

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

const TAMPERINGS: readonly {
  readonly what: string;
  readonly code: string;
  readonly delivered: number;
  readonly relay: (frame: Uint8Array, index: number) => readonly Uint8Array[];
}[] = [
  { what: "changes a frame", code: "decrypt_failed", delivered: 1, relay: (f, i) => [i === 1 ? flip(f, 30) : f] },
  { what: "changes the first frame", code: "decrypt_failed", delivered: 0, relay: (f) => [flip(f, 30)] },
  { what: "sends a frame twice", code: "decrypt_failed", delivered: 1, relay: (f, i) => (i === 0 ? [f, f] : [f]) },
  { what: "leaves a frame out", code: "decrypt_failed", delivered: 1, relay: (f, i) => (i === 1 ? [] : [f]) },
  {
    what: "makes an end of a frame",
    code: "decrypt_failed",
    delivered: 1,
    relay: (f, i) => [i === 1 ? flip(f, 4) : f],
  },
  { what: "shortens a frame", code: "bad_frame", delivered: 1, relay: (f, i) => [i === 1 ? f.subarray(0, 50) : f] },
  { what: "sends something else", code: "bad_frame", delivered: 0, relay: () => [new Uint8Array(3)] },
];

for (const { what, code, delivered, relay } of TAMPERINGS) {
  test(`an answer whose gateway ${what} ends with ${code} and no end`, async (t) => {
    const { client } = await fakeNetwork(t, { hooks: { relay } });
    const failed = await brokenOff(client);
    assert.equal(failed.code, code);
    assert.deepEqual(
      typesOf(failed.events),
      delivered === 0 ? [] : ["worker", ...Array<string>(delivered).fill("delta")],
    );
  });
}

test("frames in another order do not open", async (t) => {
  const held: Uint8Array[] = [];
  const relay = (frame: Uint8Array, index: number): readonly Uint8Array[] => {
    if (index === 1) held.push(frame);
    return index === 1 ? [] : [frame, ...held.splice(0)];
  };
  const { client } = await fakeNetwork(t, { hooks: { relay } });
  const { events, code } = await brokenOff(client);
  assert.deepEqual([typesOf(events), code], [["worker", "delta"], "decrypt_failed"]);
});

test("an answer that the gateway cuts is truncated, whatever it gives as the reason", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event(oneToken);
    stream.close("cancelled");
  };
  const { client } = await fakeNetwork(t, { workers: [{ answer }] });
  const { events, code } = await brokenOff(client);
  assert.deepEqual([typesOf(events), code], [["worker", "delta"], "truncated"]);
});

test("an answer whose link is cut is truncated", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event(oneToken);
    setImmediate(() => stream.cut());
  };
  const { client } = await fakeNetwork(t, { workers: [{ answer }] });
  assert.equal((await brokenOff(client)).code, "truncated");
});

test("frames after the end change nothing", async (t) => {
  const { client } = await fakeNetwork(t, {
    hooks: { relay: (frame, index) => (index === 2 ? [frame, frame] : [frame]) },
  });
  assert.deepEqual(typesOf(await eventsOf(client)), ["worker", "delta", "delta", "end"]);
});

test("an answer longer than its declared length is stopped", async (t) => {
  const answer = (stream: FakeStream): void => {
    for (let i = 0; i <= stream.request.maxTokens; i++) stream.event(oneToken);
    stream.end("length");
  };
  const { client } = await fakeNetwork(t, { workers: [{ answer }] });
  await assert.rejects(client.complete({ ...BODY, max_tokens: 4 }), { code: "bad_message" });
});

const LIES: readonly { readonly what: string; readonly end: (stream: FakeStream) => void }[] = [
  {
    what: "claims more tokens than it sent",
    end: (stream) => stream.end("stop", { usage: { promptTokens: 7, cachedTokens: 2, completionTokens: 99 } }),
  },
  {
    what: "claims more prompt tokens than there are bytes",
    end: (stream) => stream.end("stop", { usage: { promptTokens: 9_999, cachedTokens: 2, completionTokens: 3 } }),
  },
  { what: "names another model", end: (stream) => stream.end("stop", { manifestRoot: "22".repeat(32) }) },
  { what: "names another offer", end: (stream) => stream.end("stop", { offerHash: "22".repeat(32) }) },
  {
    what: "sends ids without bytes",
    end: (stream) => {
      stream.event({ t: "delta", text: "", tokenIds: Array.from({ length: 50 }, (_, i) => i) });
      stream.end();
    },
  },
];

for (const { what, end } of LIES) {
  test(`a worker that ${what} is not believed: the answer fails and the receipt is disputed`, async (t) => {
    const answer = (stream: FakeStream): void => {
      for (const event of HELLO_WORLD) stream.event(event);
      end(stream);
    };
    const { gateway, client } = await fakeNetwork(t, { workers: [{ answer }] });
    assert.equal((await brokenOff(client)).code, "bad_receipt");
    const dispute = await gateway.next("dispute");
    assert.ok(dispute.completionTokens <= 19, String(dispute.completionTokens));
  });
}

test("an event that is not one ends the answer", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event({ ...oneToken, extra: 1 } as never);
  };
  const { client } = await fakeNetwork(t, { workers: [{ answer }] });
  assert.equal((await brokenOff(client)).code, "bad_message");
});

test("what a worker says under the seal is the failure", async (t) => {
  const answer = (stream: FakeStream): void => stream.abort("out_of_memory");
  const { client } = await fakeNetwork(t, { workers: [{ answer }] });
  assert.equal((await brokenOff(client)).code, "out_of_memory");
});

test("an answer that the worker hands over or stops by itself is not a whole one", async (t) => {
  for (const [finish, code] of [
    ["handed_over", "truncated"],
    ["cancelled", "cancelled"],
  ] as const) {
    const answer = (stream: FakeStream): void => {
      stream.event(oneToken);
      stream.end(finish);
    };
    const { client } = await fakeNetwork(t, { workers: [{ answer }] });
    assert.equal((await brokenOff(client)).code, code);
  }
});

test("a busy worker is passed over, as often as there are others", async (t) => {
  const { gateway, client } = await fakeNetwork(t, { workers: [{}, {}, {}] });
  gateway.hooks.open = (worker) => (worker === gateway.workers[2] ? undefined : "busy");
  assert.equal((await client.complete(BODY)).workerId, gateway.workers[2]?.workerId);
});

test("when all are busy, that is the answer, at once", async (t) => {
  const { client } = await fakeNetwork(t, { workers: [{}, {}], hooks: { open: () => "busy" } });
  assert.equal((await brokenOff(client)).code, "busy");
});

test("a worker that fails before its first token is forgiven once, on the next candidate", async (t) => {
  const fails = (stream: FakeStream): void => stream.close("worker_crashed");
  const once = await fakeNetwork(t, { workers: [{ answer: fails }, {}] });
  assert.equal((await once.client.complete(BODY)).workerId, once.gateway.workers[1]?.workerId);
  const twice = await fakeNetwork(t, { workers: [{ answer: fails }, { answer: fails }, {}] });
  assert.equal((await brokenOff(twice.client)).code, "worker_crashed");
  assert.equal(twice.gateway.requests.length, 2);
});

test("a request that is itself at fault goes to no second worker", async (t) => {
  const answer = (stream: FakeStream): void => stream.abort("unsupported_field");
  const { gateway, client } = await fakeNetwork(t, { workers: [{ answer }, {}] });
  assert.equal((await brokenOff(client)).code, "unsupported_field");
  assert.equal(gateway.requests.length, 1);
});

test("a worker that failed after its first token is not replaced behind the caller's back", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event(oneToken);
    stream.abort("worker_crashed");
  };
  const { gateway, client } = await fakeNetwork(t, { workers: [{ answer }, {}] });
  const { events, code } = await brokenOff(client);
  assert.deepEqual([typesOf(events), code, gateway.requests.length], [["worker", "delta"], "worker_crashed", 1]);
});

test("a session that the worker has forgotten is opened anew", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await client.complete(BODY);
  for (const worker of gateway.workers) worker.sessions.clear();
  assert.equal((await client.complete(BODY)).text, "Hello world");
});

test("a worker that has renewed its evidence is asked again, and given up when it says so for ever", async (t) => {
  let refusals = 1;
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.hello = () => (refusals-- > 0 ? "evidence_stale" : undefined);
  assert.equal((await client.complete(BODY)).text, "Hello world");
  const other = fakeClient(t, gateway);
  refusals = Infinity;
  assert.equal((await brokenOff(other)).code, "evidence_stale");
  for (let unused = 0; unused < 3; unused++) await gateway.next("release");
});

for (const code of ["unknown_worker", "clock_skew", "replay"] as const) {
  test(`a greeting that is refused with ${code} is not repeated`, async (t) => {
    const { gateway, client } = await fakeNetwork(t, { workers: [{}, {}], hooks: { hello: () => code } });
    assert.equal((await brokenOff(client)).code, code);
    assert.equal(gateway.received.filter(({ type }) => type === "hello").length, 1);
  });
}

test("a link that drops before the first token is dialled again, and the request asked again", async (t) => {
  let wasCut = false;
  const answer = (stream: FakeStream): void => {
    if (wasCut) {
      stream.event(oneToken);
      stream.end();
    } else stream.cut();
    wasCut = true;
  };
  const { client } = await fakeNetwork(t, { workers: [{ answer }] });
  assert.equal((await client.complete(BODY)).text, "x");
});

test("a candidate whose evidence or offer is refused is passed over, and nothing is sent to it", async (t) => {
  const { gateway, client } = await fakeNetwork(t, {
    workers: [{ claims: { notAfter: 1 } }, { offer: { notAfter: 1 } }, {}],
  });
  assert.equal((await client.complete(BODY)).workerId, gateway.workers[2]?.workerId);
  const greeted = gateway.received.filter((message) => message.type === "hello").map(({ workerId }) => workerId);
  assert.deepEqual(greeted, [gateway.workers[2]?.workerId]);
});

test("with the default policy nothing is sent to an ordinary PC, even if the gateway names one", async (t) => {
  const { gateway, client } = await fakeNetwork(t, {}, { policy: DEFAULT_POLICY });
  assert.equal((await brokenOff(client)).code, "tier_too_low");
  await gateway.next("release");
  assert.deepEqual(typesOf(gateway.received), ["login", "reserve", "release"]);
});

test("a worker that the gateway made up, without evidence, gets nothing", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  const stranger = fakeWorker({}, gateway.key);
  gateway.hooks.candidates = () => [stranger.candidate];
  assert.equal((await brokenOff(client)).code, "evidence_format");
  const [genuine] = gateway.workers;
  gateway.hooks.candidates = () => [{ ...stranger.candidate, evidenceHash: genuine?.evidenceHash ?? "" }];
  assert.equal((await brokenOff(client)).code, "evidence_binding");
});

test("a request that names no limit fits itself to a short context", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.reserve = ({ id, maxCompletionTokens }) =>
    maxCompletionTokens > 256
      ? { type: "refused", id, code: "context_overflow", tiersOffered: { software: 1, tpm: 0, tee: 0 } }
      : undefined;
  await client.complete(BODY);
  assert.equal(gateway.requests[0]?.maxTokens, 256);
  await assert.rejects(client.complete({ ...BODY, max_tokens: 257 }), { code: "context_overflow" });
});

test("aborting stops the worker, fails the request and leaves the session in use", async (t) => {
  const told = Promise.withResolvers<string>();
  let isFirst = true;
  const answer = (stream: FakeStream): void => {
    stream.event(oneToken);
    if (!isFirst) return stream.end();
    isFirst = false;
    void stream.closed.then((code) => {
      stream.event(oneToken);
      stream.end("cancelled");
      told.resolve(code);
    });
  };
  const { gateway, client } = await fakeNetwork(t, { workers: [{ answer }] });
  const controller = new AbortController();
  const iterate = async (): Promise<void> => {
    for await (const { type } of client.chat(BODY, { signal: controller.signal }))
      if (type === "delta") controller.abort();
  };
  await assert.rejects(iterate, { code: "cancelled" });
  assert.equal(await told.promise, "cancelled");
  // Both tokens reached this client, so both are owed.
  await gateway.next("countersign");
  assert.equal((await client.complete(BODY)).text, "x");
  assert.equal(gateway.received.filter(({ type }) => type === "hello").length, 1);
});

test("leaving the loop cancels, and so does closing the client", async (t) => {
  const codes: Promise<string>[] = [];
  const answer = (stream: FakeStream): void => {
    stream.event(oneToken);
    codes.push(stream.closed);
  };
  const { client } = await fakeNetwork(t, { workers: [{ answer }] });
  for await (const { type } of client.chat(BODY)) if (type === "delta") break;
  assert.equal(await codes[0], "cancelled");
  const running = client.complete(BODY);
  const seen = brokenOff(client);
  await client.close();
  await assert.rejects(running, { code: "cancelled" });
  assert.equal((await seen).code, "cancelled");
  await client.close();
  assert.equal((await brokenOff(client)).code, "cancelled");
});

test("a body that the protocol has no place for is refused before anything is asked", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await assert.rejects(client.complete({ ...BODY, logit_bias: {} } as never), { code: "unsupported_field" });
  assert.ok(!typesOf(gateway.received).includes("reserve"));
});

test("on trial a client pays nothing and signs nothing, and still disputes a false receipt", async (t) => {
  const { gateway, client } = await fakeNetwork(t, { isTrial: true });
  await client.complete(BODY);
  gateway.hooks.receipt = (receipt) => ({ ...receipt, usage: { ...receipt.usage, completionTokens: 50 } });
  await client.complete(BODY);
  const dispute: MessageOf<ClientToGateway, "dispute"> = await gateway.next("dispute");
  assert.equal(dispute.completionTokens, 3);
  assert.ok(!typesOf(gateway.received).includes("countersign"));
  assert.equal(client.account().total, 0n);
});

import assert from "node:assert/strict";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import OpenAI, { APIError } from "openai";
import { DEFAULT_POLICY, DEMO_POLICY } from "../protocol/index.ts";
import { serveOpenAi, type OpenAiEndpoint } from "./index.ts";
import { FAKE_ROOT, type FakeStream } from "./gateway.fake.ts";
import { API_KEY, BODY, fakeEndpoint } from "./network.fake.ts";

const openai = ({ baseUrl }: OpenAiEndpoint): OpenAI =>
  new OpenAI({ baseURL: baseUrl, apiKey: API_KEY, maxRetries: 0 });

interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** A request without a client library between. */
function send(
  { port }: OpenAiEndpoint,
  path: string,
  {
    method = "POST",
    body = JSON.stringify(BODY),
    headers = {},
  }: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const authorized = { authorization: `Bearer ${API_KEY}`, ...headers };
    const sent = httpRequest({ host: "127.0.0.1", port, path, method, headers: authorized }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    sent.on("error", reject);
    sent.end(method === "GET" ? undefined : body);
  });
}

const chat = (endpoint: OpenAiEndpoint, changes: object, headers: Record<string, string> = {}): Promise<Answered> =>
  send(endpoint, "/v1/chat/completions", { body: JSON.stringify({ ...BODY, ...changes }), headers });

function errorOf({ text }: Answered): { message: string; type: string; param: string | null; code: string } {
  return (JSON.parse(text) as { error: { message: string; type: string; param: string | null; code: string } }).error;
}

test("the openai package gets an answer with usage, cost and who gave it", async (t) => {
  const { endpoint, gateway } = await fakeEndpoint(t);
  const { data, response } = await openai(endpoint).chat.completions.create(BODY).withResponse();
  assert.equal(data.choices[0]?.message.content, "Hello world");
  assert.equal(data.choices[0].finish_reason, "stop");
  assert.deepEqual(
    { ...data.usage, cocoon: undefined },
    {
      prompt_tokens: 7,
      completion_tokens: 3,
      total_tokens: 10,
      prompt_tokens_details: { cached_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 0 },
      cocoon: undefined,
    },
  );
  const { cocoon } = data.usage as unknown as {
    cocoon: { chargedNanoton: string; earnedNanoton: string; feeNanoton: string };
  };
  assert.deepEqual([cocoon.chargedNanoton, cocoon.earnedNanoton, cocoon.feeNanoton], ["13", "12", "1"]);
  assert.equal(response.headers.get("x-cocoon-tier"), "software");
  assert.equal(response.headers.get("x-cocoon-worker-id"), gateway.workers[0]?.workerId);
  assert.equal(response.headers.get("x-cocoon-price"), "1000000,500000,2000000");
});

test("the openai package streams an answer and its usage", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  const stream = await openai(endpoint).chat.completions.create({
    ...BODY,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage: number | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage?.total_tokens ?? usage;
  }
  assert.equal(text, "Hello world");
  assert.equal(usage, 10);
});

test("each event reaches the caller before the next is made", async (t) => {
  let say: ((text: string) => void) | undefined;
  const answer = (stream: FakeStream): void => {
    say = (text) => (text === "" ? stream.end() : stream.event({ t: "delta", text, tokenIds: [1] }));
    say("one");
  };
  const { endpoint } = await fakeEndpoint(t, { workers: [{ answer }] });
  const stream = await openai(endpoint).chat.completions.create({ ...BODY, stream: true });
  const seen: string[] = [];
  for await (const chunk of stream) {
    seen.push(chunk.choices[0]?.delta.content ?? "end");
    if (seen.length < 4) say?.(["", "two", "three", ""][seen.length] ?? "");
  }
  assert.deepEqual(seen, ["one", "two", "three", "end"]);
});

test("tool calls reach the openai package in pieces and whole", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event({ t: "tool_call", index: 0, id: "call_1", name: "weather", arguments: "", tokenIds: [1] });
    stream.event({ t: "tool_call", index: 0, arguments: '{"city":', tokenIds: [2] });
    stream.event({ t: "tool_call", index: 0, arguments: '"Lisbon"}', tokenIds: [3] });
    stream.end("tool_calls");
  };
  const { endpoint, gateway } = await fakeEndpoint(t, { workers: [{ answer }] });
  const tools = [
    { type: "function" as const, function: { name: "weather", parameters: { type: "object", properties: {} } } },
  ];
  const body = { ...BODY, tools, tool_choice: "auto" as const };
  const expected = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Lisbon"}' } };
  const { choices } = await openai(endpoint).chat.completions.create(body);
  assert.deepEqual(choices[0]?.message.tool_calls, [expected]);
  assert.equal(choices[0].finish_reason, "tool_calls");
  const streamed = await openai(endpoint).chat.completions.stream(body).finalChatCompletion();
  const [call] = streamed.choices[0]?.message.tool_calls ?? [];
  assert.ok(call?.type === "function");
  assert.deepEqual([call.id, call.function.name, call.function.arguments], ["call_1", "weather", '{"city":"Lisbon"}']);
  assert.deepEqual(gateway.requests[0]?.body, body);
});

test("a JSON schema, stop strings and a seed travel inside the seal as they were given", async (t) => {
  const { endpoint, gateway } = await fakeEndpoint(t);
  const schema = { type: "object", properties: { a: { type: "string" } } };
  const response_format = { type: "json_schema" as const, json_schema: { name: "answer", schema, strict: true } };
  const body = { ...BODY, response_format, stop: ["\n"], seed: 7, temperature: 0, max_completion_tokens: 50 };
  await openai(endpoint).chat.completions.create({ ...body, n: 1 });
  assert.deepEqual(gateway.requests[0]?.body, body);
  assert.equal(gateway.requests[0].maxTokens, 50);
});

test("reasoning is told apart from the answer, and counted", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event({ t: "delta", text: "hmm", tokenIds: [1, 2], reasoning: true });
    stream.event({ t: "delta", text: "yes", tokenIds: [3] });
    stream.end();
  };
  const { endpoint } = await fakeEndpoint(t, { workers: [{ answer }] });
  const { text } = await chat(endpoint, {});
  assert.match(text, /"content":"yes","refusal":null,"reasoning_content":"hmm"/);
  assert.match(text, /"reasoning_tokens":2/);
  const streamed = await chat(endpoint, { stream: true });
  assert.match(streamed.text, /"delta":\{"role":"assistant","reasoning_content":"hmm"\}/);
  assert.match(streamed.text, /"delta":\{"content":"yes"\}/);
});

test("a raw prompt is answered without a chat template, whole and streamed", async (t) => {
  const { endpoint, gateway } = await fakeEndpoint(t);
  const body = { model: "practice", prompt: "Once upon" };
  const whole = await openai(endpoint).completions.create(body);
  assert.equal(whole.choices[0]?.text, "Hello world");
  let text = "";
  for await (const chunk of await openai(endpoint).completions.create({ ...body, stream: true }))
    text += chunk.choices[0]?.text ?? "";
  assert.equal(text, "Hello world");
  assert.equal(gateway.requests[0]?.path, "/v1/completions");
});

test("the catalogue is the list of models", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  const { data } = await openai(endpoint).models.list();
  assert.deepEqual(
    data.map(({ id }) => id),
    ["practice"],
  );
  assert.equal((await openai(endpoint).models.retrieve("practice")).id, "practice");
  await assert.rejects(openai(endpoint).models.retrieve("other"), { status: 404 });
});

const UNSUPPORTED: readonly (readonly [changes: object, param: string, code: string])[] = [
  [{ logprobs: true }, "logprobs", "unsupported_field"],
  [{ top_logprobs: 2 }, "top_logprobs", "unsupported_field"],
  [{ logit_bias: { "5": 1 } }, "logit_bias", "unsupported_field"],
  [{ n: 2 }, "n", "unsupported_field"],
  [{ user: "me" }, "user", "unsupported_field"],
  [{ stream_options: { include_obfuscation: true } }, "stream_options.include_obfuscation", "unsupported_field"],
  [{ messages: [{ role: "user", content: "x", name: "me" }] }, "messages.0.name", "unsupported_field"],
  [{ messages: [{ role: "robot", content: "x" }] }, "messages.0.role", "unsupported_field"],
  [
    { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
    "messages.0.content.0.type",
    "unsupported_field",
  ],
  [{ response_format: { type: "grammar" } }, "response_format.type", "unsupported_field"],
  [{ temperature: 9 }, "temperature", "unsupported_field"],
  [{ temperature: "hot" }, "temperature", "bad_message"],
  [{ messages: undefined }, "messages", "bad_message"],
];

for (const [changes, param, code] of UNSUPPORTED) {
  test(`a request with ${JSON.stringify(changes)} is refused by the name ${param}`, async (t) => {
    const { endpoint, gateway } = await fakeEndpoint(t);
    const answered = await chat(endpoint, changes);
    const error = errorOf(answered);
    assert.deepEqual(
      [answered.status, error.type, error.param, error.code],
      [400, "invalid_request_error", param, code],
    );
    assert.ok(
      gateway.received.every(({ type }) => type === "login"),
      "nothing was asked of the gateway",
    );
  });
}

test("a field that asks for nothing may say so", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  assert.equal((await chat(endpoint, { n: 1, logprobs: false, logit_bias: null, stream: null })).status, 200);
});

test("a body that is not JSON, names a key twice or is not UTF-8 is refused", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  for (const body of ["{", '{"model":"a","model":"b"}', "[]", "null"]) {
    const answered = await send(endpoint, "/v1/chat/completions", { body });
    assert.deepEqual(
      [answered.status, errorOf(answered).code, errorOf(answered).param],
      [400, "bad_message", "body"],
      body,
    );
  }
});

test("an unknown model is named in a 404", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  const answered = await chat(endpoint, { model: "gpt-9" });
  assert.equal(answered.status, 404);
  assert.equal(errorOf(answered).param, "model");
  assert.match(errorOf(answered).message, /"gpt-9" is not in the catalogue, which has "practice"/);
});

test("a manifest root is a model without an entry", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  assert.equal((await chat(endpoint, { model: FAKE_ROOT })).status, 200);
});

test("without the API key, or with another, nothing is answered", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  for (const authorization of ["", "Bearer", "Bearer sk-tesT", "Bearer sk-test2", "Basic c2stdGVzdA=="]) {
    const answered = await send(endpoint, "/v1/models", { method: "GET", headers: { authorization } });
    assert.deepEqual([answered.status, errorOf(answered).code], [401, "invalid_api_key"], authorization);
  }
});

test("a page whose name was made to resolve here is not answered, and no page may read an answer", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  for (const host of ["evil.example", `evil.example:${endpoint.port}`, "127.0.0.1:1"]) {
    const answered = await send(endpoint, "/v1/models", { method: "GET", headers: { host } });
    assert.deepEqual([answered.status, errorOf(answered).code], [403, "host_not_allowed"], host);
  }
  const answered = await send(endpoint, "/v1/models", { method: "GET", headers: { origin: "https://evil.example" } });
  assert.equal(answered.headers["access-control-allow-origin"], undefined);
});

test("unknown addresses and wrong methods have their own answers", async (t) => {
  const { endpoint } = await fakeEndpoint(t);
  assert.equal((await send(endpoint, "/v1/embeddings")).status, 404);
  assert.equal((await send(endpoint, "/v1/models")).status, 405);
  assert.equal((await send(endpoint, "/v1/chat/completions", { method: "GET" })).status, 405);
  assert.equal((await send(endpoint, "/v1/nothing", { method: "GET" })).status, 404);
});

test("a body longer than allowed is refused, announced or not", async (t) => {
  const { endpoint } = await fakeEndpoint(t, {}, { endpoint: { maxBodyBytes: 1000 } });
  const content = "x".repeat(100_000);
  const announced = await chat(endpoint, { messages: [{ role: "user", content }] });
  assert.deepEqual([announced.status, errorOf(announced).code], [413, "body_too_large"]);
  const chunked = await chat(endpoint, { messages: [{ role: "user", content }] }, { "transfer-encoding": "chunked" });
  assert.deepEqual([chunked.status, errorOf(chunked).code], [413, "body_too_large"]);
});

test("a body that does not arrive in time is answered with a time-out", async (t) => {
  const { endpoint } = await fakeEndpoint(t, {}, { endpoint: { requestTimeoutMs: 200 } });
  const socket = connect(endpoint.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${endpoint.port}\r\nauthorization: Bearer ${API_KEY}\r\ncontent-length: 10\r\n\r\n{`,
  );
  let text = "";
  for await (const part of socket as AsyncIterable<Buffer>) text += part.toString();
  assert.match(text, /^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
});

test("two endpoints cannot have one port", async (t) => {
  const { endpoint, client } = await fakeEndpoint(t);
  const second = serveOpenAi({ client, apiKey: API_KEY, minTier: "software", port: endpoint.port });
  await assert.rejects(second, { code: "port_taken" });
});

test("with the default policy and no such worker, the answer says what is on offer and what taking it means", async (t) => {
  const refused = { software: 3, tpm: 0, tee: 0 };
  const { endpoint, gateway } = await fakeEndpoint(t, {}, { policy: DEFAULT_POLICY });
  gateway.hooks.reserve = ({ id }) => ({ type: "refused", id, code: "tier_too_low", tiersOffered: refused });
  const answered = await chat(endpoint, {});
  assert.deepEqual([answered.status, errorOf(answered).code], [403, "tier_too_low"]);
  assert.match(
    errorOf(answered).message,
    /3 of tier software: "Encrypted in transit only: your prompt can be read by the operator"/,
  );
  assert.equal(answered.headers["x-cocoon-tiers-offered"], "tee=0,tpm=0,software=3");
});

test("a header may raise the tier, and lower it only where the endpoint allows that", async (t) => {
  const strict = await fakeEndpoint(t, {}, { policy: { ...DEMO_POLICY, minTier: "tpm" } });
  const lowered = await chat(strict.endpoint, {}, { "x-cocoon-min-tier": "software" });
  assert.deepEqual(
    [lowered.status, errorOf(lowered).code, errorOf(lowered).param],
    [400, "unsupported_field", "x-cocoon-min-tier"],
  );
  await chat(strict.endpoint, {}, { "x-cocoon-min-tier": "tee" });
  const asked = await strict.gateway.next("reserve");
  assert.equal(asked.minTier, "tee");

  const policy = { ...DEMO_POLICY, minTier: "tpm" as const };
  const lenient = await fakeEndpoint(t, {}, { policy, endpoint: { allowTier: true } });
  assert.equal((await chat(lenient.endpoint, {}, { "x-cocoon-min-tier": "software" })).status, 200);
});

test("a header may lower the highest price, in either form, and never raise it", async (t) => {
  const maxPrice = { prompt: 5_000_000n, cached: 5_000_000n, completion: 5_000_000n };
  const { endpoint, gateway } = await fakeEndpoint(t, {}, { maxPrice, endpoint: { maxPrice } });
  const sheet = JSON.stringify({ prompt: "4000000", cached: "3000000", completion: "9000000" });
  for (const header of [sheet, "4000000, 3000000, 9000000"]) {
    assert.equal((await chat(endpoint, {}, { "x-cocoon-max-price": header })).status, 200);
    const asked = await gateway.next("reserve");
    assert.deepEqual(asked.maxPrice, { prompt: 4_000_000n, cached: 3_000_000n, completion: 5_000_000n });
  }
  for (const header of ["1,2", "1,2,3,4", "-1,0,1", "a,b,c", "1,2,1", '{"prompt":"1"}', "{"]) {
    const answered = await chat(endpoint, {}, { "x-cocoon-max-price": header });
    assert.deepEqual([answered.status, errorOf(answered).param], [400, "x-cocoon-max-price"], header);
  }
  const mistyped = await chat(endpoint, {}, { "x-cocoon-max-prise": "1,1,1" });
  assert.deepEqual([mistyped.status, errorOf(mistyped).param], [400, "x-cocoon-max-prise"]);
});

const REFUSALS = [
  ["payment_required", 402],
  ["trial_exhausted", 402],
  ["price_too_low", 402],
  ["busy", 429],
  ["rate_limited", 429],
  ["no_worker", 503],
  ["model_unavailable", 503],
  ["context_overflow", 400],
] as const;

for (const [code, status] of REFUSALS) {
  test(`a gateway's ${code} becomes HTTP ${status}`, async (t) => {
    const { endpoint, gateway } = await fakeEndpoint(t);
    gateway.hooks.reserve = ({ id }) => ({ type: "refused", id, code, tiersOffered: { software: 0, tpm: 0, tee: 0 } });
    const answered = await chat(endpoint, { stream: true });
    assert.deepEqual([answered.status, errorOf(answered).code], [status, code]);
    assert.equal(answered.headers["retry-after"] !== undefined, status === 429);
  });
}

test("a request that could pass the cap becomes HTTP 402 with what is left", async (t) => {
  const { endpoint } = await fakeEndpoint(t, {}, { cap: { perDay: 100n } });
  const answered = await chat(endpoint, { max_tokens: 8 });
  assert.deepEqual([answered.status, errorOf(answered).code], [402, "spending_cap"]);
  assert.match(errorOf(answered).message, /0\.0000001 TON of the cap are left today/);
});

test("an answer that breaks off ends its stream with an error and without [DONE]", async (t) => {
  const answer = (stream: FakeStream): void => {
    stream.event({ t: "delta", text: "Hel", tokenIds: [1] });
    stream.close("worker_crashed");
  };
  const { endpoint } = await fakeEndpoint(t, { workers: [{ answer }] });
  const { status, text } = await chat(endpoint, { stream: true });
  assert.equal(status, 200);
  assert.match(
    text,
    /"content":"Hel"[^]*data: \{"error":\{"message":"[^"]*","type":"api_error","param":null,"code":"truncated"\}\}\n\n$/,
  );
  await assert.rejects(async () => {
    const stream = await openai(endpoint).chat.completions.create({ ...BODY, stream: true });
    for await (const chunk of stream) assert.equal(chunk.choices[0]?.delta.content, "Hel");
  }, APIError);
});

test("a caller that does not read is cut off before it fills the memory", async (t) => {
  const stopped = Promise.withResolvers<string>();
  const answer = (stream: FakeStream): void => {
    void stream.closed.then(stopped.resolve);
    const text = "x".repeat(16_000);
    const say = (left: number): void => {
      stream.event({ t: "delta", text, tokenIds: [1] });
      if (left > 0) setImmediate(say, left - 1);
    };
    say(1500);
  };
  const { endpoint } = await fakeEndpoint(t, { workers: [{ answer }] });
  const socket = connect(endpoint.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.pause();
  const body = JSON.stringify({ ...BODY, stream: true, max_tokens: 2000 });
  const head = `host: 127.0.0.1:${endpoint.port}\r\nauthorization: Bearer ${API_KEY}\r\ncontent-length: ${body.length}`;
  socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${head}\r\n\r\n${body}`);
  assert.equal(await stopped.promise, "cancelled");
});

test("a caller that goes away stops the worker", async (t) => {
  const closed = Promise.withResolvers<string>();
  const answer = (stream: FakeStream): void => {
    stream.event({ t: "delta", text: "endless", tokenIds: [1] });
    void stream.closed.then(closed.resolve);
  };
  const { endpoint } = await fakeEndpoint(t, { workers: [{ answer }] });
  const stream = await openai(endpoint).chat.completions.create({ ...BODY, stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0]?.delta.content, "endless");
    break; // the openai package hangs up
  }
  assert.equal(await closed.promise, "cancelled");
});

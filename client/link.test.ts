import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { WebSocketServer } from "ws";
import {
  encodeRouted,
  keyPairFromSeed,
  linkMessage,
  parseClientToGateway,
  stringify,
  toHex,
  verifySignature,
  type ClientToGateway,
  type GatewayToClient,
} from "../protocol/index.ts";
import { gatewayUrls } from "./gateway-url.ts";
import { openLink, type Link, type ReserveTerms } from "./link.ts";
import { BODY, CHANNEL, fakeClient, fakeNetwork } from "./network.fake.ts";
import { nodeSignatures } from "./node-signing.ts";
import { pauseBefore } from "./reconnect.ts";
import type { SocketEvents } from "./socket.ts";

const MINUTE_MS = 60_000;

test("a client logs in with its key and channel, under the gateway's key and nonce", async (t) => {
  const paymentSeed = randomBytes(32);
  const { publicKey } = keyPairFromSeed(paymentSeed);
  const challenges: GatewayToClient[] = [];
  const challenge = (message: GatewayToClient): GatewayToClient => {
    challenges.push(message);
    return message;
  };
  const { gateway, client } = await fakeNetwork(t, { hooks: { challenge } }, { paymentSeed });
  await client.ready();
  const login = await gateway.next("login");
  const [made] = challenges;
  assert.ok(made?.type === "challenge");
  const { address, time } = login;
  const message = linkMessage({ role: "client", gatewayKey: gateway.key, nonce: made.nonce, time, address });
  assert.ok(verifySignature(login.signature, message, publicKey));
  assert.deepEqual([login.key, address], [publicKey, CHANNEL.address]);
});

test("a gateway with another key than the one chosen is not logged in to", async (t) => {
  const { gateway } = await fakeNetwork(t);
  const client = fakeClient(t, gateway, { gateway: { url: gateway.url, key: randomBytes(32) } });
  await assert.rejects(client.ready(), { code: "bad_login", message: /another key/ });
  await assert.rejects(client.complete(BODY), { code: "bad_login" });
});

test("a gateway of another network is not logged in to", async (t) => {
  const { gateway } = await fakeNetwork(t);
  const client = fakeClient(t, gateway, { channel: { ...CHANNEL, networkId: -239 } });
  await assert.rejects(client.ready(), { code: "bad_login", message: /another network/ });
});

test("a gateway that speaks other versions is not logged in to", async (t) => {
  const challenge = (message: GatewayToClient): GatewayToClient =>
    ({ ...message, protocol: { min: 2, max: 9 } }) as never;
  const { client } = await fakeNetwork(t, { hooks: { challenge } });
  await assert.rejects(client.ready(), { code: "bad_login", message: /versions 2 to 9/ });
});

for (const [minutes, which] of [
  [10, "ahead of"],
  [-10, "behind"],
] as const) {
  test(`a clock ten minutes ${which} the gateway's is said to be, with what to do`, async (t) => {
    const { client } = await fakeNetwork(t, {}, { now: () => Date.now() + minutes * MINUTE_MS });
    const why = new RegExp(`clock is (599|600|601) seconds ${which} the gateway's`);
    await assert.rejects(client.complete(BODY), { code: "clock_skew", message: why });
  });
}

test("a refused login is told with its code", async (t) => {
  const welcome = (): GatewayToClient => ({ type: "error", code: "rate_limited", retryAfterMs: 60_000 });
  const { client } = await fakeNetwork(t, { hooks: { welcome } });
  await assert.rejects(client.ready(), { code: "rate_limited" });
});

for (const [what, text] of [
  ["not JSON", "hello"],
  ["of an unknown type", '{"type":"hello"}'],
  ["with a key too many", '{"type":"heartbeat","extra":1}'],
  ["with a key twice", '{"type":"heartbeat","type":"heartbeat"}'],
  ["with a wrong type", '{"type":"close","routeId":"1","code":"busy"}'],
  ["with a negative number", '{"type":"close","routeId":-1,"code":"busy"}'],
  ["longer than a control message may be", JSON.stringify({ type: "x".repeat(70_000) })],
] as const) {
  test(`a message ${what} is passed over, and the link goes on`, async (t) => {
    const { gateway, client } = await fakeNetwork(t);
    await client.ready();
    gateway.sendText(text);
    assert.equal((await client.complete(BODY)).text, "Hello world");
    assert.equal(gateway.received.filter(({ type }) => type === "login").length, 1);
  });

  test(`a gateway that greets with a message ${what} is refused`, async (t) => {
    const { client } = await fakeNetwork(t, { greeting: text });
    await assert.rejects(client.ready(), { code: "bad_message" });
  });
}

test("ten megabytes at once end the link and not the client", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await gateway.next("login");
  gateway.sendText("x".repeat(10_000_000));
  await gateway.next("login");
  assert.equal((await client.complete(BODY)).text, "Hello world");
});

test("bytes on a route nobody opened, and answers nobody asked for, are passed over", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  await client.ready();
  gateway.sendToAll({ type: "route", id: "zz", routeId: 77 });
  gateway.sendToAll({ type: "close", routeId: 78, code: "busy" });
  gateway.sendToAll({ type: "error", code: "internal", id: "zz" });
  gateway.sendToAll({ type: "error", code: "internal" });
  gateway.sendToAll({ type: "drain", until: 1, elsewhere: [] });
  gateway.sendBytes(new Uint8Array(81));
  gateway.sendBytes(new Uint8Array(3));
  gateway.sendBytes(new Uint8Array(81).fill(255));
  assert.equal((await client.complete(BODY)).text, "Hello world");
  assert.equal(gateway.received.filter(({ type }) => type === "login").length, 1);
});

test("a route offered for a reservation, or a reservation for a route, fails that request alone", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.reserve = ({ id }) => ({ type: "route", id, routeId: 5 });
  await assert.rejects(client.complete(BODY), { code: "bad_message" });
  delete gateway.hooks.reserve;
  assert.equal((await client.complete(BODY)).text, "Hello world");
});

test("the first stream of a reservation takes the route that was named with it, a second candidate's asks for one", async (t) => {
  const { gateway, client } = await fakeNetwork(t, { workers: [{}, {}] });
  const isFirst = (): boolean => gateway.received.filter(({ type }) => type === "open").length === 1;
  gateway.hooks.open = () => (isFirst() ? "busy" : undefined);
  assert.equal((await client.complete(BODY)).text, "Hello world");
  const opens = gateway.received.filter((message) => message.type === "open");
  assert.deepEqual(
    opens.map(({ routeId }) => routeId !== undefined),
    [true, false],
  );
});

test("a request whose open is refused fails with the code, and what comes late over its route is passed over", async (t) => {
  const { gateway, client } = await fakeNetwork(t);
  gateway.hooks.open = () => "busy";
  await assert.rejects(client.complete(BODY), { code: "busy" });
  const { routeId = 0 } = await gateway.next("open");
  gateway.sendBytes(encodeRouted(routeId, new Uint8Array(81)));
  delete gateway.hooks.open;
  assert.equal((await client.complete(BODY)).text, "Hello world");
});

test("a route that the gateway names twice is the first one's: the second is refused, and both hear of their end", async (t) => {
  const { link } = await linkTo(t, { routeIds: [7, 7] });
  const heard: string[] = [];
  for (const name of ["first", "second"]) {
    const reply = await link.reserve(TERMS);
    assert.ok(reply.type === "reserved");
    const opening = { type: "open", reservationId: reply.reservationId, workerId: ID, sessionId: SESSION } as const;
    link.openRoute(
      { ...opening, streamId: 1 },
      {
        opened: () => heard.push(`${name} opened`),
        bytes: () => undefined,
        closed: ({ code }) => heard.push(`${name} ${code}`),
      },
    );
  }
  link.close();
  assert.deepEqual(heard, ["first opened", "second bad_message", "first truncated"]);
});

test("what was to be said when a link drops is not said on the next before its login", async (t) => {
  const { link, sockets } = await linkTo(t, { routeIds: [] });
  sockets[0]?.events.closed("reset");
  while (sockets.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  link.send({ type: "countersign", total: 1n, signature: new Uint8Array(64) });
  await link.ready();
  assert.deepEqual(
    sockets.map(({ heard }) => heard),
    [["login"], ["login"]],
  );
});

test("a gateway that is not there yet is dialled until it is", async (t) => {
  const http = createServer();
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  await new Promise((resolve) => http.close(resolve));
  const key = randomBytes(32);
  const { gateway } = await fakeNetwork(t);
  const client = fakeClient(t, gateway, { gateway: { url: `ws://127.0.0.1:${port}`, key } });
  const ready = client.ready();
  const late = new WebSocketServer({ port, host: "127.0.0.1" });
  t.after(() => {
    for (const socket of late.clients) socket.terminate();
    late.close();
  });
  late.on("connection", (socket) => {
    const time = Math.floor(Date.now() / 1000);
    socket.on("message", () => socket.send(stringify({ type: "welcome", feeBps: 1, countersigned: null })));
    socket.send(
      stringify({ type: "challenge", protocol: { min: 1, max: 1 }, gatewayKey: key, nonce: key, networkId: 0, time }),
    );
  });
  await ready;
});

test("pauses grow from half a second to half a minute, three seconds after service, and are drawn from the whole range", () => {
  assert.deepEqual(
    [0, 1, 2, 6, 99].map((attempt) => pauseBefore(attempt, false, 1)),
    [500, 1000, 2000, 30_000, 30_000],
  );
  assert.deepEqual(
    [0, 2, 3, 9].map((attempt) => pauseBefore(attempt, true, 1)),
    [500, 2000, 3000, 3000],
  );
  assert.equal(pauseBefore(5, false, 0), 0);
});

test("a gateway's address may be written for HTTP or for sockets, with a path", () => {
  const secure = { socket: "wss://g.example/v1/client", http: "https://g.example" };
  assert.deepEqual(gatewayUrls("https://g.example/"), secure);
  assert.deepEqual(gatewayUrls("wss://g.example"), secure);
  assert.deepEqual(gatewayUrls("http://127.0.0.1:8/a/b/"), {
    socket: "ws://127.0.0.1:8/a/b/v1/client",
    http: "http://127.0.0.1:8/a/b",
  });
  for (const wrong of ["g.example", "ftp://g", "", "http://", "https://g?x=1", "http://:x"]) {
    assert.throws(() => gatewayUrls(wrong), { code: "bad_configuration" }, wrong);
  }
});

const ID = "22".repeat(32);
const SESSION = "33".repeat(16);
const TERMS: ReserveTerms = {
  model: "m",
  manifestRoot: ID,
  maxPromptBytes: 1,
  maxCompletionTokens: 1,
  maxPrice: null,
  minTier: "software",
  candidates: 1,
};

interface MemorySocket {
  readonly events: SocketEvents;
  /** Types of the messages that the gateway was sent. */
  readonly heard: string[];
}

/** A link to a gateway in memory, which lets it in and names these routes with its reservations. */
async function linkTo(
  t: TestContext,
  { routeIds }: { readonly routeIds: readonly number[] },
): Promise<{ readonly link: Link; readonly sockets: readonly MemorySocket[] }> {
  const gatewayKey = randomBytes(32);
  const left = [...routeIds];
  const sockets: MemorySocket[] = [];
  const answerTo = (message: ClientToGateway): GatewayToClient | undefined => {
    if (message.type === "login") return { type: "welcome", feeBps: 1, countersigned: null };
    if (message.type !== "reserve") return undefined;
    const reservationId = toHex(randomBytes(16));
    const routeId = left.shift() ?? assert.fail("one reservation too many");
    const candidate = { workerId: ID, evidenceHash: ID, offer: randomBytes(8), offerSignature: randomBytes(64) };
    const terms = { feeBps: 1, holdNanoton: 1n, expiresAt: 0, candidates: [candidate] };
    return { type: "reserved", id: message.id, reservationId, routeId, ...terms };
  };
  const link = openLink({
    url: "ws://gateway.example",
    gatewayKey,
    networkId: undefined,
    key: nodeSignatures().paymentKey(randomBytes(32)),
    address: "",
    openSocket(_, events) {
      const heard: string[] = [];
      sockets.push({ events, heard });
      // As over a wire: nothing is answered in the turn in which it was asked.
      const say = (message: GatewayToClient): void => void setImmediate(() => events.text(stringify(message)));
      const protocol = { min: 1, max: 1 };
      const time = Math.floor(Date.now() / 1000);
      say({ type: "challenge", protocol, gatewayKey, nonce: randomBytes(32), networkId: 0, time });
      return {
        send(data) {
          assert.ok(typeof data === "string");
          const message = parseClientToGateway(data);
          heard.push(message.type);
          const reply = answerTo(message);
          if (reply !== undefined) say(reply);
        },
        close: () => undefined,
      };
    },
    now: Date.now,
    random: (length) => new Uint8Array(length),
    countersigned: () => undefined,
    onWelcome: () => undefined,
    onCharge: () => undefined,
    log: () => undefined,
  });
  t.after(() => link.close());
  await link.ready();
  return { link, sockets };
}

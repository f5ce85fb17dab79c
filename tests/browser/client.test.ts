import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import test, { after, before } from "node:test";
import { WebSocketServer, type WebSocket } from "ws";
import {
  keyPairFromSeed,
  linkMessage,
  parseClientToGateway,
  stringify,
  toHex,
  verifySignature,
  type ClientToGateway,
  type GatewayToClient,
  type MessageOf,
} from "../../protocol/index.ts";
import { openPage, type OpenedPage } from "./chromium.ts";
import type { ClientPage } from "./client-page.ts";

declare global {
  // Set by the page's own script.
  var clientPage: ClientPage;
}

const gatewayKey = keyPairFromSeed(new Uint8Array(32).fill(3)).publicKey;
const payer = keyPairFromSeed(new Uint8Array(32).fill(4));
const nonce = new Uint8Array(32).fill(5);
const NO_WORKERS = { software: 0, tpm: 0, tee: 0 };

let opened: OpenedPage;
let server: WebSocketServer;
let login: MessageOf<ClientToGateway, "login"> | undefined;

before(async () => {
  server = new WebSocketServer({ port: 0, host: "127.0.0.1", path: "/v1/client" });
  server.on("connection", (socket) => {
    say(socket, {
      type: "challenge",
      protocol: { min: 1, max: 1 },
      gatewayKey,
      nonce,
      networkId: -3,
      time: Math.floor(Date.now() / 1000),
    });
    socket.on("message", (data: Buffer) => answer(socket, parseClientToGateway(data.toString("utf8"))));
  });
  await once(server, "listening");
  opened = await openPage(new URL("client-page.ts", import.meta.url));
  await opened.page.waitForFunction(() => "clientPage" in globalThis);
});

after(async () => {
  for (const socket of server.clients) socket.terminate();
  server.close();
  await opened[Symbol.asyncDispose]();
});

/** The least of a gateway: lets everybody in, and has no worker. */
function answer(socket: WebSocket, message: ClientToGateway): void {
  if (message.type === "login") {
    login = message;
    say(socket, { type: "welcome", feeBps: 500, countersigned: null });
  }
  if (message.type === "reserve") {
    say(socket, { type: "refused", id: message.id, code: "no_worker", tiersOffered: NO_WORKERS });
  }
}

function say(socket: WebSocket, message: GatewayToClient): void {
  socket.send(stringify(message));
}

test("the client needs nothing of Node in a browser", async () => {
  assert.equal(await opened.page.evaluate(() => clientPage.hasNode), false);
  assert.doesNotMatch(opened.code, /\bfrom\s*"node:|require\("node:|\bBuffer\.(from|alloc)/);
});

test("a client in a page logs in at a gateway over its own socket, with a signature that Node verifies", async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const entered = await opened.page.evaluate(([gateway, key, seed]) => clientPage.login(gateway, key, seed), [
    url,
    toHex(gatewayKey),
    "04".repeat(32),
  ] as const);
  assert.equal(entered, "ready");
  assert.ok(login);
  assert.deepEqual(login.key, payer.publicKey);
  const { time, address, signature } = login;
  assert.ok(
    verifySignature(signature, linkMessage({ role: "client", gatewayKey, nonce, time, address }), payer.publicKey),
  );
});

test("a question that no worker can answer ends in its code, in a page as in Node", async () => {
  assert.equal(await opened.page.evaluate((model) => clientPage.ask(model), "6a".repeat(32)), "no_worker");
  await opened.page.evaluate(() => clientPage.leave());
});

test("a page with a client that forbids code from strings hears no complaint", () => {
  assert.deepEqual(opened.complaints, []);
});

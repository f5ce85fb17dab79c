import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import type { WebSocket } from "ws";
import { WebSocketServer } from "ws";
import {
  encodePayload,
  encodeRouted,
  keyPairFromSeed,
  parseRouted,
  parseWorkerToGateway,
  payloadHash,
  stringify,
  type GatewayToWorker,
  type MessageOf,
  type SignedPayload,
  type SignedVoucher,
  type WorkerToGateway,
} from "../../protocol/index.ts";

/** A gateway for one worker, over real sockets on loopback, played by the test. */
export interface FakeGateway {
  readonly url: string;
  readonly key: Uint8Array;
  readonly networkId: number;
  /** Evidence documents by hash, as the worker left them. */
  readonly evidence: Map<string, Uint8Array>;
  /** Every control message of the worker, in order. */
  readonly heard: WorkerToGateway[];
  /** How many sockets were opened so far. */
  readonly connections: number;
  /** What is different from an honest gateway's challenge and welcome. */
  readonly says: {
    challenge: Partial<MessageOf<GatewayToWorker, "challenge">>;
    welcome: Partial<MessageOf<GatewayToWorker, "welcome">>;
    /** Instead of a welcome. */
    refusal: MessageOf<GatewayToWorker, "error"> | undefined;
    /** Whether offers are accepted at once. */
    acceptsOffers: boolean;
  };
  newRouteId(): number;
  send(message: GatewayToWorker): void;
  sendText(text: string): void;
  sendBytes(routeId: number, bytes: Uint8Array): void;
  /** The first message of a kind after `from` messages heard, also one yet to come. */
  heardOne<Type extends WorkerToGateway["type"]>(type: Type, from?: number): Promise<MessageOf<WorkerToGateway, Type>>;
  /** The next binary message of a route, or the worker's `close` of it. */
  nextBytes(routeId: number): Promise<Uint8Array | MessageOf<WorkerToGateway, "close">>;
  sign(payload: SignedPayload): SignedVoucher;
  /** Drops the link without a word. */
  cut(): void;
  stop(): Promise<void>;
}

const NETWORK_ID = -3;

export async function startFakeGateway(): Promise<FakeGateway> {
  const pair = keyPairFromSeed(randomBytes(32));
  const evidence = new Map<string, Uint8Array>();
  const heard: WorkerToGateway[] = [];
  const waiting = new Set<() => void>();
  const arrived = new Map<number, (Uint8Array | MessageOf<WorkerToGateway, "close">)[]>();
  const says: FakeGateway["says"] = { challenge: {}, welcome: {}, refusal: undefined, acceptsOffers: true };
  let socket: WebSocket | undefined;
  let connections = 0;
  let lastRoute = 0;
  const wake = (): void => {
    for (const check of [...waiting]) check();
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      evidence.set((request.url ?? "").split("/").at(-1) ?? "", Buffer.concat(chunks));
      response.writeHead(204).end();
    });
  });
  const sockets = new WebSocketServer({ server, path: "/v1/worker" });
  const send = (message: GatewayToWorker): void => socket?.send(stringify(message));
  const arrive = (routeId: number, what: Uint8Array | MessageOf<WorkerToGateway, "close">): void => {
    arrived.set(routeId, [...(arrived.get(routeId) ?? []), what]);
    wake();
  };
  const answer = (message: WorkerToGateway): void => {
    if (message.type === "login") {
      send(says.refusal ?? { type: "welcome", feeBps: 500, ownerNamed: false, voucher: null, ...says.welcome });
    }
    if (message.type === "offer" && says.acceptsOffers) send({ type: "offer_accepted", id: message.id });
    if (message.type === "close") arrive(message.routeId, message);
  };
  sockets.on("connection", (connected) => {
    socket = connected;
    connections++;
    connected.on("message", (data: Buffer, isBinary) => {
      if (isBinary) {
        const { routeId, bytes } = parseRouted(data);
        arrive(routeId, bytes);
        return;
      }
      const message = parseWorkerToGateway(data.toString("utf8"));
      heard.push(message);
      answer(message);
      wake();
    });
    send({
      type: "challenge",
      protocol: { min: 1, max: 1 },
      gatewayKey: pair.publicKey,
      nonce: randomBytes(32),
      networkId: NETWORK_ID,
      time: Math.floor(Date.now() / 1000),
      ...says.challenge,
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const until = <T>(find: () => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const check = (): void => {
        const found = find();
        if (found === undefined) return;
        waiting.delete(check);
        resolve(found);
      };
      waiting.add(check);
      check();
    });
  return {
    url: `http://127.0.0.1:${port}`,
    key: pair.publicKey,
    networkId: NETWORK_ID,
    evidence,
    heard,
    says,
    get connections() {
      return connections;
    },
    newRouteId: () => ++lastRoute,
    send,
    sendText: (text) => socket?.send(text),
    sendBytes: (routeId, bytes) => socket?.send(encodeRouted(routeId, bytes)),
    heardOne: (type, from = 0) =>
      until(() =>
        heard.slice(from).find((message): message is MessageOf<WorkerToGateway, typeof type> => message.type === type),
      ),
    nextBytes: (routeId) => until(() => arrived.get(routeId)?.shift()),
    sign: (payload) => ({ boc: encodePayload(payload), signature: pair.sign(payloadHash(payload)) }),
    cut: () => socket?.terminate(),
    async stop() {
      for (const client of sockets.clients) client.terminate();
      sockets.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

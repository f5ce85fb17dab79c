import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { WebSocket } from "ws";
import {
  createEvidence,
  encodeOffer,
  evidenceHashOf,
  keyPairFromSeed,
  linkMessage,
  offerMessage,
  parseEvidence,
  parseGatewayToClient,
  parseGatewayToWorker,
  stringify,
  toHex,
  workerIdOf,
  type ClientToGateway,
  type GatewayToClient,
  type GatewayToWorker,
  type MessageOf,
  type WorkerToGateway,
} from "../protocol/index.ts";

/** Peers that do what a benchmark's script says: no engine, no sealing, just the messages. */

export interface GatewayAt {
  readonly url: string;
  readonly httpUrl: string;
  readonly gatewayKey: Uint8Array;
}

export interface Peer {
  readonly socket: WebSocket;
  send(message: ClientToGateway | WorkerToGateway): void;
}

export type ScriptedWorker = Peer & { readonly workerId: string; next: NextMessage<GatewayToWorker> };
export type ScriptedClient = Peer & { next: NextMessage<GatewayToClient> };

interface AnyMessage {
  readonly type: string;
}
type NextMessage<In extends AnyMessage> = <Type extends In["type"]>(type: Type) => Promise<MessageOf<In, Type>>;

export const BENCH_ROOT = "be".repeat(32);

/** A worker with an accepted offer. */
export async function linkWorker(gateway: GatewayAt, slots: number): Promise<ScriptedWorker> {
  const { publicKey, sign } = keyPairFromSeed(new Uint8Array(randomBytes(32)));
  const socket = new WebSocket(`${gateway.url}/v1/worker`, { perMessageDeflate: false });
  const next = reader(socket, parseGatewayToWorker);
  const send = sender(socket);
  const { nonce, time } = await next("challenge");
  const signature = sign(linkMessage({ role: "worker", gatewayKey: gateway.gatewayKey, nonce, time, address: "" }));
  send({ type: "login", protocol: 1, key: publicKey, address: "", time, signature });
  await next("welcome");
  const evidence = createEvidence(claimsOf(publicKey, time), { type: "none" }, sign);
  const evidenceHash = evidenceHashOf(parseEvidence(evidence).claimsBytes);
  const body = Buffer.from(evidence);
  const put = await fetch(`${gateway.httpUrl}/v1/evidence/${evidenceHash}`, { method: "PUT", body });
  if (!put.ok) throw new Error(`evidence was refused: ${await put.text()}`);
  const offer = encodeOffer({
    v: "acn1",
    ik: publicKey,
    gatewayKey: gateway.gatewayKey,
    manifestRoot: BENCH_ROOT,
    price: { prompt: 1n, cached: 1n, completion: 1n },
    contextTokens: 1_000_000_000,
    notAfter: time + 3600,
  });
  send({ type: "offer", id: "o", offer, offerSignature: sign(offerMessage(offer)), evidenceHash, slots });
  await next("offer_accepted");
  return { socket, send, next, workerId: workerIdOf(publicKey) };
}

/** A client whose channel the benchmark's gateway believes in. */
export async function linkClient(gateway: GatewayAt): Promise<ScriptedClient> {
  const { publicKey, sign } = keyPairFromSeed(new Uint8Array(randomBytes(32)));
  const socket = new WebSocket(`${gateway.url}/v1/client`, { perMessageDeflate: false });
  const next = reader(socket, parseGatewayToClient);
  const send = sender(socket);
  const address = `0:${toHex(publicKey)}`;
  const { nonce, time } = await next("challenge");
  const signature = sign(linkMessage({ role: "client", gatewayKey: gateway.gatewayKey, nonce, time, address }));
  send({ type: "login", protocol: 1, key: publicKey, address, time, signature });
  await next("welcome");
  return { socket, send, next };
}

function sender(socket: WebSocket): Peer["send"] {
  return (message) => socket.send(stringify(message));
}

/** Hands out text messages by type, in order of arrival; heartbeats are answered and forgotten. */
function reader<In extends AnyMessage>(socket: WebSocket, parse: (text: string) => In): NextMessage<In> {
  const kept: In[] = [];
  const waiting: { readonly type: string; readonly resolve: (message: In) => void }[] = [];
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    if (isBinary) return;
    const message = parse(data.toString());
    if (message.type === "heartbeat") return socket.send('{"type":"heartbeat"}');
    if (message.type === "reasons") return;
    const at = waiting.findIndex(({ type }) => type === message.type);
    if (at === -1) kept.push(message);
    else waiting.splice(at, 1)[0]?.resolve(message);
  });
  const closed = once(socket, "close").then(() => Promise.reject(new Error("the gateway hung up")));
  closed.catch(() => undefined);
  return async <Type extends In["type"]>(type: Type): Promise<MessageOf<In, Type>> => {
    const at = kept.findIndex((message) => message.type === type);
    if (at !== -1) return kept.splice(at, 1)[0] as MessageOf<In, Type>;
    const message = await Promise.race([new Promise<In>((resolve) => waiting.push({ type, resolve })), closed]);
    return message as MessageOf<In, Type>;
  };
}

function claimsOf(ik: Uint8Array, now: number): Parameters<typeof createEvidence>[0] {
  return {
    v: "acn1",
    ik,
    tier: "software",
    notBefore: now,
    notAfter: now + 3600,
    beacon: null,
    challenge: null,
    release: null,
    models: [{ id: "scripted", manifestRoot: BENCH_ROOT, quant: "none", bytes: 0 }],
    engine: { name: "scripted", version: "1", backend: "cpu" },
    gpuCc: null,
  };
}

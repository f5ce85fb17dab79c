import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { WebSocket } from "ws";
import {
  createEvidence,
  DATA,
  disputeMessage,
  encodeOffer,
  encodeReceipt,
  encodeRouted,
  evidenceHashOf,
  FIN,
  fromHex,
  linkMessage,
  offerHashOf,
  offerMessage,
  parseEvidence,
  parseGatewayToClient,
  parseGatewayToWorker,
  parsePayload,
  parseRouted,
  payloadHash,
  stringify,
  toHex,
  workerIdOf,
  type ChargeVoucher,
  type ClientToGateway,
  type CountersignedVoucher,
  type FinishReason,
  type FrameType,
  type GatewayToClient,
  type GatewayToWorker,
  type MessageOf,
  type OwnerProof,
  type PayoutVoucher,
  type PriceSheet,
  type SignedVoucher,
  type TokenUsage,
  type WorkerToGateway,
} from "../protocol/index.ts";
import type { Gateway } from "./gateway.ts";
import { isSignedBy, importPublicKey, signerFromSeed, type Signer } from "./signatures.ts";

/** Peers of a gateway written by hand over raw sockets: they say what a test tells them to, right or wrong. */

export const ROOT = "11".repeat(32);
export const PRICE: PriceSheet = { prompt: 1_000_000n, cached: 500_000n, completion: 4_000_000n };

/** What a peer needs to know of a gateway. */
export type Dialled = Pick<Gateway, "url" | "httpUrl" | "gatewayKey">;

type Incoming = GatewayToClient | GatewayToWorker;

/** A socket whose messages can be awaited in any order. */
export class RawPeer<In extends Incoming> {
  readonly ws: WebSocket;
  readonly received: In[] = [];
  readonly closed: Promise<unknown>;
  readonly #binary: { readonly routeId: number; readonly bytes: Uint8Array }[] = [];
  readonly #wake = new Set<() => void>();

  constructor(url: string, parse: (text: string) => In) {
    this.ws = new WebSocket(url, { perMessageDeflate: false });
    this.closed = once(this.ws, "close");
    this.ws.on("error", () => undefined);
    this.ws.on("message", (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.#binary.push(parseRouted(new Uint8Array(data)));
      else this.received.push(parse(data.toString()));
      for (const wake of this.#wake) wake();
    });
    this.ws.on("close", () => {
      for (const wake of this.#wake) wake();
    });
  }

  send(message: ClientToGateway | WorkerToGateway): void {
    this.ws.send(stringify(message));
  }

  raw(text: string): void {
    this.ws.send(text);
  }

  frame(routeId: number, bytes: Uint8Array): void {
    this.ws.send(encodeRouted(routeId, bytes));
  }

  /** The next message of a type, taken out of what was received. */
  async next<Type extends In["type"]>(
    type: Type,
    accept: (message: MessageOf<In, Type>) => boolean = () => true,
  ): Promise<MessageOf<In, Type>> {
    return this.#until(() => {
      const at = this.received.findIndex((one) => one.type === type && accept(one as MessageOf<In, Type>));
      return at === -1 ? undefined : (this.received.splice(at, 1)[0] as MessageOf<In, Type>);
    }, type);
  }

  /** The next binary message of a route. */
  async nextFrame(routeId: number): Promise<Uint8Array> {
    return this.#until(() => {
      const at = this.#binary.findIndex((one) => one.routeId === routeId);
      return at === -1 ? undefined : this.#binary.splice(at, 1)[0]?.bytes;
    }, `frame of route ${routeId}`);
  }

  /** Resolves with the gateway's next heartbeat, whatever the peer's role. */
  async heard(): Promise<void> {
    await this.next("heartbeat");
  }

  close(): void {
    this.ws.terminate();
  }

  async #until<Found>(find: () => Found | undefined, what: string): Promise<Found> {
    const deadline = Date.now() + 5000;
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (this.ws.readyState === WebSocket.CLOSED || Date.now() > deadline) {
        throw new Error(`no ${what}; got ${this.received.map((one) => stringify(one)).join(" ")}`);
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#wake.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, 1000);
        this.#wake.add(wake);
      });
    }
  }
}

export interface LoginOverrides {
  readonly seed?: Uint8Array;
  readonly address?: string;
  /** Unix seconds. */
  readonly time?: number;
  readonly ownerProof?: OwnerProof;
  /** Signs over this instead of the gateway's nonce. */
  readonly nonce?: Uint8Array;
  /** What a worker shows. */
  readonly voucher?: SignedVoucher;
  /** What a client shows. */
  readonly countersigned?: CountersignedVoucher;
}

export type Keyed<In extends Incoming> = RawPeer<In> & { readonly signer: Signer };
export type FakeWorker = Keyed<GatewayToWorker> & { readonly workerId: string; readonly gateway: Dialled };
export type FakeClient = Keyed<GatewayToClient> & { readonly channel: string; readonly gateway: Dialled };

/** A worker whose challenge is answered; the welcome is left to be read. */
export async function dialWorker(gateway: Dialled, overrides: LoginOverrides = {}): Promise<FakeWorker> {
  const signer = signerFromSeed(overrides.seed ?? randomBytes(32));
  const peer = new RawPeer(`${gateway.url}/v1/worker`, parseGatewayToWorker);
  await answerChallenge(peer, "worker", signer, overrides);
  return Object.assign(peer, { signer, workerId: workerIdOf(signer.publicKey), gateway });
}

export async function dialClient(gateway: Dialled, overrides: LoginOverrides = {}): Promise<FakeClient> {
  const signer = signerFromSeed(overrides.seed ?? randomBytes(32));
  const peer = new RawPeer(`${gateway.url}/v1/client`, parseGatewayToClient);
  await answerChallenge(peer, "client", signer, overrides);
  return Object.assign(peer, { signer, channel: overrides.address ?? "", gateway });
}

async function answerChallenge<In extends Incoming>(
  peer: RawPeer<In>,
  role: "worker" | "client",
  signer: Signer,
  overrides: LoginOverrides,
): Promise<void> {
  const { gatewayKey, nonce } = (await peer.next("challenge")) as MessageOf<GatewayToClient, "challenge">;
  const time = overrides.time ?? Math.floor(Date.now() / 1000);
  const { address = "", ownerProof, voucher, countersigned } = overrides;
  const message = linkMessage({ role, gatewayKey, nonce: overrides.nonce ?? nonce, time, address });
  peer.send({
    type: "login",
    protocol: 1,
    key: signer.publicKey,
    address,
    time,
    signature: signer.sign(message),
    ...(ownerProof === undefined ? {} : { ownerProof }),
    ...(voucher === undefined ? {} : { voucher }),
    ...(countersigned === undefined ? {} : { countersigned }),
  });
}

export interface ServeOverrides extends LoginOverrides {
  readonly root?: string;
  readonly price?: PriceSheet;
  readonly slots?: number;
  readonly contextTokens?: number;
  /** Leaves the welcome to be read by the test. */
  readonly keepWelcome?: boolean;
}

/** A worker that has put its evidence and whose offer was accepted. */
export async function servingWorker(gateway: Dialled, overrides: ServeOverrides = {}): Promise<FakeWorker> {
  const worker = await dialWorker(gateway, overrides);
  const welcome = await worker.next("welcome");
  if (overrides.keepWelcome === true) worker.received.unshift(welcome);
  await offer(worker, overrides);
  await worker.next("offer_accepted");
  return worker;
}

export async function offer(worker: FakeWorker, overrides: ServeOverrides = {}): Promise<void> {
  const root = overrides.root ?? ROOT;
  const evidence = evidenceOf(worker.signer, root);
  const put = await putEvidence(worker.gateway, evidence);
  if (put !== 204) throw new Error(`evidence was answered with ${put}`);
  const bytes = offerOf(worker, overrides);
  worker.send({
    type: "offer",
    id: "offer",
    offer: bytes,
    offerSignature: worker.signer.sign(offerMessage(bytes)),
    evidenceHash: hashOf(evidence),
    slots: overrides.slots ?? 4,
  });
}

export function offerOf(worker: Pick<FakeWorker, "signer" | "gateway">, overrides: ServeOverrides = {}): Uint8Array {
  return encodeOffer({
    v: "acn1",
    ik: worker.signer.publicKey,
    gatewayKey: worker.gateway.gatewayKey,
    manifestRoot: overrides.root ?? ROOT,
    price: overrides.price ?? PRICE,
    contextTokens: overrides.contextTokens ?? 8192,
    notAfter: Math.floor(Date.now() / 1000) + 3600,
  });
}

export interface EvidenceOverrides {
  /** Unix seconds. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly tier?: "software" | "tpm" | "tee";
}

export function evidenceOf(signer: Signer, root: string, overrides: EvidenceOverrides = {}): Uint8Array {
  const notBefore = overrides.notBefore ?? Math.floor(Date.now() / 1000) - 10;
  return createEvidence(
    {
      v: "acn1",
      ik: signer.publicKey,
      tier: overrides.tier ?? "software",
      notBefore,
      notAfter: overrides.notAfter ?? notBefore + 3600,
      beacon: null,
      challenge: null,
      release: null,
      models: [{ id: "practice", manifestRoot: root, quant: "Q8_0", bytes: 1000 }],
      engine: { name: "scripted", version: "1", backend: "cpu" },
      gpuCc: null,
    },
    { type: "none" },
    signer.sign,
  );
}

export function hashOf(evidence: Uint8Array): string {
  return evidenceHashOf(parseEvidence(evidence).claimsBytes);
}

/** The HTTP status of the answer. */
export async function putEvidence(gateway: Dialled, evidence: Uint8Array, hashHex = hashOf(evidence)): Promise<number> {
  const response = await fetch(`${gateway.httpUrl}/v1/evidence/${hashHex}`, {
    method: "PUT",
    body: Buffer.from(evidence),
  });
  await response.arrayBuffer();
  return response.status;
}

export type ReserveOverrides = Partial<MessageOf<ClientToGateway, "reserve">>;

export function reserve(client: FakeClient, overrides: ReserveOverrides = {}): void {
  client.send({
    type: "reserve",
    id: "r",
    model: "practice",
    manifestRoot: ROOT,
    maxPromptBytes: 400,
    maxCompletionTokens: 100,
    maxPrice: null,
    minTier: "software",
    candidates: 1,
    ...overrides,
  });
}

export async function reserved(
  client: FakeClient,
  overrides: ReserveOverrides = {},
): Promise<MessageOf<GatewayToClient, "reserved">> {
  reserve(client, overrides);
  return client.next("reserved");
}

export async function refused(
  client: FakeClient,
  overrides: ReserveOverrides = {},
): Promise<MessageOf<GatewayToClient, "refused">> {
  reserve(client, overrides);
  return client.next("refused");
}

/** A frame of the right shape whose content nobody can open: a gateway cannot tell. */
export function sealedFrame(type: FrameType, dataLength = 0): Uint8Array {
  const padded = [64, 256, 1024, 4096, 16_384, 65_536].find((size) => size >= dataLength + 4) ?? 65_536;
  const frame = new Uint8Array(randomBytes(padded + 21));
  new DataView(frame.buffer).setUint32(0, padded + 17);
  frame[4] = type;
  return frame;
}

/** A stream that both sides know of, with what went over it for the receipt. */
export interface OpenStream {
  readonly client: FakeClient;
  readonly worker: FakeWorker;
  readonly reservationId: string;
  readonly offerHash: string;
  readonly clientRoute: number;
  readonly workerRoute: number;
  readonly sessionId: string;
  readonly streamId: number;
  readonly request: Uint8Array[];
  readonly response: Uint8Array[];
}

export async function openStream(
  client: FakeClient,
  worker: FakeWorker,
  overrides: ReserveOverrides = {},
): Promise<OpenStream> {
  const { reservationId, candidates } = await reserved(client, overrides);
  const [candidate] = candidates;
  if (candidate === undefined) throw new Error("no candidate");
  const sessionId = toHex(new Uint8Array(randomBytes(16)));
  client.send({ type: "open", id: reservationId, reservationId, workerId: worker.workerId, sessionId, streamId: 1 });
  const clientRoute = (await client.next("route", (one) => one.id === reservationId)).routeId;
  const workerRoute = (await worker.next("route", (one) => one.reservationId === reservationId)).routeId;
  const offerHash = offerHashOf(candidate.offer);
  return {
    client,
    worker,
    reservationId,
    offerHash,
    clientRoute,
    workerRoute,
    sessionId,
    streamId: 1,
    request: [],
    response: [],
  };
}

/** Sends a frame from the client and waits until the worker has it. */
export async function ask(stream: OpenStream, ...frames: readonly Uint8Array[]): Promise<void> {
  for (const frame of frames) {
    stream.client.frame(stream.clientRoute, frame);
    stream.request.push(frame);
    await stream.worker.nextFrame(stream.workerRoute);
  }
}

/** Sends a frame from the worker and waits until the client has it. */
export async function answer(stream: OpenStream, ...frames: readonly Uint8Array[]): Promise<void> {
  for (const frame of frames) {
    stream.worker.frame(stream.workerRoute, frame);
    stream.response.push(frame);
    await stream.client.nextFrame(stream.clientRoute);
  }
}

export interface ReceiptOverrides {
  readonly usage?: TokenUsage;
  readonly finish?: FinishReason;
  readonly requestHash?: Uint8Array;
  readonly manifestRoot?: string;
  readonly offerHash?: string;
  readonly streamId?: number;
  readonly signer?: Signer;
}

export const USAGE: TokenUsage = { promptTokens: 30, cachedTokens: 10, completionTokens: 20 };

export function sendReceipt(stream: OpenStream, overrides: ReceiptOverrides = {}): Uint8Array {
  const receipt = encodeReceipt({
    sessionId: stream.sessionId,
    streamId: overrides.streamId ?? stream.streamId,
    requestHash: overrides.requestHash ?? hashFrames(stream.request),
    responseHash: hashFrames(stream.response),
    manifestRoot: overrides.manifestRoot ?? ROOT,
    offerHash: overrides.offerHash ?? stream.offerHash,
    usage: overrides.usage ?? USAGE,
    finish: overrides.finish ?? "stop",
  });
  const signature = (overrides.signer ?? stream.worker.signer).sign(receipt);
  stream.worker.send({ type: "receipt", reservationId: stream.reservationId, receipt, signature });
  return receipt;
}

function hashFrames(frames: readonly Uint8Array[]): Uint8Array {
  const digest = createHash("sha256");
  for (const frame of frames) digest.update(frame);
  return new Uint8Array(digest.digest());
}

/** A whole answer of one DATA frame and FIN, with its receipt. */
export async function serve(
  client: FakeClient,
  worker: FakeWorker,
  overrides: ReserveOverrides & ReceiptOverrides = {},
): Promise<OpenStream> {
  const { usage, finish, requestHash, manifestRoot, offerHash, streamId, signer, ...wish } = overrides;
  const stream = await openStream(client, worker, wish);
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  const given = Object.entries({ usage, finish, requestHash, manifestRoot, offerHash, streamId, signer });
  sendReceipt(stream, Object.fromEntries(given.filter(([, value]) => value !== undefined)));
  return stream;
}

/** The voucher in a `charge`, its signature checked. */
export function chargeVoucher(client: FakeClient, message: MessageOf<GatewayToClient, "charge">): ChargeVoucher {
  const payload = parsePayload(checked(client.gateway, message.voucher).boc);
  if (payload.type !== "charge") throw new Error(`a ${payload.type} voucher`);
  return payload;
}

export function payoutVoucher(gateway: Dialled, voucher: SignedVoucher | null): PayoutVoucher {
  const payload = parsePayload(checked(gateway, voucher).boc);
  if (payload.type !== "payout") throw new Error(`a ${payload.type} voucher`);
  return payload;
}

function checked(gateway: Dialled, voucher: SignedVoucher | null): SignedVoucher {
  const key = importPublicKey(gateway.gatewayKey);
  if (voucher === null || key === undefined) throw new Error("no voucher");
  if (!isSignedBy(key, payloadHash(parsePayload(voucher.boc)), voucher.signature))
    throw new Error("a voucher nobody signed");
  return voucher;
}

export function countersign(client: FakeClient, voucher: ChargeVoucher): void {
  client.send({ type: "countersign", total: voucher.total, signature: client.signer.sign(payloadHash(voucher)) });
}

export function dispute(
  client: FakeClient,
  receiptHash: string,
  counts: { promptTokens: number; completionTokens: number },
): void {
  const signature = client.signer.sign(disputeMessage(fromHex(receiptHash), counts));
  client.send({ type: "dispute", receiptHash, ...counts, signature });
}

import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import {
  answerHello,
  chargeFor,
  CompletionCounter,
  createEvidence,
  encodeOffer,
  encodePayload,
  encodeReceipt,
  encodeRouted,
  encodeSealedEnd,
  encodeSealedEvent,
  EMPTY_CHAIN,
  evidenceHashOf,
  FIN,
  FrameOpener,
  FrameSealer,
  fromHex,
  hash,
  keyPairFromSeed,
  nextChargeChain,
  offerHashOf,
  offerMessage,
  parseClientToGateway,
  parseEvidence,
  parseRequestBody,
  parseRequestEnvelope,
  parseRouted,
  payloadHash,
  stringify,
  workerIdOf,
  type Candidate,
  type ChargeVoucher,
  type ClientToGateway,
  type CountersignedVoucher,
  type EvidenceClaims,
  type FailureCode,
  type FinishReason,
  type GatewayToClient,
  type MessageOf,
  type Offer,
  type PendingSession,
  type Receipt,
  type SealedEnd,
  type SealedEvent,
  type SealedRequest,
  type Session,
  type Sign,
  type SignedReceipt,
  type TokenUsage,
} from "../protocol/index.ts";

// A gateway and its workers in one object, honest unless a hook says otherwise. It speaks through the protocol's own codecs
// over a real socket on loopback, so that a test meets the bytes a client would meet.

export const FAKE_NETWORK_ID = -777;
export const FAKE_CHANNEL = `0:${"ab".repeat(32)}`;
export const FAKE_PRICE = { prompt: 1_000_000n, cached: 500_000n, completion: 2_000_000n };
export const FAKE_ROOT = "11".repeat(32);

export interface FakeWorkerOptions {
  readonly claims?: Partial<EvidenceClaims>;
  readonly offer?: Partial<Offer>;
  /** Default: two deltas, then `stop`. */
  readonly answer?: (stream: FakeStream) => void | Promise<void>;
}

/** Where a test bends the gateway. Each returns what is sent instead. */
export interface FakeHooks {
  candidates?: (candidates: readonly Candidate[]) => readonly Candidate[];
  reserve?: (message: MessageOf<ClientToGateway, "reserve">) => GatewayToClient | undefined;
  challenge?: (message: MessageOf<GatewayToClient, "challenge">) => GatewayToClient;
  welcome?: (message: MessageOf<GatewayToClient, "welcome">) => GatewayToClient;
  /** Which worker is handed a ClientHello for this one. */
  helloWorker?: (worker: FakeWorker) => FakeWorker;
  workerHello?: (message: Uint8Array) => Uint8Array;
  /** Why a ClientHello is refused. */
  hello?: (worker: FakeWorker) => FailureCode | undefined;
  /** Why a stream is not let through. */
  open?: (worker: FakeWorker) => FailureCode | undefined;
  /** The frames that reach the client for the next one of the worker's. */
  relay?: (frame: Uint8Array, index: number) => readonly Uint8Array[];
  receipt?: (receipt: Receipt) => Receipt;
  voucher?: (voucher: ChargeVoucher) => ChargeVoucher;
  charge?: (message: MessageOf<GatewayToClient, "charge">) => GatewayToClient | undefined;
}

export interface FakeGatewayOptions {
  readonly workers?: readonly FakeWorkerOptions[];
  readonly hooks?: FakeHooks;
  readonly feeBps?: number;
  /** Said instead of a challenge. */
  readonly greeting?: string;
  /** Whether clients pay from {@link FAKE_CHANNEL}; otherwise charges have no voucher. */
  readonly isTrial?: boolean;
}

export interface FakeWorker {
  readonly workerId: string;
  readonly sign: Sign;
  readonly publicKey: Uint8Array;
  readonly evidence: Uint8Array;
  readonly evidenceHash: string;
  readonly offer: Offer;
  readonly offerBytes: Uint8Array;
  readonly candidate: Candidate;
  readonly answer: (stream: FakeStream) => void | Promise<void>;
  readonly sessions: Map<string, { readonly pending: PendingSession; session: Promise<Session> | undefined }>;
}

/** The worker's side of one stream. */
export interface FakeStream {
  readonly request: SealedRequest;
  readonly worker: FakeWorker;
  /** Resolves with the code when the client closes the route. */
  readonly closed: Promise<FailureCode>;
  event(event: SealedEvent): void;
  end(finish?: FinishReason, changes?: Partial<SealedEnd>): void;
  abort(code: FailureCode): void;
  /** The gateway's word, without a frame. */
  close(code: FailureCode): void;
  /** The socket goes. */
  cut(): void;
}

export interface FakeGateway {
  readonly url: string;
  readonly key: Uint8Array;
  readonly workers: readonly FakeWorker[];
  /** May be changed while it runs. */
  readonly hooks: FakeHooks;
  /** Every control message that came, oldest first. */
  readonly received: readonly ClientToGateway[];
  /** Plaintext of every request a worker opened. */
  readonly requests: readonly SealedRequest[];
  /** Resolves with the first message of this type that was not waited for before. */
  next<Type extends ClientToGateway["type"]>(type: Type): Promise<MessageOf<ClientToGateway, Type>>;
  /** The newest voucher that was sent, its signature being the client's once it countersigned. */
  readonly ledger: FakeLedger;
  /** Cuts every socket; the server goes on. */
  cutLinks(): void;
  sendToAll(message: GatewayToClient): void;
  /** Anything at all, as text. */
  sendText(text: string): void;
  sendBytes(bytes: Uint8Array): void;
  resendCharge(): void;
  close(): Promise<void>;
}

export interface FakeLedger {
  total: bigint;
  chain: Uint8Array;
  countersigned: CountersignedVoucher | null;
  uncountersigned: FakeCharge[];
  /** How many of them the charge under way names; the next waits for its answer. */
  underWay: number;
}

interface FakeCharge {
  readonly receipt: SignedReceipt;
  readonly receiptHash: Uint8Array;
  readonly price: Offer["price"];
  usage: TokenUsage;
}

export const now = (): number => Math.floor(Date.now() / 1000);
const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));

export const HELLO_WORLD: readonly SealedEvent[] = [
  { t: "delta", text: "Hello", tokenIds: [1] },
  { t: "delta", text: " world", tokenIds: [2] },
];

export function fakeWorker(
  { claims = {}, offer = {}, answer = sayHello }: FakeWorkerOptions,
  gatewayKey: Uint8Array,
): FakeWorker {
  const { publicKey, sign } = keyPairFromSeed(random(32));
  const evidence = createEvidence(
    {
      v: "acn1",
      ik: publicKey,
      tier: "software",
      notBefore: now() - 10,
      notAfter: now() + 3600,
      beacon: null,
      challenge: null,
      release: null,
      models: [{ id: "practice", manifestRoot: FAKE_ROOT, quant: "F32", bytes: 1 }],
      engine: { name: "fake", version: "1", backend: "cpu" },
      gpuCc: null,
      ...claims,
    },
    { type: "none" },
    sign,
  );
  const made: Offer = {
    v: "acn1",
    ik: publicKey,
    gatewayKey,
    manifestRoot: FAKE_ROOT,
    price: FAKE_PRICE,
    contextTokens: 4096,
    notAfter: now() + 3600,
    ...offer,
  };
  const offerBytes = encodeOffer(made);
  const evidenceHash = evidenceHashOf(parseEvidence(evidence).claimsBytes);
  const workerId = workerIdOf(publicKey);
  const candidate = { workerId, evidenceHash, offer: offerBytes, offerSignature: sign(offerMessage(offerBytes)) };
  return {
    workerId,
    sign,
    publicKey,
    evidence,
    evidenceHash,
    offer: made,
    offerBytes,
    candidate,
    answer,
    sessions: new Map(),
  };
}

function sayHello(stream: FakeStream): void {
  for (const event of HELLO_WORLD) stream.event(event);
  stream.end();
}

export async function startFakeGateway(options: FakeGatewayOptions = {}): Promise<FakeGateway> {
  const { hooks = {}, feeBps = 500, isTrial = false } = options;
  const { publicKey: key, sign } = keyPairFromSeed(random(32));
  const workers = (options.workers ?? [{}]).map((worker) => fakeWorker(worker, key));
  const documents = new Map(workers.map((worker) => [worker.evidenceHash, worker.evidence]));
  const received: ClientToGateway[] = [];
  const requests: SealedRequest[] = [];
  const waiting: { type: string; resolve: (message: ClientToGateway) => void }[] = [];
  const unclaimed: ClientToGateway[] = [];
  const ledger: FakeLedger = { total: 0n, chain: EMPTY_CHAIN, countersigned: null, uncountersigned: [], underWay: 0 };
  const routes = new Map<number, { bytes: (bytes: Uint8Array) => void; closed: (code: FailureCode) => void }>();
  let ids = 0;

  const http: Server = createServer((request, response) => {
    const [, name = ""] = /^\/v1\/evidence\/([0-9a-f]{64})$/.exec(request.url ?? "") ?? [];
    const document = documents.get(name);
    response.writeHead(document === undefined ? 404 : 200, { "access-control-allow-origin": "*" });
    response.end(document);
  });
  const sockets = new WebSocketServer({ server: http, path: "/v1/client" });
  sockets.on("connection", (socket) => link(socket));

  function link(socket: WebSocket): void {
    const send = (message: GatewayToClient): void => socket.send(stringify(message));
    const challenge = {
      type: "challenge",
      protocol: { min: 1, max: 1 },
      gatewayKey: key,
      nonce: random(32),
      networkId: FAKE_NETWORK_ID,
      time: now(),
    } as const;
    socket.send(options.greeting ?? stringify(hooks.challenge?.(challenge) ?? challenge));
    socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) {
        const { routeId, bytes } = parseRouted(new Uint8Array(data));
        routes.get(routeId)?.bytes(bytes);
        return;
      }
      const message = parseClientToGateway(data.toString());
      received.push(message);
      const at = waiting.findIndex(({ type }) => type === message.type);
      if (at >= 0) waiting.splice(at, 1)[0]?.resolve(message);
      else unclaimed.push(message);
      handle(message, socket, send);
    });
  }

  function handle(message: ClientToGateway, socket: WebSocket, send: (message: GatewayToClient) => void): void {
    switch (message.type) {
      case "login": {
        const welcome = { type: "welcome", feeBps, countersigned: ledger.countersigned } as const;
        return send(hooks.welcome?.(welcome) ?? welcome);
      }
      case "reserve":
        return send(hooks.reserve?.(message) ?? reserved(message));
      case "hello":
        return hello(message, socket, send);
      case "open":
        return open(message, socket, send);
      case "countersign":
        return countersigned(message, send);
      case "dispute":
        return disputed(message, send);
      case "close":
        return routes.get(message.routeId)?.closed(message.code);
      case "release":
      case "heartbeat":
        return;
    }
  }

  function reserved({ id, manifestRoot }: MessageOf<ClientToGateway, "reserve">): GatewayToClient {
    const fitting = workers
      .filter(({ offer }) => offer.manifestRoot === manifestRoot)
      .map(({ candidate }) => candidate);
    const candidates = [...(hooks.candidates?.(fitting) ?? fitting)];
    if (candidates.length === 0) {
      return { type: "refused", id, code: "model_unavailable", tiersOffered: { software: 0, tpm: 0, tee: 0 } };
    }
    return {
      type: "reserved",
      id,
      reservationId: `r${++ids}`,
      feeBps,
      holdNanoton: 0n,
      expiresAt: now() + 30,
      routeId: ++ids,
      candidates,
    };
  }

  function workerOf(workerId: string): FakeWorker {
    const worker = workers.find((one) => one.workerId === workerId);
    if (worker === undefined) throw new RangeError("the client asked for nobody");
    return worker;
  }

  function hello(
    message: MessageOf<ClientToGateway, "hello">,
    socket: WebSocket,
    send: (message: GatewayToClient) => void,
  ): void {
    const routeId = ++ids;
    const named = workerOf(message.workerId);
    const worker = hooks.helloWorker?.(named) ?? named;
    const refusal = hooks.hello?.(worker);
    routes.set(routeId, {
      closed: () => undefined,
      bytes: (clientHello) => {
        void (async () => {
          const pending = await answerHello(clientHello, { sign: worker.sign, now: now(), random });
          worker.sessions.set(pending.sessionId, { pending, session: undefined });
          socket.send(encodeRouted(routeId, hooks.workerHello?.(pending.message) ?? pending.message));
        })();
      },
    });
    send({ type: "route", id: message.id, routeId });
    if (refusal !== undefined) send({ type: "close", routeId, code: refusal });
  }

  function open(
    message: MessageOf<ClientToGateway, "open">,
    socket: WebSocket,
    send: (message: GatewayToClient) => void,
  ): void {
    const worker = workerOf(message.workerId);
    const refusal = hooks.open?.(worker);
    if (refusal === "busy") return send({ type: "error", code: refusal, id: message.id });
    const routeId = message.routeId ?? ++ids;
    if (message.routeId === undefined) send({ type: "route", id: message.id, routeId });
    if (refusal !== undefined) return send({ type: "close", routeId, code: refusal });
    const entry = worker.sessions.get(message.sessionId);
    if (entry === undefined) return send({ type: "close", routeId, code: "session_unknown" });
    const closed = Promise.withResolvers<FailureCode>();
    let isFirst = entry.session === undefined;
    let tail: Promise<void> = Promise.resolve();
    const reader = createReader(message.streamId);
    routes.set(routeId, {
      closed: (code) => closed.resolve(code),
      bytes(bytes) {
        const mine = bytes.slice();
        if (isFirst) {
          isFirst = false;
          entry.session = entry.pending.complete(mine);
          return;
        }
        tail = tail.then(async () => {
          const session = await entry.session;
          if (session === undefined) throw new RangeError("frames before enc");
          const request = await reader(session, mine);
          if (request !== undefined) answer(request, session);
        });
      },
    });

    function answer({ request, requestHash }: OpenedRequest, session: Session): void {
      requests.push(request);
      void session.streamKeys(1, message.streamId).then((keys) => {
        const stream = createStream(
          { worker, request, sealer: new FrameSealer(keys), closed: closed.promise },
          {
            frame: (frame, index) => {
              for (const passed of hooks.relay?.(frame, index) ?? [frame]) socket.send(encodeRouted(routeId, passed));
            },
            close: (code) => send({ type: "close", routeId, code }),
            cut: () => socket.terminate(),
            ended: (usage, finish, responseHash) => {
              const { reservationId, sessionId, streamId } = message;
              const { manifestRoot } = worker.offer;
              const offerHash = offerHashOf(worker.offerBytes);
              const honest = { sessionId, streamId, requestHash, responseHash, manifestRoot, offerHash, usage, finish };
              charge(worker, reservationId, hooks.receipt?.(honest) ?? honest, send);
            },
          },
        );
        void worker.answer(stream);
      });
    }
  }

  function charge(
    worker: FakeWorker,
    reservationId: string,
    made: Receipt,
    send: (message: GatewayToClient) => void,
  ): void {
    const receipt = encodeReceipt(made);
    const signed = { reservationId, receipt, signature: worker.sign(receipt) };
    if (isTrial) return sendCharge({ type: "charge", receipts: [signed], voucher: null }, send);
    const { price } = worker.offer;
    ledger.uncountersigned.push({ receipt: signed, receiptHash: hash(receipt), price, usage: made.usage });
    if (ledger.underWay === 0) sendCharge(nextCharge(), send);
  }

  function sendCharge(message: MessageOf<GatewayToClient, "charge">, send: (message: GatewayToClient) => void): void {
    const changed = hooks.charge === undefined ? message : hooks.charge(message);
    if (changed !== undefined) send(changed);
  }

  function nextCharge(count = Math.min(128, ledger.uncountersigned.length)): MessageOf<GatewayToClient, "charge"> {
    let { total, chain } = ledger;
    const named = ledger.uncountersigned.slice(0, count);
    ledger.underWay = count;
    for (const { usage, price, receiptHash } of named) {
      total += chargeFor(usage, price, feeBps).charge;
      chain = nextChargeChain(chain, receiptHash);
    }
    const honest: ChargeVoucher = {
      type: "charge",
      networkId: FAKE_NETWORK_ID,
      channel: FAKE_CHANNEL,
      total,
      receipt: chain,
    };
    const voucher = hooks.voucher?.(honest) ?? honest;
    const receipts = named.map(({ receipt }) => receipt);
    return {
      type: "charge",
      receipts,
      voucher: { boc: encodePayload(voucher), signature: sign(payloadHash(voucher)) },
    };
  }

  function countersigned(
    message: MessageOf<ClientToGateway, "countersign">,
    send: (message: GatewayToClient) => void,
  ): void {
    const { voucher } = nextCharge(ledger.underWay);
    if (voucher === null || ledger.underWay === 0) return;
    for (const { receiptHash } of ledger.uncountersigned.splice(0, ledger.underWay)) {
      ledger.chain = nextChargeChain(ledger.chain, receiptHash);
    }
    ledger.total = message.total;
    ledger.countersigned = { boc: voucher.boc, signature: message.signature, gatewaySignature: voucher.signature };
    ledger.underWay = 0;
    if (ledger.uncountersigned.length > 0) sendCharge(nextCharge(), send);
  }

  function disputed(message: MessageOf<ClientToGateway, "dispute">, send: (message: GatewayToClient) => void): void {
    const found = ledger.uncountersigned.find(({ receiptHash }) => equalHex(receiptHash, message.receiptHash));
    if (found === undefined) return;
    const { promptTokens, completionTokens } = message;
    found.usage = { promptTokens, cachedTokens: Math.min(found.usage.cachedTokens, promptTokens), completionTokens };
    sendCharge(nextCharge(), send);
  }

  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    key,
    workers,
    hooks,
    received,
    requests,
    ledger,
    next<Type extends ClientToGateway["type"]>(type: Type) {
      const at = unclaimed.findIndex((message) => message.type === type);
      const [message] = at < 0 ? [] : unclaimed.splice(at, 1);
      const found = message ?? new Promise<ClientToGateway>((resolve) => waiting.push({ type, resolve }));
      return Promise.resolve(found) as Promise<MessageOf<ClientToGateway, Type>>;
    },
    cutLinks() {
      for (const socket of sockets.clients) socket.terminate();
    },
    sendToAll(message) {
      for (const socket of sockets.clients) socket.send(stringify(message));
    },
    sendText(text) {
      for (const socket of sockets.clients) socket.send(text);
    },
    sendBytes(bytes) {
      for (const socket of sockets.clients) socket.send(bytes);
    },
    resendCharge() {
      for (const socket of sockets.clients) sendCharge(nextCharge(), (message) => socket.send(stringify(message)));
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets.clients) socket.terminate();
        sockets.close();
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}

function equalHex(bytes: Uint8Array, hex: string): boolean {
  return Buffer.from(bytes).equals(fromHex(hex));
}

interface OpenedRequest {
  readonly request: SealedRequest;
  readonly requestHash: Uint8Array;
}

/** Joins the frames of one request; resolves with it after its FIN. */
function createReader(streamId: number): (session: Session, frame: Uint8Array) => Promise<OpenedRequest | undefined> {
  let opener: FrameOpener | undefined;
  const frames: Uint8Array[] = [];
  const parts: Uint8Array[] = [];
  return async (session, frame) => {
    opener ??= new FrameOpener(await session.streamKeys(0, streamId));
    frames.push(frame);
    const { type, data } = opener.open(frame);
    if (type !== FIN) {
      parts.push(data);
      return undefined;
    }
    const request = parseRequestBody(parseRequestEnvelope(Buffer.concat(parts)));
    return { request, requestHash: hash(...frames) };
  };
}

interface StreamPort {
  frame(frame: Uint8Array, index: number): void;
  close(code: FailureCode): void;
  cut(): void;
  ended(usage: TokenUsage, finish: FinishReason, responseHash: Uint8Array): void;
}

function createStream(
  made: { worker: FakeWorker; request: SealedRequest; sealer: FrameSealer; closed: Promise<FailureCode> },
  port: StreamPort,
): FakeStream {
  const { worker, request, sealer, closed } = made;
  const counter = new CompletionCounter();
  const frames: Uint8Array[] = [];
  const send = (frame: Uint8Array): void => {
    frames.push(frame);
    port.frame(frame, frames.length - 1);
  };
  const usageOf = (finish: FinishReason): TokenUsage => ({
    promptTokens: 7,
    cachedTokens: 2,
    completionTokens: counter.count(finish),
  });
  return {
    request,
    worker,
    closed,
    event(event) {
      counter.add(event);
      send(sealer.seal(encodeSealedEvent(event)));
    },
    end(finish = "stop", changes = {}) {
      const { manifestRoot } = worker.offer;
      const honest = {
        finish_reason: finish,
        usage: usageOf(finish),
        manifestRoot,
        offerHash: offerHashOf(worker.offerBytes),
      };
      const end = { ...honest, ...changes };
      send(sealer.seal(encodeSealedEnd(end), FIN));
      port.ended(end.usage, finish, hash(...frames));
    },
    abort(code) {
      send(sealer.abort(code));
      port.ended(usageOf("failed"), "failed", hash(...frames));
    },
    close: (code) => port.close(code),
    cut: () => port.cut(),
  };
}

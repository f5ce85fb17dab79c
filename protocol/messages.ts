import { z } from "./schema.ts";
import { utf8 } from "./bytes.ts";
import { TIERS } from "./evidence/document.ts";
import { Failure, FAILURES, type FailureCode } from "./failure.ts";
import { RECEIPT_BYTES } from "./receipt.ts";
import {
  bytesField,
  count,
  hashHex,
  key32,
  nanoton,
  parseStrictJson,
  priceSheet,
  signature,
  unixSeconds,
} from "./strict-json.ts";

/**
 * Every control message of a link, one union a direction, parsed once at the door (NETWORK §1). Control messages are JSON
 * text; sealed bytes are binary (`routed.ts`) and evidence travels by HTTP, never here.
 */

/** The protocol versions this build speaks, named in the first message. */
export const PROTOCOL_VERSIONS = { min: 1, max: 1 } as const;

/** Longest control message, in bytes of UTF-8. */
export const MAX_CONTROL_BYTES = 65_536;

/** A heartbeat goes both ways this often; a link silent for {@link LINK_SILENCE_MS} is gone. */
export const HEARTBEAT_MS = 10_000;
export const LINK_SILENCE_MS = 25_000;

const failureCode = z.enum(Object.keys(FAILURES) as [FailureCode, ...FailureCode[]]);
const requestId = z.string().min(1).max(64);
const sessionId = z.string().regex(/^[0-9a-f]{32}$/);
const routeId = z.int().min(1);
const streamId = z.int().min(1).max(0xffff_ffff);
const rawAddress = z.string().regex(/^0:[0-9a-f]{64}$/, "not a raw address in workchain 0");
const address = z.string().regex(/^(0:[0-9a-f]{64})?$/, "not a raw address in workchain 0");
const networkId = z.int().min(-0x8000_0000).max(0x7fff_ffff);

// Both ways

const heartbeat = z.strictObject({ type: z.literal("heartbeat") });
/** A route ends before its FIN. The code is a hint: an unauthenticated gateway's word (ACN/1 §3.5). */
const close = z.strictObject({ type: z.literal("close"), routeId, code: failureCode });

// Gateway to either

const challenge = z.strictObject({
  type: z.literal("challenge"),
  protocol: z.strictObject({ min: count, max: count }),
  gatewayKey: key32,
  nonce: bytesField(32),
  networkId,
  time: unixSeconds,
});
const error = z.strictObject({
  type: z.literal("error"),
  code: failureCode,
  /** The request it answers, when that had an id. */
  id: requestId.optional(),
  retryAfterMs: count.optional(),
});
/** The gateway is about to stop: open nothing new here. */
const drain = z.strictObject({
  type: z.literal("drain"),
  until: unixSeconds,
  elsewhere: z.array(z.string().max(200)).max(16),
});

/** What a wallet app answers to a ton_proof request (TON Connect), as the owner's worker passes it on. */
const ownerProof = z.strictObject({
  address: rawAddress,
  stateInit: bytesField(undefined, 8192),
  domain: z.string().max(253),
  timestamp: unixSeconds,
  signature,
});
export type OwnerProof = z.output<typeof ownerProof>;

/** What the logins of both roles have in common. */
const loginFields = {
  type: z.literal("login"),
  protocol: z.int(),
  /** Identity key (worker) or payment key (client). */
  key: key32,
  /** The owner (worker) or the ClientChannel (client), or empty. */
  address,
  time: unixSeconds,
  signature,
};

/** A payload of {@link SignedPayload} and the gateway's signature over its cell hash. */
const voucher = z.strictObject({ boc: bytesField(undefined, 512), signature });
export type SignedVoucher = z.output<typeof voucher>;

/** A ChargeVoucher under both signatures: the client agreed to it, and the gateway cannot deny that it asked for it. */
const countersignedVoucher = z.strictObject({
  boc: bytesField(undefined, 512),
  /** The client's. */
  signature,
  gatewaySignature: signature,
});
export type CountersignedVoucher = z.output<typeof countersignedVoucher>;

// Client to gateway

const clientLogin = z.strictObject({
  ...loginFields,
  /** The newest voucher this client countersigned here: a gateway that lost its own copy goes on from it. */
  countersigned: countersignedVoucher.optional(),
});

const reserve = z.strictObject({
  type: z.literal("reserve"),
  id: requestId,
  /** For people and logs; the manifest root decides. */
  model: z.string().max(200),
  manifestRoot: hashHex,
  /** UTF-8 bytes of the sealed request's plaintext. */
  maxPromptBytes: z.int().min(1).max(16_777_216),
  maxCompletionTokens: z.int().min(1).max(1_000_000),
  /** Highest price including the fee; null: any. */
  maxPrice: priceSheet.nullable(),
  minTier: z.enum(TIERS),
  /** How many workers to name. */
  candidates: z.int().min(1).max(8),
  preferWorker: hashHex.optional(),
  /** The reservation whose answer goes on here. */
  continues: requestId.optional(),
});
const release = z.strictObject({ type: z.literal("release"), reservationId: requestId });
const hello = z.strictObject({ type: z.literal("hello"), id: requestId, reservationId: requestId, workerId: hashHex });
const open = z.strictObject({
  type: z.literal("open"),
  id: requestId,
  reservationId: requestId,
  workerId: hashHex,
  sessionId,
  streamId,
  /** The route that `reserved` named: the frames come right behind, and only a refusal is answered. */
  routeId: routeId.optional(),
});
const countersign = z.strictObject({ type: z.literal("countersign"), total: nanoton, signature });
const dispute = z.strictObject({
  type: z.literal("dispute"),
  receiptHash: hashHex,
  promptTokens: count,
  completionTokens: count,
  signature,
});

const clientToGateway = z.discriminatedUnion("type", [
  clientLogin,
  reserve,
  release,
  hello,
  open,
  countersign,
  dispute,
  close,
  heartbeat,
]);

// Gateway to client

const clientWelcome = z.strictObject({
  type: z.literal("welcome"),
  feeBps: z.int().min(0).max(10_000),
  /** The newest voucher this client countersigned here, so that a client which lost its state can go on. */
  countersigned: countersignedVoucher.nullable(),
  /** What is left of the trial of a key without a channel. */
  trial: z.strictObject({ completionTokens: count, nanoton }).optional(),
});
const candidate = z.strictObject({
  workerId: hashHex,
  evidenceHash: hashHex,
  /** Exact bytes of the signed offer. */
  offer: bytesField(undefined, 4096),
  offerSignature: signature,
});
export type Candidate = z.output<typeof candidate>;

const reserved = z.strictObject({
  type: z.literal("reserved"),
  id: requestId,
  reservationId: requestId,
  feeBps: z.int().min(0).max(10_000),
  holdNanoton: nanoton,
  /** Until then `open` is possible. */
  expiresAt: unixSeconds,
  /** The route of its first stream, if `open` takes it. */
  routeId,
  candidates: z.array(candidate).min(1).max(8),
});
const tierCounts = z.strictObject({ software: count, tpm: count, tee: count });
export type TierCounts = z.output<typeof tierCounts>;

const refused = z.strictObject({
  type: z.literal("refused"),
  id: requestId,
  code: failureCode,
  /** Workers that serve this model, by tier, whatever their price. */
  tiersOffered: tierCounts,
  /** The cheapest ask with the fee, when price was the reason. */
  lowestPrice: priceSheet.optional(),
});
const clientRoute = z.strictObject({ type: z.literal("route"), id: requestId, routeId });
const signedReceipt = z.strictObject({ reservationId: requestId, receipt: bytesField(RECEIPT_BYTES), signature });
export type SignedReceipt = z.output<typeof signedReceipt>;

/** One or more receipts in the order of the chain and one voucher over all; no voucher on trial. */
const charge = z.strictObject({
  type: z.literal("charge"),
  receipts: z.array(signedReceipt).min(1).max(128),
  voucher: voucher.nullable(),
});

const gatewayToClient = z.discriminatedUnion("type", [
  challenge,
  clientWelcome,
  error,
  reserved,
  refused,
  clientRoute,
  charge,
  close,
  drain,
  heartbeat,
]);

// Worker to gateway

const workerLogin = z.strictObject({
  ...loginFields,
  /** Only a worker's first link with a new (identity, owner) needs one. */
  ownerProof: ownerProof.optional(),
  /** The newest voucher this worker has of the owner's channel here: a gateway that lost its own copy goes on from it. */
  voucher: voucher.optional(),
});
const offer = z.strictObject({
  type: z.literal("offer"),
  id: requestId,
  offer: bytesField(undefined, 4096),
  offerSignature: signature,
  /** A document PUT to this gateway before. */
  evidenceHash: hashHex,
  slots: z.int().min(1).max(1024),
});
const withdrawOffer = z.strictObject({ type: z.literal("withdraw_offer"), manifestRoot: hashHex });
const receipt = z.strictObject({
  type: z.literal("receipt"),
  reservationId: requestId,
  receipt: bytesField(RECEIPT_BYTES),
  signature,
});
const voucherAck = z.strictObject({ type: z.literal("voucher_ack"), total: nanoton });
const redeemRequest = z.strictObject({
  type: z.literal("redeem_request"),
  id: requestId,
  /** Total of the newest voucher this worker has: what is redeemed is above it, and the request counts once. */
  total: nanoton,
  /** The most the gateway may keep of what the owner earned, for paying the fees of the redeem. */
  maxDeduction: nanoton,
  /** Over `redeemMessage`. */
  signature,
});

const workerToGateway = z.discriminatedUnion("type", [
  workerLogin,
  offer,
  withdrawOffer,
  receipt,
  voucherAck,
  redeemRequest,
  close,
  heartbeat,
]);

// Gateway to worker

const workerWelcome = z.strictObject({
  type: z.literal("welcome"),
  feeBps: z.int().min(0).max(10_000),
  /** Whether the owner is known here: without one, earnings are owed but nothing is signed. */
  ownerNamed: z.boolean(),
  voucher: voucher.nullable(),
});
const offerAccepted = z.strictObject({ type: z.literal("offer_accepted"), id: requestId });
const workerRoute = z.discriminatedUnion("kind", [
  z.strictObject({ type: z.literal("route"), kind: z.literal("hello"), routeId, reservationId: requestId }),
  z.strictObject({
    type: z.literal("route"),
    kind: z.literal("stream"),
    routeId,
    reservationId: requestId,
    sessionId,
    streamId,
    manifestRoot: hashHex,
    offerHash: hashHex,
    maxPromptBytes: count,
    maxCompletionTokens: count,
  }),
]);
export type WorkerRoute = z.output<typeof workerRoute>;

const voucherMessage = z.strictObject({ type: z.literal("voucher"), boc: bytesField(undefined, 512), signature });
/** The answer to a `redeem_request`, when earnings that bear it have come; until then there is none. */
const redeeming = z.strictObject({
  type: z.literal("redeeming"),
  id: requestId,
  /** Of the voucher that the gateway brings to the chain. */
  total: nanoton,
  /** What it kept for that of what was earned: how much less than the worker's own count the vouchers now grow. */
  deduction: nanoton,
});
const possession = z.strictObject({
  type: z.literal("possession"),
  routeId,
  manifestRoot: hashHex,
  nonce: bytesField(32),
  leaves: z.int().min(1).max(688),
});
/** Why requests passed this worker by in the last minute, by reason. */
const reasons = z.strictObject({ type: z.literal("reasons"), counts: z.record(z.string().max(64), count) });

const gatewayToWorker = z.discriminatedUnion("type", [
  challenge,
  workerWelcome,
  error,
  offerAccepted,
  workerRoute,
  voucherMessage,
  redeeming,
  possession,
  reasons,
  close,
  drain,
  heartbeat,
]);

export type ClientToGateway = z.output<typeof clientToGateway>;
export type GatewayToClient = z.output<typeof gatewayToClient>;
export type WorkerToGateway = z.output<typeof workerToGateway>;
export type GatewayToWorker = z.output<typeof gatewayToWorker>;

/** One message of a union by its `type`. */
export type MessageOf<Union extends { readonly type: string }, Type extends Union["type"]> = Extract<
  Union,
  { type: Type }
>;

// Each throws {Failure} `bad_message` for anything that is not exactly one known message.

export function parseClientToGateway(text: string): ClientToGateway {
  return parseControl(clientToGateway, text);
}

export function parseGatewayToClient(text: string): GatewayToClient {
  return parseControl(gatewayToClient, text);
}

export function parseWorkerToGateway(text: string): WorkerToGateway {
  return parseControl(workerToGateway, text);
}

export function parseGatewayToWorker(text: string): GatewayToWorker {
  return parseControl(gatewayToWorker, text);
}

/** A UTF-16 unit is at most this long in UTF-8. */
const MAX_UTF8_BYTES = 3;

function parseControl<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> {
  const isShort = text.length * MAX_UTF8_BYTES <= MAX_CONTROL_BYTES;
  if (!isShort && (text.length > MAX_CONTROL_BYTES || utf8(text).length > MAX_CONTROL_BYTES)) {
    throw new Failure("bad_message", "control message too long");
  }
  return parseStrictJson(schema, text);
}

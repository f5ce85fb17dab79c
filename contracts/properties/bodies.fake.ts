import type { Cell, Slice } from "@ton/core";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";

/** A message's body, read by the tables of the specification and by nothing that the twins share. */
export type Body =
  | { readonly type: "empty" | "unknown" | "malformed" }
  | Says<"excesses" | "payout" | "refund">
  | Says<"credit" | "top-up" | "add-stake" | "request-withdraw", { readonly amount: Nanoton }>
  | Says<"payout-request", { readonly amount: Nanoton; readonly workerOwner: RawAddress }>
  | Says<"cash-out", Signed & { readonly limit: Nanoton }>
  | Says<"open-channel", { readonly amount: Nanoton; readonly sessionKey: bigint; readonly creditLimit: Nanoton }>
  | Says<"charge", Signed & { readonly clientSignature: Buffer | undefined }>
  | Says<"close-cooperative" | "commit-checkpoint", Signed>
  | Says<Plain>
  | Says<"set-credit-limit", { readonly creditLimit: Nanoton }>
  | Says<"add-gateway", { readonly info: Cell }>
  | Says<"remove-gateway", { readonly id: number }>
  | Says<"set-build", { readonly measurement: bigint; readonly kind: number; readonly notAfter: number }>
  | Says<"set-model", { readonly manifestRoot: bigint; readonly sheet: Sheet }>
  | Says<"remove-build" | "remove-model", { readonly key: bigint }>
  | Says<"set-params" | "propose-upgrade", { readonly cell: Cell }>
  | Says<"offer-ownership", { readonly newOwner: RawAddress }>;

type Says<Type extends string, Fields = unknown> = Type extends string
  ? { readonly type: Type; readonly queryId: bigint } & Fields
  : never;

type Plain =
  | "start-close"
  | "finish-close"
  | "complete-withdraw"
  | "gateway-start-close"
  | "gateway-complete-close"
  | "accept-ownership"
  | "apply-upgrade";

export interface Signed {
  readonly signature: Buffer;
  readonly payload: Cell;
}

interface Sheet {
  readonly flags: number;
  readonly prompt: Nanoton;
  readonly cached: Nanoton;
  readonly completion: Nanoton;
}

/** What a key signed; `other` is a cell that is none of the four. */
export type Payload =
  | Meant<"charge" | "payout", { readonly total: Nanoton }>
  | Meant<"close", { readonly total: Nanoton; readonly closeSeq: number }>
  | Meant<"checkpoint", { readonly seqno: number; readonly stateHash: bigint }>
  | { readonly type: "other" };

type Meant<Type extends string, Fields> = Type extends string
  ? { readonly type: Type; readonly networkId: number; readonly contract: RawAddress } & Fields
  : never;

/** The payload of one kind. */
export type PayloadOf<Type extends Exclude<Payload["type"], "other">> = Extract<Payload, { type: Type }>;

export function readBody(cell: Cell): Body {
  const slice = cell.beginParse();
  if (slice.remainingBits === 0 && slice.remainingRefs === 0) return { type: "empty" };
  if (slice.remainingBits < 32) return { type: "unknown" };
  const opcode = slice.loadUint(32);
  const read = BODIES[opcode];
  if (read === undefined) return { type: "unknown" };
  try {
    const body = read(slice, slice.loadUintBig(64));
    slice.endParse();
    return body;
  } catch {
    return { type: "malformed" };
  }
}

/** The rest of a bounced message's body: 256 bits of it, behind 32 ones. */
export function readBounced(cell: Cell): Body {
  const slice = cell.beginParse();
  if (slice.remainingBits < 32 + 32 + 64 + 4 || slice.loadUint(32) !== 0xffff_ffff) return { type: "unknown" };
  const opcode = slice.loadUint(32);
  const queryId = slice.loadUintBig(64);
  if (opcode === 0x1c0c0001) return { type: "credit", queryId, amount: slice.loadCoins() };
  if (opcode === 0x1c0c0002) return { type: "payout-request", queryId, amount: slice.loadCoins(), workerOwner: "" };
  return { type: "unknown" };
}

export function readPayload(cell: Cell): Payload {
  const slice = cell.beginParse();
  const tag = slice.loadUint(32);
  const common = (): { networkId: number; contract: RawAddress } => ({
    networkId: slice.loadInt(32),
    contract: slice.loadAddress().toRawString(),
  });
  if (tag === 0x43483031) return { type: "charge", ...common(), total: slice.loadCoins() };
  if (tag === 0x50593031) return { type: "payout", ...common(), total: slice.loadCoins() };
  if (tag === 0x434c3031) return { type: "close", ...common(), total: slice.loadCoins(), closeSeq: slice.loadUint(32) };
  if (tag !== 0x434b3031) return { type: "other" };
  return { type: "checkpoint", ...common(), seqno: slice.loadUint(32), stateHash: slice.loadUintBig(256) };
}

type Read = (slice: Slice, queryId: bigint) => Body;

const amount =
  (type: "credit" | "top-up" | "add-stake" | "request-withdraw"): Read =>
  (slice, queryId) => ({ type, queryId, amount: slice.loadCoins() });
const plain =
  (type: Plain | "excesses" | "payout" | "refund"): Read =>
  (_, queryId) => ({ type, queryId });
const signed =
  (type: "close-cooperative" | "commit-checkpoint"): Read =>
  (slice, queryId) => ({ type, queryId, signature: slice.loadBuffer(64), payload: slice.loadRef() });
const key =
  (type: "remove-build" | "remove-model"): Read =>
  (slice, queryId) => ({ type, queryId, key: slice.loadUintBig(256) });
const reference =
  (type: "set-params" | "propose-upgrade"): Read =>
  (slice, queryId) => ({ type, queryId, cell: slice.loadRef() });

const BODIES: Readonly<Record<number, Read>> = {
  0xd53276db: plain("excesses"),
  0x1c0c0001: amount("credit"),
  0x1c0c0002: (slice, queryId) => ({
    type: "payout-request",
    queryId,
    amount: slice.loadCoins(),
    workerOwner: slice.loadAddress().toRawString(),
  }),
  0x1c0c0003: plain("payout"),
  0x1c0c0004: plain("refund"),
  0x1c0c0101: (slice, queryId) => ({
    type: "cash-out",
    queryId,
    limit: slice.loadCoins(),
    signature: slice.loadBuffer(64),
    payload: slice.loadRef(),
  }),
  0x1c0c0201: (slice, queryId) => ({
    type: "open-channel",
    queryId,
    amount: slice.loadCoins(),
    sessionKey: slice.loadUintBig(256),
    creditLimit: slice.loadCoins(),
  }),
  0x1c0c0202: amount("top-up"),
  0x1c0c0203: (slice, queryId) => ({
    type: "charge",
    queryId,
    signature: slice.loadBuffer(64),
    clientSignature: slice.loadMaybeRef()?.beginParse().loadBuffer(64),
    payload: slice.loadRef(),
  }),
  0x1c0c0204: signed("close-cooperative"),
  0x1c0c0205: plain("start-close"),
  0x1c0c0206: plain("finish-close"),
  0x1c0c0207: (slice, queryId) => ({ type: "set-credit-limit", queryId, creditLimit: slice.loadCoins() }),
  0x1c0c0301: amount("add-stake"),
  0x1c0c0302: amount("request-withdraw"),
  0x1c0c0303: plain("complete-withdraw"),
  0x1c0c0304: plain("gateway-start-close"),
  0x1c0c0305: plain("gateway-complete-close"),
  0x1c0c0306: signed("commit-checkpoint"),
  0x1c0c0401: (slice, queryId) => ({ type: "add-gateway", queryId, info: slice.loadRef() }),
  0x1c0c0402: (slice, queryId) => ({ type: "remove-gateway", queryId, id: slice.loadUint(32) }),
  0x1c0c0403: (slice, queryId) => ({
    type: "set-build",
    queryId,
    measurement: slice.loadUintBig(256),
    kind: slice.loadUint(8),
    notAfter: slice.loadUint(32),
  }),
  0x1c0c0404: key("remove-build"),
  0x1c0c0405: (slice, queryId) => ({
    type: "set-model",
    queryId,
    manifestRoot: slice.loadUintBig(256),
    sheet: {
      flags: slice.loadUint(32),
      prompt: slice.loadCoins(),
      cached: slice.loadCoins(),
      completion: slice.loadCoins(),
    },
  }),
  0x1c0c0406: key("remove-model"),
  0x1c0c0407: reference("set-params"),
  0x1c0c0408: (slice, queryId) => ({ type: "offer-ownership", queryId, newOwner: slice.loadAddress().toRawString() }),
  0x1c0c0409: plain("accept-ownership"),
  0x1c0c040a: reference("propose-upgrade"),
  0x1c0c040b: plain("apply-upgrade"),
};

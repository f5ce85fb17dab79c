import { beginCell, type Builder, type Slice } from "@ton/core";
import type { ChargeVoucher, Nanoton, RawAddress, SignedPayload } from "../protocol/index.ts";
import {
  beginMessage,
  deploymentOf,
  key32,
  payloadCell,
  readMessage,
  readPayload,
  signature64,
  toAddress,
  toBoc,
  type Deployment,
} from "./cells.ts";
import { CODE } from "./code.ts";
import { getter, type Getter } from "./getter.ts";

/** What a channel is for; its address follows from it. */
export interface ClientChannelTerms {
  readonly owner: RawAddress;
  readonly gateway: RawAddress;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  /** How long the gateway may still charge after the owner asks to close alone. */
  readonly closeDelaySeconds: number;
}

export interface ClientChannelState {
  readonly status: "open" | "closing";
  /** Deposited and not charged, as of the last message; rent may have eaten into it since. */
  readonly balance: Nanoton;
  /** Cumulative, sent to the gateway. */
  readonly charged: Nanoton;
  /** The highest total the payment key has confirmed on chain. */
  readonly acked: Nanoton;
  /** How far the gateway alone may get ahead of `acked`. */
  readonly creditLimit: Nanoton;
  /** Unix seconds; 0 while open. */
  readonly closeAt: number;
  readonly closeSeq: number;
  /** 32 bytes; zeros until the owner opens the channel. The contract calls it the session key. */
  readonly paymentKey: Uint8Array;
  readonly terms: ClientChannelTerms;
}

export type CloseVoucher = Extract<SignedPayload, { type: "close" }>;

export type ClientChannelMessage =
  | {
      /** From the owner. */
      readonly type: "open-channel";
      readonly queryId: bigint;
      readonly amount: Nanoton;
      /** 32 bytes. */
      readonly paymentKey: Uint8Array;
      readonly creditLimit: Nanoton;
    }
  | { readonly type: "top-up"; readonly queryId: bigint; readonly amount: Nanoton }
  | {
      /** From anyone; as an external message without a wallet, for at least 0.1 TON. */
      readonly type: "charge";
      readonly queryId: bigint;
      /** 64 bytes. */
      readonly gatewaySignature: Uint8Array;
      /** 64 bytes of the payment key; undefined for a charge by the gateway alone, within the credit limit. */
      readonly clientSignature: Uint8Array | undefined;
      readonly voucher: ChargeVoucher;
    }
  | {
      /** From the owner, with the gateway's word for the last total. */
      readonly type: "close-cooperative";
      readonly queryId: bigint;
      /** 64 bytes. */
      readonly gatewaySignature: Uint8Array;
      readonly voucher: CloseVoucher;
    }
  /** Start is from the owner; finish, after the delay, from anyone. */
  | { readonly type: "start-close" | "finish-close"; readonly queryId: bigint }
  /** From the owner. */
  | { readonly type: "set-credit-limit"; readonly queryId: bigint; readonly creditLimit: Nanoton };

/** @throws {RangeError} for terms that no channel can have. */
export function clientChannelOf({ owner, gateway, gatewayKey, closeDelaySeconds }: ClientChannelTerms): Deployment {
  const config = beginCell()
    .storeAddress(toAddress(owner))
    .storeAddress(toAddress(gateway))
    .storeBuffer(Buffer.from(gatewayKey), 32)
    .storeUint(closeDelaySeconds, 32)
    .endCell();
  const data = beginCell()
    .storeUint(0, 2)
    .storeCoins(0) // balance
    .storeCoins(0) // charged
    .storeCoins(0) // acked
    .storeCoins(0) // creditLimit
    .storeUint(0, 32) // closeAt
    .storeUint(0, 32) // closeSeq
    .storeUint(0, 256) // sessionKey
    .storeRef(config)
    .endCell();
  return deploymentOf(CODE.clientChannel, data);
}

/**
 * A message's body as a bag of cells.
 *
 * @throws {RangeError} for a payment key of zeros: it would be a key anyone can sign for.
 */
export function encodeClientChannelMessage(message: ClientChannelMessage): Uint8Array {
  return toBoc(messageBuilder(message).endCell());
}

/** The inverse for a body found on chain; undefined when it is no message of a ClientChannel. */
export function parseClientChannelMessage(body: Uint8Array): ClientChannelMessage | undefined {
  return readMessage(body, (opcode, slice, queryId) => readClientChannelMessage(opcode, slice, queryId));
}

export const CLIENT_CHANNEL_STATE: Getter<ClientChannelState> = getter("get_client_data", [], (stack) => ({
  status: stack.oneOf(["open", "closing"]),
  balance: stack.nanoton(),
  charged: stack.nanoton(),
  acked: stack.nanoton(),
  creditLimit: stack.nanoton(),
  closeAt: stack.count(),
  closeSeq: stack.count(),
  paymentKey: stack.bytes32(),
  terms: {
    owner: stack.address(),
    gateway: stack.address(),
    gatewayKey: stack.bytes32(),
    closeDelaySeconds: stack.count(),
  },
}));

const OPCODES = {
  "open-channel": 0x1c0c0201,
  "top-up": 0x1c0c0202,
  charge: 0x1c0c0203,
  "close-cooperative": 0x1c0c0204,
  "start-close": 0x1c0c0205,
  "finish-close": 0x1c0c0206,
  "set-credit-limit": 0x1c0c0207,
} as const satisfies Record<ClientChannelMessage["type"], number>;

function messageBuilder(message: ClientChannelMessage): Builder {
  const start = beginMessage(OPCODES[message.type], message.queryId);
  switch (message.type) {
    case "open-channel":
      if (message.paymentKey.every((byte) => byte === 0)) throw new RangeError("a payment key of zeros");
      return start
        .storeCoins(message.amount)
        .storeBuffer(Buffer.from(message.paymentKey), 32)
        .storeCoins(message.creditLimit);
    case "top-up":
      return start.storeCoins(message.amount);
    case "charge":
      return start
        .storeBuffer(Buffer.from(message.gatewaySignature), 64)
        .storeMaybeRef(message.clientSignature === undefined ? null : signatureCell(message.clientSignature))
        .storeRef(payloadCell(message.voucher));
    case "close-cooperative":
      return start.storeBuffer(Buffer.from(message.gatewaySignature), 64).storeRef(payloadCell(message.voucher));
    case "start-close":
    case "finish-close":
      return start;
    case "set-credit-limit":
      return start.storeCoins(message.creditLimit);
  }
}

function signatureCell(signature: Uint8Array): Builder {
  return beginCell().storeBuffer(Buffer.from(signature), 64);
}

function readClientChannelMessage(
  opcode: number,
  slice: Slice,
  queryId: () => bigint,
): ClientChannelMessage | undefined {
  switch (opcode) {
    case OPCODES["open-channel"]:
      return {
        type: "open-channel",
        queryId: queryId(),
        amount: slice.loadCoins(),
        paymentKey: key32(slice),
        creditLimit: slice.loadCoins(),
      };
    case OPCODES["top-up"]:
      return { type: "top-up", queryId: queryId(), amount: slice.loadCoins() };
    case OPCODES.charge:
      return {
        type: "charge",
        queryId: queryId(),
        gatewaySignature: signature64(slice),
        clientSignature: readSignatureCell(slice),
        voucher: readPayload(slice.loadRef(), "charge"),
      };
    case OPCODES["close-cooperative"]:
      return {
        type: "close-cooperative",
        queryId: queryId(),
        gatewaySignature: signature64(slice),
        voucher: readPayload(slice.loadRef(), "close"),
      };
    case OPCODES["start-close"]:
      return { type: "start-close", queryId: queryId() };
    case OPCODES["finish-close"]:
      return { type: "finish-close", queryId: queryId() };
    case OPCODES["set-credit-limit"]:
      return { type: "set-credit-limit", queryId: queryId(), creditLimit: slice.loadCoins() };
    default:
      return undefined;
  }
}

function readSignatureCell(slice: Slice): Uint8Array | undefined {
  const cell = slice.loadMaybeRef();
  return cell === null ? undefined : signature64(cell.beginParse());
}

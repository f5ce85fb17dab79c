import { beginCell, type Builder, type Slice } from "@ton/core";
import type { Nanoton, RawAddress, SignedPayload } from "../protocol/index.ts";
import {
  beginMessage,
  deploymentOf,
  payloadCell,
  readMessage,
  readPayload,
  signature64,
  toAddress,
  toBoc,
  toRaw,
  type Deployment,
} from "./cells.ts";
import { CODE } from "./code.ts";
import { getter, type Getter } from "./getter.ts";
import { addressItem } from "./stack.ts";

/** What a gateway's contract stands for; its address follows from it. */
export interface GatewayTerms {
  readonly owner: RawAddress;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  readonly registry: RawAddress;
  /** Tells apart contracts of the same terms. */
  readonly instance: number;
  /** Between the notice of a withdrawal and the withdrawal. */
  readonly withdrawDelaySeconds: number;
  /** How long workers may cash out after the notice of the end. */
  readonly closeDelaySeconds: number;
}

export interface GatewayState {
  readonly status: "open" | "closing" | "closed";
  /** What clients were charged and nobody has taken. */
  readonly pool: Nanoton;
  /** The gateway's own collateral, for payouts that the pool does not cover. */
  readonly stake: Nanoton;
  /** What payouts took from the stake and credits have not brought back. */
  readonly drawn: Nanoton;
  /** The announced withdrawal; never above `pool`. */
  readonly pending: Nanoton;
  /** Unix seconds: of the announced withdrawal or of the close. */
  readonly unlockAt: number;
  readonly checkpoint: {
    /** 0: there was none. */
    readonly seqno: number;
    /** 32 bytes. */
    readonly stateHash: Uint8Array;
  };
  readonly terms: GatewayTerms;
}

export type Checkpoint = Extract<SignedPayload, { type: "checkpoint" }>;

export type GatewayMessage =
  /** From a ClientChannel, or from whoever fills the hole in the stake by hand. */
  | { readonly type: "credit"; readonly queryId: bigint; readonly amount: Nanoton }
  | {
      /** From the WorkerChannel of this owner alone. */
      readonly type: "payout-request";
      readonly queryId: bigint;
      readonly amount: Nanoton;
      readonly workerOwner: RawAddress;
    }
  /** From anyone. */
  | { readonly type: "add-stake"; readonly queryId: bigint; readonly amount: Nanoton }
  /** From the owner; the newest notice replaces the one before, and one of 0 takes it back. */
  | { readonly type: "request-withdraw"; readonly queryId: bigint; readonly amount: Nanoton }
  /** From the owner. */
  | { readonly type: "complete-withdraw" | "start-close" | "complete-close"; readonly queryId: bigint }
  | {
      /** From anyone. */
      readonly type: "commit-checkpoint";
      readonly queryId: bigint;
      /** 64 bytes. */
      readonly gatewaySignature: Uint8Array;
      readonly checkpoint: Checkpoint;
    };

/** An announced withdrawal may be completed from `unlockAt` for this long, then it lapses. */
export const WITHDRAW_WINDOW_SECONDS = 86_400;

/** @throws {RangeError} for terms that no gateway can have. */
export function gatewayOf(terms: GatewayTerms): Deployment {
  const config = beginCell()
    .storeAddress(toAddress(terms.owner))
    .storeBuffer(Buffer.from(terms.gatewayKey), 32)
    .storeAddress(toAddress(terms.registry))
    .storeUint(terms.instance, 32)
    .storeUint(terms.withdrawDelaySeconds, 32)
    .storeUint(terms.closeDelaySeconds, 32)
    .storeRef(CODE.workerChannel)
    .endCell();
  const data = beginCell()
    .storeUint(0, 2)
    .storeCoins(0) // pool
    .storeCoins(0) // stake
    .storeCoins(0) // drawn
    .storeCoins(0) // pending
    .storeUint(0, 32) // unlockAt
    .storeUint(0, 32) // cpSeqno
    .storeUint(0, 256) // cpHash
    .storeRef(config)
    .endCell();
  return deploymentOf(CODE.gateway, data);
}

/** A message's body as a bag of cells. */
export function encodeGatewayMessage(message: GatewayMessage): Uint8Array {
  return toBoc(messageBuilder(message).endCell());
}

/** The inverse for a body found on chain; undefined when it is no message of a Gateway. */
export function parseGatewayMessage(body: Uint8Array): GatewayMessage | undefined {
  return readMessage(body, readGatewayMessage);
}

export const GATEWAY_STATE: Getter<GatewayState> = getter("get_gateway_data", [], (stack) => ({
  status: stack.oneOf(["open", "closing", "closed"]),
  pool: stack.nanoton(),
  stake: stack.nanoton(),
  drawn: stack.nanoton(),
  pending: stack.nanoton(),
  unlockAt: stack.count(),
  checkpoint: { seqno: stack.count(), stateHash: stack.bytes32() },
  terms: {
    owner: stack.address(),
    gatewayKey: stack.bytes32(),
    registry: stack.address(),
    instance: stack.count(),
    withdrawDelaySeconds: stack.count(),
    closeDelaySeconds: stack.count(),
  },
}));

/** The address of the WorkerChannel that the contract takes requests from for this owner. */
export function workerAddressGetter(owner: RawAddress): Getter<RawAddress> {
  return getter("get_worker_address", [addressItem(owner)], (stack) => stack.address());
}

const OPCODES = {
  credit: 0x1c0c0001,
  "payout-request": 0x1c0c0002,
  "add-stake": 0x1c0c0301,
  "request-withdraw": 0x1c0c0302,
  "complete-withdraw": 0x1c0c0303,
  "start-close": 0x1c0c0304,
  "complete-close": 0x1c0c0305,
  "commit-checkpoint": 0x1c0c0306,
} as const satisfies Record<GatewayMessage["type"], number>;

function messageBuilder(message: GatewayMessage): Builder {
  const start = beginMessage(OPCODES[message.type], message.queryId);
  switch (message.type) {
    case "credit":
    case "add-stake":
    case "request-withdraw":
      return start.storeCoins(message.amount);
    case "payout-request":
      return start.storeCoins(message.amount).storeAddress(toAddress(message.workerOwner));
    case "complete-withdraw":
    case "start-close":
    case "complete-close":
      return start;
    case "commit-checkpoint":
      return start.storeBuffer(Buffer.from(message.gatewaySignature), 64).storeRef(payloadCell(message.checkpoint));
  }
}

function readGatewayMessage(opcode: number, slice: Slice, queryId: () => bigint): GatewayMessage | undefined {
  switch (opcode) {
    case OPCODES.credit:
      return { type: "credit", queryId: queryId(), amount: slice.loadCoins() };
    case OPCODES["payout-request"]:
      return {
        type: "payout-request",
        queryId: queryId(),
        amount: slice.loadCoins(),
        workerOwner: toRaw(slice.loadAddress()),
      };
    case OPCODES["add-stake"]:
      return { type: "add-stake", queryId: queryId(), amount: slice.loadCoins() };
    case OPCODES["request-withdraw"]:
      return { type: "request-withdraw", queryId: queryId(), amount: slice.loadCoins() };
    case OPCODES["complete-withdraw"]:
      return { type: "complete-withdraw", queryId: queryId() };
    case OPCODES["start-close"]:
      return { type: "start-close", queryId: queryId() };
    case OPCODES["complete-close"]:
      return { type: "complete-close", queryId: queryId() };
    case OPCODES["commit-checkpoint"]:
      return {
        type: "commit-checkpoint",
        queryId: queryId(),
        gatewaySignature: signature64(slice),
        checkpoint: readPayload(slice.loadRef(), "checkpoint"),
      };
    default:
      return undefined;
  }
}

import { beginCell } from "@ton/core";
import type { Nanoton, PayoutVoucher, RawAddress } from "../protocol/index.ts";
import {
  beginMessage,
  deploymentOf,
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
export interface WorkerChannelTerms {
  readonly owner: RawAddress;
  readonly gateway: RawAddress;
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
}

export interface WorkerChannelState {
  /** Cumulative: vouchers count from here. */
  readonly paid: Nanoton;
  /** Unix seconds: no external message before. */
  readonly retryAfter: number;
  readonly terms: WorkerChannelTerms;
}

export type WorkerChannelMessage = CashOut;

/** From anyone; as an external message without a wallet, for at least 0.1 TON. */
export interface CashOut {
  readonly type: "cash-out";
  readonly queryId: bigint;
  /** 0 for everything; only the owner's counts. */
  readonly limit: Nanoton;
  /** 64 bytes. */
  readonly gatewaySignature: Uint8Array;
  readonly voucher: PayoutVoucher;
}

/** @throws {RangeError} for terms that no channel can have. */
export function workerChannelOf({ owner, gateway, gatewayKey }: WorkerChannelTerms): Deployment {
  const data = beginCell()
    .storeCoins(0)
    .storeUint(0, 32)
    .storeAddress(toAddress(owner))
    .storeAddress(toAddress(gateway))
    .storeBuffer(Buffer.from(gatewayKey), 32)
    .endCell();
  return deploymentOf(CODE.workerChannel, data);
}

/** A message's body as a bag of cells. */
export function encodeWorkerChannelMessage(message: WorkerChannelMessage): Uint8Array {
  const { queryId, limit, gatewaySignature, voucher } = message;
  return toBoc(
    beginMessage(CASH_OUT, queryId)
      .storeCoins(limit)
      .storeBuffer(Buffer.from(gatewaySignature), 64)
      .storeRef(payloadCell(voucher))
      .endCell(),
  );
}

/** The inverse for a body found on chain; undefined when it is no message of a WorkerChannel. */
export function parseWorkerChannelMessage(body: Uint8Array): WorkerChannelMessage | undefined {
  return readMessage(body, (opcode, slice, queryId) =>
    opcode === CASH_OUT
      ? {
          type: "cash-out",
          queryId: queryId(),
          limit: slice.loadCoins(),
          gatewaySignature: signature64(slice),
          voucher: readPayload(slice.loadRef(), "payout"),
        }
      : undefined,
  );
}

export const WORKER_CHANNEL_STATE: Getter<WorkerChannelState> = getter("get_worker_data", [], (stack) => ({
  paid: stack.nanoton(),
  retryAfter: stack.count(),
  terms: { owner: stack.address(), gateway: stack.address(), gatewayKey: stack.bytes32() },
}));

const CASH_OUT = 0x1c0c0101;

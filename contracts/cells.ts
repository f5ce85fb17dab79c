import { Address, beginCell, Cell, contractAddress, storeStateInit, type Builder, type Slice } from "@ton/core";
import { encodePayload, Failure, parsePayload, type RawAddress, type SignedPayload } from "../protocol/index.ts";

/** Where a contract of ours will stand, and what a first message must carry to bring it there. */
export interface Deployment {
  readonly address: RawAddress;
  /** A bag of cells. */
  readonly stateInit: Uint8Array;
}

/** @throws {RangeError} unless it is a raw address in workchain 0. */
export function toAddress(raw: RawAddress): Address {
  if (!/^0:[0-9a-f]{64}$/.test(raw)) throw new RangeError("not a raw address in workchain 0");
  return Address.parseRaw(raw);
}

/** @throws {Failure} `bad_message` for an address off workchain 0: nobody of ours lives there. */
export function toRaw(address: Address): RawAddress {
  if (address.workChain !== 0) throw new Failure("bad_message", "an address off workchain 0");
  return address.toRawString();
}

/** The one root of a bag of cells. @throws {Failure} `bad_message`. */
export function toCell(boc: Uint8Array): Cell {
  const roots = attempt(() => Cell.fromBoc(Buffer.from(boc)));
  const [root] = roots;
  if (root === undefined || roots.length > 1) throw new Failure("bad_message", "not one cell");
  return root;
}

export function toBoc(cell: Cell): Uint8Array {
  return new Uint8Array(cell.toBoc());
}

export function deploymentOf(code: Cell, data: Cell): Deployment {
  const init = { code, data };
  return {
    address: contractAddress(0, init).toRawString(),
    stateInit: toBoc(beginCell().store(storeStateInit(init)).endCell()),
  };
}

/** The cell whose hash was signed. */
export function payloadCell(payload: SignedPayload): Cell {
  return toCell(encodePayload(payload));
}

/** @throws {Failure} `bad_message` for a cell that is not a payload of this type. */
export function readPayload<Type extends SignedPayload["type"]>(
  cell: Cell,
  type: Type,
): Extract<SignedPayload, { type: Type }> {
  const payload = parsePayload(toBoc(cell));
  if (!isOfType(payload, type)) throw new Failure("bad_message", `not a ${type} payload`);
  return payload;
}

function isOfType<Type extends SignedPayload["type"]>(
  payload: SignedPayload,
  type: Type,
): payload is Extract<SignedPayload, { type: Type }> {
  return payload.type === type;
}

/** The start of every message. */
export function beginMessage(opcode: number, queryId: bigint): Builder {
  return beginCell().storeUint(opcode, 32).storeUint(queryId, 64);
}

/**
 * A body as one of a contract's messages, or undefined when it is none that the contract would read: empty, of an unknown
 * opcode or cut short. What follows a message is ignored, as the contract does.
 */
export function readMessage<Message>(
  body: Uint8Array,
  read: (opcode: number, slice: Slice, queryId: () => bigint) => Message | undefined,
): Message | undefined {
  try {
    const slice = toCell(body).beginParse();
    if (slice.remainingBits < 32) return undefined;
    return read(slice.loadUint(32), slice, () => slice.loadUintBig(64));
  } catch {
    return undefined; // whoever wrote it, it is not for us
  }
}

export function key32(slice: Slice): Uint8Array {
  return new Uint8Array(slice.loadBuffer(32));
}

export function signature64(slice: Slice): Uint8Array {
  return new Uint8Array(slice.loadBuffer(64));
}

/** What reads a stranger's cells throws in many ways; all mean the same. */
function attempt<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure("bad_message", "cells that do not hold what was expected", { cause });
  }
}

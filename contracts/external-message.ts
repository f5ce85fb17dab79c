import { beginCell, Cell, external, loadMessage, storeMessage, type Message } from "@ton/core";
import { Failure } from "../protocol/index.ts";

/**
 * The hash an external message is found again by, 32 bytes: of its destination and body alone, since a wallet and a
 * node may lay out the rest of it differently (TEP-467).
 *
 * @throws {Failure} `chain_refused` for bytes that no chain would take.
 */
export function externalHash(boc: Uint8Array): Uint8Array {
  return normalHash(readExternal(boc));
}

/** @throws {Failure} `chain_refused` unless the bytes are one external message to a contract in workchain 0. */
export function readExternal(boc: Uint8Array): Message {
  const message = attempt(() => {
    const [cell, ...more] = Cell.fromBoc(Buffer.from(boc));
    return cell === undefined || more.length > 0 ? undefined : loadMessage(cell.beginParse());
  });
  if (message?.info.type !== "external-in") throw new Failure("chain_refused", "not an external message");
  if (message.info.dest.workChain !== 0) throw new Failure("chain_refused", "not a message to workchain 0");
  return message;
}

/** The same for a message that is read already: of an external one the normal hash, of others that of the cell. */
export function normalHash(message: Message): Uint8Array {
  const { info, body } = message;
  const normal = info.type === "external-in" ? external({ to: info.dest, body }) : message;
  const options = info.type === "external-in" ? { forceRef: true } : undefined;
  return new Uint8Array(beginCell().store(storeMessage(normal, options)).endCell().hash());
}

function attempt<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    throw new Failure("chain_refused", "not a message", { cause });
  }
}

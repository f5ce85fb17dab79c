import { Cell, loadTransaction, type Message, type Transaction } from "@ton/core";
import { equalBytes, Failure, type RawAddress } from "../protocol/index.ts";
import type { ChainMessage, ChainTransaction, Outcome, TransactionId } from "./chain-reader.ts";
import { normalHash } from "./external-message.ts";

/** A transaction as the chain has it, and the one of the same account before it. */
export interface LinkedTransaction {
  readonly transaction: ChainTransaction;
  /** Undefined for an account's first. */
  readonly previous: TransactionId | undefined;
}

/**
 * Reads a transaction's cell. A hash binds all of it, and each names the one before: a node that leaves one out, or
 * changes one, is found out as long as the newest is right.
 *
 * @throws {Failure} `chain_malformed` unless the cell is that transaction of that account.
 */
export function readTransaction(boc: Uint8Array, expected: TransactionId & { address: RawAddress }): LinkedTransaction {
  const { transaction, hash } = attempt(boc);
  const address: RawAddress = `0:${transaction.address.toString(16).padStart(64, "0")}`;
  if (!equalBytes(hash, expected.hash)) throw malformed("a transaction of another hash");
  if (transaction.lt !== expected.lt) throw malformed("a transaction of another logical time");
  if (address !== expected.address) throw malformed("a transaction of another account");
  return {
    transaction: {
      address,
      lt: transaction.lt,
      hash,
      executedAt: transaction.now,
      outcome: outcomeOf(transaction),
      fees: transaction.totalFees.coins,
      inMessage: transaction.inMessage ? messageOf(transaction.inMessage) : undefined,
      outMessages: transaction.outMessages.values().map(messageOf),
    },
    previous: previousOf(transaction),
  };
}

function attempt(boc: Uint8Array): { readonly transaction: Transaction; readonly hash: Uint8Array } {
  try {
    const [cell, ...more] = Cell.fromBoc(Buffer.from(boc));
    if (cell === undefined || more.length > 0) throw malformed("not one transaction");
    return { transaction: loadTransaction(cell.beginParse()), hash: new Uint8Array(cell.hash()) };
  } catch (cause) {
    throw cause instanceof Failure ? cause : malformed("a transaction that cannot be read", cause);
  }
}

function previousOf({ prevTransactionLt, prevTransactionHash }: Transaction): TransactionId | undefined {
  if (prevTransactionLt === 0n) return undefined;
  const hash = Buffer.from(prevTransactionHash.toString(16).padStart(64, "0"), "hex");
  return { lt: prevTransactionLt, hash: new Uint8Array(hash) };
}

function outcomeOf({ description }: Transaction): Outcome {
  if (description.type !== "generic" && description.type !== "tick-tock") return { type: "succeeded", exitCode: 0 };
  const { computePhase: compute, actionPhase: action } = description;
  if (compute.type === "skipped")
    return { type: "skipped", reason: compute.reason === "no-gas" ? "no-gas" : "no-code" };
  if (!compute.success) return { type: "failed", phase: "compute", exitCode: compute.exitCode };
  if (action && !action.success) return { type: "failed", phase: "action", exitCode: action.resultCode };
  return { type: "succeeded", exitCode: compute.exitCode };
}

function messageOf(message: Message): ChainMessage {
  const { info } = message;
  const hash = normalHash(message);
  const body = new Uint8Array(message.body.toBoc());
  switch (info.type) {
    case "internal":
      return {
        type: "internal",
        source: info.src.toRawString(),
        destination: info.dest.toRawString(),
        value: info.value.coins,
        isBounced: info.bounced,
        hash,
        body,
      };
    case "external-in":
      return { type: "external-in", destination: info.dest.toRawString(), hash, body };
    case "external-out":
      return { type: "external-out", source: info.src.toRawString(), hash, body };
  }
}

function malformed(why: string, cause?: unknown): Failure {
  return new Failure("chain_malformed", why, { cause });
}

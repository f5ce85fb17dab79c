import { Failure, type RawAddress } from "../protocol/index.ts";
import type { ChainReader, StackItem } from "./chain-reader.ts";
import { StackReader } from "./stack.ts";

/** A question a contract answers without a transaction: what to ask it, and how to read what it says. */
export interface Getter<Answer> {
  readonly method: string;
  readonly args: readonly StackItem[];
  /** @throws {Failure} `chain_malformed` for an answer that the contract does not give. */
  read(stack: readonly StackItem[]): Answer;
}

/** Undefined when there is no such contract yet. @throws {Failure} of the chain group. */
export async function ask<Answer>(
  chain: Pick<ChainReader, "get">,
  address: RawAddress,
  getter: Getter<Answer>,
): Promise<Answer | undefined> {
  const stack = await chain.get(address, getter.method, getter.args);
  return stack === undefined ? undefined : getter.read(stack);
}

/** A getter whose answer is exactly what `read` takes off the stack. */
export function getter<Answer>(
  method: string,
  args: readonly StackItem[],
  read: (stack: StackReader) => Answer,
): Getter<Answer> {
  return { method, args, read: (items) => readAll(method, items, read) };
}

function readAll<Answer>(method: string, items: readonly StackItem[], read: (stack: StackReader) => Answer): Answer {
  const stack = new StackReader(items);
  try {
    const answer = read(stack);
    stack.end();
    return answer;
  } catch (cause) {
    // Cells inside an answer that are not as the contract has them throw in many ways; all mean the same.
    throw cause instanceof Failure ? cause : new Failure("chain_malformed", `an answer to ${method}`, { cause });
  }
}

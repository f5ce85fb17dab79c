import {
  CLIENT_CHANNEL_STATE,
  clientChannelOf,
  type ClientChannelState,
  type ClientChannelTerms,
} from "../../contracts/ClientChannel.ts";
import type { ChainReader } from "../../contracts/chain-reader.ts";
import { ask } from "../../contracts/getter.ts";
import { equalBytes, Failure } from "../../protocol/index.ts";

/** A channel as the chain has it. */
export interface SeenChannel {
  /** Undefined while nothing stands at its address. */
  readonly state: ClientChannelState | undefined;
  /** Logical time of the account's last transaction: what comes later is newer. */
  readonly lt: bigint;
  /** Unix seconds, by the chain's clock. */
  readonly now: number;
}

/**
 * Where a channel stands.
 *
 * `absent`: its owner has never opened it. `open`: it has a deposit. `empty`: it has none, and takes one. `closing`: the
 * gateway may still charge. `closable`: that time is over, and anyone may send the rest back.
 */
export type ChannelPhase = "absent" | "open" | "empty" | "closing" | "closable";

/** @throws {Failure} of the chain group; `chain_malformed` for a contract that is not the one of this address. */
export async function readChannel(chain: ChainReader, terms: ClientChannelTerms): Promise<SeenChannel> {
  const { address } = clientChannelOf(terms);
  const account = await chain.account(address);
  const state = account.state === "active" ? await ask(chain, address, CLIENT_CHANNEL_STATE) : undefined;
  if (state !== undefined && !isOf(state, terms)) throw new Failure("chain_malformed", `${address} has other terms`);
  const { genUtime } = await chain.newestBlock();
  return { state, lt: account.lastTransaction?.lt ?? 0n, now: genUtime };
}

export function phaseOf({ state, now }: SeenChannel): ChannelPhase {
  if (state === undefined || !wasOpened(state)) return "absent";
  if (state.status === "closing") return now < state.closeAt ? "closing" : "closable";
  return state.balance > 0n ? "open" : "empty";
}

/** A channel that somebody topped up before its owner opened it has no payment key yet. */
function wasOpened({ paymentKey }: ClientChannelState): boolean {
  return paymentKey.some((byte) => byte !== 0);
}

function isOf({ terms: seen }: ClientChannelState, terms: ClientChannelTerms): boolean {
  return (
    seen.owner === terms.owner &&
    seen.gateway === terms.gateway &&
    seen.closeDelaySeconds === terms.closeDelaySeconds &&
    equalBytes(seen.gatewayKey, terms.gatewayKey)
  );
}

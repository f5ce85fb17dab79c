import { beginMessage, readMessage, toBoc } from "./cells.ts";

/** What the contracts send to wallets; the coins travel with it. */
export interface WalletMessage {
  /** `payout` of a Gateway, `refund` of a ClientChannel, `excesses` of any: what a message did not use. */
  readonly type: "payout" | "refund" | "excesses";
  /** That of the message which led to it. */
  readonly queryId: bigint;
}

/** A body found on chain; undefined when none of our contracts sent it to a wallet. */
export function parseWalletMessage(body: Uint8Array): WalletMessage | undefined {
  return readMessage(body, (opcode, _slice, queryId) => {
    const type = TYPES.find((name) => OPCODES[name] === opcode);
    return type === undefined ? undefined : { type, queryId: queryId() };
  });
}

/** The body as a contract writes it: for who plays the chain. */
export function encodeWalletMessage({ type, queryId }: WalletMessage): Uint8Array {
  return toBoc(beginMessage(OPCODES[type], queryId).endCell());
}

const OPCODES = { payout: 0x1c0c0003, refund: 0x1c0c0004, excesses: 0xd53276db } as const;
const TYPES = ["payout", "refund", "excesses"] as const;

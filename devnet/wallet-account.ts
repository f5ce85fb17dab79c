import { createHash } from "node:crypto";
import {
  Address,
  beginCell,
  Cell,
  external,
  internal,
  loadStateInit,
  SendMode,
  storeMessage,
  storeStateInit,
  type MessageRelaxed,
} from "@ton/core";
import { WalletContractV5R1 } from "@ton/ton";
import * as z from "zod";
import type { RawAddress } from "../protocol/index.ts";
import type { DevnetKey } from "./accounts.ts";

/** The account behind a test wallet: a V5R1 contract, as wallet apps make one of a key. */
export interface WalletAccount {
  readonly address: RawAddress;
  readonly networkId: number;
  /** Lowercase hex. */
  readonly publicKey: string;
  /** A bag of cells. */
  readonly stateInit: Uint8Array;
  /** The signature of a ton_proof over this address. */
  signProof(proof: { readonly domain: string; readonly timestamp: number; readonly payload: string }): Uint8Array;
  /** The external message that does what was asked; `seqno` is undefined before the wallet is deployed, which it then does too. */
  signTransfer(request: TransferRequest, seqno: number | undefined): Uint8Array;
}

/** What an app asks a wallet to sign, as TON Connect has it. */
export const transferRequestSchema = z.object({
  valid_until: z.int(),
  network: z.string(),
  from: z.string(),
  messages: z
    .array(
      z.object({
        address: z.string(),
        amount: z.string().regex(/^\d+$/),
        payload: z.string().optional(),
        stateInit: z.string().optional(),
      }),
    )
    .min(1),
});
export type TransferRequest = z.output<typeof transferRequestSchema>;

export function walletAccount(key: DevnetKey, networkId: number): WalletAccount {
  const contract = WalletContractV5R1.create({
    publicKey: Buffer.from(key.publicKey),
    walletId: { networkGlobalId: networkId },
  });
  const { address, init } = contract;
  return {
    address: address.toRawString(),
    networkId,
    publicKey: Buffer.from(key.publicKey).toString("hex"),
    stateInit: new Uint8Array(beginCell().store(storeStateInit(init)).endCell().toBoc()),
    signProof: (proof) => key.sign(proofHash(address, proof)),
    signTransfer({ valid_until: timeout, messages }, seqno) {
      const body = contract.createTransfer({
        seqno: seqno ?? 0,
        secretKey: Buffer.concat([key.seed, key.publicKey]),
        // V5 takes nothing else from outside: a message that cannot be sent must not stop the seqno.
        sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
        timeout,
        messages: messages.map(internalMessage),
      });
      const message = external({ to: address, init: seqno === undefined ? init : null, body });
      return new Uint8Array(beginCell().store(storeMessage(message)).endCell().toBoc());
    },
  };
}

function internalMessage({ address, amount, payload, stateInit }: TransferRequest["messages"][number]): MessageRelaxed {
  const { address: to, isBounceable } = Address.parseFriendly(address);
  return internal({
    to,
    value: BigInt(amount),
    bounce: isBounceable,
    init: stateInit === undefined ? null : loadStateInit(Cell.fromBase64(stateInit).beginParse()),
    body: payload === undefined ? null : Cell.fromBase64(payload),
  });
}

/** TON Connect, "Address proof signature"; numbers are little-endian but for the workchain. */
function proofHash(
  address: Address,
  { domain, timestamp, payload }: { readonly domain: string; readonly timestamp: number; readonly payload: string },
): Uint8Array {
  const numbers = Buffer.alloc(16);
  numbers.writeInt32BE(address.workChain, 0);
  numbers.writeUInt32LE(Buffer.byteLength(domain), 4);
  numbers.writeBigUInt64LE(BigInt(timestamp), 8);
  const message = sha256(
    Buffer.from("ton-proof-item-v2/"),
    numbers.subarray(0, 4),
    address.hash,
    numbers.subarray(4, 8),
    Buffer.from(domain),
    numbers.subarray(8),
    Buffer.from(payload),
  );
  return sha256(Buffer.from([0xff, 0xff]), Buffer.from("ton-connect"), message);
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(createHash("sha256").update(Buffer.concat(parts)).digest());
}

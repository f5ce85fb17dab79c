import {
  Address,
  beginCell,
  comment,
  contractAddress,
  external,
  internal,
  SendMode,
  storeMessage,
  toNano,
} from "@ton/core";
import type { Cell, MessageRelaxed, OpenedContract, StateInit } from "@ton/core";
import { keyPairFromSeed } from "@ton/crypto";
import { TonClient, WalletContractV5R1 } from "@ton/ton";
import type { RawAddress } from "../protocol/index.ts";
import { DEVNET_NETWORK_ID } from "./accounts.ts";
import { startChain, type ChainOptions, type DevnetChain } from "./chain.ts";

/** What tests of the chain need beside it: a wallet with coins, and contracts of a few instructions. */

const key = keyPairFromSeed(Buffer.alloc(32, 1));

export const PUBLIC_KEY: Buffer = key.publicKey;

/** The wallet of every test: V5R1, on the devnet. */
export const contract: WalletContractV5R1 = WalletContractV5R1.create({
  publicKey: key.publicKey,
  walletId: { networkGlobalId: DEVNET_NETWORK_ID },
});

export const WALLET: RawAddress = contract.address.toRawString();
export const STRANGER: Address = Address.parseRaw(`0:${"11".repeat(32)}`);

export type OpenedWallet = OpenedContract<WalletContractV5R1>;

export interface FundedChain {
  readonly chain: DevnetChain;
  readonly client: TonClient;
  readonly opened: OpenedWallet;
}

/** A chain of its own on which the wallet has 100 coins. A bug of the chain is thrown. */
export async function funded(options: ChainOptions): Promise<FundedChain> {
  const log = (line: string): void => {
    throw new Error(line);
  };
  const chain = await startChain({ log, ...options });
  await chain.faucet(WALLET, toNano(100));
  const client = new TonClient({ endpoint: chain.endpoint });
  return { chain, client, opened: client.open(contract) };
}

export function coinsFor(to: Address, value: bigint): MessageRelaxed {
  return internal({ to, value, bounce: false, body: comment("hello") });
}

/** A first message that brings a contract of these instructions, bytes of TVM, to the chain. */
export function contractOf(codeHex: string): { readonly address: Address; readonly message: MessageRelaxed } {
  const code: Cell = beginCell().storeBuffer(Buffer.from(codeHex, "hex")).endCell();
  const init: StateInit = { code, data: beginCell().endCell() };
  const address = contractAddress(0, init);
  return { address, message: internal({ to: address, value: toNano("0.1"), init, bounce: false }) };
}

/** Signed for the wallet's number `seqno`. */
function signed(seqno: number, message: MessageRelaxed): Cell {
  const sendMode = SendMode.PAY_GAS_SEPARATELY;
  const timeout = 0xffff_ffff; // however far ahead the chain's clock is
  return contract.createTransfer({ seqno, secretKey: key.secretKey, sendMode, messages: [message], timeout });
}

/** Through the TonClient. */
export function transfer(opened: OpenedWallet, seqno: number, message: MessageRelaxed): Promise<void> {
  return opened.send(signed(seqno, message));
}

/** The same as bytes for whoever sends them. */
export function transferBoc(seqno: number, message: MessageRelaxed): Uint8Array {
  const init = seqno === 0 ? { init: contract.init } : {};
  const sent = external({ to: contract.address, body: signed(seqno, message), ...init });
  return new Uint8Array(beginCell().store(storeMessage(sent)).endCell().toBoc());
}

import type { Blockchain } from "@ton/sandbox";
import { Cell, external, internal, loadStateInit, SendMode, type Transaction } from "@ton/core";
import { keyPairFromSeed } from "@ton/crypto";
import { WalletContractV5R1 } from "@ton/ton";
import { toAddress, toCell, type Deployment } from "../contracts/cells.ts";
import type { TestChain } from "../contracts/sandbox.fake.ts";
import type { Nanoton, RawAddress } from "../protocol/index.ts";

/** A wallet as people have it: V5R1, deployed, with a transaction of its own for every message. */
export interface GasWallet {
  readonly address: RawAddress;
  send(message: WalletMessage): Promise<readonly Transaction[]>;
}

export interface WalletMessage {
  readonly to: RawAddress;
  readonly value: Nanoton;
  /** Default empty. */
  readonly body?: Uint8Array;
  readonly deploys?: Deployment | undefined;
}

const FUNDS: Nanoton = 1_000_000_000_000n;

export async function openWallet(chain: TestChain, name: string): Promise<GasWallet> {
  const { blockchain } = chain;
  const { publicKey, secretKey } = keyPairFromSeed(Buffer.from(name.padEnd(32)));
  const contract = WalletContractV5R1.create({ publicKey, walletId: { networkGlobalId: chain.networkId } });
  const opened = blockchain.openContract(contract);
  const wallet: GasWallet = {
    address: contract.address.toRawString(),
    send: async ({ to, value, body, deploys }) => {
      const isDeployed = await chain.isActive(wallet.address);
      const message = internal({
        to: toAddress(to),
        value,
        bounce: true,
        body: body === undefined ? Cell.EMPTY : toCell(body),
        ...(deploys && { init: loadStateInit(toCell(deploys.stateInit).beginParse()) }),
      });
      const transfer = contract.createTransfer({
        seqno: isDeployed ? await opened.getSeqno() : 0,
        secretKey,
        sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
        timeout: chain.now() + 300,
        messages: [message],
      });
      const init = isDeployed ? {} : { init: contract.init };
      return (await blockchain.sendMessage(external({ to: contract.address, body: transfer, ...init }))).transactions;
    },
  };
  await fund(blockchain, wallet);
  // Deploys it.
  await wallet.send({ to: wallet.address, value: 1n });
  return wallet;
}

async function fund(blockchain: Blockchain, { address }: GasWallet): Promise<void> {
  const faucet = await blockchain.treasury("faucet");
  await faucet.send({ to: toAddress(address), value: FUNDS, bounce: false });
}

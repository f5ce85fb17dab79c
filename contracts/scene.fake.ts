import assert from "node:assert/strict";
import { beginCell } from "@ton/core";
import type { BlockchainSnapshot } from "@ton/sandbox";
import {
  EMPTY_CHAIN,
  keyPairFromSeed,
  payloadHash,
  type ChargeVoucher,
  type Nanoton,
  type PayoutVoucher,
  type RawAddress,
  type SignedPayload,
} from "../protocol/index.ts";
import {
  clientChannelOf,
  encodeClientChannelMessage,
  CLIENT_CHANNEL_STATE,
  type ClientChannelMessage,
  type ClientChannelState,
  type ClientChannelTerms,
  type CloseVoucher,
} from "./ClientChannel.ts";
import { CHANNEL_RESERVE, GATEWAY_RESERVE, valueToAttach } from "./fees.ts";
import {
  encodeGatewayMessage,
  GATEWAY_STATE,
  gatewayOf,
  type Checkpoint,
  type GatewayMessage,
  type GatewayState,
  type GatewayTerms,
} from "./Gateway.ts";
import { toAddress, toBoc, type Deployment } from "./cells.ts";
import { PRICES_BEFORE, PRICES_OF_JUNE_2026, type Prices } from "./prices.ts";
import { openTestChain, type TestChain, type TestWallet, type Trace } from "./sandbox.fake.ts";
import {
  encodeWorkerChannelMessage,
  WORKER_CHANNEL_STATE,
  workerChannelOf,
  type WorkerChannelMessage,
  type WorkerChannelState,
  type WorkerChannelTerms,
} from "./WorkerChannel.ts";

/** A gateway with a stake, a client's channel with a deposit and a worker's channel that is not deployed yet. */
export interface Scene {
  readonly chain: TestChain;
  /** Owns the gateway. */
  readonly operator: TestWallet;
  /** Owns the client's channel. */
  readonly payer: TestWallet;
  /** Owns the worker's channel. */
  readonly earner: TestWallet;
  readonly stranger: TestWallet;
  readonly gateway: Deployment & { readonly terms: GatewayTerms };
  readonly clientChannel: Deployment & { readonly terms: ClientChannelTerms };
  readonly workerChannel: Deployment & { readonly terms: WorkerChannelTerms };

  toGateway(message: GatewayMessage, options?: SendOptions): Promise<Trace>;
  toClientChannel(message: ClientChannelMessage, options?: SendOptions): Promise<Trace>;
  /** Deploys it when it is not there. */
  toWorkerChannel(message: WorkerChannelMessage, options?: SendOptions): Promise<Trace>;
  gatewayState(): Promise<GatewayState>;
  clientState(): Promise<ClientChannelState>;
  /** Of a channel that is not there yet: what it begins with. */
  workerState(): Promise<WorkerChannelState>;

  cashOut(total: Nanoton, forged?: Forgery<PayoutVoucher> & { readonly limit?: Nanoton }): WorkerChannelMessage;
  /** Countersigned by the client's payment key, by another, or by nobody. */
  charge(total: Nanoton, forged?: Forgery<ChargeVoucher> & { readonly clientKey?: KeyPair | "nobody" }): ClientCharge;
  closeVoucher(total: Nanoton, closeSeq: number, forged?: Forgery<CloseVoucher>): ClientChannelMessage;
  checkpoint(seqno: number, forged?: Forgery<Checkpoint>): GatewayMessage;
  /** Charges the client up to this total, countersigned. */
  charged(total: Nanoton): Promise<void>;
  /** Pays the worker up to this total. */
  paid(total: Nanoton): Promise<void>;
}

export type KeyPair = ReturnType<typeof keyPairFromSeed>;

type ClientCharge = Extract<ClientChannelMessage, { type: "charge" }>;

export interface SendOptions {
  readonly from?: TestWallet;
  /** Default: ample, with the amount and what the contract lacks of its reserve. */
  readonly value?: Nanoton;
}

/** What is wrong with a signed payload. */
export type Forgery<Payload> = Partial<Payload> & { readonly key?: KeyPair };

export const TON: Nanoton = 1_000_000_000n;
export const STAKE: Nanoton = 5n * TON;
export const DEPOSIT: Nanoton = 10n * TON;
export const CREDIT_LIMIT: Nanoton = TON / 20n;
export const DAY = 86_400;
export const YEAR = 365 * DAY;
/** That every message of a scene carries. */
export const QUERY = 0xfeed_0000_0000_0001n;

const key = (seed: number): KeyPair => keyPairFromSeed(new Uint8Array(32).fill(seed));
export const gatewayKey = key(31);
export const paymentKey = key(32);
export const forger = key(33);

/** Another network than every scene's: testnet. */
export const OTHER_NETWORK = -3;
export const OTHER_ADDRESS: RawAddress = `0:${"0d".repeat(32)}`;

export const BOTH_PRICES = [
  { name: "of June 2026", prices: PRICES_OF_JUNE_2026 },
  { name: "of before April 2026", prices: PRICES_BEFORE },
] as const;

/** Bodies that are a message to none of the contracts: an unknown opcode, a comment, too few bits, a reference alone. */
export const NO_MESSAGES: readonly Uint8Array[] = [
  beginCell().storeUint(0xdead_beef, 32).storeUint(QUERY, 64).endCell(),
  beginCell().storeUint(0, 32).storeStringTail("thank you").endCell(),
  beginCell().storeUint(5, 8).endCell(),
  beginCell().storeRef(beginCell().endCell()).endCell(),
].map(toBoc);

interface Opened {
  readonly scene: Scene;
  readonly snapshot: BlockchainSnapshot;
}

const opened = new Map<Prices, Promise<Opened>>();

/** Always the same scene at its beginning. One test at a time: it takes the chain away from the one before. */
export async function openScene(prices: Prices = PRICES_OF_JUNE_2026): Promise<Scene> {
  let opening = opened.get(prices);
  if (opening === undefined) {
    opening = setUp(prices);
    opened.set(prices, opening);
  }
  const { scene, snapshot } = await opening;
  await scene.chain.blockchain.loadFrom(snapshot);
  return scene;
}

async function setUp(prices: Prices): Promise<Opened> {
  const chain = await openTestChain({ prices });
  const [operator, payer, earner, stranger] = await Promise.all([
    chain.wallet("operator"),
    chain.wallet("payer"),
    chain.wallet("earner"),
    chain.wallet("stranger"),
  ]);
  const scene = sceneOf(chain, { operator, payer, earner, stranger });
  await scene.toGateway({ type: "add-stake", queryId: QUERY, amount: STAKE });
  await scene.toClientChannel({
    type: "open-channel",
    queryId: QUERY,
    amount: DEPOSIT,
    paymentKey: paymentKey.publicKey,
    creditLimit: CREDIT_LIMIT,
  });
  return { scene, snapshot: chain.blockchain.snapshot() };
}

type People = Pick<Scene, "operator" | "payer" | "earner" | "stranger">;

function sceneOf(chain: TestChain, people: People): Scene {
  const { operator, payer, earner } = people;
  const gateway = deployed(gatewayOf, {
    owner: operator.address,
    gatewayKey: gatewayKey.publicKey,
    registry: OTHER_ADDRESS,
    instance: 1,
    withdrawDelaySeconds: DAY,
    closeDelaySeconds: 7 * DAY,
  });
  const ours = { gateway: gateway.address, gatewayKey: gatewayKey.publicKey };
  const clientChannel = deployed(clientChannelOf, { ...ours, owner: payer.address, closeDelaySeconds: DAY });
  const workerChannel = deployed(workerChannelOf, { ...ours, owner: earner.address });
  const { networkId } = chain;

  async function tell(to: Deployment, content: Content, { from, value }: SendOptions): Promise<Trace> {
    const { body, amount, reserve, sender } = content;
    const isActive = await chain.isActive(to.address);
    return chain.send({
      from: from ?? sender,
      to: to.address,
      value: value ?? amount + valueToAttach(await chain.balanceOf(to.address), reserve),
      body,
      ...(isActive ? {} : { deploys: to }),
    });
  }

  const scene: Scene = {
    ...people,
    chain,
    gateway,
    clientChannel,
    workerChannel,
    toGateway: (message, options = {}) => {
      const body = encodeGatewayMessage(message);
      const amount = message.type === "add-stake" || message.type === "credit" ? message.amount : 0n;
      return tell(gateway, { body, amount, reserve: GATEWAY_RESERVE, sender: operator }, options);
    },
    toClientChannel: (message, options = {}) => {
      const body = encodeClientChannelMessage(message);
      const amount = message.type === "open-channel" || message.type === "top-up" ? message.amount : 0n;
      return tell(clientChannel, { body, amount, reserve: CHANNEL_RESERVE, sender: payer }, options);
    },
    toWorkerChannel: (message, options = {}) => {
      const body = encodeWorkerChannelMessage(message);
      return tell(workerChannel, { body, amount: 0n, reserve: CHANNEL_RESERVE, sender: earner }, options);
    },
    gatewayState: () => chain.ask(gateway.address, GATEWAY_STATE),
    clientState: () => chain.ask(clientChannel.address, CLIENT_CHANNEL_STATE),
    workerState: async () =>
      (await chain.isActive(workerChannel.address))
        ? chain.ask(workerChannel.address, WORKER_CHANNEL_STATE)
        : { paid: 0n, retryAfter: 0, terms: workerChannel.terms },

    cashOut: (total, { key: signer = gatewayKey, limit = 0n, ...wrong } = {}) => {
      const channel = workerChannel.address;
      const voucher: PayoutVoucher = { type: "payout", networkId, channel, total, receipt: EMPTY_CHAIN, ...wrong };
      return { type: "cash-out", queryId: QUERY, limit, gatewaySignature: signed(voucher, signer), voucher };
    },
    charge: (total, { key: signer = gatewayKey, clientKey = paymentKey, ...wrong } = {}) => {
      const channel = clientChannel.address;
      const voucher: ChargeVoucher = { type: "charge", networkId, channel, total, receipt: EMPTY_CHAIN, ...wrong };
      const clientSignature = clientKey === "nobody" ? undefined : signed(voucher, clientKey);
      return { type: "charge", queryId: QUERY, gatewaySignature: signed(voucher, signer), clientSignature, voucher };
    },
    closeVoucher: (total, closeSeq, { key: signer = gatewayKey, ...wrong } = {}) => {
      const channel = clientChannel.address;
      const voucher: CloseVoucher = { type: "close", networkId, channel, total, closeSeq, ...wrong };
      return { type: "close-cooperative", queryId: QUERY, gatewaySignature: signed(voucher, signer), voucher };
    },
    checkpoint: (seqno, { key: signer = gatewayKey, ...wrong } = {}) => {
      const stateHash = new Uint8Array(32).fill(seqno);
      const payload: Checkpoint = {
        type: "checkpoint",
        networkId,
        gateway: gateway.address,
        seqno,
        stateHash,
        ...wrong,
      };
      return {
        type: "commit-checkpoint",
        queryId: QUERY,
        gatewaySignature: signed(payload, signer),
        checkpoint: payload,
      };
    },
    charged: async (total) => {
      await scene.toClientChannel(scene.charge(total), { from: operator });
    },
    paid: async (total) => {
      await scene.toWorkerChannel(scene.cashOut(total));
    },
  };
  return scene;
}

interface Content {
  readonly body: Uint8Array;
  readonly amount: Nanoton;
  readonly reserve: Nanoton;
  /** Who sends it when nobody else is named. */
  readonly sender: TestWallet;
}

function deployed<Terms>(deploymentOf: (terms: Terms) => Deployment, terms: Terms): Deployment & { terms: Terms } {
  return { ...deploymentOf(terms), terms };
}

function signed(payload: SignedPayload, { sign }: KeyPair): Uint8Array {
  return sign(payloadHash(payload));
}

/**
 * Does what must be refused: the contract answers with this code, nothing of it has changed, and but for rent it has not
 * gained or lost a nanoton: what was sent came back.
 */
export async function assertRefused(
  { chain }: Scene,
  { address }: Deployment,
  code: number,
  act: () => Promise<Trace>,
): Promise<void> {
  const before = await standingOf(chain, address);
  const trace = await act();
  const after = await standingOf(chain, address);
  assert.equal(trace.codeAt(address), code);
  const expected = { ...before, balance: before.balance - trace.rentOf(address) };
  assert.deepEqual(after, expected, `refused with ${code}, and yet something changed`);
}

async function standingOf(
  { blockchain }: TestChain,
  address: RawAddress,
): Promise<{ balance: Nanoton; data: unknown }> {
  const { accountState, balance } = await blockchain.getContract(toAddress(address));
  const data = accountState?.type === "active" ? accountState.state.data?.hash().toString("hex") : undefined;
  return { balance, data };
}

/** What an account got, in nanoton, by an act that it did not pay for. */
export async function gainOf({ chain }: Scene, address: RawAddress, act: () => Promise<unknown>): Promise<Nanoton> {
  const before = await chain.balanceOf(address);
  await act();
  return (await chain.balanceOf(address)) - before;
}

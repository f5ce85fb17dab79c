import { Address } from "@ton/core";
import type { Transaction } from "@ton/core";
import { fakeChainClock, type FakeChainClock } from "../../contracts/chain-clock.fake.ts";
import type { ChainReader, ChainTransaction } from "../../contracts/chain-reader.ts";
import { clientChannelOf, encodeClientChannelMessage, type CloseVoucher } from "../../contracts/ClientChannel.ts";
import { encodeGatewayMessage, gatewayOf, type GatewayTerms } from "../../contracts/Gateway.ts";
import type { Getter } from "../../contracts/getter.ts";
import { defaultParams, encodeRegistryMessage, registryOf, type RegistryParams } from "../../contracts/Registry.ts";
import {
  accountOf,
  openTestChain,
  type TestChain,
  type TestMessage,
  type TestWallet,
} from "../../contracts/sandbox.fake.ts";
import { readTransaction } from "../../contracts/transaction.ts";
import {
  EMPTY_CHAIN,
  Failure,
  keyPairFromSeed,
  payloadHash,
  type ChargeVoucher,
  type FailureCode,
  type Nanoton,
  type RawAddress,
} from "../../protocol/index.ts";
import type { ChannelRecord, ChannelRecords } from "./channel-record.ts";
import { createPaymentChannel, type ChannelOpening, type PaymentChannel } from "./payment-channel.ts";
import type { Wallet, WalletTransaction } from "./wallet.ts";

/** Real contracts on a chain in memory: a gateway that a registry lists, and a payer with a wallet. */
export interface DepositScene {
  readonly chain: SceneChain;
  readonly clock: SceneClock;
  readonly gateway: { readonly terms: GatewayTerms; readonly address: RawAddress };
  readonly registry: RawAddress;
  readonly owner: RawAddress;
  readonly wallet: SceneWallet;
  /** Another account's. */
  readonly stranger: SceneWallet;
  readonly records: ChannelRecords & { record: ChannelRecord | undefined };
  /** What the payment key has countersigned off chain. */
  countersigned: Nanoton;
  /** A new one over the same records, as after a start of the program. */
  channel(overrides?: { readonly log?: (line: string) => void; readonly signal?: AbortSignal }): PaymentChannel;
  opening(overrides?: Partial<ChannelOpening>): ChannelOpening;
  /** The gateway charges up to a total: with the client's countersignature, or on its own. */
  charge(total: Nanoton, by?: "both" | "gateway"): Promise<void>;
  agreement(
    total: Nanoton,
    closeSeq?: number,
  ): { readonly voucher: CloseVoucher; readonly gatewaySignature: Uint8Array };
}

export interface SceneClock extends FakeChainClock {
  /** Called in each pause: what happens while somebody waits. */
  meanwhile: () => Promise<void> | void;
}

export interface SceneChain extends ChainReader {
  readonly test: TestChain;
  /** Every question fails so from now on; undefined ends it. */
  fail(code: FailureCode | undefined): void;
  /** Seconds pass, for the chain and for this computer. */
  advance(seconds: number): void;
  send(boc: Uint8Array): Promise<never>;
  tell(message: TestMessage): Promise<void>;
}

export interface SceneWallet extends Wallet {
  readonly asked: readonly WalletTransaction[];
  /** What the person at the wallet does next: sends it, says no, or lets it lie and sends it later. */
  habit: "willing" | "late" | FailureCode;
  /** Sends what was left lying. */
  sendLate(): Promise<void>;
}

export const TON: Nanoton = 1_000_000_000n;
export const HOUR = 3_600;
export const DAY = 86_400;
export const NETWORK_ID = -239;
export const gatewayKey = keyPairFromSeed(new Uint8Array(32).fill(41));
export const paymentKey = keyPairFromSeed(new Uint8Array(32).fill(42));

export interface SceneOptions {
  readonly stake?: Nanoton;
  readonly gateway?: Partial<GatewayTerms>;
  readonly params?: Partial<RegistryParams>;
  /** Default: the gateway's own key and contract. */
  readonly listed?: { readonly key?: Uint8Array; readonly gateway?: RawAddress } | "nobody";
}

export async function depositScene(options: SceneOptions = {}): Promise<DepositScene> {
  const test = await openTestChain();
  const [operator, payer, other] = [
    await test.wallet("operator"),
    await test.wallet("payer"),
    await test.wallet("other"),
  ];
  const clock = sceneClock(test);
  const chain = sceneChain(test, clock);
  const params = { ...defaultParams(NETWORK_ID), ...options.params };
  const registry = registryOf({ owner: operator.address, params });
  const terms: GatewayTerms = {
    owner: operator.address,
    gatewayKey: gatewayKey.publicKey,
    registry: registry.address,
    instance: 0,
    withdrawDelaySeconds: DAY,
    closeDelaySeconds: 7 * DAY,
    ...options.gateway,
  };
  const gateway = gatewayOf(terms);
  const tell = (to: RawAddress, body: Uint8Array, value: Nanoton, deploys?: TestMessage["deploys"]): Promise<void> =>
    chain.tell({ from: operator, to, value, body, ...(deploys === undefined ? {} : { deploys }) });
  const { stake = 50n * TON, listed = {} } = options;
  await tell(
    gateway.address,
    encodeGatewayMessage({ type: "add-stake", queryId: 1n, amount: stake }),
    stake + TON,
    gateway,
  );
  const entry = { gateway: gateway.address, key: terms.gatewayKey, addedAt: 0, endpoint: "https://gateway.example" };
  const added = listed === "nobody" ? { ...entry, key: paymentKey.publicKey } : { ...entry, ...listed };
  await tell(
    registry.address,
    encodeRegistryMessage({ type: "add-gateway", queryId: 1n, entry: added }),
    TON,
    registry,
  );

  const records: DepositScene["records"] = {
    record: undefined,
    read: () => records.record,
    write(record) {
      records.record = record;
    },
  };
  const scene: DepositScene = {
    chain,
    clock,
    gateway: { terms, address: gateway.address },
    registry: registry.address,
    owner: payer.address,
    wallet: sceneWallet(chain, payer),
    stranger: sceneWallet(chain, other),
    records,
    countersigned: 0n,
    channel: (overrides = {}) =>
      createPaymentChannel({
        chain,
        records,
        clock,
        random: (length) => crypto.getRandomValues(new Uint8Array(length)),
        countersigned: () => scene.countersigned,
        ...overrides,
      }),
    opening: (overrides = {}) => ({
      gateway: {
        key: gatewayKey.publicKey,
        networkId: NETWORK_ID,
        registry: registry.address,
        contract: undefined,
        feeBps: undefined,
      },
      gatewayUrl: "https://gateway.example",
      chainEndpoint: undefined,
      owner: payer.address,
      amount: 10n * TON,
      creditLimit: TON,
      paymentKey: paymentKey.publicKey,
      cap: {},
      ...overrides,
    }),
    async charge(total, by = "both") {
      const { address } = clientChannelOf(channelTerms());
      const voucher: ChargeVoucher = {
        type: "charge",
        networkId: NETWORK_ID,
        channel: address,
        total,
        receipt: EMPTY_CHAIN,
      };
      const hash = payloadHash(voucher);
      const body = encodeClientChannelMessage({
        type: "charge",
        queryId: 7n,
        gatewaySignature: gatewayKey.sign(hash),
        clientSignature: by === "both" ? paymentKey.sign(hash) : undefined,
        voucher,
      });
      await chain.tell({ from: operator, to: address, value: TON / 10n, body });
    },
    agreement(total, closeSeq = 0) {
      const { address } = clientChannelOf(channelTerms());
      const voucher: CloseVoucher = { type: "close", networkId: NETWORK_ID, channel: address, total, closeSeq };
      return { voucher, gatewaySignature: gatewayKey.sign(payloadHash(voucher)) };
    },
  };
  const channelTerms = () => ({
    owner: payer.address,
    gateway: gateway.address,
    gatewayKey: terms.gatewayKey,
    closeDelaySeconds: params.clientCloseDelaySeconds,
  });
  return scene;
}

/** A pause takes its time on the chain, too. */
function sceneClock(test: TestChain): SceneClock {
  const clock = fakeChainClock(test.now() * 1000);
  const scene: SceneClock = {
    ...clock,
    meanwhile: () => undefined,
    async pause(ms, signal) {
      await clock.pause(ms, signal);
      test.advance(Math.ceil(ms / 1000));
      await scene.meanwhile();
    },
  };
  return scene;
}

function sceneChain(test: TestChain, clock: FakeChainClock): SceneChain {
  const history: Transaction[] = [];
  let failing: FailureCode | undefined;
  const answered = async <Value>(value: () => Promise<Value> | Value): Promise<Value> => {
    if (failing !== undefined) throw new Failure(failing, "as the test has it");
    return value();
  };
  const of = (address: RawAddress): readonly ChainTransaction[] =>
    history
      .filter((transaction) => accountOf(transaction) === address)
      .map((transaction) => {
        const { lt, raw } = transaction;
        const id = { lt, hash: new Uint8Array(transaction.hash()), address };
        return readTransaction(new Uint8Array(raw.toBoc()), id).transaction;
      });
  const block = () => ({ seqno: 1, rootHash: new Uint8Array(32), genUtime: test.now() });
  return {
    test,
    fail(code) {
      failing = code;
    },
    advance(seconds) {
      test.advance(seconds);
      clock.advance(seconds * 1000);
    },
    async tell(message) {
      const { transactions } = await test.send(message);
      history.push(...transactions);
    },
    networkId: () => answered(() => test.networkId),
    newestBlock: () => answered(block),
    block: () => answered(block),
    account: (address) =>
      answered(async () => {
        const last = of(address).at(-1);
        const isActive = await test.isActive(address);
        return {
          address,
          state: isActive ? "active" : "uninitialized",
          balance: await test.balanceOf(address),
          lastTransaction: last,
          contract: undefined,
        };
      }),
    get: (address, method, args = []) =>
      answered(async () => {
        if (!(await test.isActive(address))) return undefined;
        const raw: Getter<Awaited<ReturnType<ChainReader["get"]>>> = { method, args, read: (stack) => stack };
        return test.ask(address, raw);
      }),
    transactions: (address, { after = 0n } = {}) =>
      answered(() => ({ transactions: of(address).filter(({ lt }) => lt > after), isWhole: true })),
    send: () => Promise.reject(new RangeError("a payer sends nothing itself")),
  };
}

function sceneWallet(chain: SceneChain, account: TestWallet): SceneWallet {
  const asked: WalletTransaction[] = [];
  const lying: WalletTransaction[] = [];
  const send = async ({ messages }: WalletTransaction): Promise<void> => {
    for (const { address, amount, payload, stateInit } of messages) {
      const to = Address.parse(address).toRawString();
      await chain.tell({
        from: account,
        to,
        value: BigInt(amount),
        body: bytes(payload),
        ...(stateInit === undefined ? {} : { deploys: { address: to, stateInit: bytes(stateInit) } }),
      });
    }
  };
  const wallet: SceneWallet = {
    address: account.address,
    asked,
    habit: "willing",
    async sendTransaction(transaction) {
      asked.push(transaction);
      const { habit } = wallet;
      if (habit === "willing") return send(transaction);
      if (habit !== "late") throw new Failure(habit, "as the test has it");
      lying.push(transaction);
    },
    async sendLate() {
      for (const transaction of lying.splice(0)) await send(transaction);
    },
  };
  return wallet;
}

function bytes(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

import type { ChainClock } from "../../contracts/chain-clock.ts";
import type { ChainReader, ChainTransaction } from "../../contracts/chain-reader.ts";
import { clientChannelOf, type CloseVoucher } from "../../contracts/ClientChannel.ts";
import {
  COIN_NAME,
  equalBytes,
  Failure,
  FAILURES,
  formatTon,
  toHex,
  type Nanoton,
  type RawAddress,
} from "../../protocol/index.ts";
import type { SpendingCap } from "../spending.ts";
import { phaseOf, readChannel, type ChannelPhase, type SeenChannel } from "./channel-state.ts";
import type { ChannelRecord, ChannelRecords } from "./channel-record.ts";
import { verifyGateway, type ChosenGateway } from "./gateway-check.ts";
import { moneyOf, type ChannelMoney } from "./money.ts";
import { depositOf, OWNERS_ORDERS, valueOf, walletMessage, type ChannelOrder } from "./orders.ts";
import { checkCreditLimit, checkDeposit, nextCloseStep } from "./plan.ts";
import { fateOf, refundIn, refusalOf, type SentOrder } from "./sent-order.ts";
import type { Wallet } from "./wallet.ts";

/**
 * The owner's side of one payment channel. Each verb looks at the chain, refuses what the contract would refuse, asks a
 * wallet once, and resolves when the chain shows it. What a crash interrupts is taken up by the same verb again: what was
 * sent is looked for before anything is sent anew.
 */
export interface PaymentChannel {
  /** @throws {Failure} `channel_missing` when this folder has none; those of the chain group. */
  look(): Promise<ChannelView>;
  /**
   * Opens the channel, or opens it again after a close, with a deposit.
   *
   * @throws {Failure} those of {@link verifyGateway}, `deposit_too_small`, `spending_cap`, `channel_locked`,
   *   `channel_closing`, `channel_pending`; of the wallet; of the chain.
   */
  open(opening: ChannelOpening, wallet: Wallet): Promise<ChannelView>;
  /** The same for an open channel. Anyone's wallet may pay. */
  topUp(amount: Nanoton, wallet: Wallet): Promise<ChannelView>;
  /** Raised at any time; lowered only while there is no deposit. */
  setCreditLimit(creditLimit: Nanoton, wallet: Wallet): Promise<ChannelView>;
  /** Closes at once, by the gateway's signature on the last total. */
  closeWith(agreement: CloseAgreement, wallet: Wallet): Promise<Closed>;
  /** The next step of a close that the gateway has no part in: start it, or once the delay is over, finish it. */
  closeAlone(wallet: Wallet): Promise<Closed | Closing>;
  /** Changes what may be deposited and spent. @throws {Failure} `channel_missing`. */
  setCap(cap: SpendingCap): void;
}

export interface ChannelOpening {
  readonly gateway: ChosenGateway;
  readonly gatewayUrl: string;
  readonly chainEndpoint: string | undefined;
  readonly owner: RawAddress;
  readonly amount: Nanoton;
  readonly creditLimit: Nanoton;
  /** 32 bytes, of a key made on this computer. */
  readonly paymentKey: Uint8Array;
  readonly cap: SpendingCap;
}

/** The gateway's word for the last total. */
export interface CloseAgreement {
  readonly voucher: CloseVoucher;
  /** 64 bytes. */
  readonly gatewaySignature: Uint8Array;
}

export interface ChannelView extends SeenChannel {
  readonly record: ChannelRecord;
  readonly phase: ChannelPhase;
  /** Undefined while nothing stands at its address. */
  readonly money: ChannelMoney | undefined;
}

export interface Closed {
  readonly type: "closed";
  /** As the chain shows it: the deposit, and what the closing message did not need. Undefined when it was closed before. */
  readonly refund: { readonly amount: Nanoton; readonly at: number } | undefined;
}

export interface Closing {
  readonly type: "closing";
  /** Unix seconds. */
  readonly until: number;
}

export interface PaymentChannelOptions {
  readonly chain: ChainReader;
  readonly records: ChannelRecords;
  readonly clock: ChainClock;
  readonly random: (length: number) => Uint8Array;
  /** The highest total that the payment key has countersigned off chain, of the channel at this address. */
  readonly countersigned: (channel: RawAddress) => Nanoton;
  /** One line for a person: what is waited for. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** What a wallet has to confirm in: TON Connect allows no more. */
const VALID_SECONDS = 300;
/** A block takes some seconds, and a public node answers one question a second. */
const LOOK_AGAIN_MS = 3_000;
/** A wallet's own fees for one message, several times over. */
const WALLET_FEES: Nanoton = 10_000_000n;
const QUERY_ID_BYTES = 8;

export function createPaymentChannel(options: PaymentChannelOptions): PaymentChannel {
  return new OwnersChannel(options);
}

class OwnersChannel implements PaymentChannel {
  readonly #options: PaymentChannelOptions;
  /** One verb at a time: each decides by what the one before has left. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: PaymentChannelOptions) {
    this.#options = options;
  }

  async look(): Promise<ChannelView> {
    return this.#viewOf(this.#record());
  }

  open(opening: ChannelOpening, wallet: Wallet): Promise<ChannelView> {
    return this.#inTurn(async () => {
      await this.#open(opening, wallet);
      return this.look();
    });
  }

  topUp(amount: Nanoton, wallet: Wallet): Promise<ChannelView> {
    return this.#inTurn(async () => {
      const record = this.#record();
      const order = { type: "top-up", amount } as const;
      if ((await this.#takenUp(record, order)) === undefined) {
        const { networkId, registry, terms, cap } = record;
        const chosen = { key: terms.gatewayKey, networkId, registry, contract: terms.gateway, feeBps: undefined };
        const { minDeposit } = await verifyGateway(this.#options.chain, chosen);
        const seen = await readChannel(this.#options.chain, terms);
        checkDeposit(order, seen, { cap, minDeposit });
        await this.#send(record, seen, order, wallet);
      }
      return this.look();
    });
  }

  setCreditLimit(creditLimit: Nanoton, wallet: Wallet): Promise<ChannelView> {
    return this.#inTurn(async () => {
      const record = this.#record();
      const order = { type: "set-credit-limit", creditLimit } as const;
      if ((await this.#takenUp(record, order)) === undefined) {
        const seen = await readChannel(this.#options.chain, record.terms);
        if (checkCreditLimit(creditLimit, seen) === "send") await this.#send(record, seen, order, wallet);
      }
      return this.look();
    });
  }

  closeWith({ voucher, gatewaySignature }: CloseAgreement, wallet: Wallet): Promise<Closed> {
    return this.#inTurn(async () => {
      const record = this.#record();
      const order = { type: "close-cooperative", voucher, gatewaySignature } as const;
      const before = await this.#takenUp(record, order);
      if (before !== undefined) return closedBy(record, before);
      const seen = await readChannel(this.#options.chain, record.terms);
      if (nextCloseStep(seen).type === "done") return { type: "closed", refund: undefined };
      return closedBy(record, await this.#send(record, seen, order, wallet));
    });
  }

  closeAlone(wallet: Wallet): Promise<Closed | Closing> {
    return this.#inTurn(async () => {
      const record = this.#record();
      const type = record.sent?.type === "finish-close" ? "finish-close" : "start-close";
      const before = await this.#takenUp(record, { type });
      if (before !== undefined && type === "finish-close") return closedBy(record, before);
      const seen = await readChannel(this.#options.chain, record.terms);
      const step = nextCloseStep(seen);
      if (step.type === "done") return { type: "closed", refund: undefined };
      if (step.type === "wait") return { type: "closing", until: step.until };
      const transaction = await this.#send(this.#record(), seen, step.order, wallet);
      if (step.order.type === "finish-close") return closedBy(record, transaction);
      return { type: "closing", until: (await this.look()).state?.closeAt ?? 0 };
    });
  }

  setCap(cap: SpendingCap): void {
    this.#options.records.write({ ...this.#record(), cap });
  }

  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #open(opening: ChannelOpening, wallet: Wallet): Promise<void> {
    const { chain, records } = this.#options;
    const { gateway, gatewayUrl, chainEndpoint, owner, amount, creditLimit, paymentKey, cap } = opening;
    const order = { type: "open-channel", amount, paymentKey, creditLimit } as const;
    const kept = records.read();
    const isOurs = kept?.terms.owner === owner && equalBytes(kept.terms.gatewayKey, gateway.key);
    if (kept !== undefined && (await this.#takenUp(kept, isOurs ? order : undefined)) !== undefined) return;
    const { contract, key, closeDelaySeconds, minDeposit } = await verifyGateway(chain, gateway);
    const terms = { owner, gateway: contract, gatewayKey: key, closeDelaySeconds };
    const { address } = clientChannelOf(terms);
    if (kept !== undefined && kept.address !== address) await this.#checkLeft(kept);
    const seen = await readChannel(chain, terms);
    checkDeposit(order, seen, { cap, minDeposit });
    const { networkId, registry } = gateway;
    const chargedBefore = seen.state?.charged ?? 0n;
    const made = {
      networkId,
      registry,
      gatewayUrl,
      chainEndpoint,
      terms,
      address,
      cap,
      chargedBefore,
      sent: undefined,
    };
    await this.#send(made, seen, order, wallet);
  }

  #record(): ChannelRecord {
    const record = this.#options.records.read();
    if (record === undefined) throw new Failure("channel_missing");
    if (clientChannelOf(record.terms).address !== record.address)
      throw new Failure("storage_failed", "the channel's address does not follow from its terms");
    return record;
  }

  async #viewOf(record: ChannelRecord): Promise<ChannelView> {
    const seen = await readChannel(this.#options.chain, record.terms);
    const { state } = seen;
    const countersigned = this.#options.countersigned(record.address);
    const money = state === undefined ? undefined : moneyOf(state, countersigned);
    return { ...seen, record, phase: phaseOf(seen), money };
  }

  /** Another channel takes this folder's place only when nothing is left in the one before. */
  async #checkLeft(record: ChannelRecord): Promise<void> {
    const { state } = await readChannel(this.#options.chain, record.terms);
    const left = state?.balance ?? 0n;
    if (left > 0n) {
      const amount = `${formatTon(left)} ${COIN_NAME}`;
      throw new Failure("channel_locked", `${amount} are in the folder's channel with another gateway or owner`);
    }
  }

  /**
   * What became of an order of this kind that was sent before; undefined when none was, or it never arrived.
   *
   * @throws {Failure} `channel_pending` while another kind of order is under way.
   */
  async #takenUp(record: ChannelRecord, order: ChannelOrder | undefined): Promise<ChainTransaction | undefined> {
    const { sent } = record;
    if (sent === undefined) return undefined;
    const isSame = order?.type === sent.type && depositOf(order) === sent.amount;
    const fate = await this.#fateOf(record, sent);
    if (fate.type === "under-way" && !isSame)
      throw new Failure("channel_pending", `${sent.type}, until ${new Date(sent.validUntil * 1000).toISOString()}`);
    if (fate.type === "under-way") this.#options.log?.(`a ${sent.type} was sent before; waiting for it`);
    try {
      const transaction = await this.#executed(record, sent);
      return isSame ? transaction : undefined;
    } catch (error) {
      // It did not happen, and nobody waits for it any more: what is asked for now is decided anew.
      if (error instanceof Failure && (error.code === "wallet_silent" || error.code === "chain_refused"))
        return undefined;
      throw error;
    }
  }

  async #send(
    record: ChannelRecord,
    seen: SeenChannel,
    order: ChannelOrder,
    wallet: Wallet,
  ): Promise<ChainTransaction> {
    const { networkId, terms } = record;
    const { records, clock, random } = this.#options;
    if (OWNERS_ORDERS.has(order.type) && wallet.address !== terms.owner)
      throw new Failure("wallet_address", `the channel's owner is ${terms.owner}`);
    await this.#checkBalance(wallet.address, order);
    const queryId = BigInt(`0x${toHex(random(QUERY_ID_BYTES))}`);
    // A devnet's clock may be ahead of this computer's, and a wallet goes by the one, its contract by the other.
    const validUntil = Math.max(Math.floor(clock.now() / 1000), seen.now) + VALID_SECONDS;
    const sent: SentOrder = { type: order.type, queryId, amount: depositOf(order), validUntil, afterLt: seen.lt };
    records.write({ ...record, sent });
    const message = walletMessage(order, queryId, { networkId, terms, isDeployed: seen.state !== undefined });
    try {
      await wallet.sendTransaction({ validUntil, networkId, from: wallet.address, messages: [message] });
    } catch (error) {
      if (error instanceof Failure && NEVER_SENT.has(error.code)) records.write({ ...record, sent: undefined });
      throw error;
    }
    return this.#executed({ ...record, sent }, sent);
  }

  async #checkBalance(account: RawAddress, order: ChannelOrder): Promise<void> {
    const { balance } = await this.#options.chain.account(account);
    const needed = valueOf(order) + WALLET_FEES;
    if (balance < needed) {
      const words = `${formatTon(balance)} of the ${formatTon(needed)} ${COIN_NAME} that it takes`;
      throw new Failure("wallet_balance", words);
    }
  }

  /**
   * Waits until the chain shows what an order did, and forgets the order.
   *
   * @throws {Failure} `chain_refused`; `wallet_silent` when it never came.
   */
  async #executed(record: ChannelRecord, sent: SentOrder): Promise<ChainTransaction> {
    const { records, clock, signal } = this.#options;
    const forget = (): void => records.write({ ...record, sent: undefined });
    for (;;) {
      const fate = await this.#fateOf(record, sent);
      switch (fate.type) {
        case "executed":
          forget();
          return fate.transaction;
        case "refused":
          forget();
          throw refusalOf(fate.exitCode);
        case "lapsed":
          forget();
          throw new Failure("wallet_silent", "nothing has reached the channel");
        case "under-way":
          await clock.pause(LOOK_AGAIN_MS, signal);
      }
    }
  }

  /** A node that does not answer for a while says nothing about what was sent: it is asked until it does. */
  async #fateOf({ address }: ChannelRecord, sent: SentOrder): Promise<ReturnType<typeof fateOf>> {
    const { chain, clock, signal, log } = this.#options;
    for (let said: string | undefined; ;) {
      try {
        const { genUtime } = await chain.newestBlock();
        return fateOf(sent, await chain.transactions(address, { after: sent.afterLt }), genUtime);
      } catch (error) {
        if (!(error instanceof Failure) || !error.code.startsWith("chain_") || !FAILURES[error.code].retry) throw error;
        if (said !== error.code) log?.(`${error.code}: asking again until the chain says what became of it`);
        said = error.code;
        await clock.pause(LOOK_AGAIN_MS, signal);
      }
    }
  }
}

/** What a wallet says when it has not sent, and will not. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  "wallet_declined",
  "wallet_refused",
  "wallet_network",
  "wallet_missing",
]);

function closedBy({ terms }: ChannelRecord, transaction: ChainTransaction): Closed {
  return { type: "closed", refund: refundIn([transaction], terms.owner) };
}

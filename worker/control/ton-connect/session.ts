import type { RawAddress } from "../../../protocol/index.ts";
import type { WalletAnswer } from "./answer.ts";

/**
 * One session with a wallet app: the port that the wallet's rules need. Behind it is TON Connect's SDK on a thread of its
 * own; in front of it nothing knows of bridges.
 */
export interface WalletSession {
  /** Begins a new session. Resolves with the link that a person opens or scans; what they decide comes as an event. */
  connect(request: ConnectRequest): Promise<string>;
  /** Goes on with the session whose entries it was opened with. */
  restore(): Promise<void>;
  /**
   * Resolves with the external message that the wallet says it has signed and sent: a bag of cells.
   *
   * @throws {Failure} `wallet_declined`, `wallet_refused`; `wallet_silent` or `wallet_unreachable` after `cancelSending`.
   */
  send(request: TransactionRequest): Promise<Uint8Array>;
  /** The request is over; an answer that comes later is nobody's. */
  cancelSending(): void;
  /** Says goodbye to the wallet app, as far as the bridge lets it, and ends. Resolves within a few seconds. */
  disconnect(): Promise<void>;
  /** Ends without a word; the wallet app does not notice. */
  end(): Promise<void>;
}

export interface ConnectRequest {
  /** One wallet app's entry, or the bridges of all, for one link that any of them can open. */
  readonly to:
    { readonly universalLink: string; readonly bridgeUrl: string } | readonly { readonly bridgeUrl: string }[];
  /** What the wallet signs to prove its address. */
  readonly proofPayload: string;
}

export interface TransactionRequest {
  /** Unix seconds; at most five minutes from now. */
  readonly validUntil: number;
  readonly from: RawAddress;
  readonly networkId: number;
  readonly messages: readonly OutgoingMessage[];
}

export interface OutgoingMessage {
  /** User-friendly form: it says whether the message may bounce. */
  readonly address: string;
  /** Nanoton, as a decimal number. */
  readonly amount: string;
  /** Bags of cells, base64. */
  readonly payload: string;
  readonly stateInit?: string;
}

export interface WalletSessionEvents {
  /** The owner agreed in the wallet app. What it says is read and not yet believed. */
  onAnswer(answer: WalletAnswer): void;
  /** The owner or the wallet app said no to the connection. */
  onRefusal(code: SessionRefusal, message: string): void;
  /** The wallet app ended the session. */
  onGone(): void;
  onReachable(isReachable: boolean): void;
  /** What the session must be given again after a restart; secret. */
  onEntries(entries: SessionEntries): void;
  /** It ended by itself and answers nothing more. */
  onCrash(): void;
}

export type SessionRefusal = "wallet_declined" | "wallet_refused" | "wallet_manifest" | "wallet_network";

/** The SDK's own storage: the session's secret key is in it. */
export type SessionEntries = Readonly<Record<string, string>>;

export interface WalletSessionOptions {
  readonly networkId: number;
  /** Where wallet apps read who asks. */
  readonly manifestUrl: string;
  readonly entries: SessionEntries;
}

export type OpenWalletSession = (options: WalletSessionOptions, events: WalletSessionEvents) => WalletSession;

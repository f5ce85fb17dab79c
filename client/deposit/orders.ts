import { Address } from "@ton/core";
import {
  clientChannelOf,
  encodeClientChannelMessage,
  type ClientChannelMessage,
  type ClientChannelTerms,
} from "../../contracts/ClientChannel.ts";
import { ATTACHED, CHANNEL_RESERVE } from "../../contracts/fees.ts";
import { NETWORKS } from "../../contracts/networks.ts";
import type { Nanoton } from "../../protocol/index.ts";
import type { WalletMessage } from "./wallet.ts";

type WithoutQuery<Message> = Message extends unknown ? Omit<Message, "queryId"> : never;

/** What a payer can tell its channel; charges are the gateway's. */
export type ChannelOrder = WithoutQuery<Exclude<ClientChannelMessage, { type: "charge" }>>;

/** Orders that the contract takes from its owner alone; the others move coins only where they belong. */
export const OWNERS_ORDERS: ReadonlySet<ChannelOrder["type"]> = new Set([
  "open-channel",
  "set-credit-limit",
  "start-close",
  "close-cooperative",
]);

export interface Addressed {
  readonly networkId: number;
  readonly terms: ClientChannelTerms;
  /** Whether the contract stands at its address; otherwise the message brings it. */
  readonly isDeployed: boolean;
}

/** The message that a wallet sends for an order. What of its value is not needed comes back. */
export function walletMessage(order: ChannelOrder, queryId: bigint, to: Addressed): WalletMessage {
  const channel = clientChannelOf(to.terms);
  const message = {
    address: friendlyAddress(channel.address, to.networkId),
    amount: String(valueOf(order)),
    payload: base64(encodeClientChannelMessage({ ...order, queryId })),
  };
  return to.isDeployed ? message : { ...message, stateInit: base64(channel.stateInit) };
}

/** What a wallet must send with an order, its own fees not counted. */
export function valueOf(order: ChannelOrder): Nanoton {
  switch (order.type) {
    case "open-channel":
      return order.amount + ATTACHED + CHANNEL_RESERVE;
    case "top-up":
      return order.amount + ATTACHED;
    default:
      return ATTACHED;
  }
}

/** What an order adds to the deposit. */
export function depositOf(order: ChannelOrder): Nanoton {
  return order.type === "open-channel" || order.type === "top-up" ? order.amount : 0n;
}

/** As wallet apps show it. */
export function friendlyAddress(raw: string, networkId: number): string {
  const testOnly = networkId !== NETWORKS.mainnet.networkId;
  return Address.parseRaw(raw).toString({ bounceable: true, testOnly });
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

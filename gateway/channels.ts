import { hash, toHex, utf8, type Nanoton, type RawAddress } from "../protocol/index.ts";

/** A client's payment channel as the chain has it (TON §2, ClientChannel). Amounts in nanoton. */
export interface ClientChannelView {
  /** 32 bytes; the contract calls it sessionKey. */
  readonly paymentKey: Uint8Array;
  /** Deposited and not yet charged on chain. */
  readonly balance: Nanoton;
  /** Charged on chain so far. */
  readonly charged: Nanoton;
  /** The highest total the client's own signature was shown for. */
  readonly acked: Nanoton;
  readonly creditLimit: Nanoton;
  readonly isClosing: boolean;
}

/** What a gateway needs to know of the chain. */
export interface Channels {
  /** Undefined until the channel is seen open with this gateway. */
  clientChannel(address: RawAddress): ClientChannelView | undefined;
  /** Where this gateway pays that owner. */
  workerChannel(owner: RawAddress): RawAddress;
}

/** Channels of a network that has no chain: what was opened here is what is. */
export interface LocalChannels extends Channels {
  open(address: RawAddress, channel: ClientChannelView): void;
}

export function localChannels(): LocalChannels {
  const channels = new Map<RawAddress, ClientChannelView>();
  return {
    clientChannel: (address) => channels.get(address),
    workerChannel: (owner) => `0:${toHex(hash(utf8(`local worker channel ${owner}`)))}`,
    open(address, channel) {
      channels.set(address, channel);
    },
  };
}

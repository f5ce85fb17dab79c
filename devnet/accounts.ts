import { NETWORKS } from "../contracts/networks.ts";
import { hash, keyPairFromSeed, toHex, u32, utf8, type RawAddress, type Sign } from "../protocol/index.ts";

/** A key of the devnet: known to everyone who knows the seed, so worth nothing anywhere else. */
export interface DevnetKey {
  /** 32 bytes. */
  readonly seed: Uint8Array;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly sign: Sign;
}

/** The network id of every devnet. Neither mainnet (−239) nor testnet (−3), so no voucher of one is worth coins there. */
export const DEVNET_NETWORK_ID = NETWORKS.devnet.networkId;

/** The key of one party of the devnet with this seed. */
export function devnetKey(seed: number, party: string): DevnetKey {
  const secret = hash(utf8("cocoon devnet key\0"), u32(seed), utf8(party));
  return { seed: secret, ...keyPairFromSeed(secret) };
}

/** The address of one contract or wallet of the devnet with this seed. */
export function devnetAddress(seed: number, party: string): RawAddress {
  return `0:${toHex(hash(utf8("cocoon devnet address\0"), u32(seed), utf8(party)))}`;
}

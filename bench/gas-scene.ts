import type { Deployment } from "../contracts/cells.ts";
import { clientChannelOf } from "../contracts/ClientChannel.ts";
import { gatewayOf } from "../contracts/Gateway.ts";
import type { Prices } from "../contracts/prices.ts";
import { defaultParams, registryOf } from "../contracts/Registry.ts";
import { openTestChain, type TestChain } from "../contracts/sandbox.fake.ts";
import { workerChannelOf } from "../contracts/WorkerChannel.ts";
import { keyPairFromSeed, payloadHash, type Nanoton, type SignedPayload } from "../protocol/index.ts";
import { openWallet, type GasWallet } from "./gas-wallet.ts";
import { plainChannelOf } from "./plain-channel.ts";

/** A gateway, a client, a worker and a registry, none of them deployed, and the wallets of their owners. */
export interface GasScene {
  readonly chain: TestChain;
  /** Owns gateway and registry. */
  readonly operator: GasWallet;
  readonly payer: GasWallet;
  readonly earner: GasWallet;
  readonly registry: Deployment;
  readonly gateway: Deployment;
  readonly client: Deployment;
  readonly worker: Deployment;
  readonly plain: Deployment;
  readonly gatewayKey: KeyPair;
  readonly paymentKey: KeyPair;
}

type KeyPair = ReturnType<typeof keyPairFromSeed>;

/** Seconds: of every delay, so that no rent of note comes due while operations are measured. */
export const DELAY = 1;
export const TON: Nanoton = 1_000_000_000n;

export async function openGasScene(prices: Prices): Promise<GasScene> {
  const chain = await openTestChain({ prices });
  const [operator, payer, earner] = [
    await openWallet(chain, "operator"),
    await openWallet(chain, "payer"),
    await openWallet(chain, "earner"),
  ];
  const gatewayKey = keyPairFromSeed(new Uint8Array(32).fill(31));
  const paymentKey = keyPairFromSeed(new Uint8Array(32).fill(32));
  const registry = registryOf({ owner: operator.address, params: defaultParams(chain.networkId) });
  const gateway = gatewayOf({
    owner: operator.address,
    gatewayKey: gatewayKey.publicKey,
    registry: registry.address,
    instance: 1,
    withdrawDelaySeconds: DELAY,
    closeDelaySeconds: DELAY,
  });
  const ours = { gateway: gateway.address, gatewayKey: gatewayKey.publicKey };
  return {
    chain,
    operator,
    payer,
    earner,
    registry,
    gateway,
    client: clientChannelOf({ ...ours, owner: payer.address, closeDelaySeconds: DELAY }),
    worker: workerChannelOf({ ...ours, owner: earner.address }),
    plain: await plainChannelOf({ owner: earner.address, payerKey: gatewayKey.publicKey }),
    gatewayKey,
    paymentKey,
  };
}

export function signed(payload: SignedPayload, { sign }: KeyPair): Uint8Array {
  return sign(payloadHash(payload));
}

/** What each account pays for a year of being there, as its next message finds it. */
export async function rentsOfAYear({ chain }: GasScene, accounts: readonly Account[]): Promise<readonly Nanoton[]> {
  const faucet = await chain.wallet("faucet");
  const touch = async ({ address }: Account): Promise<Nanoton> => {
    // Without a bounce flag, so that a wallet takes it as well as a contract.
    const trace = await chain.send({ from: faucet, to: address, value: TON, bounce: false });
    return trace.rentOf(address);
  };
  for (const account of accounts) await touch(account);
  chain.advance(A_YEAR);
  const rents: Nanoton[] = [];
  for (const account of accounts) rents.push(await touch(account));
  return rents;
}

const A_YEAR = 365 * 86_400;

type Account = Pick<Deployment, "address">;

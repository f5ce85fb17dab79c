import { encodeClientChannelMessage, type ClientChannelMessage } from "../contracts/ClientChannel.ts";
import { CHANNEL_RESERVE, GATEWAY_RESERVE, REGISTRY_RESERVE } from "../contracts/fees.ts";
import { encodeGatewayMessage, type GatewayMessage } from "../contracts/Gateway.ts";
import { defaultParams, encodeRegistryMessage, type RegistryMessage } from "../contracts/Registry.ts";
import { EMPTY_CHAIN, type Nanoton } from "../protocol/index.ts";
import { ATTACHED, byWallet, QUERY, send, type Measured, type Terms, type WithoutQuery } from "./gas-measure.ts";
import {
  bouncedCashOut,
  cashOut,
  cashOutForWorker,
  cashOutWithoutWallet,
  charge,
  chargeWithoutWallet,
  closeGateway,
  closeTogether,
  finishClose,
  nameManyModels,
  nameOf,
  plainCashOut,
  REGISTRY_MODELS,
} from "./gas-operations.ts";
import { DELAY, signed, TON, type GasScene } from "./gas-scene.ts";
import type { GasWallet } from "./gas-wallet.ts";

/** What is measured, in this order: each finds the contracts as the one before left them. */
export interface Act {
  readonly name: string;
  readonly run: (scene: GasScene) => Promise<Measured>;
}

export const CASH_OUT = "cash out";
export const PLAIN_CASH_OUT = "yardstick: cash out of a plain channel";

export const ACTS: readonly Act[] = [
  owner("deploy a gateway with a stake", { amount: 5n * TON, reserve: GATEWAY_RESERVE }, (amount) => ({
    type: "add-stake",
    amount,
  })),
  owner("add to the stake", { amount: TON }, (amount) => ({ type: "add-stake", amount })),
  client("open a client's channel", { amount: 10n * TON, reserve: CHANNEL_RESERVE }, (amount, { paymentKey }) => ({
    type: "open-channel",
    amount,
    paymentKey: paymentKey.publicKey,
    creditLimit: TON / 20n,
  })),
  client("top it up", { amount: TON }, (amount) => ({ type: "top-up", amount })),
  {
    name: "charge it, from the gateway's wallet",
    run: (scene) =>
      byWallet(scene, scene.operator, {}, () => send(scene.operator, scene.client, charge(scene, 4n * TON))),
  },
  { name: "charge it, without a wallet", run: chargeWithoutWallet },
  {
    name: "first cash-out, which deploys the worker's channel",
    run: (scene) => cashOut(scene, { total: TON, gain: TON, reserve: CHANNEL_RESERVE }),
  },
  { name: CASH_OUT, run: (scene) => cashOut(scene, { total: 2n * TON, gain: TON }) },
  { name: "cash out without a wallet", run: cashOutWithoutWallet },
  { name: "cash out for a worker, from the gateway's wallet", run: cashOutForWorker },
  { name: "a replayed cash-out, refused", run: (scene) => cashOut(scene, { total: TON }) },
  { name: "a cash-out that the gateway cannot pay", run: bouncedCashOut },
  owner("commit a checkpoint", {}, (_, scene) => {
    const { networkId } = scene.chain;
    const checkpoint = {
      type: "checkpoint",
      networkId,
      gateway: scene.gateway.address,
      seqno: 1,
      stateHash: EMPTY_CHAIN,
    } as const;
    return { type: "commit-checkpoint", gatewaySignature: signed(checkpoint, scene.gatewayKey), checkpoint };
  }),
  owner("announce a withdrawal", {}, () => ({ type: "request-withdraw", amount: TON })),
  owner("withdraw", { gain: TON, later: DELAY }, () => ({ type: "complete-withdraw" })),
  client("raise the credit limit", {}, () => ({ type: "set-credit-limit", creditLimit: TON })),
  client("announce a close", {}, () => ({ type: "start-close" })),
  { name: "finish it", run: finishClose },
  client("open it again", { amount: 10n * TON }, (amount, { paymentKey }) => ({
    type: "open-channel",
    amount,
    paymentKey: paymentKey.publicKey,
    creditLimit: TON,
  })),
  { name: "close it together", run: closeTogether },
  owner("announce a gateway's end", {}, () => ({ type: "start-close" })),
  { name: "close the gateway", run: closeGateway },
  registrar("deploy the registry and list a gateway", { reserve: REGISTRY_RESERVE }, (scene) => ({
    type: "add-gateway",
    entry: {
      gateway: scene.gateway.address,
      key: scene.gatewayKey.publicKey,
      addedAt: scene.chain.now(),
      endpoint: "wss://gateway.example.org/v1",
    },
  })),
  registrar("name a build", {}, () => ({
    type: "set-build",
    measurement: nameOf("build", 0),
    entry: { kind: "worker-app", notAfter: 0 },
  })),
  { name: `name a model, one of ${REGISTRY_MODELS}`, run: nameManyModels },
  registrar("set parameters", {}, ({ chain }) => ({ type: "set-params", params: defaultParams(chain.networkId) })),
  {
    name: "yardstick: a plain transfer",
    run: (scene) =>
      byWallet(scene, scene.payer, { amount: TON }, () => scene.payer.send({ to: scene.operator.address, value: TON })),
  },
  { name: PLAIN_CASH_OUT, run: plainCashOut },
];

function owner(
  name: string,
  terms: Terms,
  messageOf: (amount: Nanoton, scene: GasScene) => WithoutQuery<GatewayMessage>,
): Act {
  return {
    name,
    run: (scene) => {
      const { amount = 0n, reserve = 0n } = terms;
      const body = encodeGatewayMessage({ ...messageOf(amount, scene), ...QUERY });
      const value = amount + reserve + ATTACHED;
      return byWallet(scene, scene.operator, terms, () =>
        send(scene.operator, scene.gateway, body, value, reserve > 0n),
      );
    },
  };
}

function client(
  name: string,
  terms: Terms,
  messageOf: (amount: Nanoton, scene: GasScene) => WithoutQuery<ClientChannelMessage>,
): Act {
  return {
    name,
    run: (scene) => {
      const { amount = 0n, reserve = 0n } = terms;
      const body = encodeClientChannelMessage({ ...messageOf(amount, scene), ...QUERY });
      const value = amount + CHANNEL_RESERVE + ATTACHED;
      return byWallet(scene, scene.payer, terms, () => send(scene.payer, scene.client, body, value, reserve > 0n));
    },
  };
}

function registrar(
  name: string,
  { reserve = 0n }: Terms,
  messageOf: (scene: GasScene) => WithoutQuery<RegistryMessage>,
): Act {
  return {
    name,
    run: (scene) => {
      const body = encodeRegistryMessage({ ...messageOf(scene), ...QUERY });
      const act = (): ReturnType<GasWallet["send"]> =>
        send(scene.operator, scene.registry, body, reserve + ATTACHED, reserve > 0n);
      return byWallet(scene, scene.operator, { reserve }, act);
    },
  };
}

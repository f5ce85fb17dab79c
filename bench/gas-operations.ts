/** Operations that take more than one message of a wallet to measure. */
import { CLIENT_CHANNEL_STATE, encodeClientChannelMessage } from "../contracts/ClientChannel.ts";
import type { Deployment } from "../contracts/cells.ts";
import { MINIMUM_VALUES } from "../contracts/fees.ts";
import { encodeGatewayMessage, GATEWAY_STATE } from "../contracts/Gateway.ts";
import { encodeRegistryMessage } from "../contracts/Registry.ts";
import { encodeWorkerChannelMessage } from "../contracts/WorkerChannel.ts";
import { EMPTY_CHAIN, hash, toHex, utf8, type Nanoton } from "../protocol/index.ts";
import { ATTACHED, byWallet, external, QUERY, send, type Measured, type Terms } from "./gas-measure.ts";
import { DELAY, signed, TON, type GasScene } from "./gas-scene.ts";
import type { GasWallet } from "./gas-wallet.ts";

export const REGISTRY_MODELS = 200;

export function charge(scene: GasScene, total: Nanoton): Uint8Array {
  const { chain, client: channel, gatewayKey, paymentKey } = scene;
  const voucher = {
    type: "charge",
    networkId: chain.networkId,
    channel: channel.address,
    total,
    receipt: EMPTY_CHAIN,
  } as const;
  return encodeClientChannelMessage({
    type: "charge",
    ...QUERY,
    gatewaySignature: signed(voucher, gatewayKey),
    clientSignature: signed(voucher, paymentKey),
    voucher,
  });
}

function voucherFor({ chain, gatewayKey }: GasScene, channel: Deployment, total: Nanoton): Uint8Array {
  const { networkId } = chain;
  const voucher = { type: "payout", networkId, channel: channel.address, total, receipt: EMPTY_CHAIN } as const;
  const gatewaySignature = signed(voucher, gatewayKey);
  return encodeWorkerChannelMessage({ type: "cash-out", ...QUERY, limit: 0n, gatewaySignature, voucher });
}

export function cashOut(
  scene: GasScene,
  { total, gain = 0n, reserve = 0n }: Terms & { readonly total: Nanoton },
): Promise<Measured> {
  const body = voucherFor(scene, scene.worker, total);
  const act = (): ReturnType<GasWallet["send"]> =>
    send(scene.earner, scene.worker, body, reserve + ATTACHED, reserve > 0n);
  return byWallet(scene, scene.earner, { gain, reserve }, act);
}

/** What came back stays on the channel, for cash-outs without a wallet. */
export async function bouncedCashOut(scene: GasScene): Promise<Measured> {
  const { chain, worker } = scene;
  const before = await chain.balanceOf(worker.address);
  const measured = await cashOut(scene, { total: 500n * TON });
  const reserve = (await chain.balanceOf(worker.address)) - before;
  return { ...measured, cost: measured.cost - reserve, reserve };
}

async function poolOf({ chain, gateway }: GasScene): Promise<Nanoton> {
  return (await chain.ask(gateway.address, GATEWAY_STATE)).pool;
}

/** The gateway is credited less by what the fees were. */
export async function chargeWithoutWallet(scene: GasScene): Promise<Measured> {
  const { charged } = await scene.chain.ask(scene.client.address, CLIENT_CHANNEL_STATE);
  const before = await poolOf(scene);
  const transactions = await external(scene, scene.client, charge(scene, charged + 4n * TON));
  return { transactions, cost: 4n * TON - ((await poolOf(scene)) - before), reserve: 0n };
}

/** The channel pays out of what it has above its reserve, and the owner gets the change. */
export async function cashOutWithoutWallet(scene: GasScene): Promise<Measured> {
  const { chain, worker, earner } = scene;
  await chain.send({ from: await chain.wallet("faucet"), to: worker.address, value: ATTACHED });
  const before = [await chain.balanceOf(worker.address), await chain.balanceOf(earner.address)] as const;
  const transactions = await external(scene, worker, voucherFor(scene, worker, 3n * TON));
  const lost = before[0] - (await chain.balanceOf(worker.address));
  const change = (await chain.balanceOf(earner.address)) - before[1] - TON;
  return { transactions, cost: lost - change, reserve: 0n };
}

/** With no more attached than is asked for, since what is left goes to the worker's owner. */
export function cashOutForWorker(scene: GasScene): Promise<Measured> {
  const value = MINIMUM_VALUES.cashOut(scene.chain.prices);
  return byWallet(scene, scene.operator, {}, () =>
    send(scene.operator, scene.worker, voucherFor(scene, scene.worker, 4n * TON), value),
  );
}

export async function finishClose(scene: GasScene): Promise<Measured> {
  const { balance } = await scene.chain.ask(scene.client.address, CLIENT_CHANNEL_STATE);
  const body = encodeClientChannelMessage({ type: "finish-close", ...QUERY });
  return byWallet(scene, scene.payer, { gain: balance, later: DELAY }, () => send(scene.payer, scene.client, body));
}

export async function closeTogether(scene: GasScene): Promise<Measured> {
  const { chain, client: channel, gatewayKey } = scene;
  const { balance, charged, closeSeq } = await chain.ask(channel.address, CLIENT_CHANNEL_STATE);
  const envelope = { type: "close", networkId: chain.networkId, channel: channel.address } as const;
  const voucher = { ...envelope, total: charged + TON, closeSeq };
  const gatewaySignature = signed(voucher, gatewayKey);
  const body = encodeClientChannelMessage({ type: "close-cooperative", ...QUERY, gatewaySignature, voucher });
  return byWallet(scene, scene.payer, { gain: balance - TON }, () => send(scene.payer, channel, body));
}

export async function closeGateway(scene: GasScene): Promise<Measured> {
  const { pool, stake } = await scene.chain.ask(scene.gateway.address, GATEWAY_STATE);
  const body = encodeGatewayMessage({ type: "complete-close", ...QUERY });
  return byWallet(scene, scene.operator, { gain: pool + stake, later: DELAY }, () =>
    send(scene.operator, scene.gateway, body),
  );
}

export function nameOf(kind: string, index: number): string {
  return toHex(hash(utf8(`${kind} ${index}`)));
}

export async function nameManyModels(scene: GasScene): Promise<Measured> {
  const name = (index: number): Uint8Array =>
    encodeRegistryMessage({
      type: "set-model",
      ...QUERY,
      manifestRoot: nameOf("model", index),
      entry: { prompt: TON / 50n, cached: TON / 500n, completion: TON / 12n },
    });
  for (let index = 1; index < REGISTRY_MODELS; index++) await send(scene.operator, scene.registry, name(index));
  return byWallet(scene, scene.operator, {}, () => send(scene.operator, scene.registry, name(0)));
}

export async function plainCashOut(scene: GasScene): Promise<Measured> {
  const { operator, earner, plain } = scene;
  await operator.send({ to: plain.address, value: 10n * TON, deploys: plain });
  return byWallet(scene, earner, { gain: TON }, () => send(earner, plain, voucherFor(scene, plain, TON)));
}

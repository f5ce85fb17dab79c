import assert from "node:assert/strict";
import { test } from "node:test";
import { toNano } from "@ton/core";
import { encodeGatewayMessage } from "../../contracts/Gateway.ts";
import type { ChainReader } from "../../contracts/chain-reader.ts";
import type { FailureCode } from "../../protocol/index.ts";
import {
  DAY,
  depositScene,
  gatewayKey,
  NETWORK_ID,
  paymentKey,
  TON,
  type DepositScene,
  type SceneOptions,
} from "./deposit-scene.fake.ts";
import { verifyGateway, type ChosenGateway } from "./gateway-check.ts";

const chosen = ({ registry }: DepositScene, overrides: Partial<ChosenGateway> = {}): ChosenGateway => ({
  key: gatewayKey.publicKey,
  networkId: NETWORK_ID,
  registry,
  contract: undefined,
  feeBps: undefined,
  ...overrides,
});

const ADDRESS = `0:${"0d".repeat(32)}`;
const UNKNOWN = "00".repeat(32);

test("a gateway that the registry lists with its key and stake is verified, and the network's rules go with it", async () => {
  const scene = await depositScene();
  const { contract, closeDelaySeconds, minDeposit, maxFeeBps, stake } = await verifyGateway(scene.chain, chosen(scene));
  assert.deepEqual(
    { contract, closeDelaySeconds, minDeposit, maxFeeBps, stake },
    {
      contract: scene.gateway.address,
      closeDelaySeconds: DAY,
      minDeposit: TON / 10n,
      maxFeeBps: 1000,
      stake: 50n * TON,
    },
  );
});

test("without a registry a gateway is verified at the address that a person gives", async () => {
  const scene = await depositScene();
  const alone = chosen(scene, { registry: undefined, contract: scene.gateway.address, feeBps: 500 });
  assert.equal((await verifyGateway(scene.chain, alone)).contract, scene.gateway.address);
});

interface Refusal {
  readonly what: string;
  readonly code: FailureCode;
  readonly why: RegExp;
  readonly scene?: SceneOptions;
  readonly chosen?: Partial<ChosenGateway>;
  readonly before?: (scene: DepositScene) => Promise<void>;
}

const REFUSALS: readonly Refusal[] = [
  { what: "is not listed", code: "gateway_unlisted", why: /no entry has its key/, scene: { listed: "nobody" } },
  {
    what: "is listed with another contract than the one given",
    code: "gateway_unlisted",
    why: /names another contract/,
    chosen: { contract: ADDRESS },
  },
  {
    what: "has nothing at the listed address",
    code: "gateway_contract",
    why: /no gateway at/,
    scene: { listed: { gateway: ADDRESS } },
  },
  {
    what: "has a contract of another key",
    code: "gateway_contract",
    why: /another key/,
    scene: { gateway: { gatewayKey: paymentKey.publicKey }, listed: { key: gatewayKey.publicKey } },
  },
  {
    what: "names another registry",
    code: "gateway_unlisted",
    why: /another registry/,
    scene: { gateway: { registry: ADDRESS } },
  },
  {
    what: "can withdraw sooner than the network allows",
    code: "gateway_terms",
    why: /withdraw sooner/,
    scene: { gateway: { withdrawDelaySeconds: DAY - 1 } },
  },
  {
    what: "can close sooner than the network allows",
    code: "gateway_terms",
    why: /close sooner/,
    scene: { gateway: { closeDelaySeconds: 7 * DAY - 1 } },
  },
  { what: "asks more than the highest fee", code: "gateway_terms", why: /1001 bps/, chosen: { feeBps: 1001 } },
  {
    what: "has a nanoton less at stake than the network asks for",
    code: "gateway_stake",
    why: /49\.999999999 TON of the 50 TON/,
    scene: { stake: 50n * TON - 1n },
  },
  {
    what: "is closing",
    code: "gateway_closing",
    why: /closing/,
    async before({ chain, gateway }) {
      const from = await chain.test.wallet("operator");
      const body = encodeGatewayMessage({ type: "start-close", queryId: 1n });
      await chain.tell({ from, to: gateway.address, value: toNano("0.1"), body });
    },
  },
  {
    what: "is on a registry that is not there",
    code: "bad_configuration",
    why: /there is none at/,
    chosen: { registry: ADDRESS },
  },
  {
    what: "is on a registry of another network",
    code: "bad_configuration",
    why: /another network/,
    scene: { params: { networkId: -3 } },
  },
  {
    what: "is on a network of other contracts",
    code: "gateway_contract",
    why: /newer than this program/,
    scene: { params: { codeHashes: { gateway: UNKNOWN, clientChannel: UNKNOWN, workerChannel: UNKNOWN } } },
  },
  {
    what: "is named by neither a registry nor an address",
    code: "bad_configuration",
    why: /address is needed/,
    chosen: { registry: undefined },
  },
];

for (const refusal of REFUSALS) {
  test(`a gateway that ${refusal.what} is refused with ${refusal.code}`, async () => {
    const scene = await depositScene(refusal.scene);
    await refusal.before?.(scene);
    await assert.rejects(verifyGateway(scene.chain, chosen(scene, refusal.chosen)), {
      code: refusal.code,
      message: refusal.why,
    });
  });
}

test("a node that shows another gateway's state at the address is found out", async () => {
  const scene = await depositScene();
  const other = await depositScene({ gateway: { instance: 1 } });
  const lying: ChainReader = {
    ...scene.chain,
    get: (address, method, args) =>
      method === "get_gateway_data"
        ? other.chain.get(other.gateway.address, method)
        : scene.chain.get(address, method, args),
  };
  await assert.rejects(verifyGateway(lying, chosen(scene)), { code: "gateway_contract", message: /code is not known/ });
});

test("nothing is believed of a chain that cannot be asked", async () => {
  const scene = await depositScene();
  for (const code of ["chain_unreachable", "chain_lagging", "chain_disagrees", "chain_other_network"] as const) {
    scene.chain.fail(code);
    await assert.rejects(verifyGateway(scene.chain, chosen(scene)), { code });
  }
});

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { ChainReader } from "../../contracts/chain-reader.ts";
import { REGISTRY_RESERVE, valueToAttach } from "../../contracts/fees.ts";
import {
  defaultParams,
  encodeRegistryMessage,
  registryOf,
  type RegistryMessage,
  type RegistryParams,
} from "../../contracts/Registry.ts";
import { openTestChain, TEST_NETWORK_ID, type TestChain, type TestWallet } from "../../contracts/sandbox.fake.ts";
import type { RawAddress } from "../../protocol/index.ts";
import { fakeDisk, type FakeDisk } from "../serving/disk.fake.ts";
import { openGatewayContracts, readGatewayContracts } from "./gateway-contracts.ts";

const LISTED = new Uint8Array(32).fill(1);
const UNLISTED = new Uint8Array(32).fill(2);
const CONTRACT = `0:${"ab".repeat(32)}`;
const OTHER_CONTRACT = `0:${"cd".repeat(32)}`;

let chain: TestChain;
let keeper: TestWallet;

before(async () => {
  chain = await openTestChain();
  keeper = await chain.wallet("keeper");
});

/** A registry of these parameters that lists one gateway. */
async function registry(overrides: Partial<RegistryParams> = {}): Promise<RawAddress> {
  const deployment = registryOf({ owner: keeper.address, params: { ...defaultParams(TEST_NETWORK_ID), ...overrides } });
  const { address } = deployment;
  await chain.send({ from: keeper, to: address, value: REGISTRY_RESERVE, deploys: deployment, bounce: false });
  const entry = { gateway: CONTRACT, key: LISTED, addedAt: 1, endpoint: "wss://gateway.example" };
  const message: RegistryMessage = { type: "add-gateway", queryId: 1n, entry };
  const value = valueToAttach(await chain.balanceOf(address), REGISTRY_RESERVE);
  await chain.send({ from: keeper, to: address, value, body: encodeRegistryMessage(message) });
  return address;
}

function reader(): Pick<ChainReader, "get"> & { asked: number } {
  return {
    asked: 0,
    async get(address, method, args = []) {
      this.asked++;
      if (!(await chain.isActive(address))) return undefined;
      return chain.ask(address, { method, args, read: (items) => items });
    },
  };
}

function open(options: { registry?: RawAddress; contract?: RawAddress; disk?: FakeDisk; networkId?: number } = {}) {
  const { disk = fakeDisk(), networkId = TEST_NETWORK_ID } = options;
  const url = "https://gateway.example";
  const [listed, unlisted] = [
    { url, key: LISTED, ...(options.contract === undefined ? {} : { contract: options.contract }) },
    { url, key: UNLISTED },
  ];
  return openGatewayContracts({ disk, networkId, gateways: [listed, unlisted], registry: options.registry });
}

test("a contract is found in the registry by the gateway's key, once, and is known at the next start", async () => {
  const disk = fakeDisk();
  const contracts = await open({ registry: await registry(), disk });
  const asking = reader();
  assert.equal(contracts.of({ key: LISTED }), undefined);
  assert.equal(contracts.isLooking, true);
  assert.equal(await contracts.lookUp(asking), true);
  assert.equal(await contracts.lookUp(asking), false);
  assert.equal(asking.asked, 1, "who is not listed is not looked for again");
  assert.deepEqual([contracts.of({ key: LISTED }), contracts.of({ key: UNLISTED })], [CONTRACT, undefined]);
  assert.equal((await open({ disk })).of({ key: LISTED }), CONTRACT);
  assert.equal((await readGatewayContracts(disk, TEST_NETWORK_ID)).of({ key: LISTED }), CONTRACT);
  assert.equal((await open({ disk, networkId: 7 })).of({ key: LISTED }), undefined, "on another network");
});

test("what the owner says of a contract stands before what was known", async () => {
  const disk = fakeDisk();
  await open({ contract: CONTRACT, disk });
  const changed = await open({ contract: OTHER_CONTRACT, disk });
  assert.equal(changed.of({ key: LISTED }), OTHER_CONTRACT);
  assert.equal((await open({ disk })).of({ key: LISTED }), OTHER_CONTRACT);
});

test("without a registry nobody is looked for", async () => {
  const contracts = await open();
  const asking = reader();
  assert.deepEqual([contracts.isLooking, await contracts.lookUp(asking), asking.asked], [false, false, 0]);
});

const refused: readonly (readonly [what: string, overrides: Partial<RegistryParams> | undefined])[] = [
  ["nowhere", undefined],
  ["of another network", { networkId: -3 }],
  [
    "of contracts that this version does not know",
    { codeHashes: { gateway: "0".repeat(64), clientChannel: "0".repeat(64), workerChannel: "0".repeat(64) } },
  ],
];
for (const [what, overrides] of refused) {
  test(`a registry that is ${what} is not believed`, async () => {
    const address = overrides === undefined ? OTHER_CONTRACT : await registry(overrides);
    const contracts = await open({ registry: address });
    await assert.rejects(contracts.lookUp(reader()), { code: "gateway_contract" });
    assert.equal(contracts.isLooking, true, "it may be there later");
  });
}

test("a damaged file is begun anew", async () => {
  const disk = fakeDisk();
  disk.files.set("gateways.json", Buffer.from("{"));
  assert.equal((await open({ disk, contract: CONTRACT })).of({ key: LISTED }), CONTRACT);
  assert.equal((await open({ disk })).of({ key: LISTED }), CONTRACT);
});

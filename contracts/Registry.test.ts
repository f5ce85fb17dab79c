import assert from "node:assert/strict";
import test from "node:test";
import { Address, beginCell, type Cell } from "@ton/core";
import type { BlockchainSnapshot } from "@ton/sandbox";
import { clientChannelOf } from "./ClientChannel.ts";
import { toBoc, toCell } from "./cells.ts";
import { CODE } from "./code.ts";
import { REGISTRY_RESERVE, valueToAttach } from "./fees.ts";
import { gatewayOf } from "./Gateway.ts";
import { gatewayKey, NO_MESSAGES, OTHER_ADDRESS, OTHER_NETWORK, QUERY, TON, YEAR } from "./scene.fake.ts";
import { openTestChain, TEST_NETWORK_ID, type TestChain, type TestWallet, type Trace } from "./sandbox.fake.ts";
import {
  buildAllowedGetter,
  CODE_HASHES,
  defaultParams,
  encodeRegistryMessage,
  parseRegistryMessage,
  REGISTRY_STATE,
  REGISTRY_VERSION,
  registryOf,
  type BuildEntry,
  type GatewayEntry,
  type ModelEntry,
  type RegistryMessage,
  type RegistryState,
} from "./Registry.ts";
import { parseWalletMessage } from "./wallet-messages.ts";
import { stackItems } from "./stack.ts";
import { workerChannelOf } from "./WorkerChannel.ts";

const PARAMS = defaultParams(TEST_NETWORK_ID);
const MINIMUM = TON / 50n;
const THREE_DAYS = 3 * 86_400;
const MEASUREMENT = "5e".repeat(32);
const MANIFEST_ROOT = "6a".repeat(32);
const GATEWAY: GatewayEntry = {
  gateway: OTHER_ADDRESS,
  key: gatewayKey.publicKey,
  addedAt: 1_790_000_000,
  endpoint:
    "wss://gateway.example.org/v1?and=a-path-that-is-longer-than-one-cell-can-hold-" + "of-its-bytes-".repeat(9),
};
const BUILD: BuildEntry = { kind: "gateway", notAfter: 0 };
const MODEL: ModelEntry = { prompt: 20_000_000n, cached: 2_000_000n, completion: 2n ** 119n };

const addGateway: RegistryMessage = { type: "add-gateway", queryId: QUERY, entry: GATEWAY };
const removeGateway = (id: number): RegistryMessage => ({ type: "remove-gateway", queryId: QUERY, id });
const setBuild = (entry: BuildEntry): RegistryMessage => ({
  type: "set-build",
  queryId: QUERY,
  measurement: MEASUREMENT,
  entry,
});
const removeBuild: RegistryMessage = { type: "remove-build", queryId: QUERY, measurement: MEASUREMENT };
const setModel = (entry: ModelEntry): RegistryMessage => ({
  type: "set-model",
  queryId: QUERY,
  manifestRoot: MANIFEST_ROOT,
  entry,
});
const removeModel: RegistryMessage = { type: "remove-model", queryId: QUERY, manifestRoot: MANIFEST_ROOT };
const setParams = (networkId: number): RegistryMessage => ({
  type: "set-params",
  queryId: QUERY,
  params: { ...PARAMS, networkId, maxFeeBps: 500 },
});
const offerTo = (newOwner: string): RegistryMessage => ({ type: "offer-ownership", queryId: QUERY, newOwner });
const ACCEPT: RegistryMessage = { type: "accept-ownership", queryId: QUERY };
const propose = (code: Cell): RegistryMessage => ({ type: "propose-upgrade", queryId: QUERY, code: toBoc(code) });
const APPLY: RegistryMessage = { type: "apply-upgrade", queryId: QUERY };

interface Scene {
  readonly chain: TestChain;
  readonly keeper: TestWallet;
  readonly stranger: TestWallet;
  readonly address: string;
  send(message: RegistryMessage, options?: { from?: TestWallet; value?: bigint }): Promise<Trace>;
  state(): Promise<RegistryState>;
}

let opening: Promise<{ scene: Scene; snapshot: BlockchainSnapshot }> | undefined;

/** A registry with nothing in its tables, its owner and a stranger; the same for every test. */
async function openScene(): Promise<Scene> {
  opening ??= setUp();
  const { scene, snapshot } = await opening;
  await scene.chain.blockchain.loadFrom(snapshot);
  return scene;
}

async function setUp(): Promise<{ scene: Scene; snapshot: BlockchainSnapshot }> {
  const chain = await openTestChain();
  const [keeper, stranger] = [await chain.wallet("keeper"), await chain.wallet("stranger")];
  const deployment = registryOf({ owner: keeper.address, params: PARAMS });
  const { address } = deployment;
  await chain.send({ from: keeper, to: address, value: REGISTRY_RESERVE, deploys: deployment, bounce: false });
  const scene: Scene = {
    chain,
    keeper,
    stranger,
    address,
    send: async (message, { from = keeper, value } = {}) => {
      const attached = value ?? valueToAttach(await chain.balanceOf(address), REGISTRY_RESERVE);
      return chain.send({ from, to: address, value: attached, body: encodeRegistryMessage(message) });
    },
    state: () => chain.ask(address, REGISTRY_STATE),
  };
  return { scene, snapshot: chain.blockchain.snapshot() };
}

/** Refused with this code, with nothing changed and the coins back. */
async function assertRefused({ chain, address }: Scene, code: number, act: () => Promise<Trace>): Promise<void> {
  const before = [await chain.ask(address, REGISTRY_STATE), await chain.balanceOf(address)];
  const trace = await act();
  assert.equal(trace.codeAt(address), code);
  const after = [await chain.ask(address, REGISTRY_STATE), (await chain.balanceOf(address)) + trace.rentOf(address)];
  assert.deepEqual(after, before);
}

async function assertDone(scene: Scene, message: RegistryMessage, from = scene.keeper): Promise<void> {
  const before = await scene.chain.ask(scene.address, REGISTRY_VERSION);
  const trace = await scene.send(message, { from });
  assert.equal(trace.codeAt(scene.address), 0);
  assert.equal(await scene.chain.ask(scene.address, REGISTRY_VERSION), before + 1, "each change has a version");
  const [excesses] = trace.receivedBy(from.address);
  assert.ok(excesses !== undefined && !excesses.mayBounce);
  assert.deepEqual(parseWalletMessage(excesses.body), { type: "excesses", queryId: QUERY });
}

test("a new registry is empty and holds its first parameters", async () => {
  const { state, keeper } = await openScene();
  assert.deepEqual(await state(), {
    version: 0,
    owner: keeper.address,
    nextGateway: 0,
    gateways: new Map(),
    builds: new Map(),
    models: new Map(),
    params: PARAMS,
    upgradeAt: 0,
  });
});

test("the channel family of a registry's defaults is the one this build derives addresses with", async () => {
  const { gateway, clientChannel, workerChannel } = (await (await openScene()).state()).params.codeHashes;
  const ours = { owner: OTHER_ADDRESS, gateway: OTHER_ADDRESS, gatewayKey: gatewayKey.publicKey };
  const terms = { ...ours, registry: OTHER_ADDRESS, instance: 1, withdrawDelaySeconds: 1, closeDelaySeconds: 1 };
  const codeIn = ({ stateInit }: { readonly stateInit: Uint8Array }): string =>
    toCell(stateInit).refs[0]?.hash().toString("hex") ?? "";
  assert.equal(codeIn(gatewayOf(terms)), gateway);
  assert.equal(codeIn(clientChannelOf({ ...ours, closeDelaySeconds: 1 })), clientChannel);
  assert.equal(codeIn(workerChannelOf(ours)), workerChannel);
  assert.deepEqual(CODE_HASHES, { gateway, clientChannel, workerChannel });
});

test("a network starts with a stake of 50, a deposit of 0.1, delays of a day and a week, and a fee of a tenth at most", () => {
  const { codeHashes: _, ...numbers } = defaultParams(-3);
  assert.deepEqual(numbers, {
    networkId: -3,
    minGatewayStake: 50n * TON,
    minClientDeposit: TON / 10n,
    withdrawDelaySeconds: 86_400,
    clientCloseDelaySeconds: 86_400,
    gatewayCloseDelaySeconds: 604_800,
    maxFeeBps: 1000,
  });
});

test("gateways are numbered as they come, and a number is not used again", async () => {
  const scene = await openScene();
  await assertDone(scene, addGateway);
  await assertDone(scene, addGateway);
  await assertDone(scene, removeGateway(0));
  await assertDone(scene, addGateway);
  const { gateways, nextGateway } = await scene.state();
  assert.deepEqual(
    [...gateways],
    [
      [1, GATEWAY],
      [2, GATEWAY],
    ],
  );
  assert.equal(nextGateway, 3);
});

test("a build is allowed as what it was entered as, until its end", async () => {
  const scene = await openScene();
  const { chain, address } = scene;
  const isAllowed = (kind: BuildEntry["kind"], measurement = MEASUREMENT): Promise<boolean> =>
    chain.ask(address, buildAllowedGetter(measurement, kind));
  assert.equal(await isAllowed("gateway"), false);
  await assertDone(scene, setBuild(BUILD));
  assert.equal(await isAllowed("gateway"), true);
  assert.equal(await isAllowed("worker-app"), false);
  assert.equal(await isAllowed("gateway", MANIFEST_ROOT), false);
  const ending: BuildEntry = { kind: "tee-image", notAfter: chain.now() + 100 };
  await assertDone(scene, setBuild(ending));
  assert.deepEqual([...(await scene.state()).builds], [[MEASUREMENT, ending]]);
  chain.advance(99);
  assert.equal(await isAllowed("tee-image"), true);
  chain.advance(1);
  assert.equal(await isAllowed("tee-image"), false);
  await assertDone(scene, removeBuild);
  assert.equal((await scene.state()).builds.size, 0);
});

test("a model has a reference price sheet, which can be replaced and removed", async () => {
  const scene = await openScene();
  await assertDone(scene, setModel(MODEL));
  await assertDone(scene, setModel({ ...MODEL, prompt: 1n }));
  assert.deepEqual([...(await scene.state()).models], [[MANIFEST_ROOT, { ...MODEL, prompt: 1n }]]);
  await assertDone(scene, removeModel);
  assert.equal((await scene.state()).models.size, 0);
});

test("parameters are replaced by those of the same network alone", async () => {
  const scene = await openScene();
  await assertRefused(scene, 405, () => scene.send(setParams(OTHER_NETWORK)));
  await assertDone(scene, setParams(TEST_NETWORK_ID));
  assert.deepEqual((await scene.state()).params, { ...PARAMS, maxFeeBps: 500 });
});

test("ownership passes when the new owner takes it, and only the one it was offered to can", async () => {
  const scene = await openScene();
  const { stranger, keeper, chain } = scene;
  const other = await chain.wallet("other");
  await assertRefused(scene, 401, () => scene.send(ACCEPT, { from: stranger }));
  await assertDone(scene, offerTo(stranger.address));
  assert.equal((await scene.state()).owner, keeper.address);
  await assertRefused(scene, 401, () => scene.send(ACCEPT, { from: other }));
  await assertRefused(scene, 401, () => scene.send(ACCEPT));
  await assertDone(scene, ACCEPT, stranger);
  assert.equal((await scene.state()).owner, stranger.address);
  await assertRefused(scene, 401, () => scene.send(ACCEPT, { from: stranger }));
  await assertRefused(scene, 401, () => scene.send(addGateway));
  await assertDone(scene, addGateway, stranger);
});

test("accepting ownership has no minimum beside its gas", async () => {
  const scene = await openScene();
  await assertDone(scene, offerTo(scene.stranger.address));
  const trace = await scene.send(ACCEPT, { from: scene.stranger, value: MINIMUM / 10n });
  assert.equal(trace.codeAt(scene.address), 0);
});

test("new code waits for three days, and the tables stay", async () => {
  const scene = await openScene();
  const { chain, address } = scene;
  await assertRefused(scene, 416, () => scene.send(APPLY));
  await assertDone(scene, setModel(MODEL));
  await assertDone(scene, propose(CODE.clientChannel));
  await assertDone(scene, propose(CODE.registry));
  const { upgradeAt } = await scene.state();
  assert.equal(upgradeAt, chain.now() + THREE_DAYS);
  chain.advance(THREE_DAYS - 1);
  await assertRefused(scene, 410, () => scene.send(APPLY));
  chain.advance(1);
  await assertDone(scene, APPLY);
  const after = await scene.state();
  assert.deepEqual([after.upgradeAt, [...after.models]], [0, [[MANIFEST_ROOT, MODEL]]]);
  assert.equal(await codeOf(scene), CODE.registry.hash().toString("hex"));
  await assertRefused(scene, 416, () => scene.send(APPLY));
  assert.equal(await chain.ask(address, REGISTRY_VERSION), after.version);
});

test("code that was announced is the code that runs", async () => {
  const scene = await openScene();
  await assertDone(scene, propose(CODE.workerChannel));
  scene.chain.advance(THREE_DAYS);
  assert.equal((await scene.send(APPLY)).codeAt(scene.address), 0);
  assert.equal(await codeOf(scene), CODE.workerChannel.hash().toString("hex"));
});

async function codeOf({ chain, address }: Scene): Promise<string> {
  const { accountState } = await chain.blockchain.getContract(Address.parseRaw(address));
  assert.ok(accountState?.type === "active");
  return accountState.state.code?.hash().toString("hex") ?? "";
}

const OWNERS_MESSAGES: readonly RegistryMessage[] = [
  addGateway,
  removeGateway(0),
  setBuild(BUILD),
  removeBuild,
  setModel(MODEL),
  removeModel,
  setParams(OTHER_NETWORK),
  offerTo(OTHER_ADDRESS),
  propose(CODE.registry),
  APPLY,
];

for (const message of OWNERS_MESSAGES) {
  test(`${message.type} is checked in order: owner, value, what it is about`, async () => {
    const scene = await openScene();
    const { stranger: from } = scene;
    await assertRefused(scene, 401, () => scene.send(message, { from, value: MINIMUM - 1n }));
    await assertRefused(scene, 408, () => scene.send(message, { value: MINIMUM - 1n }));
    const { type } = message;
    if (type.startsWith("remove-")) await assertRefused(scene, 416, () => scene.send(message, { value: MINIMUM }));
    else if (type === "apply-upgrade") await assertRefused(scene, 416, () => scene.send(message, { value: MINIMUM }));
    else if (type === "set-params") await assertRefused(scene, 405, () => scene.send(message, { value: MINIMUM }));
    else assert.equal((await scene.send(message, { value: MINIMUM })).codeAt(scene.address), 0);
  });
}

test("each change fills the reserve up again after years of rent, and brings back the rest", async () => {
  const scene = await openScene();
  const { chain, address } = scene;
  chain.advance(20 * YEAR);
  await chain.send({ from: scene.stranger, to: address, value: 1n });
  assert.ok((await chain.balanceOf(address)) < REGISTRY_RESERVE);
  await assertDone(scene, addGateway);
  assert.equal(await chain.balanceOf(address), REGISTRY_RESERVE);
});

test("when all that is left of a change goes into the reserve, nothing comes back and it counts all the same", async () => {
  const scene = await openScene();
  const { chain, address, keeper } = scene;
  chain.advance(40 * YEAR);
  const trace = await scene.send(addGateway, { value: MINIMUM });
  assert.equal(trace.codeAt(address), 0);
  assert.deepEqual(trace.receivedBy(keeper.address), []);
  assert.equal((await scene.state()).nextGateway, 1);
  assert.ok((await chain.balanceOf(address)) < REGISTRY_RESERVE);
});

test("what is no message of a registry is refused whoever sends it, and coins for the rent are taken", async () => {
  const scene = await openScene();
  const { chain, address, keeper, stranger } = scene;
  for (const from of [keeper, stranger]) {
    for (const body of NO_MESSAGES) {
      await assertRefused(scene, 0xffff, () => chain.send({ from, to: address, value: TON, body }));
    }
  }
  const before = await chain.balanceOf(address);
  await chain.send({ from: stranger, to: address, value: TON });
  assert.ok((await chain.balanceOf(address)) > before + TON - TON / 1000n);
});

test("parameters that cannot be read are refused", async () => {
  const scene = await openScene();
  const { chain, address, keeper } = scene;
  const params = beginCell().storeUint(1, 8).storeInt(TEST_NETWORK_ID, 32).endCell();
  const body = toBoc(beginCell().storeUint(0x1c0c0407, 32).storeUint(QUERY, 64).storeRef(params).endCell());
  await assertRefused(scene, 9, () => chain.send({ from: keeper, to: address, value: TON, body }));
});

test("forty models are read back as they were entered", async () => {
  const scene = await openScene();
  const entries = Array.from({ length: 40 }, (_, at) => {
    const manifestRoot = at.toString(16).padStart(64, "7");
    return { manifestRoot, entry: { prompt: BigInt(at), cached: 0n, completion: MODEL.completion } };
  });
  for (const entry of entries) await scene.send({ type: "set-model", queryId: QUERY, ...entry });
  const { models } = await scene.state();
  assert.deepEqual(models, new Map(entries.map(({ manifestRoot, entry }) => [manifestRoot, entry])));
});

test("messages are read as they were written, and nothing else is read as one", () => {
  for (const message of [...OWNERS_MESSAGES, ACCEPT]) {
    const body = encodeRegistryMessage(message);
    assert.deepEqual(parseRegistryMessage(body), message);
    const cell = toCell(body);
    const cut = beginCell()
      .storeBits(cell.beginParse().loadBits(cell.bits.length - 1))
      .endCell();
    assert.equal(parseRegistryMessage(toBoc(cut)), undefined, `${message.type} cut short`);
  }
  for (const body of NO_MESSAGES) assert.equal(parseRegistryMessage(body), undefined);
});

test("a registry of another owner or other parameters stands elsewhere", async () => {
  const { keeper, address } = await openScene();
  assert.equal(registryOf({ owner: keeper.address, params: PARAMS }).address, address);
  assert.notEqual(registryOf({ owner: OTHER_ADDRESS, params: PARAMS }).address, address);
  assert.notEqual(registryOf({ owner: keeper.address, params: defaultParams(7) }).address, address);
});

test("entries that no registry can hold are refused before they are sent", () => {
  const model = (entry: Partial<ModelEntry>): RegistryMessage => setModel({ ...MODEL, ...entry });
  assert.throws(() => encodeRegistryMessage(model({ prompt: -1n })));
  assert.throws(() => encodeRegistryMessage(model({ prompt: 2n ** 120n })));
  assert.throws(() => encodeRegistryMessage({ ...removeModel, manifestRoot: "6a" }));
  assert.throws(() => encodeRegistryMessage({ ...addGateway, entry: { ...GATEWAY, key: new Uint8Array(31) } }));
  assert.throws(() => encodeRegistryMessage(offerTo("EQAA")), RangeError);
});

test("a registry's answer that is not one is refused: its node lies, or it is another contract", async () => {
  const { chain, address } = await openScene();
  const { stack } = await chain.blockchain.runGetMethod(Address.parseRaw(address), "get_registry_data");
  const items = stackItems(stack);
  assert.throws(() => REGISTRY_STATE.read(items.slice(1)), { code: "chain_malformed" });
  assert.throws(() => REGISTRY_STATE.read([...items, { type: "null" }]), { code: "chain_malformed" });
  const other = { type: "cell", boc: toBoc(beginCell().storeUint(2, 8).endCell()) } as const;
  for (const at of [3, 4, 5, 6]) {
    assert.throws(() => REGISTRY_STATE.read(items.with(at, other)), { code: "chain_malformed" }, `value ${at}`);
  }
});

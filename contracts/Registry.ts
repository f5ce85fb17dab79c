import { beginCell, Dictionary, type Builder, type Cell, type DictionaryValue, type Slice } from "@ton/core";
import { fromHex, toHex, type Nanoton, type RawAddress } from "../protocol/index.ts";
import type { StackItem } from "./chain-reader.ts";
import {
  beginMessage,
  deploymentOf,
  key32,
  readMessage,
  toAddress,
  toBoc,
  toCell,
  toRaw,
  type Deployment,
} from "./cells.ts";
import { CODE } from "./code.ts";
import { getter, type Getter } from "./getter.ts";

/** What holds for everybody on a network. */
export interface RegistryParams {
  readonly networkId: number;
  readonly minGatewayStake: Nanoton;
  readonly minClientDeposit: Nanoton;
  readonly withdrawDelaySeconds: number;
  readonly clientCloseDelaySeconds: number;
  readonly gatewayCloseDelaySeconds: number;
  /** The most a gateway may keep, in hundredths of a percent. */
  readonly maxFeeBps: number;
  /** Hashes of the channel family's code, lowercase hex. */
  readonly codeHashes: {
    readonly gateway: string;
    readonly clientChannel: string;
    readonly workerChannel: string;
  };
}

export interface GatewayEntry {
  readonly gateway: RawAddress;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Unix seconds. */
  readonly addedAt: number;
  /** Where it listens; nobody has checked that it is a URL. */
  readonly endpoint: string;
}

const BUILD_KINDS = ["worker-app", "gateway", "tee-image"] as const;

export interface BuildEntry {
  readonly kind: (typeof BUILD_KINDS)[number];
  /** Unix seconds; 0: no end. */
  readonly notAfter: number;
}

/** The reference price sheet of a model: nanoton a million tokens of each kind. */
export interface ModelEntry {
  readonly prompt: Nanoton;
  readonly cached: Nanoton;
  readonly completion: Nanoton;
}

export interface RegistryState {
  /** Grows with each change: what was read is good while it stands. */
  readonly version: number;
  readonly owner: RawAddress;
  readonly nextGateway: number;
  /** By their number. */
  readonly gateways: ReadonlyMap<number, GatewayEntry>;
  /** By measurement, lowercase hex. */
  readonly builds: ReadonlyMap<string, BuildEntry>;
  /** By manifest root, lowercase hex. */
  readonly models: ReadonlyMap<string, ModelEntry>;
  readonly params: RegistryParams;
  /** Unix seconds at which announced code may replace this one; 0: none is announced. */
  readonly upgradeAt: number;
}

/** All from the owner, but `accept-ownership`, which is from the one it was offered to. */
export type RegistryMessage =
  | { readonly type: "add-gateway"; readonly queryId: bigint; readonly entry: GatewayEntry }
  | { readonly type: "remove-gateway"; readonly queryId: bigint; readonly id: number }
  | { readonly type: "set-build"; readonly queryId: bigint; readonly measurement: string; readonly entry: BuildEntry }
  | { readonly type: "remove-build"; readonly queryId: bigint; readonly measurement: string }
  | { readonly type: "set-model"; readonly queryId: bigint; readonly manifestRoot: string; readonly entry: ModelEntry }
  | { readonly type: "remove-model"; readonly queryId: bigint; readonly manifestRoot: string }
  | { readonly type: "set-params"; readonly queryId: bigint; readonly params: RegistryParams }
  | { readonly type: "offer-ownership"; readonly queryId: bigint; readonly newOwner: RawAddress }
  | { readonly type: "accept-ownership" | "apply-upgrade"; readonly queryId: bigint }
  /** The code as a bag of cells. */
  | { readonly type: "propose-upgrade"; readonly queryId: bigint; readonly code: Uint8Array };

/** What a network starts with; the code is that of this build. */
export function defaultParams(networkId: number): RegistryParams {
  return {
    networkId,
    minGatewayStake: 50_000_000_000n,
    minClientDeposit: 100_000_000n,
    withdrawDelaySeconds: 86_400,
    clientCloseDelaySeconds: 86_400,
    gatewayCloseDelaySeconds: 7 * 86_400,
    maxFeeBps: 1000,
    codeHashes: CODE_HASHES,
  };
}

/** Hashes of the channel family's code that this build knows, lowercase hex: another registry's family is not ours. */
export const CODE_HASHES: RegistryParams["codeHashes"] = {
  gateway: CODE.gateway.hash().toString("hex"),
  clientChannel: CODE.clientChannel.hash().toString("hex"),
  workerChannel: CODE.workerChannel.hash().toString("hex"),
};

/** The address follows from the first owner and the first parameters. */
export function registryOf(terms: { readonly owner: RawAddress; readonly params: RegistryParams }): Deployment {
  const noTables = beginCell().storeBit(false).storeBit(false).storeBit(false).endCell();
  const data = beginCell()
    .storeAddress(toAddress(terms.owner))
    .storeAddress(null) // pendingOwner
    .storeUint(0, 32) // version
    .storeUint(0, 32) // nextGateway
    .storeRef(noTables)
    .storeRef(paramsCell(terms.params))
    .storeBit(false) // upgrade
    .endCell();
  return deploymentOf(CODE.registry, data);
}

/** A message's body as a bag of cells. */
export function encodeRegistryMessage(message: RegistryMessage): Uint8Array {
  return toBoc(messageBuilder(message).endCell());
}

/** The inverse for a body found on chain; undefined when it is no message of a Registry. */
export function parseRegistryMessage(body: Uint8Array): RegistryMessage | undefined {
  return readMessage(body, readRegistryMessage);
}

export const REGISTRY_STATE: Getter<RegistryState> = getter("get_registry_data", [], (stack) => ({
  version: stack.count(),
  owner: stack.address(),
  nextGateway: stack.count(),
  gateways: readTable(stack.optionalCell(), Dictionary.Keys.Uint(32), readOnly(readGatewayRef), (id) => id),
  builds: readTable(stack.optionalCell(), Dictionary.Keys.Buffer(32), readOnly(readBuild), toHex),
  models: readTable(stack.optionalCell(), Dictionary.Keys.Buffer(32), readOnly(readModel), toHex),
  params: readParams(stack.cell().beginParse()),
  upgradeAt: stack.count(),
}));

export const REGISTRY_VERSION: Getter<number> = getter("get_version", [], (stack) => stack.count());

/** Whether the registry knows a build, by lowercase hex of its measurement, and its end has not come. */
export function buildAllowedGetter(measurement: string, kind: BuildEntry["kind"]): Getter<boolean> {
  const args: readonly StackItem[] = [
    { type: "int", value: BigInt(`0x${measurement}`) },
    { type: "int", value: BigInt(BUILD_KINDS.indexOf(kind)) },
  ];
  return getter("is_build_allowed", args, (stack) => stack.boolean());
}

const OPCODES = {
  "add-gateway": 0x1c0c0401,
  "remove-gateway": 0x1c0c0402,
  "set-build": 0x1c0c0403,
  "remove-build": 0x1c0c0404,
  "set-model": 0x1c0c0405,
  "remove-model": 0x1c0c0406,
  "set-params": 0x1c0c0407,
  "offer-ownership": 0x1c0c0408,
  "accept-ownership": 0x1c0c0409,
  "propose-upgrade": 0x1c0c040a,
  "apply-upgrade": 0x1c0c040b,
} as const satisfies Record<RegistryMessage["type"], number>;

const PARAMS_VERSION = 1;

function messageBuilder(message: RegistryMessage): Builder {
  const start = beginMessage(OPCODES[message.type], message.queryId);
  switch (message.type) {
    case "add-gateway":
      return start.storeRef(gatewayCell(message.entry));
    case "remove-gateway":
      return start.storeUint(message.id, 32);
    case "set-build": {
      const { kind, notAfter } = message.entry;
      return storeHash(start, message.measurement).storeUint(BUILD_KINDS.indexOf(kind), 8).storeUint(notAfter, 32);
    }
    case "remove-build":
      return storeHash(start, message.measurement);
    case "set-model": {
      const { prompt, cached, completion } = message.entry;
      return storeHash(start, message.manifestRoot)
        .storeUint(0, 32) // flags, reserved
        .storeCoins(prompt)
        .storeCoins(cached)
        .storeCoins(completion);
    }
    case "remove-model":
      return storeHash(start, message.manifestRoot);
    case "set-params":
      return start.storeRef(paramsCell(message.params));
    case "offer-ownership":
      return start.storeAddress(toAddress(message.newOwner));
    case "accept-ownership":
    case "apply-upgrade":
      return start;
    case "propose-upgrade":
      return start.storeRef(toCell(message.code));
  }
}

function readRegistryMessage(opcode: number, slice: Slice, queryId: () => bigint): RegistryMessage | undefined {
  switch (opcode) {
    case OPCODES["add-gateway"]:
      return { type: "add-gateway", queryId: queryId(), entry: readGatewayRef(slice) };
    case OPCODES["remove-gateway"]:
      return { type: "remove-gateway", queryId: queryId(), id: slice.loadUint(32) };
    case OPCODES["set-build"]:
      return { type: "set-build", queryId: queryId(), measurement: loadHash(slice), entry: readBuild(slice) };
    case OPCODES["remove-build"]:
      return { type: "remove-build", queryId: queryId(), measurement: loadHash(slice) };
    case OPCODES["set-model"]:
      return { type: "set-model", queryId: queryId(), manifestRoot: loadHash(slice), entry: readModel(slice) };
    case OPCODES["remove-model"]:
      return { type: "remove-model", queryId: queryId(), manifestRoot: loadHash(slice) };
    case OPCODES["set-params"]:
      return { type: "set-params", queryId: queryId(), params: readParams(slice.loadRef().beginParse()) };
    case OPCODES["offer-ownership"]:
      return { type: "offer-ownership", queryId: queryId(), newOwner: toRaw(slice.loadAddress()) };
    case OPCODES["accept-ownership"]:
      return { type: "accept-ownership", queryId: queryId() };
    case OPCODES["propose-upgrade"]:
      return { type: "propose-upgrade", queryId: queryId(), code: toBoc(slice.loadRef()) };
    case OPCODES["apply-upgrade"]:
      return { type: "apply-upgrade", queryId: queryId() };
    default:
      return undefined;
  }
}

function paramsCell(params: RegistryParams): Cell {
  const { gateway, clientChannel, workerChannel } = params.codeHashes;
  const hashes = [gateway, clientChannel, workerChannel].reduce(storeHash, beginCell());
  return beginCell()
    .storeUint(PARAMS_VERSION, 8)
    .storeInt(params.networkId, 32)
    .storeCoins(params.minGatewayStake)
    .storeCoins(params.minClientDeposit)
    .storeUint(params.withdrawDelaySeconds, 32)
    .storeUint(params.clientCloseDelaySeconds, 32)
    .storeUint(params.gatewayCloseDelaySeconds, 32)
    .storeUint(params.maxFeeBps, 16)
    .storeRef(hashes.endCell())
    .endCell();
}

function readParams(slice: Slice): RegistryParams {
  if (slice.loadUint(8) !== PARAMS_VERSION) throw new RangeError("parameters of another version");
  const hashes = slice.loadRef().beginParse();
  return {
    networkId: slice.loadInt(32),
    minGatewayStake: slice.loadCoins(),
    minClientDeposit: slice.loadCoins(),
    withdrawDelaySeconds: slice.loadUint(32),
    clientCloseDelaySeconds: slice.loadUint(32),
    gatewayCloseDelaySeconds: slice.loadUint(32),
    maxFeeBps: slice.loadUint(16),
    codeHashes: { gateway: loadHash(hashes), clientChannel: loadHash(hashes), workerChannel: loadHash(hashes) },
  };
}

function gatewayCell({ gateway, key, addedAt, endpoint }: GatewayEntry): Cell {
  return beginCell()
    .storeAddress(toAddress(gateway))
    .storeBuffer(Buffer.from(key), 32)
    .storeUint(addedAt, 32)
    .storeStringRefTail(endpoint)
    .endCell();
}

function readGatewayRef(slice: Slice): GatewayEntry {
  const info = slice.loadRef().beginParse();
  return {
    gateway: toRaw(info.loadAddress()),
    key: key32(info),
    addedAt: info.loadUint(32),
    endpoint: info.loadStringRefTail(),
  };
}

function readBuild(slice: Slice): BuildEntry {
  const kind = BUILD_KINDS[slice.loadUint(8)];
  if (kind === undefined) throw new RangeError("a build of an unknown kind");
  return { kind, notAfter: slice.loadUint(32) };
}

function readModel(slice: Slice): ModelEntry {
  slice.skip(32); // flags, reserved
  return { prompt: slice.loadCoins(), cached: slice.loadCoins(), completion: slice.loadCoins() };
}

function readOnly<Value>(parse: (slice: Slice) => Value): DictionaryValue<Value> {
  return {
    parse,
    serialize: () => {
      throw new RangeError("tables are written by the contract");
    },
  };
}

function readTable<Key extends number | Buffer, Value, Name>(
  cell: Cell | undefined,
  keys: Parameters<typeof Dictionary.loadDirect<Key, Value>>[0],
  values: DictionaryValue<Value>,
  nameOf: (key: Key) => Name,
): ReadonlyMap<Name, Value> {
  const table = Dictionary.loadDirect(keys, values, cell ?? null);
  return new Map([...table].map(([key, value]) => [nameOf(key), value]));
}

function storeHash(builder: Builder, hex: string): Builder {
  return builder.storeBuffer(Buffer.from(fromHex(hex)), 32);
}

function loadHash(slice: Slice): string {
  return slice.loadBuffer(32).toString("hex");
}

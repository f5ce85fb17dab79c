import type { Cell } from "@ton/core";
import type { RawAddress } from "../../protocol/index.ts";
import type { Body } from "./bodies.fake.ts";
import {
  done,
  excess,
  refuseUnless,
  REGISTRY_MINIMUM,
  REGISTRY_RESERVE,
  unknown,
  verdict,
  type Moment,
  type Verdict,
} from "./rules.fake.ts";

/** Entries as the specification lays them out, by their keys. */
export interface RegistryState {
  readonly owner: RawAddress;
  readonly pendingOwner: RawAddress | undefined;
  readonly version: number;
  readonly nextGateway: number;
  readonly gateways: ReadonlyMap<number, ReturnType<typeof gatewayIn>>;
  readonly builds: ReadonlyMap<string, { readonly kind: (typeof KINDS)[number]; readonly notAfter: number }>;
  readonly models: ReadonlyMap<
    string,
    { readonly prompt: bigint; readonly cached: bigint; readonly completion: bigint }
  >;
  readonly params: ReturnType<typeof paramsIn>;
  /** Unix seconds from which announced code may be used. */
  readonly upgradeAt: number | undefined;
}

const KINDS = ["worker-app", "gateway", "tee-image"] as const;

/** Seconds between a proposed upgrade and its use. */
export const UPGRADE_DELAY = 3 * 86_400;

/** The table of Registry, row by row. */
export function afterRegistryMessage(state: RegistryState, body: Body, at: Moment): Verdict<RegistryState> {
  return verdict(() => {
    if (body.type === "empty") return done(state, [], { type: "free" });
    if (!("queryId" in body)) return unknown(body);
    const next = { ...state, ...edited(state, body, at), version: state.version + 1 };
    return done(next, [excess(at, body.queryId)], { type: "up to", amount: REGISTRY_RESERVE });
  });
}

type Edit = Extract<Body, { queryId: bigint }>;

function edited(state: RegistryState, body: Edit, at: Moment): Partial<RegistryState> {
  if (body.type === "accept-ownership") {
    refuseUnless(state.pendingOwner !== undefined && at.sender === state.pendingOwner, 401);
    return { owner: state.pendingOwner, pendingOwner: undefined };
  }
  const edit = EDITS[body.type];
  if (edit === undefined) return unknown(body);
  refuseUnless(at.sender === state.owner, 401);
  refuseUnless(at.value >= REGISTRY_MINIMUM, 408);
  return edit(state, body as never, at);
}

type Edits = {
  readonly [Type in Edit["type"]]?: (
    state: RegistryState,
    body: Extract<Edit, { type: Type }>,
    at: Moment,
  ) => Partial<RegistryState>;
};

/** What the owner's messages do once owner and value are checked. */
const EDITS: Edits = {
  "add-gateway": ({ gateways, nextGateway }, { info }) => ({
    gateways: new Map(gateways).set(nextGateway, gatewayIn(info)),
    nextGateway: nextGateway + 1,
  }),
  "remove-gateway": ({ gateways }, { id }) => ({ gateways: without(gateways, id) }),
  "set-build": ({ builds }, { measurement, kind, notAfter }) => {
    const name = KINDS[kind];
    if (name === undefined) throw new RangeError("the twin writes no such kind");
    return { builds: new Map(builds).set(hex(measurement), { kind: name, notAfter }) };
  },
  "remove-build": ({ builds }, { key }) => ({ builds: without(builds, hex(key)) }),
  "set-model": ({ models }, { manifestRoot, sheet: { prompt, cached, completion } }) => ({
    models: new Map(models).set(hex(manifestRoot), { prompt, cached, completion }),
  }),
  "remove-model": ({ models }, { key }) => ({ models: without(models, hex(key)) }),
  "set-params": (_, { cell }, { networkId }) => {
    const params = paramsIn(cell);
    refuseUnless(params.networkId === networkId, 405);
    return { params };
  },
  "offer-ownership": (_, { newOwner }) => ({ pendingOwner: newOwner }),
  "propose-upgrade": (_, __, { now }) => ({ upgradeAt: now + UPGRADE_DELAY }),
  "apply-upgrade": ({ upgradeAt }, _, { now }) => {
    refuseUnless(upgradeAt !== undefined, 416);
    refuseUnless(now >= upgradeAt, 410);
    return { upgradeAt: undefined };
  },
};

/** The state as the twin reads it: a pending owner is not told. */
export function viewOfRegistry({
  pendingOwner: _,
  upgradeAt,
  ...told
}: RegistryState): Omit<RegistryState, "pendingOwner" | "upgradeAt"> & { readonly upgradeAt: number } {
  return { ...told, upgradeAt: upgradeAt ?? 0 };
}

function without<Key, Value>(table: ReadonlyMap<Key, Value>, key: Key): ReadonlyMap<Key, Value> {
  const rest = new Map(table);
  refuseUnless(rest.delete(key), 416);
  return rest;
}

function hex(key: bigint): string {
  return key.toString(16).padStart(64, "0");
}

function gatewayIn(cell: Cell): {
  readonly gateway: RawAddress;
  readonly key: Uint8Array;
  readonly addedAt: number;
  readonly endpoint: string;
} {
  const slice = cell.beginParse();
  return {
    gateway: slice.loadAddress().toRawString(),
    key: new Uint8Array(slice.loadBuffer(32)),
    addedAt: slice.loadUint(32),
    endpoint: slice.loadRef().beginParse().loadStringTail(),
  };
}

function paramsIn(cell: Cell): {
  readonly networkId: number;
  readonly minGatewayStake: bigint;
  readonly minClientDeposit: bigint;
  readonly withdrawDelaySeconds: number;
  readonly clientCloseDelaySeconds: number;
  readonly gatewayCloseDelaySeconds: number;
  readonly maxFeeBps: number;
  readonly codeHashes: Readonly<Record<"gateway" | "clientChannel" | "workerChannel", string>>;
} {
  const slice = cell.beginParse().skip(8);
  const hashes = cell.beginParse().loadRef().beginParse();
  const hash = (): string => hashes.loadBuffer(32).toString("hex");
  return {
    networkId: slice.loadInt(32),
    minGatewayStake: slice.loadCoins(),
    minClientDeposit: slice.loadCoins(),
    withdrawDelaySeconds: slice.loadUint(32),
    clientCloseDelaySeconds: slice.loadUint(32),
    gatewayCloseDelaySeconds: slice.loadUint(32),
    maxFeeBps: slice.loadUint(16),
    codeHashes: { gateway: hash(), clientChannel: hash(), workerChannel: hash() },
  };
}

import assert from "node:assert/strict";
import { fromHex, toHex, type RawAddress } from "../../protocol/index.ts";
import type { Deployment } from "../cells.ts";
import * as clientTwin from "../ClientChannel.ts";
import type { Getter } from "../getter.ts";
import * as gatewayTwin from "../Gateway.ts";
import * as registryTwin from "../Registry.ts";
import * as workerTwin from "../WorkerChannel.ts";
import type { Body } from "./bodies.fake.ts";
import type { Chain } from "./chain.fake.ts";
import { afterBouncedCredit, afterClientMessage, NEW_CLIENT, type ClientState } from "./client-model.fake.ts";
import { afterGatewayMessage, NEW_GATEWAY, type GatewayState } from "./gateway-model.fake.ts";
import { afterRegistryMessage, viewOfRegistry, type RegistryState } from "./registry-model.fake.ts";
import type { Moment, Verdict } from "./rules.fake.ts";
import { afterBouncedRequest, afterWorkerMessage, NEW_WORKER, type WorkerState } from "./worker-model.fake.ts";

/** What a model says of its contract, and what the twin reads of it. */
interface Rules<State, View> {
  readonly after: (state: State, body: Body, at: Moment) => Verdict<State>;
  /** After a message of its own came back. */
  readonly afterBounce: (state: State, body: Body, at: Moment) => Verdict<State>;
  readonly getter: Getter<View>;
  /** The state as the twin should read it. */
  readonly view: (state: State) => View;
}

/** A contract on the chain with the model that runs beside it. */
class Actor<Kind extends string, Terms, State, View> {
  readonly kind: Kind;
  readonly terms: Terms;
  readonly address: RawAddress;
  readonly stateInit: Uint8Array;
  readonly #rules: Rules<State, View>;
  #state: State;
  #predicted: State;
  #read: View | undefined;

  /** A debt of rent has taken it out of the world for good. */
  isFrozen = false;

  constructor(kind: Kind, terms: Terms, { address, stateInit }: Deployment, initial: State, rules: Rules<State, View>) {
    this.kind = kind;
    this.terms = terms;
    this.address = address;
    this.stateInit = stateInit;
    this.#state = initial;
    this.#predicted = initial;
    this.#rules = rules;
  }

  /** The model's. */
  get state(): State {
    return this.#state;
  }

  /** What the twin read of the chain after the last transaction; undefined before the contract is there. */
  get read(): View | undefined {
    return this.#read;
  }

  get isDeployed(): boolean {
    return this.#read !== undefined;
  }

  /** What a message should do. */
  predict(body: Body, at: Moment, isBounced: boolean): Verdict<unknown> {
    const { after, afterBounce } = this.#rules;
    const verdict = isBounced ? afterBounce(this.#state, body, at) : after(this.#state, body, at);
    this.#predicted = verdict.type === "done" ? verdict.state : this.#state;
    return verdict;
  }

  /** What was predicted has happened. */
  adopt(): void {
    this.#state = this.#predicted;
  }

  /** The twin reads of the chain what the model says. */
  async compare(chain: Chain): Promise<void> {
    this.#read = await chain.ask(this.address, this.#rules.getter);
    assert.deepEqual(this.#read, this.#rules.view(this.#state));
  }
}

export type AnyActor = ClientActor | WorkerActor | GatewayActor | RegistryActor;

export type ClientActor = Actor<"client", clientTwin.ClientChannelTerms, ClientState, clientTwin.ClientChannelState>;

export function clientActor(terms: clientTwin.ClientChannelTerms): ClientActor {
  const { owner, gateway, closeDelaySeconds } = terms;
  const modelled = { owner, gateway, gatewayKey: numberOf(terms.gatewayKey), closeDelay: closeDelaySeconds };
  return new Actor("client", terms, clientTwin.clientChannelOf(terms), NEW_CLIENT, {
    after: (state, body, at) => afterClientMessage(state, modelled, body, at),
    afterBounce: (state, _, at) => afterBouncedCredit(state, at),
    getter: clientTwin.CLIENT_CHANNEL_STATE,
    view: ({ isClosing, sessionKey, ...counters }) => ({
      status: isClosing ? ("closing" as const) : ("open" as const),
      ...counters,
      paymentKey: bytes32(sessionKey),
      terms,
    }),
  });
}

export type WorkerActor = Actor<"worker", workerTwin.WorkerChannelTerms, WorkerState, workerTwin.WorkerChannelState>;

export function workerActor(terms: workerTwin.WorkerChannelTerms): WorkerActor {
  const modelled = { ...terms, gatewayKey: numberOf(terms.gatewayKey) };
  return new Actor("worker", terms, workerTwin.workerChannelOf(terms), NEW_WORKER, {
    after: (state, body, at) => afterWorkerMessage(state, modelled, body, at),
    afterBounce: afterBouncedRequest,
    getter: workerTwin.WORKER_CHANNEL_STATE,
    view: (state) => ({ ...state, terms }),
  });
}

export type GatewayActor = Actor<"gateway", gatewayTwin.GatewayTerms, GatewayState, gatewayTwin.GatewayState>;

export function gatewayActor(terms: gatewayTwin.GatewayTerms): GatewayActor {
  const deployment = gatewayTwin.gatewayOf(terms);
  const { owner, gatewayKey, withdrawDelaySeconds, closeDelaySeconds } = terms;
  const modelled = {
    owner,
    gatewayKey: numberOf(gatewayKey),
    withdrawDelay: withdrawDelaySeconds,
    closeDelay: closeDelaySeconds,
    workerOf: (worker: RawAddress) =>
      workerTwin.workerChannelOf({ owner: worker, gateway: deployment.address, gatewayKey }).address,
  };
  return new Actor("gateway", terms, deployment, NEW_GATEWAY, {
    after: (state, body, at) => afterGatewayMessage(state, modelled, body, at),
    afterBounce: nothingBounces,
    getter: gatewayTwin.GATEWAY_STATE,
    view: ({ checkpointSeqno, checkpointHash, ...counters }) => ({
      ...counters,
      checkpoint: { seqno: checkpointSeqno, stateHash: bytes32(checkpointHash) },
      terms,
    }),
  });
}

interface RegistryTerms {
  readonly owner: RawAddress;
  readonly params: registryTwin.RegistryParams;
}

export type RegistryActor = Actor<"registry", RegistryTerms, RegistryState, registryTwin.RegistryState>;

export function registryActor(terms: RegistryTerms): RegistryActor {
  const initial = { owner: terms.owner, pendingOwner: undefined, version: 0, nextGateway: 0, params: terms.params };
  const tables: Pick<RegistryState, "gateways" | "builds" | "models" | "upgradeAt"> = {
    gateways: new Map(),
    builds: new Map(),
    models: new Map(),
    upgradeAt: undefined,
  };
  return new Actor(
    "registry",
    terms,
    registryTwin.registryOf(terms),
    { ...initial, ...tables },
    {
      after: afterRegistryMessage,
      afterBounce: nothingBounces,
      getter: registryTwin.REGISTRY_STATE,
      view: viewOfRegistry,
    },
  );
}

function nothingBounces(): never {
  throw new Error("it sends nothing that bounces");
}

function bytes32(value: bigint): Uint8Array {
  return fromHex(value.toString(16).padStart(64, "0"));
}

export function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes)}`);
}

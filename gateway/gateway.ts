import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  Failure,
  parseClientToGateway,
  parseWorkerToGateway,
  PROTOCOL_VERSIONS,
  toHex,
  workerIdOf,
  type FailureCode,
  type Nanoton,
  type PriceSheet,
  type RawAddress,
  type Tier,
} from "../protocol/index.ts";
import type { Channels } from "./channels.ts";
import { Adopting } from "./adopting.ts";
import { Charging } from "./charging.ts";
import { Clients } from "./clients.ts";
import { SYSTEM_CLOCK, unixSeconds, type Clock } from "./clock.ts";
import { openDoor, type Admitted, type Door, type Newcomer } from "./door.ts";
import { Documents } from "./documents.ts";
import { openJournal, type Journal, type JournalEvents } from "./journal.ts";
import { NOTHING, type LedgerSums } from "./books.ts";
import { LIMITS, type Limits } from "./limits.ts";
import { failureOf, type Link } from "./link.ts";
import type { ClientLogin, WorkerLogin } from "./login.ts";
import { Pool } from "./pool.ts";
import { Reservations } from "./reservations.ts";
import { signerFromSeed, type PublicKey, type Signer } from "./signatures.ts";
import { openSqliteStore, type Store } from "./store.ts";
import { Workers, type OwnerProofVerifier } from "./workers.ts";

export interface GatewayOptions {
  /** The folder of ledger and key; made when absent. */
  readonly dataDir: string;
  /** TON network id: vouchers of one network are void in another. */
  readonly networkId: number;
  readonly channels: Channels;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** PEM texts. Absent: plain sockets, for loopback or behind a TLS terminator. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** The gateway's share in 1/10 000, on top of the ask. Default 500. */
  readonly feeBps?: number;
  /** 32 bytes; absent: `gateway.key` in the folder, made when absent. */
  readonly seed?: Uint8Array;
  /** Absent: owners cannot be named, earnings are owed to the worker id. */
  readonly verifyOwnerProof?: OwnerProofVerifier;
  /** The price a trial request is held to, by model; undefined: any. */
  readonly referencePrice?: (manifestRoot: string) => PriceSheet | undefined;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
  readonly random?: (length: number) => Uint8Array;
  /** Absent: SQLite in the folder. */
  readonly store?: Store;
  /** Takes lines for the operator; they never hold content. */
  readonly log?: (line: string) => void;
}

export interface GatewayStatus {
  readonly gatewayKey: string;
  readonly networkId: number;
  readonly protocol: { readonly min: number; readonly max: number };
  readonly feeBps: number;
  /** Unix seconds. */
  readonly time: number;
  readonly isDraining: boolean;
  /** Why no reservation can be granted; absent while the ledger can be written. */
  readonly trouble?: FailureCode;
  readonly links: number;
  readonly workers: number;
  readonly clients: number;
  readonly reservations: number;
  /** Workers by manifest root and tier. */
  readonly models: Readonly<Record<string, Readonly<Record<Tier, number>>>>;
  readonly ledger: { readonly rows: number } & Readonly<Record<keyof LedgerSums, string>>;
}

/** A running gateway. */
export interface Gateway {
  /** `ws://` or `wss://` with host and port. */
  readonly url: string;
  /** The same door for HTTP. */
  readonly httpUrl: string;
  /** 32 bytes: peers are told this key, and vouchers are signed with it. */
  readonly gatewayKey: Uint8Array;
  status(): GatewayStatus;
  /** Sums over the whole ledger; charges + gatewayPaid = earnings + fees. */
  ledgerTotals(): LedgerSums;
  /** What a channel was charged, and how much of it under the client's own signature. */
  clientTotals(channel: RawAddress): { readonly charged: Nanoton; readonly countersigned: Nanoton };
  /** What an owner is promised in vouchers. */
  ownerTotal(owner: RawAddress): Nanoton;
  /** What is owed to a worker whose owner is not named. */
  owedTo(workerId: string): Nanoton;
  /** Resolves when all that was decided so far is written. */
  flushed(): Promise<void>;
  /** Takes nothing new, waits for what runs, at most `graceMs` (default 0), then closes. */
  close(graceMs?: number): Promise<void>;
}

const TICK_MS = 50;
const DRAIN_POLL_MS = 20;

/**
 * Starts a gateway.
 *
 * @throws {Failure} `port_taken`; `bad_configuration` (folder, key, address); `storage_failed` (the ledger cannot be read
 *   or does not add up).
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  makeFolder(options.dataDir);
  const signer = signerFromSeed(options.seed ?? keySeed(options.dataDir));
  const house = await furnish(options, signer);
  try {
    return await openHouse(options, signer, house);
  } catch (error) {
    await house.journal.close();
    throw error;
  }
}

interface House {
  readonly journal: Journal;
  readonly charging: Charging;
  readonly adopting: Adopting;
  readonly documents: Documents;
  readonly pool: Pool;
  readonly reservations: Reservations;
  readonly workers: Workers;
  readonly clients: Clients;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly random: (length: number) => Uint8Array;
  readonly feeBps: number;
  /** The outermost shell: a bug ends what it was about and is written down; everything else goes on. */
  readonly bug: (error: unknown) => void;
  isDraining: boolean;
}

async function furnish(options: GatewayOptions, signer: Signer): Promise<House> {
  const { networkId, channels, clock = SYSTEM_CLOCK, feeBps = 500, log = () => undefined } = options;
  const limits = { ...LIMITS, ...options.limits };
  const bug = (error: unknown): void => log(error instanceof Error ? (error.stack ?? error.message) : "unknown error");
  const random = options.random ?? ((length: number) => new Uint8Array(randomBytes(length)));
  const store = options.store ?? (await openSqliteStore({ path: join(options.dataDir, "ledger.sqlite") }));
  let committed: JournalEvents["committed"] = () => undefined;
  const journal = await openJournal(store, {
    committed: (promised) => guarded(bug, () => committed(promised)),
    bug,
    trouble: (code) =>
      log(code === undefined ? "the ledger can be written again" : `the ledger cannot be written: ${code}`),
  });
  const charging = new Charging({ journal, signer, networkId, channels, clock });
  const adopting = new Adopting({ journal, charging, channels, signer, networkId, clock, log });
  const documents = new Documents(limits.documentBytes);
  const pool = new Pool();
  const reservations = new Reservations();
  const { verifyOwnerProof, referencePrice = () => undefined } = options;
  const shared = { journal, charging, pool, documents, reservations, signer, networkId, feeBps, limits, clock };
  const workers = new Workers({ ...shared, verifyOwnerProof });
  committed = (promised) => {
    workers.promised(promised);
    charging.committed();
  };
  const clients = new Clients({
    ...shared,
    workers,
    channels,
    random,
    referencePrice,
    isDraining: () => house.isDraining,
  });
  const house: House = {
    journal,
    charging,
    adopting,
    documents,
    pool,
    reservations,
    workers,
    clients,
    limits,
    clock,
    random,
    feeBps,
    bug,
    isDraining: false,
  };
  return house;
}

async function openHouse(options: GatewayOptions, signer: Signer, house: House): Promise<Gateway> {
  const { host = "127.0.0.1", port = 0, networkId, tls } = options;
  const { journal, workers, clock } = house;
  const status = (): GatewayStatus => statusOf(options, signer, house, door.links.size);
  const door = await openDoor({
    host,
    port,
    tls,
    gatewayKey: signer.publicKey,
    networkId,
    limits: house.limits,
    clock,
    random: house.random,
    documents: house.documents,
    status,
    bug: house.bug,
    metrics: () => metricsOf(status()),
    roles: { worker: (text) => newWorker(house, text), client: (text) => newClient(house, text) },
  });
  const timer = setInterval(() => guarded(house.bug, () => tick(house, door)), TICK_MS);
  const authority = `${host.includes(":") ? `[${host}]` : host}:${door.port}`;
  return {
    url: `${tls === undefined ? "ws" : "wss"}://${authority}`,
    httpUrl: `${tls === undefined ? "http" : "https"}://${authority}`,
    gatewayKey: signer.publicKey,
    status,
    ledgerTotals: () => journal.ledger.sums,
    clientTotals(channel) {
      const book = journal.ledger.clients.get(channel);
      return { charged: book?.total ?? 0n, countersigned: book?.countersigned?.total ?? 0n };
    },
    ownerTotal: (owner) => (workers.positionOf(owner) ?? NOTHING).total,
    owedTo: (workerId) => journal.ledger.unnamed.get(workerId)?.owed ?? 0n,
    flushed: () => journal.flushed(),
    async close(graceMs = 0) {
      await drain(house, door, graceMs);
      clearInterval(timer);
      await door.close();
      await journal.close();
    },
  };
}

function newWorker(house: House, text: string): Newcomer | undefined {
  const login = parseWorkerToGateway(text);
  if (login.type !== "login") return undefined;
  return { login, admit: (link, key) => admitWorker(house, link, login, key) };
}

function newClient(house: House, text: string): Newcomer | undefined {
  const login = parseClientToGateway(text);
  if (login.type !== "login") return undefined;
  return { login, admit: async (link, key) => admitClient(house, link, login, key) };
}

async function admitWorker(house: House, link: Link, login: WorkerLogin, key: PublicKey): Promise<Admitted> {
  const { workers, adopting } = house;
  if (login.voucher !== undefined) await adopting.ofWorker(login.address, login.voucher);
  const peer = await workers.login(link, login, key, workerIdOf(key.bytes));
  return {
    // An owner that has just been named is told of its voucher only when that is written.
    welcome: () => workers.welcome(peer),
    handle: (text) => handleText(link, () => workers.handle(peer, parseWorkerToGateway(text))),
    gone: () => workers.remove(peer),
  };
}

function admitClient(house: House, link: Link, login: ClientLogin, key: PublicKey): Admitted {
  const { clients, adopting } = house;
  if (login.countersigned !== undefined) adopting.ofClient(login.address, key, login.countersigned);
  const peer = clients.login(link, key, login.address);
  return {
    welcome: () => clients.welcome(peer),
    handle: (text) => handleText(link, () => clients.handle(peer, parseClientToGateway(text))),
    gone: () => clients.remove(peer),
  };
}

/** A message that is not understood is answered, never a reason to hang up. */
function handleText(link: Link, handle: () => void): void {
  try {
    handle();
  } catch (error) {
    link.error(failureOf(error).code);
  }
}

function guarded(bug: (error: unknown) => void, act: () => void): void {
  try {
    act();
  } catch (error) {
    bug(error);
  }
}

function tick(house: House, door: Door): void {
  door.tick();
  house.clients.tick();
  house.workers.tick();
  house.charging.tick();
  house.pool.prune(house.clock.steadyMs());
}

/** Nothing new from here on; what runs may end. */
async function drain(house: House, door: Door, graceMs: number): Promise<void> {
  house.isDraining = true;
  const { clock, reservations } = house;
  const until = clock.steadyMs() + graceMs;
  if (graceMs > 0) {
    for (const link of door.links) {
      link.send({ type: "drain", until: unixSeconds(clock) + Math.ceil(graceMs / 1000), elsewhere: [] });
    }
  }
  while (reservations.size > 0 && clock.steadyMs() < until) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
  }
}

function statusOf(options: GatewayOptions, signer: Signer, house: House, links: number): GatewayStatus {
  const { journal, workers, clients, reservations, pool, clock } = house;
  const { charges, gatewayPaid, earnings, fees } = journal.ledger.sums;
  return {
    gatewayKey: toHex(signer.publicKey),
    networkId: options.networkId,
    protocol: PROTOCOL_VERSIONS,
    feeBps: house.feeBps,
    time: unixSeconds(clock),
    isDraining: house.isDraining,
    ...(journal.trouble === undefined ? {} : { trouble: journal.trouble }),
    links,
    workers: workers.size,
    clients: clients.size,
    reservations: reservations.size,
    models: pool.summary(),
    ledger: {
      rows: journal.ledger.rows,
      charges: charges.toString(),
      gatewayPaid: gatewayPaid.toString(),
      earnings: earnings.toString(),
      fees: fees.toString(),
    },
  };
}

/** The numbers of the status as Prometheus reads them. */
function metricsOf({ links, workers, clients, reservations, ledger, trouble }: GatewayStatus): string {
  const gauges = { links, workers, clients, reservations, ledger_trouble: trouble === undefined ? 0 : 1 };
  const counters = {
    ledger_rows: ledger.rows,
    charges_nanoton: ledger.charges,
    gateway_paid_nanoton: ledger.gatewayPaid,
    earnings_nanoton: ledger.earnings,
    fees_nanoton: ledger.fees,
  };
  const lines = (type: string, values: Readonly<Record<string, number | string>>): string[] =>
    Object.entries(values).flatMap(([name, value]) => [`# TYPE cocoon_${name} ${type}`, `cocoon_${name} ${value}`]);
  return [...lines("gauge", gauges), ...lines("counter", counters), ""].join("\n");
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new Failure("bad_configuration", `cannot make the folder ${folder}`, { cause });
  }
}

/** The voucher key belongs to the ledger: vouchers signed before a restart are this key's. */
function keySeed(folder: string): Uint8Array {
  const path = join(folder, "gateway.key");
  try {
    writeFileSync(path, randomBytes(SEED_BYTES), { flag: "wx", mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
      throw new Failure("bad_configuration", `cannot write in ${folder}`, { cause: error });
    }
  }
  const seed = readFileSync(path);
  if (seed.length !== SEED_BYTES) throw new Failure("bad_configuration", `${path} is not a key`);
  return new Uint8Array(seed);
}

const SEED_BYTES = 32;

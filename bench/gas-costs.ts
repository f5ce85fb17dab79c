import type { Transaction } from "@ton/core";
import { PRICES_BEFORE, PRICES_OF_JUNE_2026, type Prices } from "../contracts/prices.ts";
import type { Nanoton } from "../protocol/index.ts";
import { ACTS, CASH_OUT, PLAIN_CASH_OUT } from "./gas-acts.ts";
import { REGISTRY_MODELS } from "./gas-operations.ts";
import { openGasScene, rentsOfAYear } from "./gas-scene.ts";

export interface MeasuredGas {
  readonly june2026: GasCosts;
  readonly before: GasCosts;
}

export interface GasCosts {
  readonly operations: readonly OperationCost[];
  readonly rents: readonly { readonly account: string; readonly aYear: Nanoton }[];
}

export interface OperationCost {
  readonly name: string;
  /** Of each transaction that ran code; a wallet's own comes first. */
  readonly gas: readonly number[];
  /** What who paid for it is poorer by, amounts and reserve aside. */
  readonly cost: Nanoton;
  /** Left on the contract for its rent. */
  readonly reserve: Nanoton;
}

/** The project's bars: nanoton at today's prices, and times a plain payment channel. */
export const CASH_OUT_AT_MOST: Nanoton = 1_800_000n;
export const RATIO_AT_MOST = 1.6;

/** Every operation once, and a year, on a chain of each price table. */
export async function measureGas(): Promise<MeasuredGas> {
  return { june2026: await measureAt(PRICES_OF_JUNE_2026), before: await measureAt(PRICES_BEFORE) };
}

async function measureAt(prices: Prices): Promise<GasCosts> {
  const scene = await openGasScene(prices);
  const operations: OperationCost[] = [];
  for (const { name, run } of ACTS) {
    const { transactions, cost, reserve } = await run(scene);
    operations.push({ name, gas: transactions.flatMap(gasOf), cost, reserve });
  }
  const accounts = [
    { account: "a worker's channel", address: scene.worker.address },
    { account: "a client's channel", address: scene.client.address },
    { account: "a gateway", address: scene.gateway.address },
    { account: `the registry with ${REGISTRY_MODELS} models`, address: scene.registry.address },
    { account: "a wallet (V5R1)", address: scene.earner.address },
  ];
  const rents = await rentsOfAYear(scene, accounts);
  return { operations, rents: accounts.map(({ account }, index) => ({ account, aYear: rents[index] ?? 0n })) };
}

export function cashOutCost(costs: GasCosts): Nanoton {
  return costOf(costs, CASH_OUT);
}

/** A worker's cash-out beside that of a plain channel, which pays one owner out of coins that are locked up for them. */
export function ratioToPlain(costs: GasCosts): number {
  return Number(cashOutCost(costs)) / Number(costOf(costs, PLAIN_CASH_OUT));
}

function costOf({ operations }: GasCosts, name: string): Nanoton {
  const found = operations.find((operation) => operation.name === name);
  if (found === undefined) throw new RangeError(`nothing is called ${name}`);
  return found.cost;
}

function gasOf({ description }: Transaction): number[] {
  if (description.type !== "generic" || description.computePhase.type !== "vm") return [];
  return [Number(description.computePhase.gasUsed)];
}

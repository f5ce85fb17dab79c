import { beginCell, Cell, Dictionary, type Slice } from "@ton/core";
import type { Nanoton } from "../protocol/index.ts";

/**
 * What workchain 0 charges, as validators voted it: parameters 18 (rent), 21 (gas) and 25 (messages) of the network's
 * configuration. Numbers with 16 binary places are as there, in units of 2⁻¹⁶ nanoton.
 */
export interface Prices {
  /** Nanoton, with 16 binary places, for a unit of gas above the flat limit. */
  readonly gas: bigint;
  /** Gas that costs no more than {@link flatFee}. */
  readonly flatGas: bigint;
  readonly flatFee: Nanoton;
  /** Nanoton for any message. */
  readonly lump: Nanoton;
  /** With 16 binary places, for a bit of a message's body and init outside their roots. */
  readonly messageBit: bigint;
  readonly messageCell: bigint;
  /** With 16 binary places, for a second of a bit and of a cell in an account. */
  readonly rentBit: bigint;
  readonly rentCell: bigint;
}

/** Mainnet from the end of April 2026; read at masterchain block 72 712 993 of 1 June 2026. */
export const PRICES_OF_JUNE_2026: Prices = {
  gas: 4_369_067n,
  flatGas: 100n,
  flatFee: 6_667n,
  lump: 66_667n,
  messageBit: 4_369_067n,
  messageCell: 436_906_667n,
  rentBit: 0n,
  rentCell: 135n,
};

/** Mainnet before, six times dearer; what the sandbox's own configuration still has. */
export const PRICES_BEFORE: Prices = {
  gas: 26_214_400n,
  flatGas: 100n,
  flatFee: 40_000n,
  lump: 400_000n,
  messageBit: 26_214_400n,
  messageCell: 2_621_440_000n,
  rentBit: 1n,
  rentCell: 500n,
};

/** GETGASFEE of TVM. */
export function gasFee(prices: Prices, gas: bigint): Nanoton {
  return gas <= prices.flatGas ? prices.flatFee : prices.flatFee + roundUp((gas - prices.flatGas) * prices.gas);
}

/** GETFORWARDFEE of TVM: all that a message costs its sender. */
export function forwardFee(prices: Prices, bits: bigint, cells: bigint): Nanoton {
  return prices.lump + roundUp(bits * prices.messageBit + cells * prices.messageCell);
}

/** A network's configuration with other prices for workchain 0. */
export function withPrices(config: Cell, prices: Prices): Cell {
  const parameters = Dictionary.loadDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell(), config);
  parameters.set(RENT, rentParameter(prices));
  parameters.set(GAS, gasParameter(prices));
  parameters.set(MESSAGES, messagesParameter(prices));
  return beginCell().storeDictDirect(parameters).endCell();
}

/** What a configuration charges in workchain 0, its newest rent included. */
export function pricesIn(config: Cell): Prices {
  const parameters = Dictionary.loadDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell(), config);
  const parameter = (index: number): Slice => (parameters.get(index) ?? Cell.EMPTY).beginParse();
  const gas = parameter(GAS).skip(8);
  const [flatGas, flatFee, price] = [gas.loadUintBig(64), gas.loadUintBig(64), gas.skip(8).loadUintBig(64)];
  const messages = parameter(MESSAGES).skip(8);
  const [lump, messageBit, messageCell] = [
    messages.loadUintBig(64),
    messages.loadUintBig(64),
    messages.loadUintBig(64),
  ];
  const rents = Dictionary.loadDirect(Dictionary.Keys.Uint(32), RENT_VALUE, parameter(RENT).asCell());
  const newest = rents.get(Math.max(...rents.keys())) ?? { rentBit: 0n, rentCell: 0n };
  return { gas: price, flatGas, flatFee, lump, messageBit, messageCell, ...newest };
}

const RENT = 18;
const GAS = 21;
const MESSAGES = 25;

function roundUp(amount: bigint): Nanoton {
  return (amount + 0xffffn) >> 16n;
}

function gasParameter({ flatGas, flatFee, gas }: Prices): Cell {
  const builder = beginCell().storeUint(0xd1, 8).storeUint(flatGas, 64).storeUint(flatFee, 64);
  builder.storeUint(0xde, 8).storeUint(gas, 64);
  const [limit, special, credit, block, freezeDue, deleteDue] = [1e6, 1e6, 1e4, 1e7, 1e8, 1e9];
  for (const field of [limit, special, credit, block, freezeDue, deleteDue]) builder.storeUint(field, 64);
  return builder.endCell();
}

/** The share of a message's fee that its first validators get, of 2¹⁶: a third. */
const FIRST_PART = 21_845;
const IHR_FACTOR = 98_304;

function messagesParameter({ lump, messageBit, messageCell }: Prices): Cell {
  const builder = beginCell().storeUint(0xea, 8).storeUint(lump, 64).storeUint(messageBit, 64);
  builder.storeUint(messageCell, 64).storeUint(IHR_FACTOR, 32).storeUint(FIRST_PART, 16).storeUint(FIRST_PART, 16);
  return builder.endCell();
}

/** Rent of the masterchain, which no contract of ours pays. */
const MASTERCHAIN_RENT = { bit: 1_000, cell: 500_000 };

type Rent = Pick<Prices, "rentBit" | "rentCell">;

const RENT_VALUE = {
  serialize: ({ rentBit, rentCell }: Rent, builder: ReturnType<typeof beginCell>): void => {
    builder.storeUint(0xcc, 8).storeUint(0, 32).storeUint(rentBit, 64).storeUint(rentCell, 64);
    builder.storeUint(MASTERCHAIN_RENT.bit, 64).storeUint(MASTERCHAIN_RENT.cell, 64);
  },
  parse: (slice: Slice): Rent => {
    const rent = { rentBit: slice.skip(40).loadUintBig(64), rentCell: slice.loadUintBig(64) };
    slice.skip(128);
    return rent;
  },
};

function rentParameter(prices: Prices): Cell {
  const rents = Dictionary.empty(Dictionary.Keys.Uint(32), RENT_VALUE).set(0, prices);
  return beginCell().storeDictDirect(rents).endCell();
}

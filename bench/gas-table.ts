import { formatTon, type Nanoton } from "../protocol/index.ts";
import { CASH_OUT_AT_MOST, RATIO_AT_MOST, ratioToPlain, type GasCosts, type MeasuredGas } from "./gas-costs.ts";

const BEGIN = "<!-- gas:begin (npm run bench -- gas --write) -->";
const END = "<!-- gas:end -->";

/** The measured costs as the contracts' README has them. */
export function gasTable({ june2026, before }: MeasuredGas): string {
  const operations = june2026.operations.map(({ name, gas, cost, reserve }, index) => {
    const old = before.operations[index];
    if (old?.name !== name) throw new RangeError("two tables of different operations");
    return [name, gas.join(" + "), withReserve(cost, reserve), withReserve(old.cost, old.reserve)];
  });
  const rents = june2026.rents.map(({ account, aYear }, index) => {
    return [account, shortTon(aYear), shortTon(before.rents[index]?.aYear ?? 0n)];
  });
  return [
    ...table(["operation", "gas", "TON since April 2026", "TON before"], operations),
    "",
    ...table(["rent of a year", "TON since April 2026", "TON before"], rents),
    "",
    "Paid by a WalletContractV5R1, its own transaction included: the first number of gas, which a message without a wallet",
    "has not. All that follows is counted, what came back is not, and what stays on the contract stands behind the plus.",
    `A cash-out is ${times(june2026)} times that of a plain payment channel; a test keeps it within ${RATIO_AT_MOST} times and`,
    `${formatTon(CASH_OUT_AT_MOST)} TON.`,
  ].join("\n");
}

/** @throws {RangeError} for a text without the place for it. */
export function withGasTable(text: string, generated: string): string {
  const [head, rest, ...more] = text.split(BEGIN);
  const tail = rest?.split(END)[1];
  if (head === undefined || tail === undefined || more.length > 0) throw new RangeError("no place for the gas table");
  return `${head}${BEGIN}\n\n${generated}\n\n${END}${tail}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
}

function withReserve(cost: Nanoton, reserve: Nanoton): string {
  return reserve === 0n ? shortTon(cost) : `${shortTon(cost)} + ${shortTon(reserve)}`;
}

/** To the hundred thousandth, up: nobody pays less than it says. */
function shortTon(amount: Nanoton): string {
  const step = 10_000n;
  return formatTon(((amount + step - 1n) / step) * step);
}

function times(costs: GasCosts): string {
  return ratioToPlain(costs).toFixed(2);
}

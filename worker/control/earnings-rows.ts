import { toHex, type FinishReason, type Nanoton, type TokenUsage } from "../../protocol/index.ts";
import type {
  AccountName,
  DayOfEarnings,
  EarningRow,
  EarningState,
  EarningsTotals,
  MoneyEvent,
  Standing,
} from "./earnings-record.ts";
import type { Row } from "./earnings-sql.ts";

export function earningRow(row: Row): EarningRow {
  const through = amountOf(row, "through");
  return {
    id: numberOf(row, "id"),
    at: numberOf(row, "at"),
    account: accountOf(row),
    model: modelOf(row),
    finish: textOf(row, "finish") as FinishReason,
    usage: usageOf(row),
    price: {
      prompt: amountOf(row, "ask_prompt"),
      cached: amountOf(row, "ask_cached"),
      completion: amountOf(row, "ask_completion"),
    },
    earned: amountOf(row, "earned"),
    state: stateOf(through, totalsOf(row)),
    voucheredAt: timeOf(row, "vouchered_at"),
    claimableAt: timeOf(row, "claimable_at"),
    paidAt: timeOf(row, "paid_at"),
  };
}

function stateOf(through: Nanoton, { vouchered, claimable, paid }: Standing): EarningState {
  if (through <= paid) return "paid";
  if (through <= claimable) return "claimable";
  return through <= vouchered ? "vouchered" : "owed";
}

function accountOf(row: Row): AccountName {
  const gateway = row.gateway instanceof Uint8Array ? row.gateway : new Uint8Array();
  return { gatewayKey: toHex(gateway), url: textOf(row, "url"), owner: textOf(row, "owner") };
}

function modelOf(row: Row): EarningRow["model"] {
  return { id: textOf(row, "name"), manifestRoot: textOf(row, "root") };
}

function usageOf(row: Row): TokenUsage {
  return {
    promptTokens: numberOf(row, "prompt"),
    cachedTokens: numberOf(row, "cached"),
    completionTokens: numberOf(row, "completion"),
  };
}

export function totalsOf(row: Row | undefined): EarningsTotals {
  return {
    earned: amountOf(row, "earned"),
    vouchered: amountOf(row, "vouchered"),
    claimable: amountOf(row, "claimable"),
    paid: amountOf(row, "paid"),
  };
}

export function amountOf(row: Row | undefined, name: string): Nanoton {
  const value = row?.[name];
  return typeof value === "bigint" ? value : 0n;
}

export function numberOf(row: Row | undefined, name: string): number {
  return Number(amountOf(row, name));
}

function timeOf(row: Row, name: string): number | undefined {
  return typeof row[name] === "bigint" ? Number(row[name]) : undefined;
}

function textOf(row: Row, name: string): string {
  const value = row[name];
  return typeof value === "string" ? value : "";
}

export function dayOf(row: Row): DayOfEarnings {
  return {
    day: numberOf(row, "day"),
    account: accountOf(row),
    model: modelOf(row),
    answers: numberOf(row, "answers"),
    usage: usageOf(row),
    earned: amountOf(row, "earned"),
  };
}

export function eventOf(row: Row): MoneyEvent {
  return {
    type: textOf(row, "type") as MoneyEvent["type"],
    at: numberOf(row, "at"),
    account: accountOf(row),
    amount: amountOf(row, "amount"),
    detail: textOf(row, "detail"),
  };
}

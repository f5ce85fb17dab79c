import { formatTon, type Nanoton } from "../../protocol/index.ts";
import type { EarningRow, EarningsRecord } from "./earnings-record.ts";

const HEADER = [
  "time",
  "gateway",
  "owner",
  "model",
  "finish",
  "prompt_tokens",
  "cached_tokens",
  "completion_tokens",
  "ask_prompt_nanoton_per_million",
  "ask_cached_nanoton_per_million",
  "ask_completion_nanoton_per_million",
  "earned_nanoton",
  "earned",
  "state",
  "vouchered_at",
  "paid_at",
].join(",");

/** Rows read at once: a few milliseconds, then whatever else waits has its turn. */
const ROWS_AT_ONCE = 500;

/** Every earning, the oldest first, as RFC 4180 has it; line by line, so that a year of them takes no memory. */
export async function* earningsCsv(record: Pick<EarningsRecord, "pageUp">): AsyncGenerator<string> {
  yield `${HEADER}\r\n`;
  let after = 0;
  for (;;) {
    const rows = record.pageUp({ after, limit: ROWS_AT_ONCE });
    if (rows.length === 0) return;
    yield rows.map((row) => `${line(row)}\r\n`).join("");
    after = rows.at(-1)?.id ?? Number.MAX_SAFE_INTEGER;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function line({ at, account, model, finish, usage, price, earned, state, voucheredAt, paidAt }: EarningRow): string {
  const cells: readonly (string | number | Nanoton)[] = [
    timeOf(at),
    account.url,
    account.owner,
    model.id,
    finish,
    usage.promptTokens,
    usage.cachedTokens,
    usage.completionTokens,
    price.prompt,
    price.cached,
    price.completion,
    earned,
    formatTon(earned),
    state,
    timeOf(voucheredAt),
    timeOf(paidAt),
  ];
  return cells.map((cell) => quoted(String(cell))).join(",");
}

/** A spreadsheet runs what begins like a formula; a model may be called anything. */
function quoted(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/** Empty for what has not happened, and for a clock that was set to no time there is. */
function timeOf(at: number | undefined): string {
  const date = new Date(at ?? NaN);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

import { renameSync, rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { Failure, fromHex, toHex, type Nanoton } from "../../protocol/index.ts";
import type { Earning } from "../serving/earnings.ts";
import type {
  AccountName,
  DayOfEarnings,
  EarningRow,
  EarningsRecord,
  EarningsTotals,
  MoneyEvent,
  Payout,
  RecordProblem,
  Standing,
} from "./earnings-record.ts";
import { amountOf, dayOf, earningRow, eventOf, numberOf, totalsOf } from "./earnings-rows.ts";
import { prepare, type Statements } from "./earnings-sql.ts";
import { openTables } from "./earnings-tables.ts";

export interface EarningsRecordOptions {
  /** The database file; made when absent. */
  readonly path: string;
  readonly networkId: number;
}

/** Earnings that wait for a disk that is full; beyond that the oldest are lost to history, and to nothing else. */
const MAX_UNWRITTEN = 10_000;
const DAY_MS = 86_400_000;

/** Never throws: a record that cannot be read is put aside and begun anew, and says so. */
export function openEarningsRecord(options: EarningsRecordOptions): EarningsRecord {
  try {
    return new SqliteEarnings(openTables(options.path), options.networkId, undefined);
  } catch (error) {
    const message = error instanceof Failure ? error.message : "unknown";
    return new SqliteEarnings(beginAnew(options.path), options.networkId, {
      code: "storage_failed",
      message: `${message}; it was put aside as ${options.path}.damaged, and a new one begun`,
    });
  }
}

function beginAnew(path: string): DatabaseSync {
  try {
    renameSync(path, `${path}.damaged`);
    for (const rest of ["-wal", "-shm"]) rmSync(`${path}${rest}`, { force: true });
    return openTables(path);
  } catch {
    return openTables(":memory:"); // no disk at all: the worker serves, and this run's history is lost with it
  }
}

class SqliteEarnings implements EarningsRecord {
  readonly #database: DatabaseSync;
  readonly #networkId: number;
  readonly #statements: Statements;
  readonly #accounts = new Map<string, number>();
  readonly #models = new Map<string, number>();
  /** Since the record was opened. */
  readonly #opening: RecordProblem | undefined;
  #unwritten: Earning[] = [];
  /** Until something is written again. */
  #trouble: RecordProblem | undefined;

  constructor(database: DatabaseSync, networkId: number, problem: RecordProblem | undefined) {
    this.#database = database;
    this.#networkId = networkId;
    this.#opening = problem;
    this.#statements = prepare(database);
  }

  add(earning: Earning): void {
    this.#unwritten.push(earning);
    if (this.#unwritten.length > MAX_UNWRITTEN) this.#unwritten.shift();
    this.#flush();
  }

  counted({ key, url }: Earning["gateway"], owner: string): Nanoton {
    return this.standing({ gatewayKey: toHex(key), url, owner }).earned;
  }

  name({ key, url }: Earning["gateway"], owner: string): void {
    const name = { gatewayKey: toHex(key), url };
    if (this.standing({ ...name, owner: "" }).earned === 0n) return;
    this.#attempt(() => {
      const from = this.#account({ ...name, owner: "" });
      const to = this.#account({ ...name, owner });
      const { earned } = this.standing({ ...name, owner });
      this.#statements.moveEarnings.run(to, earned, from);
      this.#statements.moveDays.run(to, from);
      this.#statements.dropDays.run(from);
      this.#statements.moveCount.run(from, to);
      this.#statements.emptyAccount.run(from);
    });
  }

  mark(account: AccountName, standing: Standing, at: number): void {
    const before = this.#read(() => this.#present(account));
    if (before === undefined || isSame(before, standing)) return;
    const { vouchered, claimable, paid } = standing;
    this.#attempt(() => {
      const id = this.#account(account);
      for (const state of ["vouchered", "paid"] as const)
        if (standing[state] > before[state]) this.#statements.insertMark.run(at, id, state, standing[state]);
      if (claimable > before.claimableEver) this.#statements.insertMark.run(at, id, "claimable", claimable);
      if (claimable < before.claimable)
        this.#insertEvent(id, { type: "uncovered", at, amount: before.claimable - claimable });
      this.#statements.updateStanding.run(vouchered, claimable, claimable, paid, id);
    });
  }

  event({ account, ...event }: Parameters<EarningsRecord["event"]>[0]): void {
    this.#attempt(() => this.#insertEvent(this.#account(account), event));
  }

  payout(account: AccountName, { at, lt, value, hash }: Payout): boolean {
    if (lt <= this.newestPayout(account)) return false;
    this.#attempt(() =>
      this.#insertEvent(this.#account(account), { type: "paid-out", at, amount: value, lt, detail: toHex(hash) }),
    );
    return true;
  }

  newestPayout(account: AccountName): bigint {
    return this.#read(() => amountOf(this.#statements.newestPayout.get(this.#account(account)), "lt")) ?? 0n;
  }

  standing(account: AccountName): EarningsTotals {
    return this.#read(() => totalsOf(this.#statements.standing.get(this.#account(account)))) ?? NOTHING;
  }

  oldestUnpaidAt(account: AccountName): number | undefined {
    return this.#read(() => {
      const id = this.#account(account);
      const row = this.#statements.oldestUnpaid.get(id, id);
      return row === undefined ? undefined : numberOf(row, "at");
    });
  }

  totals(): EarningsTotals {
    return this.#read(() => totalsOf(this.#statements.totals.get(this.#networkId))) ?? NOTHING;
  }

  days(from: number, to: number): readonly DayOfEarnings[] {
    return (this.#read(() => this.#statements.days.all(from, to, this.#networkId)) ?? []).map(dayOf);
  }

  page({ before = Number.MAX_SAFE_INTEGER, limit }: Parameters<EarningsRecord["page"]>[0]): readonly EarningRow[] {
    const rows = this.#read(() => this.#statements.pageDown.all(before, this.#networkId, limit)) ?? [];
    return rows.map(earningRow);
  }

  pageUp({ after, limit }: Parameters<EarningsRecord["pageUp"]>[0]): readonly EarningRow[] {
    const rows = this.#read(() => this.#statements.pageUp.all(after, this.#networkId, limit)) ?? [];
    return rows.map(earningRow);
  }

  events(limit: number): readonly MoneyEvent[] {
    return (this.#read(() => this.#statements.events.all(this.#networkId, limit)) ?? []).map(eventOf);
  }

  tidy(): void {
    this.#flush();
    this.#read(() => this.#database.exec("PRAGMA wal_checkpoint(TRUNCATE)"));
  }

  problem(): RecordProblem | undefined {
    return this.#trouble ?? this.#opening;
  }

  close(): void {
    if (!this.#database.isOpen) return;
    this.tidy();
    this.#database.close();
  }

  /** What waited for the disk goes first: an account's earnings are counted in their order. */
  #flush(): void {
    while (this.#unwritten.length > 0) {
      const [earning] = this.#unwritten;
      if (earning === undefined || !this.#attempt(() => this.#write(earning))) return;
      this.#unwritten.shift();
    }
  }

  #write({ at, gateway, owner, model, finish, usage, price, earned }: Earning): void {
    const account = this.#account({ gatewayKey: toHex(gateway.key), url: gateway.url, owner });
    const modelId = this.#model(model);
    const { promptTokens, cachedTokens, completionTokens } = usage;
    const tokens = [promptTokens, cachedTokens, completionTokens] as const;
    const asked = [price.prompt, price.cached, price.completion] as const;
    this.#statements.count.run(earned, account);
    this.#statements.insertEarning.run(at, account, modelId, finish, ...tokens, ...asked, earned, account);
    this.#statements.addToDay.run(Math.floor(at / DAY_MS), account, modelId, ...tokens, earned);
  }

  #insertEvent(
    account: number,
    {
      type,
      at,
      amount,
      lt = 0n,
      detail = "",
    }: Pick<MoneyEvent, "type" | "at" | "amount"> & { lt?: bigint; detail?: string },
  ): void {
    this.#statements.insertEvent.run(at, account, type, amount, lt, detail);
  }

  #present(account: AccountName): (Standing & { readonly claimableEver: Nanoton }) | undefined {
    const row = this.#statements.standing.get(this.#account(account));
    return row === undefined ? undefined : { ...totalsOf(row), claimableEver: amountOf(row, "claimable_ever") };
  }

  #account({ gatewayKey, url, owner }: AccountName): number {
    const name = `${gatewayKey} ${owner}`;
    const known = this.#accounts.get(name);
    if (known !== undefined) return known;
    this.#statements.insertAccount.run(this.#networkId, fromHex(gatewayKey), url, owner);
    const id = numberOf(this.#statements.findAccount.get(this.#networkId, fromHex(gatewayKey), owner), "id");
    this.#accounts.set(name, id);
    return id;
  }

  #model({ id: name, manifestRoot }: Earning["model"]): number {
    const key = `${manifestRoot} ${name}`;
    const known = this.#models.get(key);
    if (known !== undefined) return known;
    this.#statements.insertModel.run(manifestRoot, name);
    const id = numberOf(this.#statements.findModel.get(manifestRoot, name), "id");
    this.#models.set(key, id);
    return id;
  }

  /** All of it is written, or nothing and there is a problem. */
  #attempt(write: () => void): boolean {
    if (!this.#database.isOpen) return false;
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      write();
      this.#database.exec("COMMIT");
      this.#trouble = undefined;
      return true;
    } catch (error) {
      this.#undo();
      this.#trouble = problemOf(error);
      return false;
    }
  }

  #undo(): void {
    this.#accounts.clear(); // ids that were given in what is undone
    this.#models.clear();
    try {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
    } catch {
      // SQLite has rolled back by itself.
    }
  }

  #read<Value>(read: () => Value): Value | undefined {
    if (!this.#database.isOpen) return undefined;
    try {
      return read();
    } catch (error) {
      this.#trouble = problemOf(error);
      return undefined;
    }
  }
}

const NOTHING: EarningsTotals = { earned: 0n, vouchered: 0n, claimable: 0n, paid: 0n };

function isSame(a: Standing, b: Standing): boolean {
  return a.vouchered === b.vouchered && a.claimable === b.claimable && a.paid === b.paid;
}

const SQLITE_FULL = 13;

function problemOf(error: unknown): RecordProblem {
  const code: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "errcode") : undefined;
  const message = error instanceof Error ? error.message : "unknown";
  return {
    code: code === SQLITE_FULL ? "disk_full" : "storage_failed",
    message: `earnings are not written down: ${message}`,
  };
}

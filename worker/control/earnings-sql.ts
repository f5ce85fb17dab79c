import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite";

/** Every statement of the record, prepared once; amounts come out as bigint. */
export type Statements = Readonly<Record<keyof typeof SQL, StatementSync>>;
export type Row = Record<string, SQLOutputValue>;

export function prepare(database: DatabaseSync): Statements {
  const statements = Object.entries(SQL).map(([name, sql]) => {
    const statement = database.prepare(sql);
    statement.setReadBigInts(true);
    return [name, statement] as const;
  });
  return Object.fromEntries(statements) as Statements;
}

const ROW = `SELECT e.*, a.gateway, a.url, a.owner, a.vouchered, a.claimable, a.paid, m.root, m.name,
  (SELECT at FROM mark WHERE account = e.account AND state = 'vouchered' AND through >= e.through ORDER BY through LIMIT 1) AS vouchered_at,
  (SELECT at FROM mark WHERE account = e.account AND state = 'claimable' AND through >= e.through ORDER BY through LIMIT 1) AS claimable_at,
  (SELECT at FROM mark WHERE account = e.account AND state = 'paid' AND through >= e.through ORDER BY through LIMIT 1) AS paid_at
  FROM earning e JOIN account a ON a.id = e.account JOIN model m ON m.id = e.model`;

const SQL = {
  insertAccount: "INSERT OR IGNORE INTO account (network, gateway, url, owner) VALUES (?, ?, ?, ?)",
  findAccount: "SELECT id FROM account WHERE network = ? AND gateway = ? AND owner = ?",
  insertModel: "INSERT OR IGNORE INTO model (root, name) VALUES (?, ?)",
  findModel: "SELECT id FROM model WHERE root = ? AND name = ?",
  count: "UPDATE account SET counted = counted + ? WHERE id = ?",
  insertEarning: `INSERT INTO earning
    (at, account, model, finish, prompt, cached, completion, ask_prompt, ask_cached, ask_completion, earned, through)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT counted FROM account WHERE id = ?))`,
  addToDay: `INSERT INTO day VALUES (?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET answers = answers + 1,
    prompt = prompt + excluded.prompt, cached = cached + excluded.cached,
    completion = completion + excluded.completion, earned = earned + excluded.earned`,
  moveEarnings: "UPDATE earning SET account = ?, through = through + ? WHERE account = ?",
  moveDays: `INSERT INTO day SELECT day, ?, model, answers, prompt, cached, completion, earned FROM day WHERE account = ?
    ON CONFLICT DO UPDATE SET answers = answers + excluded.answers,
    prompt = prompt + excluded.prompt, cached = cached + excluded.cached,
    completion = completion + excluded.completion, earned = earned + excluded.earned`,
  dropDays: "DELETE FROM day WHERE account = ?",
  moveCount: "UPDATE account SET counted = counted + (SELECT counted FROM account WHERE id = ?) WHERE id = ?",
  emptyAccount: "UPDATE account SET counted = 0 WHERE id = ?",
  insertMark: "INSERT INTO mark (at, account, state, through) VALUES (?, ?, ?, ?)",
  updateStanding: `UPDATE account SET vouchered = max(vouchered, ?), claimable = ?,
    claimable_ever = max(claimable_ever, ?), paid = max(paid, ?) WHERE id = ?`,
  insertEvent: "INSERT INTO event (at, account, type, amount, lt, detail) VALUES (?, ?, ?, ?, ?, ?)",
  newestPayout: "SELECT coalesce(max(lt), 0) AS lt FROM event WHERE account = ? AND lt > 0",
  standing: "SELECT counted AS earned, vouchered, claimable, claimable_ever, paid FROM account WHERE id = ?",
  oldestUnpaid: `SELECT at FROM mark WHERE account = ? AND state = 'vouchered'
    AND through > (SELECT paid FROM account WHERE id = ?) ORDER BY through LIMIT 1`,
  totals: `SELECT coalesce(sum(counted), 0) AS earned, coalesce(sum(vouchered), 0) AS vouchered,
    coalesce(sum(claimable), 0) AS claimable, coalesce(sum(paid), 0) AS paid FROM account WHERE network = ?`,
  days: `SELECT d.*, a.gateway, a.url, a.owner, m.root, m.name FROM day d
    JOIN account a ON a.id = d.account JOIN model m ON m.id = d.model
    WHERE d.day BETWEEN ? AND ? AND a.network = ? ORDER BY d.day`,
  pageDown: `${ROW} WHERE e.id < ? AND a.network = ? ORDER BY e.id DESC LIMIT ?`,
  pageUp: `${ROW} WHERE e.id > ? AND a.network = ? ORDER BY e.id LIMIT ?`,
  events: `SELECT v.*, a.gateway, a.url, a.owner FROM event v JOIN account a ON a.id = v.account
    WHERE a.network = ? ORDER BY v.id DESC LIMIT ?`,
} as const;

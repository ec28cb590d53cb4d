import type { AlertView } from "@weir/shared/model/alert";
import type { AlertFilter } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";

const COLUMNS = `id, agent, site, device, metric, kind, severity, state, started_ms AS startedAtMs,
  ended_ms AS endedAtMs, value, low, high, threshold_version AS thresholdVersion, breaches,
  acked_by AS ackedBy, acked_ms AS ackedAtMs`;

/** One alert; undefined when there is none of that id. */
export function alertById(db: SqlDatabase, id: string): AlertView | undefined {
  return db.get<AlertView>(`SELECT ${COLUMNS} FROM alerts WHERE id = ?`, id);
}

/** Alerts that match, newest start first. Without a state, withdrawn ones are left out. */
export function findAlerts(db: SqlDatabase, filter: AlertFilter): AlertView[] {
  const conditions: string[] = [];
  const values: unknown[] = [];
  const where = (condition: string, value: unknown): void => {
    conditions.push(condition);
    values.push(value);
  };
  if (filter.state === undefined) conditions.push("state <> 'withdrawn'");
  else where("state = ?", filter.state);
  if (filter.site !== undefined) where("site = ?", filter.site);
  if (filter.device !== undefined) where("device = ?", filter.device);
  if (filter.sinceMs !== undefined) {
    conditions.push("(started_ms >= ? OR updated_ms >= ?)");
    values.push(filter.sinceMs, filter.sinceMs);
  }
  const sql = `SELECT ${COLUMNS} FROM alerts WHERE ${conditions.join(" AND ")} ORDER BY started_ms DESC, id LIMIT ?`;
  return db.all<AlertView>(sql, ...values, filter.limit);
}

/** Notes who saw an alert first; the alert as it now is, undefined when there is none of that id. */
export function acknowledgeAlert(db: SqlDatabase, id: string, by: string, nowMs: number): AlertView | undefined {
  db.run(
    "UPDATE alerts SET acked_by = ?, acked_ms = ?, updated_ms = ? WHERE id = ? AND acked_by IS NULL",
    by,
    nowMs,
    nowMs,
    id,
  );
  return alertById(db, id);
}

/** Alerts of a device that began in [fromMs, toMs) and were not withdrawn. */
export function countAlerts(db: SqlDatabase, site: string, device: string, fromMs: number, toMs: number): number {
  const sql = `SELECT count(*) AS count FROM alerts
    WHERE site = ? AND device = ? AND started_ms >= ? AND started_ms < ? AND state <> 'withdrawn'`;
  return db.get<{ count: number }>(sql, site, device, fromMs, toMs)?.count ?? 0;
}

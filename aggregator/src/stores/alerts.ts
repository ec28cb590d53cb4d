import type { AlertView as StoredAlert } from "@weir/shared/model/alert";
import type { AlertFilter, AlertView } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";

/**
 * Agents that are connected and have caught up. Of the devices of all others nothing can be heard, so that their silence
 * says nothing. Who they are is not stored: after a start there are none, until they have connected again.
 */
export type CaughtUpAgents = ReadonlySet<string>;

const SILENCE_FIRING = "kind = 'silence' AND state = 'firing'";

/** The parameter is a JSON list of the agents that have caught up. */
const INHIBITED = `(${SILENCE_FIRING} AND agent NOT IN (SELECT value FROM json_each(?)))`;

const COLUMNS = `id, agent, site, device, metric, kind, severity, state, started_ms AS startedAtMs,
  ended_ms AS endedAtMs, value, low, high, threshold_version AS thresholdVersion, breaches,
  acked_by AS ackedBy, acked_ms AS ackedAtMs`;

/** An alert with whether it is held back. */
export function alertView(alert: StoredAlert, caughtUp: CaughtUpAgents): AlertView {
  const isSilence = alert.kind === "silence" && alert.state === "firing";
  return { ...alert, inhibited: isSilence && !caughtUp.has(alert.agent) };
}

/** One alert; undefined when there is none of that id. */
export function alertById(db: SqlDatabase, id: string): StoredAlert | undefined {
  return db.get<StoredAlert>(`SELECT ${COLUMNS} FROM alerts WHERE id = ?`, id);
}

/** The newest alerts of an agent's devices that fire because of silence, at most countMax. */
export function firingSilences(db: SqlDatabase, agent: string, countMax: number): StoredAlert[] {
  const sql = `SELECT ${COLUMNS} FROM alerts WHERE ${SILENCE_FIRING} AND agent = ? ORDER BY started_ms DESC, id LIMIT ?`;
  return db.all<StoredAlert>(sql, agent, countMax);
}

/** How many alerts of an agent's devices fire because of silence. */
export function countFiringSilences(db: SqlDatabase, agent: string): number {
  const sql = `SELECT count(*) AS count FROM alerts WHERE ${SILENCE_FIRING} AND agent = ?`;
  return db.get<{ count: number }>(sql, agent)?.count ?? 0;
}

/** How many alerts are firing, and how many more are held back. */
export function countFiring(db: SqlDatabase, caughtUp: CaughtUpAgents): { firing: number; inhibited: number } {
  const sql = `SELECT count(*) AS count, coalesce(sum(${INHIBITED}), 0) AS inhibited FROM alerts WHERE state = 'firing'`;
  const { count, inhibited } = db.get<{ count: number; inhibited: number }>(sql, agentList(caughtUp))!;
  return { firing: count - inhibited, inhibited };
}

/** Alerts of each device that are firing and not held back, by `site/device`. */
export function firingByDevice(db: SqlDatabase, caughtUp: CaughtUpAgents): ReadonlyMap<string, number> {
  const sql = `SELECT site, device, count(*) AS count FROM alerts
    WHERE state = 'firing' AND NOT ${INHIBITED} GROUP BY site, device`;
  const rows = db.all<{ site: string; device: string; count: number }>(sql, agentList(caughtUp));
  return new Map(rows.map(({ site, device, count }) => [`${site}/${device}`, count]));
}

function agentList(agents: CaughtUpAgents): string {
  return JSON.stringify([...agents]);
}

/**
 * Alerts that match, newest start first. Without a state, withdrawn ones are left out. caughtUp: who is, where the filter
 * asks for alerts held back or for others.
 */
export function findAlerts(db: SqlDatabase, filter: AlertFilter, caughtUp: CaughtUpAgents = new Set()): StoredAlert[] {
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
  if (filter.inhibited !== undefined) where(filter.inhibited ? INHIBITED : `NOT ${INHIBITED}`, agentList(caughtUp));
  if (filter.sinceMs !== undefined) {
    conditions.push("(started_ms >= ? OR updated_ms >= ?)");
    values.push(filter.sinceMs, filter.sinceMs);
  }
  const sql = `SELECT ${COLUMNS} FROM alerts WHERE ${conditions.join(" AND ")} ORDER BY started_ms DESC, id LIMIT ?`;
  return db.all<StoredAlert>(sql, ...values, filter.limit);
}

/** Notes who saw an alert first; the alert as it now is, undefined when there is none of that id. */
export function acknowledgeAlert(db: SqlDatabase, id: string, by: string, nowMs: number): StoredAlert | undefined {
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

import type { AgentStatus, QuarantinedDevice } from "@weir/shared/wire/messages";
import { QUARANTINED_SHOWN } from "@weir/shared/wire/messages";
import type { AgentView, Quarantine } from "../queries.ts";
import type { CaughtUpAgents } from "./alerts.ts";
import { countFiringSilences } from "./alerts.ts";
import type { SqlDatabase } from "./database.ts";
import type { FrameOrigin } from "./frames.ts";

/** Who is there now; nothing of it is stored. */
export interface Presence {
  isConnected(agent: string): boolean;
  caughtUp(): CaughtUpAgents;
}

/** Gauges of one agent that are kept, at most: the first by name of those that are named as metrics are. */
export const GAUGES_MAX = 64;

interface AgentRow {
  readonly agent: string;
  readonly software: string;
  readonly last_seen_ms: number;
  readonly threshold_version: number | null;
  readonly status: string | null;
}

const NO_STATUS: AgentStatus = {
  series: 0,
  readings: 0,
  ledger: { stored: 0, duplicates: 0, rejected: {}, dropped: {} },
  gauges: {},
  quarantined: [],
};

/** The agents that have ever said hello, and what they last said of themselves. */
export class AgentStore {
  readonly #db: SqlDatabase;

  constructor(db: SqlDatabase) {
    this.#db = db;
  }

  /** Notes a hello. Names of the agent's other data files are forgotten: one that comes back sends them again. */
  seen(origin: FrameOrigin, software: string, nowMs: number): void {
    for (const side of ["<", ">"]) {
      const sql = `DELETE FROM agent_series WHERE agent = ? AND incarnation ${side} ?`;
      this.#db.run(sql, origin.agent, origin.incarnation);
    }
    this.#db.run(
      `INSERT INTO agents (agent, incarnation, software, last_seen_ms) VALUES (?, ?, ?, ?)
       ON CONFLICT (agent) DO UPDATE SET incarnation = excluded.incarnation, software = excluded.software,
         last_seen_ms = excluded.last_seen_ms`,
      origin.agent,
      origin.incarnation,
      software,
      nowMs,
    );
  }

  /** Notes a status message; of gauges and devices in quarantine what is well formed, and no more than their bounds. */
  status(origin: FrameOrigin, status: AgentStatus, nowMs: number): void {
    const { series, readings, ledger } = status;
    const gauges = keptGauges(status.gauges);
    const quarantined = keptDevices(status.quarantined);
    const body = JSON.stringify({ series, readings, ledger, gauges, quarantined });
    this.#db.run("UPDATE agents SET last_seen_ms = ?, status = ? WHERE agent = ?", nowMs, body, origin.agent);
  }

  view(agent: string, presence: Presence): AgentView | undefined {
    const row = this.#db.get<AgentRow>("SELECT * FROM agents WHERE agent = ?", agent);
    return row && this.#viewOf(row, presence.isConnected(agent), presence.caughtUp().has(agent));
  }

  list(presence: Presence): AgentView[] {
    const rows = this.#db.all<AgentRow>("SELECT * FROM agents ORDER BY agent");
    const caughtUp = presence.caughtUp();
    return rows.map((row) => this.#viewOf(row, presence.isConnected(row.agent), caughtUp.has(row.agent)));
  }

  /** Devices in quarantine, by `site/device`; of one that several agents name, the one who heard of it last. */
  quarantines(): ReadonlyMap<string, Quarantine> {
    const found = new Map<string, Quarantine>();
    for (const row of this.#db.all<AgentRow>("SELECT * FROM agents ORDER BY agent")) {
      for (const { site, device, ...rest } of statusOf(row).quarantined) {
        const name = `${site}/${device}`;
        if ((found.get(name)?.lastMs ?? -Infinity) < rest.lastMs) found.set(name, { agent: row.agent, ...rest });
      }
    }
    return found;
  }

  #viewOf(row: AgentRow, connected: boolean, caughtUp: boolean): AgentView {
    const status = statusOf(row);
    return {
      agent: row.agent,
      connected,
      caughtUp,
      lastSeenMs: row.last_seen_ms,
      version: row.software,
      thresholdVersion: row.threshold_version,
      series: status.series,
      readings: status.readings,
      ledger: status.ledger,
      gauges: status.gauges,
      quarantined: status.quarantined,
      inhibitedAlerts: caughtUp ? 0 : countFiringSilences(this.#db, row.agent),
    };
  }
}

/** How far an agent's clock has come, as its ticks tell, ms; 0 before the first. */
export function clockMsOf(db: SqlDatabase, agent: string): number {
  return db.get<{ clock_ms: number }>("SELECT clock_ms FROM agents WHERE agent = ?", agent)?.clock_ms ?? 0;
}

/** The earliest reading of an agent's series, ms; Infinity: they have none. Every series is looked at. */
export function firstReadingMs(db: SqlDatabase, agent: string): number {
  const sql = "SELECT min(first_ts_ms) AS firstTsMs FROM series WHERE agent = ?";
  return db.get<{ firstTsMs: number | null }>(sql, agent)?.firstTsMs ?? Infinity;
}

function statusOf({ status }: AgentRow): AgentStatus {
  return status === null ? NO_STATUS : (JSON.parse(status) as AgentStatus);
}

function keptGauges(told: unknown): Record<string, number> {
  const gauges: Array<[string, number]> = [];
  if (typeof told !== "object" || told === null) return {};
  for (const [name, value] of Object.entries(told)) {
    if (/^[a-z][a-z0-9_]*$/.test(name) && typeof value === "number" && Number.isFinite(value))
      gauges.push([name, value]);
  }
  gauges.sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(gauges.slice(0, GAUGES_MAX));
}

function keptDevices(told: unknown): QuarantinedDevice[] {
  if (!Array.isArray(told)) return [];
  return told
    .slice(0, QUARANTINED_SHOWN)
    .filter(isQuarantined)
    .map(({ site, device, sinceMs, lastMs, aheadMs, readings }) => ({
      site,
      device,
      sinceMs,
      lastMs,
      aheadMs,
      readings,
    }));
}

function isQuarantined(told: unknown): told is QuarantinedDevice {
  if (typeof told !== "object" || told === null) return false;
  const { site, device, sinceMs, lastMs, aheadMs, readings } = told as Record<string, unknown>;
  const numbers = [sinceMs, lastMs, aheadMs, readings];
  return typeof site === "string" && typeof device === "string" && numbers.every(Number.isFinite);
}

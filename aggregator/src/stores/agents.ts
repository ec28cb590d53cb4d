import type { AgentStatus } from "@weir/shared/wire/messages";
import type { AgentView } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";
import type { FrameOrigin } from "./frames.ts";

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

  /** Notes a hello. */
  seen(origin: FrameOrigin, software: string, nowMs: number): void {
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

  /** Notes a status message. */
  status(origin: FrameOrigin, status: AgentStatus, nowMs: number): void {
    const { series, readings, ledger, gauges, quarantined } = status;
    const body = JSON.stringify({ series, readings, ledger, gauges, quarantined });
    this.#db.run("UPDATE agents SET last_seen_ms = ?, status = ? WHERE agent = ?", nowMs, body, origin.agent);
  }

  view(agent: string, connected: boolean): AgentView | undefined {
    const row = this.#db.get<AgentRow>("SELECT * FROM agents WHERE agent = ?", agent);
    return row && viewOf(row, connected);
  }

  list(isConnected: (agent: string) => boolean): AgentView[] {
    const rows = this.#db.all<AgentRow>("SELECT * FROM agents ORDER BY agent");
    return rows.map((row) => viewOf(row, isConnected(row.agent)));
  }
}

function viewOf(row: AgentRow, connected: boolean): AgentView {
  const status = row.status === null ? NO_STATUS : (JSON.parse(row.status) as AgentStatus);
  return {
    agent: row.agent,
    connected,
    lastSeenMs: row.last_seen_ms,
    version: row.software,
    thresholdVersion: row.threshold_version,
    series: status.series,
    readings: status.readings,
    ledger: status.ledger,
  };
}

import type { SqlDatabase } from "./database.ts";
import type { FrameOrigin } from "./frames.ts";

/** Alerts of one agent that are applied ahead of their turn, at most; others wait for it. */
const AHEAD_REMEMBERED_MAX = 10_000;

/**
 * Alerts that are applied ahead of their turn, with the numbers of their frames. In a temporary table, so that what a
 * transaction noted is taken back with the transaction. It ends with the connection: after a start older frames are
 * applied, and then those ahead again.
 */
export class AheadAlerts {
  readonly #db: SqlDatabase;

  constructor(db: SqlDatabase) {
    this.#db = db;
    db.run(`CREATE TEMP TABLE IF NOT EXISTS ahead (
      agent TEXT NOT NULL, incarnation TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL,
      PRIMARY KEY (agent, incarnation, id)
    ) WITHOUT ROWID`);
    db.run("DELETE FROM temp.ahead");
  }

  /** The number of the frame that an alert was applied with ahead of its turn; 0: it was not. */
  seq({ agent, incarnation }: FrameOrigin, id: string): number {
    const sql = "SELECT seq FROM temp.ahead WHERE agent = ? AND incarnation = ? AND id = ?";
    return this.#db.get<{ seq: number }>(sql, agent, incarnation, id)?.seq ?? 0;
  }

  /** How many more may be remembered of an agent. */
  room({ agent, incarnation }: FrameOrigin): number {
    const sql = "SELECT count(*) AS count FROM temp.ahead WHERE agent = ? AND incarnation = ?";
    const remembered = this.#db.get<{ count: number }>(sql, agent, incarnation)!.count;
    // What an earlier data file of the agent had told is told by nobody any more.
    if (remembered === 0) this.#db.run("DELETE FROM temp.ahead WHERE agent = ?", agent);
    return AHEAD_REMEMBERED_MAX - remembered;
  }

  remember({ agent, incarnation }: FrameOrigin, id: string, seq: number): void {
    this.#db.run("REPLACE INTO temp.ahead VALUES (?, ?, ?, ?)", agent, incarnation, id, seq);
  }

  forget({ agent, incarnation }: FrameOrigin, id: string): void {
    this.#db.run("DELETE FROM temp.ahead WHERE agent = ? AND incarnation = ? AND id = ?", agent, incarnation, id);
  }
}

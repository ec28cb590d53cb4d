import type { Calendar } from "@weir/shared/operators/calendar";
import type { Partial } from "@weir/shared/operators/partial";
import type { Cell, CellLevel, CellStore } from "@weir/shared/operators/rollup";
import { decodePartial, encodePartial } from "@weir/shared/wire/partial-codec";
import type { SqlDatabase } from "./database.ts";

const LEVEL: Readonly<Record<CellLevel, number>> = { window: 0, hour: 1 };

/** Cells in SQLite. put() must run within the transaction that moves the agent's cursor. */
export class SqlCellStore implements CellStore {
  readonly #db: SqlDatabase;

  constructor(db: SqlDatabase) {
    this.#db = db;
  }

  get(series: number, level: CellLevel, startMs: number): Partial | undefined {
    const sql = "SELECT body FROM cells WHERE series = ? AND level = ? AND start_ms = ?";
    const row = this.#db.get<{ body: Uint8Array }>(sql, series, LEVEL[level], startMs);
    return row && decodePartial(row.body);
  }

  put(series: number, level: CellLevel, startMs: number, partial: Partial): void {
    this.#db.run("REPLACE INTO cells VALUES (?, ?, ?, ?)", series, LEVEL[level], startMs, encodePartial(partial));
  }

  range(series: number, level: CellLevel, fromMs: number, toMs: number): readonly Cell[] {
    const sql = `SELECT start_ms AS startMs, body FROM cells
      WHERE series = ? AND level = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms`;
    const rows = this.#db.all<{ startMs: number; body: Uint8Array }>(sql, series, LEVEL[level], fromMs, toMs);
    return rows.map(({ startMs, body }) => ({ startMs, partial: decodePartial(body) }));
  }

  /**
   * Deletes windows of a series from before the local hour that holds beforeMs: whole hours, so that none is left with
   * a part of its windows. The hours stay, and the series remembers from where on it has windows.
   */
  deleteWindowsBefore(series: number, beforeMs: number, calendar: Calendar): void {
    const fromMs = calendar.hourStart(beforeMs);
    this.#db.transaction(() => {
      const deleted = this.#db.run("DELETE FROM cells WHERE series = ? AND level = 0 AND start_ms < ?", series, fromMs);
      const sql =
        "UPDATE series SET windows_from_ms = max(coalesce(windows_from_ms, @fromMs), @fromMs) WHERE id = @series";
      if (deleted > 0) this.#db.run(sql, { fromMs, series });
    });
  }
}

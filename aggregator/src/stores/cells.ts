import { CodedError } from "@weir/shared/errors";
import type { Calendar } from "@weir/shared/operators/calendar";
import { HOUR_MS } from "@weir/shared/operators/calendar";
import type { Partial } from "@weir/shared/operators/partial";
import { PartialSum } from "@weir/shared/operators/partial";
import type { Cell, CellLevel, CellStore } from "@weir/shared/operators/rollup";
import { decodePartial, encodePartial } from "@weir/shared/wire/partial-codec";
import type { SqlDatabase } from "./database.ts";

interface CellRow {
  readonly startMs: number;
  readonly body: Uint8Array;
}

interface UnmergedHour {
  readonly series: number;
  readonly startMs: number;
  readonly endMs: number;
}

/**
 * Cells in SQLite.
 *
 * An hour is kept in one of two ways: merged, as a partial of its own, or unmerged, as a note that its windows are what
 * it holds. A window that changes makes its hour unmerged in the same transaction, so no hour is ever out of date; one
 * that is asked for while it is unmerged is merged from its windows there and then. mergeHours() makes hours merged
 * once they are over: each is then merged once, not at every partial. Windows go only when their hours are merged.
 *
 * What writes must run within the transaction that moves the agent's cursor.
 */
export class SqlCellStore implements CellStore {
  readonly #db: SqlDatabase;
  readonly #sum = new PartialSum();
  /** Series and start of hours that cannot be merged: the file is damaged. Who asks for one of them is told. */
  readonly #unreadable = new Set<string>();

  constructor(db: SqlDatabase) {
    this.#db = db;
  }

  get(series: number, level: CellLevel, startMs: number): Partial | undefined {
    const sql =
      level === "window"
        ? "SELECT body FROM windows WHERE series = ? AND start_ms = ?"
        : "SELECT body FROM hours WHERE series = ? AND start_ms = ?";
    const row = this.#db.get<{ body: Uint8Array }>(sql, series, startMs);
    if (row) return decodePartial(row.body);
    return level === "hour" ? this.#unmerged(series, startMs, startMs + 1)[0]?.partial : undefined;
  }

  put(series: number, level: CellLevel, startMs: number, partial: Partial): void {
    const body = encodePartial(partial);
    if (level === "window") {
      this.#db.run("REPLACE INTO windows VALUES (?, ?, ?)", startMs, series, body);
      return;
    }
    this.#db.run("REPLACE INTO hours VALUES (?, ?, ?)", series, startMs, body);
    this.#db.run("DELETE FROM hours_unmerged WHERE series = ? AND start_ms = ?", series, startMs);
  }

  add(series: number, level: CellLevel, startMs: number, partial: Partial): boolean {
    if (level === "window") {
      const sql = "INSERT INTO windows VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
      return this.#db.run(sql, startMs, series, encodePartial(partial)) > 0;
    }
    if (this.get(series, level, startMs)) return false;
    this.put(series, level, startMs, partial);
    return true;
  }

  range(series: number, level: CellLevel, fromMs: number, toMs: number): readonly Cell[] {
    if (level === "window") return cellsOf(this.#windowRows(series, fromMs, toMs));
    const sql =
      "SELECT start_ms AS startMs, body FROM hours WHERE series = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms";
    const hours = cellsOf(this.#db.all<CellRow>(sql, series, fromMs, toMs));
    const unmerged = this.#unmerged(series, fromMs, toMs);
    if (unmerged.length === 0) return hours;
    return [...hours, ...unmerged].toSorted((a, b) => a.startMs - b.startMs);
  }

  /** The hour is from now on what its windows hold, all of which must be kept. */
  unmergeHour(series: number, hourMs: number, endMs: number): void {
    const sql = "INSERT INTO hours_unmerged VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    if (this.#db.run(sql, series, hourMs, endMs) === 0) return;
    this.#db.run("DELETE FROM hours WHERE series = ? AND start_ms = ?", series, hourMs);
  }

  /**
   * Merges unmerged hours that start before beforeMs, the oldest first, until windowsMax windows are merged or none is
   * left. An hour that holds a window which cannot be read stays unmerged, and holds up no other.
   */
  mergeHours(beforeMs: number, windowsMax: number): void {
    const sql = `SELECT series, start_ms AS startMs, end_ms AS endMs FROM hours_unmerged INDEXED BY hours_unmerged_by_time
      WHERE start_ms < ? ORDER BY start_ms, series LIMIT ?`;
    let windows = 0;
    while (windows < windowsMax) {
      const found = this.#db.all<UnmergedHour>(sql, beforeMs, this.#unreadable.size + HOURS_AT_ONCE);
      const hours = found.filter(({ series, startMs }) => !this.#unreadable.has(`${series} ${startMs}`));
      if (hours.length === 0) return;
      for (const hour of hours) {
        windows += this.#mergeIfReadable(hour);
        if (windows >= windowsMax) return;
      }
    }
  }

  /**
   * Deletes windows of a series from before the local hour that holds beforeMs: whole hours, so that none is left with
   * a part of its windows. The hours stay, and the series remembers from where on it has windows.
   */
  deleteWindowsBefore(series: number, beforeMs: number, calendar: Calendar): void {
    const fromMs = calendar.hourStart(beforeMs);
    this.#db.transaction(() => {
      for (const hour of this.#unmergedRows(series, -Infinity, fromMs)) this.#mergeHour(hour);
      const deleted = this.#db.run(DELETE_WINDOWS_OF_SERIES, { series, beforeMs: fromMs, lengthMs: HOUR_MS });
      const sql =
        "UPDATE series SET windows_from_ms = max(coalesce(windows_from_ms, @fromMs), @fromMs) WHERE id = @series";
      if (deleted === 0) return;
      this.#db.run(sql, { fromMs, series });
      // However long InfluxDB is away, no more waits for it than there are windows.
      this.#db.run("DELETE FROM influx_queue WHERE series = ? AND start_ms < ?", series, fromMs);
    });
  }

  #windowRows(series: number, fromMs: number, toMs: number): CellRow[] {
    return this.#db.all<CellRow>(WINDOWS_OF_SERIES, { series, fromMs, toMs });
  }

  #unmergedRows(series: number, fromMs: number, toMs: number): UnmergedHour[] {
    const sql = `SELECT series, start_ms AS startMs, end_ms AS endMs FROM hours_unmerged
      WHERE series = ? AND start_ms >= ? AND start_ms < ?`;
    return this.#db.all<UnmergedHour>(sql, series, fromMs, toMs);
  }

  #unmerged(series: number, fromMs: number, toMs: number): Cell[] {
    return this.#unmergedRows(series, fromMs, toMs).flatMap(({ startMs, endMs }) => {
      const { partial } = this.#mergeWindows(series, startMs, endMs);
      return partial ? [{ startMs, partial }] : [];
    });
  }

  #mergeIfReadable(hour: UnmergedHour): number {
    try {
      return this.#mergeHour(hour);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#unreadable.add(`${hour.series} ${hour.startMs}`);
      return 1;
    }
  }

  /** Returns how many windows the hour has. Throws CodedError for an hour that cannot be merged. */
  #mergeHour({ series, startMs, endMs }: UnmergedHour): number {
    const { partial, windows } = this.#mergeWindows(series, startMs, endMs);
    if (!partial) {
      const message = `The hour at ${startMs} of series ${series} is to be merged, and none of its windows is there.`;
      throw new CodedError("NO_WINDOWS", message);
    }
    this.put(series, "hour", startMs, partial);
    return windows;
  }

  #mergeWindows(series: number, fromMs: number, toMs: number): { partial: Partial | undefined; windows: number } {
    const rows = this.#windowRows(series, fromMs, toMs);
    this.#sum.clear();
    for (const { body } of rows) this.#sum.add(decodePartial(body));
    return { partial: this.#sum.toPartial(), windows: rows.length };
  }
}

/** Unmerged hours looked up at once. */
const HOURS_AT_ONCE = 16;

/**
 * Windows lie by time first, so those of one series are looked up start by start: each step of the recursion skips to
 * the next start that any series has.
 */
const WINDOWS_OF_SERIES = `
  WITH RECURSIVE starts (ms) AS (
    SELECT min(start_ms) FROM windows WHERE start_ms >= @fromMs AND start_ms < @toMs
    UNION ALL
    SELECT (SELECT min(start_ms) FROM windows WHERE start_ms > ms AND start_ms < @toMs) FROM starts WHERE ms IS NOT NULL
  )
  SELECT start_ms AS startMs, body FROM starts CROSS JOIN windows ON start_ms = ms WHERE series = @series`;

/** lengthMs: no window is longer. The first look is at the window of the first reading, later ones where the last ended. */
const DELETE_WINDOWS_OF_SERIES = `
  DELETE FROM windows WHERE series = @series AND start_ms IN (
    WITH RECURSIVE starts (ms) AS (
      SELECT min(start_ms) FROM windows WHERE start_ms < @beforeMs AND start_ms >=
        (SELECT coalesce(windows_from_ms, first_ts_ms - @lengthMs) FROM series WHERE id = @series)
      UNION ALL
      SELECT (SELECT min(start_ms) FROM windows WHERE start_ms > ms AND start_ms < @beforeMs) FROM starts
        WHERE ms IS NOT NULL
    )
    SELECT ms FROM starts WHERE ms IS NOT NULL
  )`;

function cellsOf(rows: readonly CellRow[]): Cell[] {
  return rows.map(({ startMs, body }) => ({ startMs, partial: decodePartial(body) }));
}

import type { Completeness } from "@weir/shared/model/report";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { Partial } from "@weir/shared/operators/partial";
import { PartialSum } from "@weir/shared/operators/partial";
import type { ReportSeries, ReportSource } from "@weir/shared/operators/report";
import { dayHealth } from "@weir/shared/operators/report";
import type { Cell } from "@weir/shared/operators/rollup";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { clockMsOf } from "./agents.ts";
import { countAlerts } from "./alerts.ts";
import { SqlCellStore } from "./cells.ts";
import type { SqlDatabase } from "./database.ts";

/**
 * What reports are made from, out of SQLite, which it only reads: call it within one transaction. live: from the hours,
 * which are merged once they are over, with the health of past days where it is kept. batch: everything merged anew from
 * the windows that agents sent.
 */
export class SqlReportSource implements ReportSource {
  readonly thresholds: ThresholdHistory;
  readonly calendar: Calendar;
  readonly #db: SqlDatabase;
  readonly #cells: SqlCellStore;
  readonly #batch: boolean;
  readonly #sum = new PartialSum();
  /** Health of days that was not kept and is computed now, by day. */
  readonly computed: Map<string, ReadonlyMap<string, number>> = new Map();

  constructor(db: SqlDatabase, thresholds: ThresholdHistory, calendar: Calendar, options: { readonly batch: boolean }) {
    this.#db = db;
    this.#cells = new SqlCellStore(db);
    this.thresholds = thresholds;
    this.calendar = calendar;
    this.#batch = options.batch;
  }

  allSeries(): readonly ReportSeries[] {
    return this.#db.all(
      `SELECT id AS series, agent, site, device, metric, first_ts_ms AS firstTsMs FROM series
       WHERE first_ts_ms IS NOT NULL`,
    );
  }

  hours(series: number, fromMs: number, toMs: number): readonly Cell[] {
    const hours = this.#cells.range(series, "hour", fromMs, toMs);
    if (!this.#batch || hours.length === 0) return hours;
    const merged = new Map<number, Partial>();
    let sumHourMs = NaN;
    const endHour = (): void => {
      const partial = this.#sum.toPartial();
      if (partial) merged.set(sumHourMs, partial);
      this.#sum.clear();
    };
    for (const { startMs, partial } of this.#cells.range(series, "window", fromMs, toMs)) {
      const hourMs = this.calendar.hourStart(startMs);
      if (hourMs !== sumHourMs) endHour();
      sumHourMs = hourMs;
      this.#sum.add(partial);
    }
    endHour();
    // Windows older than store.windows_age_max are gone; of those hours the merged cell is all there is.
    const oldestMs = this.#oldestWindowMs(series);
    return hours.map((cell) =>
      cell.startMs < oldestMs ? cell : { startMs: cell.startMs, partial: merged.get(cell.startMs) ?? cell.partial },
    );
  }

  alertCount(site: string, device: string, fromMs: number, toMs: number): number {
    return countAlerts(this.#db, site, device, fromMs, toMs);
  }

  knownHealth(day: string): ReadonlyMap<string, number> {
    const known = this.computed.get(day) ?? (this.#batch ? undefined : this.#keptHealth(day));
    if (known) return known;
    // A day without a reading has no row, and there is nothing to be looked for in each series.
    const hasReadings = this.#db.get("SELECT 1 FROM days WHERE day = ?", day) !== undefined;
    const health = hasReadings ? dayHealth(this, day) : new Map<string, number>();
    this.computed.set(day, health);
    return health;
  }

  clockMs(agent: string): number {
    return clockMsOf(this.#db, agent);
  }

  losses(fromMs: number, toMs: number): Pick<Completeness, "rejected" | "dropped"> {
    const losses = { rejected: {} as Record<string, number>, dropped: {} as Record<string, number> };
    const sql =
      "SELECT part, reason, sum(count) AS count FROM losses WHERE day_ms >= ? AND day_ms < ? GROUP BY part, reason";
    const rows = this.#db.all<{ part: "rejected" | "dropped"; reason: string; count: number }>(sql, fromMs, toMs);
    for (const { part, reason, count } of rows) losses[part][reason] = count;
    return losses;
  }

  #oldestWindowMs(series: number): number {
    const sql = "SELECT windows_from_ms AS fromMs FROM series WHERE id = ?";
    return this.#db.get<{ fromMs: number | null }>(sql, series)?.fromMs ?? -Infinity;
  }

  #keptHealth(day: string): ReadonlyMap<string, number> | undefined {
    const row = this.#db.get<{ body: string }>("SELECT body FROM day_health WHERE day = ?", day);
    return row && new Map(JSON.parse(row.body) as Array<[string, number]>);
  }
}

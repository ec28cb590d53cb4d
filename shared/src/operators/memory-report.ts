import type { Alert } from "../model/alert.ts";
import type { SeriesKey } from "../model/reading.ts";
import type { Completeness } from "../model/report.ts";
import type { Calendar } from "./calendar.ts";
import { dayHealth } from "./report.ts";
import type { ReportSeries, ReportSource } from "./report.ts";
import type { Cell } from "./rollup.ts";
import { applyWindowPartial, MemoryCellStore } from "./rollup.ts";
import type { ThresholdHistory } from "./thresholds.ts";
import type { WindowPartial } from "./windows.ts";

/**
 * What one agent's emissions come to, in memory: the batch path of a replay. It takes the same emissions as the
 * aggregator's store and rolls them up by the same operators.
 */
export class MemoryReport implements ReportSource {
  readonly thresholds: ThresholdHistory;
  readonly calendar: Calendar;
  readonly #agent: string;
  readonly #keyOf: (series: number) => SeriesKey;
  readonly #cells = new MemoryCellStore();
  readonly #firstTsMs = new Map<number, number>();
  readonly #alerts = new Map<string, Alert>();
  readonly #ticks: Array<{ readonly nowMs: number } & Pick<Completeness, "rejected" | "dropped">> = [];
  readonly #health = new Map<string, ReadonlyMap<string, number>>();
  #newestTsMs = -Infinity;

  constructor(agent: string, keyOf: (series: number) => SeriesKey, thresholds: ThresholdHistory, calendar: Calendar) {
    this.#agent = agent;
    this.#keyOf = keyOf;
    this.thresholds = thresholds;
    this.calendar = calendar;
  }

  applyWindows(windows: readonly WindowPartial[], replace: boolean): void {
    this.#health.clear();
    for (const { series, windowStartMs, partial } of windows) {
      applyWindowPartial(this.#cells, this.calendar, series, windowStartMs, partial, replace);
      this.#firstTsMs.set(series, Math.min(partial.firstTsMs, this.#firstTsMs.get(series) ?? Infinity));
      this.#newestTsMs = Math.max(this.#newestTsMs, partial.lastTsMs);
    }
  }

  applyAlerts(alerts: readonly Alert[]): void {
    for (const alert of alerts) this.#alerts.set(alert.id, alert);
  }

  applyTick(tick: { readonly nowMs: number } & Pick<Completeness, "rejected" | "dropped">): void {
    this.#ticks.push(tick);
  }

  alerts(): Iterable<Alert> {
    return this.#alerts.values();
  }

  allSeries(): readonly ReportSeries[] {
    return [...this.#firstTsMs].map(([series, firstTsMs]) => ({
      ...this.#keyOf(series),
      series,
      agent: this.#agent,
      firstTsMs,
    }));
  }

  hours(series: number, fromMs: number, toMs: number): readonly Cell[] {
    return this.#cells.range(series, "hour", fromMs, toMs);
  }

  alertCount(site: string, device: string, fromMs: number, toMs: number): number {
    let count = 0;
    for (const alert of this.#alerts.values()) {
      if (alert.site !== site || alert.device !== device || alert.state === "withdrawn") continue;
      if (alert.startedAtMs >= fromMs && alert.startedAtMs < toMs) count++;
    }
    return count;
  }

  knownHealth(day: string): ReadonlyMap<string, number> {
    let health = this.#health.get(day);
    if (!health) this.#health.set(day, (health = dayHealth(this, day)));
    return health;
  }

  clockMs(): number {
    return this.#ticks.reduce((latest, { nowMs }) => Math.max(latest, nowMs), -Infinity);
  }

  newestTsMs(): number {
    return this.#newestTsMs;
  }

  losses(fromMs: number, toMs: number): Pick<Completeness, "rejected" | "dropped"> {
    const losses = { rejected: {} as Record<string, number>, dropped: {} as Record<string, number> };
    for (const tick of this.#ticks) {
      if (tick.nowMs < fromMs || tick.nowMs >= toMs) continue;
      for (const group of ["rejected", "dropped"] as const) {
        for (const [reason, count] of Object.entries(tick[group])) {
          losses[group][reason] = (losses[group][reason] ?? 0) + count;
        }
      }
    }
    return losses;
  }
}

import type { Alert } from "../model/alert.ts";
import type { SeriesKey } from "../model/reading.ts";
import type { Completeness } from "../model/report.ts";
import type { Calendar } from "./calendar.ts";
import { HourCells } from "./hour-cells.ts";
import { dayHealth } from "./report.ts";
import type { ReportSeries, ReportSource } from "./report.ts";
import type { Cell } from "./rollup.ts";
import type { ThresholdHistory } from "./thresholds.ts";
import type { WindowPartial } from "./windows.ts";

/** What was refused and lost, by reason. */
type Losses = Pick<Completeness, "rejected" | "dropped">;

/** A clock tick, and what was refused and lost since the one before. */
export interface LossTick extends Losses {
  readonly nowMs: number;
}

/** Whether anything was refused or lost. */
export function tellsOfLoss({ rejected, dropped }: LossTick): boolean {
  return Object.keys(rejected).length > 0 || Object.keys(dropped).length > 0;
}

/**
 * What one agent's emissions come to, in memory: the batch path of a replay. It takes the same emissions as the
 * aggregator's store, but for partials that replace others: a replay knows all threshold versions from the start.
 */
export class MemoryReport implements ReportSource {
  readonly thresholds: ThresholdHistory;
  readonly calendar: Calendar;
  readonly #agent: string;
  readonly #keyOf: (series: number) => SeriesKey;
  readonly #cells: HourCells;
  /** By series; undefined: it has no readings. */
  readonly #firstTsMs: Array<number | undefined> = [];
  #series: readonly ReportSeries[] | undefined;
  readonly #alerts = new Map<string, Alert>();
  /** Starts of the alerts that count, by site/device; undefined: to be made again. */
  #alertStarts: Map<string, number[]> | undefined;
  /** Ticks that tell of a loss. */
  readonly #losses: LossTick[] = [];
  #clockMs = -Infinity;
  readonly #health = new Map<string, ReadonlyMap<string, number>>();

  constructor(agent: string, keyOf: (series: number) => SeriesKey, thresholds: ThresholdHistory, calendar: Calendar) {
    this.#agent = agent;
    this.#keyOf = keyOf;
    this.thresholds = thresholds;
    this.calendar = calendar;
    this.#cells = new HourCells(calendar);
  }

  /** Takes window partials in, as applyWindow does. */
  applyWindows(windows: readonly WindowPartial[]): void {
    for (const window of windows) this.applyWindow(window);
  }

  /** Takes a window's partial in, of readings that none before held; the window must lie within one local hour. */
  applyWindow({ series, windowStartMs, partial }: WindowPartial): void {
    if (this.#health.size > 0) this.#health.clear();
    this.#cells.add(series, windowStartMs, partial);
    this.applyFirst(series, partial.firstTsMs);
  }

  /** Sets that a series has a reading of firstTsMs, and whether or not windows of that time are taken in. */
  applyFirst(series: number, firstTsMs: number): void {
    this.#series = undefined;
    const known = this.#firstTsMs[series];
    if (known === undefined || firstTsMs < known) this.#firstTsMs[series] = firstTsMs;
  }

  applyAlerts(alerts: readonly Alert[]): void {
    this.#alertStarts = undefined;
    for (const alert of alerts) this.#alerts.set(alert.id, alert);
  }

  applyTick(tick: LossTick): void {
    this.#clockMs = Math.max(this.#clockMs, tick.nowMs);
    if (tellsOfLoss(tick)) this.#losses.push(tick);
  }

  alerts(): Iterable<Alert> {
    return this.#alerts.values();
  }

  allSeries(): readonly ReportSeries[] {
    // Asked for once a day of the trend.
    this.#series ??= this.#firstTsMs.flatMap((firstTsMs, series) => {
      if (firstTsMs === undefined) return [];
      const { site, device, metric } = this.#keyOf(series);
      return [{ site, device, metric, series, agent: this.#agent, firstTsMs }];
    });
    return this.#series;
  }

  hours(series: number, fromMs: number, toMs: number): readonly Cell[] {
    return this.#cells.range(series, fromMs, toMs);
  }

  alertCount(site: string, device: string, fromMs: number, toMs: number): number {
    this.#alertStarts ??= startsByDevice(this.#alerts.values());
    const starts = this.#alertStarts.get(`${site}/${device}`) ?? [];
    return starts.filter((startedAtMs) => startedAtMs >= fromMs && startedAtMs < toMs).length;
  }

  knownHealth(day: string): ReadonlyMap<string, number> {
    let health = this.#health.get(day);
    if (!health) this.#health.set(day, (health = dayHealth(this, day)));
    return health;
  }

  clockMs(): number {
    return this.#clockMs;
  }

  losses(fromMs: number, toMs: number): Losses {
    return sumLosses(this.#losses, fromMs, toMs);
  }
}

/** What ticks of [fromMs, toMs) tell of losses, by reason. */
export function sumLosses(ticks: readonly LossTick[], fromMs: number, toMs: number): Losses {
  const losses = { rejected: {} as Record<string, number>, dropped: {} as Record<string, number> };
  for (const tick of ticks) {
    if (tick.nowMs < fromMs || tick.nowMs >= toMs) continue;
    for (const group of ["rejected", "dropped"] as const) {
      for (const [reason, count] of Object.entries(tick[group])) {
        losses[group][reason] = (losses[group][reason] ?? 0) + count;
      }
    }
  }
  return losses;
}

function startsByDevice(alerts: Iterable<Alert>): Map<string, number[]> {
  const starts = new Map<string, number[]>();
  for (const { site, device, state, startedAtMs } of alerts) {
    if (state === "withdrawn") continue;
    const name = `${site}/${device}`;
    const known = starts.get(name);
    if (known) known.push(startedAtMs);
    else starts.set(name, [startedAtMs]);
  }
  return starts;
}

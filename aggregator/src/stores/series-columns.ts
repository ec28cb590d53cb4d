import { mergePartials, partialMean } from "@weir/shared/operators/partial";
import type { Partial } from "@weir/shared/operators/partial";
import type { CellLevel } from "@weir/shared/operators/rollup";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { SeriesColumns, SeriesRange } from "../queries.ts";
import { SqlCellStore } from "./cells.ts";
import type { SqlDatabase } from "./database.ts";

/** Steps at least this long are made of hour cells, which are far fewer. */
const HOURS_FROM_STEP_MS = 6 * 3_600_000;

/** Columns of a series for a chart: cells merged into steps. Undefined for a series that nobody named. */
export function seriesColumns(
  db: SqlDatabase,
  thresholds: ThresholdHistory,
  key: { readonly site: string; readonly device: string; readonly metric: string },
  range: SeriesRange,
): SeriesColumns | undefined {
  const sql = "SELECT id FROM series WHERE site = ? AND device = ? AND metric = ?";
  const series = db.get<{ id: number }>(sql, key.site, key.device, key.metric);
  if (!series) return undefined;
  const level: CellLevel = range.stepMs >= HOURS_FROM_STEP_MS ? "hour" : "window";
  const steps = new Map<number, Partial>();
  for (const { startMs, partial } of new SqlCellStore(db).range(series.id, level, range.fromMs, range.toMs)) {
    const step = Math.floor(startMs / range.stepMs) * range.stepMs;
    const before = steps.get(step);
    steps.set(step, before ? mergePartials(before, partial) : partial);
  }
  const cells = [...steps].toSorted(([a], [b]) => a - b);
  const bands = cells.map(([tsMs]) => thresholds.inForce(key, tsMs).band);
  return {
    ...key,
    stepMs: range.stepMs,
    tsMs: cells.map(([tsMs]) => tsMs),
    count: cells.map(([, partial]) => partial.count),
    min: cells.map(([, partial]) => partial.min),
    max: cells.map(([, partial]) => partial.max),
    mean: cells.map(([, partial]) => partialMean(partial)),
    breaches: cells.map(([, partial]) => partial.low + partial.high),
    low: bands.map((band) => band?.warningLow ?? null),
    high: bands.map((band) => band?.warningHigh ?? null),
  };
}

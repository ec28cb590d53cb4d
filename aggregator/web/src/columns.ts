import type { SeriesColumns } from "@weir/aggregator/queries";

/** Silence longer than this many usual distances between points is a gap in the line. */
const GAP_STEPS = 3;

/** What a chart draws: times in s, ascending; null where there is nothing. */
export interface ChartColumns {
  readonly timeS: number[];
  readonly min: Array<number | null>;
  readonly max: Array<number | null>;
  readonly mean: Array<number | null>;
  readonly low: Array<number | null>;
  readonly high: Array<number | null>;
  /** The reading furthest out, where the step has breaches. */
  readonly breach: Array<number | null>;
  readonly breaches: number[];
}

/**
 * The rows of known from fromMs on, up to where fresh begins to speak, then those of fresh. Both have the same step;
 * freshFromMs: from where fresh was asked for.
 */
export function mergeColumns(
  known: SeriesColumns,
  fresh: SeriesColumns,
  freshFromMs: number,
  fromMs: number,
): SeriesColumns {
  const start = firstAtOrAfter(known.tsMs, fromMs);
  const end = firstAtOrAfter(known.tsMs, freshFromMs);
  const join = <T>(before: readonly T[], after: readonly T[]): T[] => [
    ...before.slice(start, Math.max(start, end)),
    ...after,
  ];
  return {
    ...fresh,
    tsMs: join(known.tsMs, fresh.tsMs),
    count: join(known.count, fresh.count),
    min: join(known.min, fresh.min),
    max: join(known.max, fresh.max),
    mean: join(known.mean, fresh.mean),
    breaches: join(known.breaches, fresh.breaches),
    low: join(known.low, fresh.low),
    high: join(known.high, fresh.high),
  };
}

/** Columns for a chart, with an empty row in every gap so that no line is drawn where nothing was measured. */
export function chartColumns(columns: SeriesColumns): ChartColumns {
  const { tsMs } = columns;
  const gapMs = GAP_STEPS * usualDistanceMs(tsMs, columns.stepMs);
  const chart: ChartColumns = { timeS: [], min: [], max: [], mean: [], low: [], high: [], breach: [], breaches: [] };
  for (let i = 0; i < tsMs.length; i++) {
    const at = tsMs[i]!;
    const previous = tsMs[i - 1];
    if (previous !== undefined && at - previous > gapMs) pushEmpty(chart, (previous + at) / 2000);
    const breaches = columns.breaches[i]!;
    const high = columns.high[i] ?? null;
    chart.timeS.push(at / 1000);
    chart.min.push(columns.min[i]!);
    chart.max.push(columns.max[i]!);
    chart.mean.push(columns.mean[i]!);
    chart.low.push(columns.low[i] ?? null);
    chart.high.push(high);
    chart.breaches.push(breaches);
    const isHigh = high !== null && columns.max[i]! > high;
    chart.breach.push(breaches === 0 ? null : isHigh ? columns.max[i]! : columns.min[i]!);
  }
  return chart;
}

function pushEmpty(chart: ChartColumns, timeS: number): void {
  chart.timeS.push(timeS);
  for (const column of [chart.min, chart.max, chart.mean, chart.low, chart.high, chart.breach]) column.push(null);
  chart.breaches.push(0);
}

/** The median distance between neighbours: steps without readings are not in the columns. */
function usualDistanceMs(tsMs: readonly number[], stepMs: number): number {
  const distances: number[] = [];
  for (let i = 1; i < tsMs.length; i++) distances.push(tsMs[i]! - tsMs[i - 1]!);
  distances.sort((a, b) => a - b);
  return Math.max(stepMs, distances[distances.length >> 1] ?? 0);
}

function firstAtOrAfter(tsMs: readonly number[], timeMs: number): number {
  const index = tsMs.findIndex((at) => at >= timeMs);
  return index < 0 ? tsMs.length : index;
}

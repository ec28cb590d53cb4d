import type { Band, SeriesBand } from "../model/thresholds.ts";
import { GAP_MS_DEFAULT } from "../model/thresholds.ts";
import type { SeriesKey } from "../model/reading.ts";
import { expectedInterval } from "../operators/health.ts";
import type { Partial } from "../operators/partial.ts";
import { mergeAll, partialQuantile } from "../operators/partial.ts";
import type { Cell } from "../operators/rollup.ts";

/** Readings a series needs before a band is made of them. */
export const TRAIN_READINGS_MIN = 100;

/** How far beyond the 1 % and 99 % quantiles the limits lie, in distances of those from the median. */
const WARNING_REACH = 0.75;
const CRITICAL_REACH = 1.5;

/** Intervals of a series that may pass between breaches of one episode. */
const GAP_INTERVALS = 3;

/**
 * The band of one series from its hour cells, by their quantiles: robust to a few outliers, since those stay in the
 * last percent. Undefined with fewer than TRAIN_READINGS_MIN readings. cells: ascending, of the training window.
 */
export function trainSeries(key: SeriesKey, cells: readonly Cell[]): SeriesBand | undefined {
  const partial = mergeAll(cells.map((cell) => cell.partial));
  if (!partial || partial.count < TRAIN_READINGS_MIN) return undefined;
  const intervalMs = expectedInterval(cells, undefined);
  return {
    site: key.site,
    device: key.device,
    metric: key.metric,
    band: bandOf(partial, intervalMs),
    baseline: {
      p05: partialQuantile(partial, 0.05),
      p50: partialQuantile(partial, 0.5),
      p95: partialQuantile(partial, 0.95),
    },
  };
}

function bandOf(partial: Partial, intervalMs: number | null): Band {
  const middle = partialQuantile(partial, 0.5);
  const high = partialQuantile(partial, 0.99);
  const low = partialQuantile(partial, 0.01);
  // A constant series gets a hair's breadth, so that its own value is never a breach.
  const hair = Math.max(Math.abs(middle) * 1e-6, 1e-9);
  const up = Math.max(high - middle, hair);
  const down = Math.max(middle - low, hair);
  return {
    warningLow: low - WARNING_REACH * down,
    warningHigh: high + WARNING_REACH * up,
    criticalLow: low - CRITICAL_REACH * down,
    criticalHigh: high + CRITICAL_REACH * up,
    forMs: 0,
    gapMs: Math.max(GAP_MS_DEFAULT, Math.ceil(GAP_INTERVALS * (intervalMs ?? 0))),
    intervalMs,
  };
}

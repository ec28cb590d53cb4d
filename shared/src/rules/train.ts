import type { Band, SeriesBand } from "../model/thresholds.ts";
import { GAP_MS_DEFAULT, SILENCE_INTERVALS_DEFAULT, SILENCE_MS_MIN } from "../model/thresholds.ts";
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

/** The share of gaps between hours that are no silence, and how much longer than these one has to be. */
const SILENCE_GAPS = 0.9;
const SILENCE_REACH = 3;

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
    band: { ...bandOf(partial, intervalMs), ...silenceOf(cells, intervalMs) },
    baseline: {
      p05: partialQuantile(partial, 0.05),
      p50: partialQuantile(partial, 0.5),
      p95: partialQuantile(partial, 0.95),
    },
  };
}

/**
 * How long a series that reports in bursts may be quiet: some times what nine in ten of the gaps at the turn of an hour
 * are no longer than. That such a gap falls into it is the likelier the longer it is, so long ones are not overlooked.
 * Nothing where what is allowed anyhow is enough.
 */
function silenceOf(cells: readonly Cell[], intervalMs: number | null): Pick<Band, "silenceIntervals"> {
  if (!intervalMs) return {};
  const gaps = cells.slice(1).map((cell, i) => cell.partial.firstTsMs - cells[i]!.partial.lastTsMs);
  const gapMs = gaps.toSorted((a, b) => a - b)[Math.floor(SILENCE_GAPS * gaps.length)] ?? 0;
  const limitMs = SILENCE_REACH * gapMs;
  if (limitMs <= Math.max(SILENCE_MS_MIN, SILENCE_INTERVALS_DEFAULT * intervalMs)) return {};
  return { silenceIntervals: Math.ceil(limitMs / intervalMs) };
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

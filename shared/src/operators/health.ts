import type { Band, Baseline } from "../model/thresholds.ts";
import type { HealthParts, Trend } from "../model/report.ts";
import type { Cell } from "./rollup.ts";
import type { Partial } from "./partial.ts";
import { partialQuantile } from "./partial.ts";

/** Raised whenever a change here, or in any operator, can change a report's bytes. Part of every report's lineage. */
export const OPERATOR_VERSION = 2;

/** Weights of the parts in the score; they sum to 1. */
const WEIGHT = { availability: 0.3, breaches: 0.5, drift: 0.2 } as const;

/** A share of readings outside the warning limits, critical ones counted thrice, that scores 0. */
const BREACH_SHARE_WORST = 0.1;

/** The score at which a device needs attention at once. */
export const HEALTH_CRITICAL = 40;

/** Days of health that a trend looks at, and the fewest it is taken from. */
export const TREND_DAYS = 30;
const TREND_DAYS_MIN = 3;

/**
 * The interval at which a series reports, ms: the band's where it says, else the median gap between the day's
 * readings, taken from its hour cells (within a cell the mean gap, between cells the gap itself); null when fewer than
 * two readings tell.
 */
export function expectedInterval(cells: readonly Cell[], band: Band | undefined): number | null {
  if (band?.intervalMs) return band.intervalMs;
  const gaps: Array<{ readonly gapMs: number; readonly weight: number }> = [];
  let lastTsMs: number | undefined;
  for (const { partial } of cells) {
    if (lastTsMs !== undefined) gaps.push({ gapMs: partial.firstTsMs - lastTsMs, weight: 1 });
    const steps = partial.count - 1;
    if (steps > 0) gaps.push({ gapMs: (partial.lastTsMs - partial.firstTsMs) / steps, weight: steps });
    lastTsMs = partial.lastTsMs;
  }
  gaps.sort((a, b) => a.gapMs - b.gapMs);
  const half = gaps.reduce((sum, { weight }) => sum + weight, 0) / 2;
  let seen = 0;
  for (const { gapMs, weight } of gaps) {
    seen += weight;
    if (seen >= half) return gapMs > 0 ? gapMs : null;
  }
  return null;
}

/** Readings expected in a stretch of event time, at least the one that told us of the series. */
export function expectedCount(stretchMs: number, intervalMs: number | null, count: number): number {
  if (intervalMs === null) return count;
  return Math.max(1, Math.round(stretchMs / intervalMs));
}

/**
 * How far a distribution has left its baseline: the mean shift of its 5, 50 and 95 % quantiles, as a share of the
 * baseline's spread, 0 to 1.
 */
export function driftFrom(baseline: Baseline, partial: Partial): number {
  const shift =
    (Math.abs(partialQuantile(partial, 0.05) - baseline.p05) +
      Math.abs(partialQuantile(partial, 0.5) - baseline.p50) +
      Math.abs(partialQuantile(partial, 0.95) - baseline.p95)) /
    3;
  if (shift === 0) return 0;
  const spread = baseline.p95 - baseline.p05;
  return spread > 0 ? Math.min(1, shift / spread) : 1;
}

/** What the score of a device's day is made of. breachShare is the worst metric's; drift null: no baseline. */
export interface HealthInputs {
  readonly availability: number;
  readonly breachShare: number;
  readonly drift: number | null;
}

/** Breaches over readings of one metric, critical ones counted thrice. */
export function breachShare(partial: Partial): number {
  return (partial.low + partial.high + 2 * partial.critical) / partial.count;
}

/** The parts of a day's score, each 0 to 100. */
export function healthParts(inputs: HealthInputs): HealthParts {
  return {
    availability: toTenth(100 * inputs.availability),
    breaches: toTenth(100 * Math.max(0, 1 - inputs.breachShare / BREACH_SHARE_WORST)),
    drift: toTenth(100 * (1 - (inputs.drift ?? 0))),
  };
}

/** The weighted mean of the parts, 0 to 100, to a tenth. */
export function healthScore(parts: HealthParts): number {
  return toTenth(
    WEIGHT.availability * parts.availability + WEIGHT.breaches * parts.breaches + WEIGHT.drift * parts.drift,
  );
}

function toTenth(value: number): number {
  return Math.round(value * 10) / 10;
}

/**
 * The trend of daily scores by Theil–Sen (Sen 1968): the median of all pairwise slopes, which a bad day or two cannot
 * bend. scores: day index (any origin, ascending) and health; the last is the day reported on.
 */
export function healthTrend(scores: ReadonlyArray<{ readonly day: number; readonly health: number }>): Trend {
  const days = scores.length;
  if (days < TREND_DAYS_MIN) return { days, slopePerDay: null, daysUntilCritical: null };
  const slopes: number[] = [];
  for (let j = 1; j < days; j++) {
    for (let i = 0; i < j; i++) {
      slopes.push((scores[j]!.health - scores[i]!.health) / (scores[j]!.day - scores[i]!.day));
    }
  }
  slopes.sort((a, b) => a - b);
  const middle = slopes.length >> 1;
  const median = slopes.length % 2 === 1 ? slopes[middle]! : (slopes[middle - 1]! + slopes[middle]!) / 2;
  const slopePerDay = Math.round(median * 1000) / 1000 + 0;
  const health = scores[days - 1]!.health;
  const daysUntilCritical = slopePerDay < 0 ? toTenth(Math.max(0, (health - HEALTH_CRITICAL) / -slopePerDay)) : null;
  return { days, slopePerDay, daysUntilCritical };
}

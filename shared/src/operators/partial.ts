import type { ExactSum } from "./exact-sum.ts";
import { mergeSums, roundSum } from "./exact-sum.ts";
import type { Sketch } from "./sketch.ts";
import { mergeSketches, sketchQuantile } from "./sketch.ts";

/**
 * The mergeable summary of one series over a stretch of event time: a window, an hour, a day.
 *
 * A pure function of the set of readings and of the threshold versions that judged them: merging is associative and
 * commutative to the byte. Immutable.
 */
export interface Partial {
  readonly count: number;
  /** Of count: readings stamped on receipt. */
  readonly stamped: number;
  readonly sum: ExactSum;
  readonly min: number;
  readonly max: number;
  /** The earliest reading and the latest, ties by value. */
  readonly firstTsMs: number;
  readonly firstValue: number;
  readonly lastTsMs: number;
  readonly lastValue: number;
  /** Readings below and above the warning limits, and of those the ones outside the critical limits. */
  readonly low: number;
  readonly high: number;
  readonly critical: number;
  /** Versions that judged readings of this stretch, ascending. */
  readonly versions: readonly number[];
  readonly sketch: Sketch;
}

/** The partial of both sets of readings together. The sets must be disjoint. */
export function mergePartials(a: Partial, b: Partial): Partial {
  const first = isBefore(b.firstTsMs, b.firstValue, a.firstTsMs, a.firstValue) ? b : a;
  const last = isBefore(a.lastTsMs, a.lastValue, b.lastTsMs, b.lastValue) ? b : a;
  return {
    count: a.count + b.count,
    stamped: a.stamped + b.stamped,
    sum: mergeSums(a.sum, b.sum),
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
    firstTsMs: first.firstTsMs,
    firstValue: first.firstValue,
    lastTsMs: last.lastTsMs,
    lastValue: last.lastValue,
    low: a.low + b.low,
    high: a.high + b.high,
    critical: a.critical + b.critical,
    versions: mergeVersions(a.versions, b.versions),
    sketch: mergeSketches(a.sketch, b.sketch),
  };
}

/** The partial of any number of disjoint partials; undefined of none. */
export function mergeAll(partials: Iterable<Partial>): Partial | undefined {
  let merged: Partial | undefined;
  for (const partial of partials) merged = merged ? mergePartials(merged, partial) : partial;
  return merged;
}

/** The exact sum, rounded once, over the count. Units of the readings. */
export function partialMean(partial: Partial): number {
  return roundSum(partial.sum) / partial.count;
}

/** The q-quantile, 0 ≤ q ≤ 1, by nearest rank within the sketch's buckets. Units of the readings. */
export function partialQuantile(partial: Partial, q: number): number {
  return sketchQuantile(partial.sketch, q, partial.min, partial.max);
}

/** Union of two ascending lists of versions. */
export function mergeVersions(a: readonly number[], b: readonly number[]): readonly number[] {
  if (b.every((version) => a.includes(version))) return a;
  if (a.every((version) => b.includes(version))) return b;
  return [...new Set([...a, ...b])].toSorted((x, y) => x - y);
}

/** Event-time order of readings of one series: by time, ties by value. */
export function isBefore(tsMs: number, value: number, otherTsMs: number, otherValue: number): boolean {
  return tsMs < otherTsMs || (tsMs === otherTsMs && value < otherValue);
}

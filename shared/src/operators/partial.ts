import type { ExactSum } from "./exact-sum.ts";
import { addExact, canonicalSum, mergeSums, roundSum } from "./exact-sum.ts";
import type { Sketch } from "./sketch.ts";
import { EMPTY_SKETCH, mergeSketches, sketchQuantile } from "./sketch.ts";
import { SketchSum } from "./sketch-sum.ts";
import type { WordPool } from "./word-pool.ts";

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

/** Merges partials in place: to what mergeAll gives for all of them, at a fraction of its cost for many. */
export class PartialSum {
  /** Everything but sum and sketch; undefined: of no partials. */
  #rest: Writable<Partial> | undefined;
  #sum: ExactSum = [];
  readonly #sketch: SketchSum;

  /** pool: where its sketch is kept. */
  constructor(pool: WordPool) {
    this.#sketch = new SketchSum(pool);
  }

  /** Adds a partial. It must be disjoint from those before. */
  add(partial: Partial): void {
    for (const part of partial.sum) addExact(this.#sum, part);
    this.#sketch.add(partial.sketch);
    const rest = this.#rest;
    if (!rest) {
      this.#rest = { ...partial, sum: [], sketch: EMPTY_SKETCH };
      return;
    }
    rest.count += partial.count;
    rest.stamped += partial.stamped;
    rest.min = Math.min(rest.min, partial.min);
    rest.max = Math.max(rest.max, partial.max);
    if (isBefore(partial.firstTsMs, partial.firstValue, rest.firstTsMs, rest.firstValue)) {
      rest.firstTsMs = partial.firstTsMs;
      rest.firstValue = partial.firstValue;
    }
    if (isBefore(rest.lastTsMs, rest.lastValue, partial.lastTsMs, partial.lastValue)) {
      rest.lastTsMs = partial.lastTsMs;
      rest.lastValue = partial.lastValue;
    }
    rest.low += partial.low;
    rest.high += partial.high;
    rest.critical += partial.critical;
    if (rest.versions !== partial.versions) rest.versions = mergeVersions(rest.versions, partial.versions);
  }

  /** The partial of all that were added; undefined of none. */
  toPartial(): Partial | undefined {
    return this.#rest && { ...this.#rest, sum: canonicalSum(this.#sum), sketch: this.#sketch.toSketch() };
  }

  /** Begins anew. */
  clear(): void {
    this.#rest = undefined;
    this.#sum = [];
    this.#sketch.clear();
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

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

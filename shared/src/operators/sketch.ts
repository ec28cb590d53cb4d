/**
 * A mergeable quantile sketch that is nothing but counts, and so the same bytes for the same readings in any order.
 *
 * A reading's key is the upper half of its double, made monotone: sign, exponent and 20 bits of mantissa in an int32.
 * A bucket at shift s is key >> s. The sketch keeps the smallest shift, from SHIFT_MIN on, at which at most
 * BUCKETS_MAX buckets are occupied. Occupied buckets only become more as readings are added, so no part of a set is
 * ever coarser than the whole, and merging parts gives just what the whole would have given: uniform collapse, as in
 * UDDSketch (Epicoco et al. 2020), with the buckets of HdrHistogram instead of logarithms, which are not reproducible
 * between engines. At SHIFT_MIN a bucket is at most 2^-12 of its value wide.
 */

/** Lowest shift: 12 bits of mantissa, finer than the converters that measure. */
export const SHIFT_MIN = 8;

/** Occupied buckets of one sketch, at most. */
export const BUCKETS_MAX = 512;

/** Highest shift: everything is in at most two buckets. */
export const SHIFT_LIMIT = 31;

/** Buckets ascending, with their counts. Arrays of equal length; treat as immutable. */
export interface Sketch {
  readonly shift: number;
  readonly buckets: readonly number[];
  readonly counts: readonly number[];
}

/** The sketch of no readings. */
export const EMPTY_SKETCH: Sketch = { shift: SHIFT_MIN, buckets: [], counts: [] };

const doubles = new Float64Array(1);
const words = new Int32Array(doubles.buffer);
/** Index of the upper of the two words of a double: 1 on little-endian machines. */
export const UPPER_WORD: number = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;

/** sketchKey of the value whose upper word this is. */
export function keyOfUpperWord(upper: number): number {
  return (upper >= 0 ? upper : upper ^ 0x7fffffff) >> SHIFT_MIN;
}

/** The monotone int32 key of a finite value, at SHIFT_MIN already: value a ≤ b gives key(a) ≤ key(b). */
export function sketchKey(value: number): number {
  doubles[0] = value;
  return keyOfUpperWord(words[UPPER_WORD]!);
}

/** The smallest value whose key at shift 0 is `key`. */
function valueOfKey(key: number): number {
  words[UPPER_WORD] = key >= 0 ? key : key ^ 0x7fffffff;
  words[1 - UPPER_WORD] = key >= 0 ? 0 : -1;
  return doubles[0]!;
}

/** The sketch of both sets of readings together. */
export function mergeSketches(a: Sketch, b: Sketch): Sketch {
  if (a.buckets.length === 0) return b;
  if (b.buckets.length === 0) return a;
  const shift = Math.max(a.shift, b.shift);
  const left = atShift(a, shift);
  const right = atShift(b, shift);
  const buckets: number[] = [];
  const counts: number[] = [];
  let i = 0;
  let j = 0;
  while (i < left.buckets.length || j < right.buckets.length) {
    const x = left.buckets[i] ?? Infinity;
    const y = right.buckets[j] ?? Infinity;
    buckets.push(Math.min(x, y));
    counts.push((x <= y ? left.counts[i]! : 0) + (y <= x ? right.counts[j]! : 0));
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return collapse(shift, buckets, counts);
}

/** Halves the number of buckets until they fit. */
function collapse(shift: number, buckets: number[], counts: number[]): Sketch {
  let sketch: Sketch = { shift, buckets, counts };
  while (sketch.buckets.length > BUCKETS_MAX && sketch.shift < SHIFT_LIMIT) sketch = atShift(sketch, sketch.shift + 1);
  return sketch;
}

/** The same sketch at a coarser or equal shift. */
function atShift(sketch: Sketch, shift: number): Sketch {
  const by = shift - sketch.shift;
  if (by === 0) return sketch;
  const buckets: number[] = [];
  const counts: number[] = [];
  for (let i = 0; i < sketch.buckets.length; i++) {
    const bucket = sketch.buckets[i]! >> by;
    const last = buckets.length - 1;
    if (last >= 0 && buckets[last] === bucket) counts[last]! += sketch.counts[i]!;
    else {
      buckets.push(bucket);
      counts.push(sketch.counts[i]!);
    }
  }
  return { shift, buckets, counts };
}

/** Readings in the sketch. */
export function sketchCount(sketch: Sketch): number {
  let total = 0;
  for (const count of sketch.counts) total += count;
  return total;
}

/**
 * The q-quantile (0 ≤ q ≤ 1, nearest rank): the middle of its bucket, kept within [min, max], the exact extremes of
 * the readings. An empty sketch has none: NaN.
 */
export function sketchQuantile(sketch: Sketch, q: number, min: number, max: number): number {
  const total = sketchCount(sketch);
  if (total === 0) return NaN;
  const rank = Math.max(1, Math.ceil(q * total));
  if (rank === 1) return min;
  if (rank === total) return max;
  let seen = 0;
  let index = 0;
  while (index < sketch.counts.length - 1 && seen + sketch.counts[index]! < rank) seen += sketch.counts[index++]!;
  const bucket = sketch.buckets[index]!;
  const lower = valueOfKey(bucket << sketch.shift);
  const upper = valueOfKey(((bucket << sketch.shift) | ((1 << sketch.shift) - 1)) >> 0);
  const middle = lower + (upper - lower) / 2;
  // The bucket at zero reaches down to denormals, which nothing measures.
  return Math.min(max, Math.max(min, Math.abs(middle) < 1e-300 ? 0 : middle));
}

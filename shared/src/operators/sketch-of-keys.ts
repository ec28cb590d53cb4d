import type { Sketch } from "./sketch.ts";
import { BUCKETS_MAX, SHIFT_LIMIT, SHIFT_MIN } from "./sketch.ts";

/** Keys that span at most this many buckets, and at most so many a key, are counted instead of sorted. */
const SPAN_MAX = 4096;
const SPAN_PER_KEY = 8;
/** Counts by bucket while keys are counted; zero in between. */
const tally = new Int32Array(SPAN_MAX);

/** Up to this many keys are sorted by insertion, and up to so many by digits, for which memory is kept. */
const INSERTION_MAX = 48;
const RADIX_MAX = 2 ** 16;
const DIGIT_BITS = 8;
const DIGITS: number = 2 ** DIGIT_BITS;
const digitEnds = new Int32Array(DIGITS);
const moved = new Int32Array(RADIX_MAX);

/** The buckets of the sketch being made, and their counts: never more than one too many. */
const buckets: number[] = Array.from({ length: BUCKETS_MAX + 1 }, () => 0);
const counts: number[] = Array.from({ length: BUCKETS_MAX + 1 }, () => 0);

/**
 * The sketch of keys (from sketchKey) in any order. keys: the first `count` are read, and left in another order; not
 * kept. lowest, highest: of the keys.
 */
export function sketchOfKeys(keys: Int32Array, count: number, lowest: number, highest: number): Sketch {
  const span = highest - lowest + 1;
  if (span <= SPAN_MAX && span <= SPAN_PER_KEY * count) return sketchOfTally(keys, count, lowest, span);
  if (count <= INSERTION_MAX) sortByInsertion(keys, count);
  else if (count <= RADIX_MAX) sortByDigits(keys, count, lowest, span);
  else keys.subarray(0, count).sort();
  return sketchOfSorted(keys, count);
}

/**
 * Buckets are halved as soon as there is one too many: the whole set occupies no fewer than a part of it, so no shift is
 * passed over that would have done.
 */
function sketchOfSorted(keys: Int32Array, count: number): Sketch {
  let by = 0;
  let length = 0;
  let last = NaN;
  for (let i = 0; i < count; i++) {
    const bucket = keys[i]! >> by;
    if (bucket === last) {
      counts[length - 1]!++;
      continue;
    }
    buckets[length] = bucket;
    counts[length] = 1;
    length++;
    while (length > BUCKETS_MAX && SHIFT_MIN + by < SHIFT_LIMIT) {
      length = halve(length);
      by++;
    }
    last = buckets[length - 1]!;
  }
  return sketchSoFar(SHIFT_MIN + by, length);
}

function sketchOfTally(keys: Int32Array, count: number, lowest: number, span: number): Sketch {
  for (let i = 0; i < count; i++) tally[keys[i]! - lowest]!++;
  let by = 0;
  let length = 0;
  let last = NaN;
  for (let at = 0; at < span; at++) {
    const keysHere = tally[at]!;
    if (keysHere === 0) continue;
    tally[at] = 0;
    const bucket = (lowest + at) >> by;
    if (bucket === last) {
      counts[length - 1]! += keysHere;
      continue;
    }
    buckets[length] = bucket;
    counts[length] = keysHere;
    length++;
    while (length > BUCKETS_MAX && SHIFT_MIN + by < SHIFT_LIMIT) {
      length = halve(length);
      by++;
    }
    last = buckets[length - 1]!;
  }
  return sketchSoFar(SHIFT_MIN + by, length);
}

/** Slices are made at their size, which growing ones are not, and are always young. */
function sketchSoFar(shift: number, length: number): Sketch {
  return { shift, buckets: buckets.slice(0, length), counts: counts.slice(0, length) };
}

/** Merges each two buckets that the next shift makes one; returns how many are left. */
function halve(length: number): number {
  let kept = 0;
  for (let i = 0; i < length; i++) {
    const bucket = buckets[i]! >> 1;
    const count = counts[i]!;
    if (kept > 0 && buckets[kept - 1] === bucket) counts[kept - 1]! += count;
    else {
      buckets[kept] = bucket;
      counts[kept] = count;
      kept++;
    }
  }
  return kept;
}

function sortByInsertion(keys: Int32Array, count: number): void {
  for (let i = 1; i < count; i++) {
    const key = keys[i]!;
    let to = i;
    while (to > 0 && keys[to - 1]! > key) {
      keys[to] = keys[to - 1]!;
      to--;
    }
    keys[to] = key;
  }
}

/** Digit by digit from the lowest (Knuth, TAOCP 5.2.5), as many as the span has: linear, and without comparisons. */
function sortByDigits(keys: Int32Array, count: number, lowest: number, span: number): void {
  let from: Int32Array = keys;
  let to: Int32Array = moved;
  for (let shift = 0; shift === 0 || 2 ** shift < span; shift += DIGIT_BITS) {
    digitEnds.fill(0);
    for (let i = 0; i < count; i++) digitEnds[((from[i]! - lowest) >>> shift) & (DIGITS - 1)]!++;
    let start = 0;
    for (let digit = 0; digit < DIGITS; digit++) {
      const here = digitEnds[digit]!;
      digitEnds[digit] = start;
      start += here;
    }
    for (let i = 0; i < count; i++) {
      const key = from[i]!;
      to[digitEnds[((key - lowest) >>> shift) & (DIGITS - 1)]!++] = key;
    }
    const before = from;
    from = to;
    to = before;
  }
  if (from !== keys) keys.set(from.subarray(0, count));
}

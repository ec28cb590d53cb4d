import { assert } from "../errors.ts";

/**
 * Exact sums of doubles, so that any order, any split and any number of partials give the same bytes.
 *
 * A sum is held as an expansion: doubles that don't overlap, whose exact sum is the sum (Shewchuk, "Adaptive Precision
 * Floating-Point Arithmetic", 1997). Sensor data needs one or two of them. Addends are bounded by VALUE_ABS_MAX, so
 * nothing overflows.
 */

/** An exact sum: non-overlapping doubles, smallest magnitude first. Empty is zero. */
export type ExactSum = number[];

/** Adds a finite value to the sum, exactly, in place. */
export function addExact(sum: ExactSum, value: number): void {
  let carry = value;
  let kept = 0;
  for (let i = 0; i < sum.length; i++) {
    let big = carry;
    let small = sum[i]!;
    if (Math.abs(big) < Math.abs(small)) [big, small] = [small, big];
    const total = big + small;
    const error = small - (total - big);
    if (error !== 0) sum[kept++] = error;
    carry = total;
  }
  sum.length = kept;
  if (carry !== 0) sum.push(carry);
}

/**
 * Adds a finite value to a sum held as two doubles, pair[at] and pair[at + 1], the greater first: exactly, but for what is
 * returned, which the two cannot hold and the caller must keep. Nearly always 0. Two-sum (Knuth, TAOCP 4.2.2), twice.
 */
export function addToPair(pair: Float64Array, at: number, value: number): number {
  const high = pair[at]!;
  const sum = high + value;
  const part = sum - high;
  const error = high - (sum - part) + (value - part);
  pair[at] = sum;
  if (error === 0) return 0;
  const low = pair[at + 1]!;
  const lowSum = low + error;
  const lowPart = lowSum - low;
  pair[at + 1] = lowSum;
  return low - (lowSum - lowPart) + (error - lowPart);
}

/** The double nearest to the sum, ties to even: the same for every expansion of the same sum (as Python's fsum). */
export function roundSum(sum: ExactSum): number {
  let n = sum.length;
  if (n === 0) return 0;
  let high = sum[--n]!;
  let low = 0;
  while (n > 0) {
    const before = high;
    const next = sum[--n]!;
    high = before + next;
    low = next - (high - before);
    if (low !== 0) break;
  }
  // Half-way between two doubles: what remains below decides the side.
  if (n > 0 && low !== 0 && low < 0 === sum[n - 1]! < 0) {
    const doubled = low * 2;
    const candidate = high + doubled;
    if (doubled === candidate - high) high = candidate;
  }
  return high;
}

/**
 * The one expansion that every expansion of the same sum becomes: the sum rounded to a double, then what is left
 * rounded, and so on; smallest first. Returns a new array.
 */
export function canonicalSum(sum: ExactSum): ExactSum {
  const rest = [...sum];
  const parts: number[] = [];
  while (rest.length > 0) {
    const rounded = roundSum(rest);
    // Of a number that is none, something would be left for ever.
    assert(Number.isFinite(rounded), `A sum came to ${rounded}: readings must be finite.`);
    if (rounded === 0) break;
    parts.push(rounded);
    addExact(rest, -rounded);
  }
  return parts.reverse();
}

/** The canonical sum of two sums. */
export function mergeSums(a: ExactSum, b: ExactSum): ExactSum {
  const sum = [...a];
  for (const part of b) addExact(sum, part);
  return canonicalSum(sum);
}

import { addExact, canonicalSum, mergeSums, roundSum } from "@weir/shared/operators/exact-sum";
import type { ExactSum } from "@weir/shared/operators/exact-sum";
import { JUDGED_IN_BAND } from "@weir/shared/operators/windows";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { anyValues, windowsOf } from "./arbitraries.ts";

const test = suite("exact sums");

/** The oracle counts in whole multiples of the smallest double, 2^-1074. */
function exactly(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const fraction = bits & ((1n << 52n) - 1n);
  const magnitude = exponent === 0n ? fraction : (fraction | (1n << 52n)) << (exponent - 1n);
  return bits >> 63n ? -magnitude : magnitude;
}

/** The double nearest to `total` × 2^-1074, ties to even. */
function nearest(total: bigint): number {
  if (total < 0n) return -nearest(-total);
  const excess = Math.max(0, total.toString(2).length - 53);
  const half = excess === 0 ? 0n : 1n << BigInt(excess - 1);
  let mantissa = total >> BigInt(excess);
  const rest = total - (mantissa << BigInt(excess));
  if (excess > 0 && (rest > half || (rest === half && mantissa % 2n === 1n))) mantissa += 1n;
  return Number(mantissa) * 2 ** (excess - 1074);
}

/** The canonical expansion by the oracle: round, take away, go on. */
function canonicalByOracle(values: readonly number[]): number[] {
  const parts: number[] = [];
  for (let rest = values.reduce((sum, value) => sum + exactly(value), 0n); rest !== 0n;) {
    parts.unshift(nearest(rest));
    rest -= exactly(parts[0]!);
  }
  return parts;
}

function sumOf(values: readonly number[]): ExactSum {
  const sum: ExactSum = [];
  for (const value of values) addExact(sum, value);
  return sum;
}

test("of values in any order, cancelling or not, are those of exact arithmetic, rounded once", () => {
  fc.assert(
    fc.property(anyValues, fc.infiniteStream(fc.nat()), (values, random) => {
      const expected = canonicalByOracle(values);
      assert.equal(canonicalSum(sumOf(values)), expected);
      assert.is(roundSum(sumOf(values)), expected.at(-1) ?? 0);
      assert.equal(canonicalSum(sumOf(shuffled(values, random))), expected);
    }),
    { numRuns: 1500 },
  );
});

test("of parts, split and merged in any tree, are the sum of the whole", () => {
  fc.assert(
    fc.property(anyValues, fc.infiniteStream(fc.nat()), (values, random) => {
      const parts = values.map((value) => canonicalSum([value].filter(Boolean)));
      while (parts.length > 1) {
        const a = take(parts, random);
        parts.push(mergeSums(a, take(parts, random)));
      }
      assert.equal(parts[0], canonicalByOracle(values));
    }),
    { numRuns: 500 },
  );
});

test("merging leaves its arguments as they were", () => {
  const a = [1];
  const b = [2 ** -80, 3];
  mergeSums(a, b);
  canonicalSum(b);
  assert.equal([a, b], [[1], [2 ** -80, 3]]);
});

test("round half-way cases by what lies below them", () => {
  const tie = 2 ** -53;
  assert.is(roundSum(sumOf([1, tie])), 1);
  assert.is(roundSum(sumOf([1, tie, 2 ** -200])), 1 + 2 ** -52);
  assert.is(roundSum(sumOf([1, tie, -(2 ** -200)])), 1);
  assert.is(roundSum(sumOf([1 + 2 ** -52, tie])), 1 + 2 ** -51);
  assert.is(roundSum(sumOf([1e308 / 2 ** 100, 1, -1e308 / 2 ** 100])), 1);
  assert.is(roundSum([]), 0);
});

test("of a window's two-double accumulator are the same", () => {
  fc.assert(
    fc.property(anyValues, (values) => {
      const windows = windowsOf(
        values.map((value, i) => ({ series: 0, tsMs: i, value, stamped: 0, judged: JUDGED_IN_BAND, version: 0 })),
      );
      assert.equal(windows[0]!.partial.sum, canonicalByOracle(values));
    }),
    { numRuns: 1000 },
  );
});

test("a number that is none is refused rather than summed for ever", () => {
  for (const bad of [NaN, Infinity, -Infinity]) assert.throws(() => canonicalSum([1, bad]), /must be finite/);
});

function shuffled(values: readonly number[], random: fc.Stream<number>): number[] {
  const rest = [...values];
  return values.map(() => take(rest, random));
}

/** Takes a random item out of the list. */
function take<T>(list: T[], random: fc.Stream<number>): T {
  const [draw = 0] = random.take(1);
  return list.splice(draw % list.length, 1)[0]!;
}

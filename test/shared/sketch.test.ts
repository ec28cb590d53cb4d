import type { Sketch } from "@weir/shared/operators/sketch";
import {
  BUCKETS_MAX,
  EMPTY_SKETCH,
  mergeSketches,
  SHIFT_MIN,
  sketchCount,
  sketchKey,
  sketchQuantile,
} from "@weir/shared/operators/sketch";
import { sketchOfKeys } from "@weir/shared/operators/sketch-of-keys";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { anyValue } from "./arbitraries.ts";

const test = suite("sketch");

function sketchOf(values: readonly number[]): Sketch {
  const keys = Int32Array.from(values, sketchKey);
  const sorted = keys.toSorted();
  return sketchOfKeys(keys, keys.length, sorted[0] ?? 0, sorted.at(-1) ?? 0);
}

/** The definition, from scratch: the lowest shift at which few enough of the values' upper halves differ. */
function byDefinition(values: readonly number[]): Sketch {
  const view = new DataView(new ArrayBuffer(8));
  const keys = values.map((value) => {
    view.setFloat64(0, value);
    const upper = view.getInt32(0);
    return upper >= 0 ? upper : upper ^ 0x7fffffff;
  });
  for (let shift = SHIFT_MIN; ; shift++) {
    const counts = new Map<number, number>();
    for (const key of keys) counts.set(key >> shift, (counts.get(key >> shift) ?? 0) + 1);
    if (counts.size > BUCKETS_MAX) continue;
    const buckets = [...counts.keys()].toSorted((a, b) => a - b);
    return { shift, buckets, counts: buckets.map((bucket) => counts.get(bucket)!) };
  }
}

/** Seeded values of one character each, in the thousands: far over BUCKETS_MAX. */
const manyValues: fc.Arbitrary<number[]> = fc
  .tuple(
    fc.constantFrom("even", "zero-crossing", "magnitudes", "negative"),
    fc.integer({ min: 1, max: 2 ** 31 }),
    fc.integer({ min: 1, max: 6000 }),
  )
  .map(([kind, seed, count]) => {
    let state = seed;
    const uniform = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    return Array.from({ length: count }, () => {
      const u = uniform();
      if (kind === "even") return 20 + 5 * u;
      if (kind === "zero-crossing") return 200 * (u - 0.5);
      if (kind === "magnitudes") return (uniform() < 0.5 ? -1 : 1) * 2 ** (1900 * u - 950);
      return -1000 * u;
    });
  });

const fewValues = fc.array(anyValue, { maxLength: 50 });

test("is the one its definition names, however many readings collapse", () => {
  fc.assert(
    fc.property(fc.oneof(fewValues, manyValues), (values) => {
      assert.equal(sketchOf(values), byDefinition(values));
    }),
    { numRuns: 120 },
  );
});

test("is the same of more keys than are sorted by digits", () => {
  for (const scale of [1e-3, 1e6]) {
    const values = Array.from({ length: 70_000 }, (_, i) => (((i * 48_271) % 70_001) - 35_000) * scale);
    assert.equal(sketchOf(values), byDefinition(values));
    assert.equal(sketchOf(values.slice(0, 65_536)), byDefinition(values.slice(0, 65_536)));
  }
});

test("is the same of keys that span any number of binades", () => {
  for (let binades = 1; binades <= 1800; binades = Math.ceil(binades * 1.3)) {
    const values = Array.from({ length: 300 }, (_, i) => 2 ** ((((i * 77) % 300) / 300 - 0.5) * binades));
    assert.equal(sketchOf(values), byDefinition(values), `${binades} binades`);
  }
});

test("merged from parts, in any split and tree, is the sketch of the whole", () => {
  fc.assert(
    fc.property(
      fc.oneof(fewValues, manyValues),
      fc.array(fc.nat(6), { minLength: 1, maxLength: 40 }),
      (values, split) => {
        const sets: number[][] = Array.from({ length: 7 }, () => []);
        values.forEach((value, i) => sets[split[i % split.length]!]!.push(value));
        const parts = sets.map(sketchOf);
        const [a, b, c, d, e, f, g] = parts as [Sketch, Sketch, Sketch, Sketch, Sketch, Sketch, Sketch];
        const whole = sketchOf(values);
        assert.equal(parts.reduce(mergeSketches), whole);
        assert.equal(parts.toReversed().reduce(mergeSketches), whole);
        const m = mergeSketches;
        assert.equal(m(m(m(b, g), m(e, a)), m(m(f, c), d)), whole);
        assert.equal(m(whole, EMPTY_SKETCH), whole);
        assert.equal(m(EMPTY_SKETCH, whole), whole);
        assert.is(sketchCount(whole), values.length);
      },
    ),
    { numRuns: 150 },
  );
});

test("collapses when one bucket too many is occupied, and not before", () => {
  const values = Array.from({ length: BUCKETS_MAX + 1 }, (_, i) => 1 + i * 2 ** -12);
  const full = sketchOf(values.slice(1));
  assert.equal([full.shift, full.buckets.length], [SHIFT_MIN, BUCKETS_MAX]);
  assert.equal([sketchOf(values).shift, sketchOf(values).buckets.length], [SHIFT_MIN + 1, BUCKETS_MAX / 2 + 1]);
});

test("keys ascend with values", () => {
  fc.assert(
    fc.property(anyValue, anyValue, (a, b) => {
      assert.ok(a <= b ? sketchKey(a) <= sketchKey(b) : sketchKey(a) >= sketchKey(b));
    }),
    { numRuns: 2000 },
  );
});

test("quantiles are within a bucket of the exact ones, and within the extremes", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fewValues.filter((values) => values.length > 0),
        manyValues,
      ),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, q) => {
        const sorted = values.toSorted((a, b) => a - b);
        const min = sorted[0]!;
        const max = sorted.at(-1)!;
        const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1]!;
        const sketch = sketchOf(values);
        const quantile = sketchQuantile(sketch, q, min, max);
        assert.ok(quantile >= min && quantile <= max, `${quantile} is not between ${min} and ${max}`);
        // The same bucket, except that the ones around zero say zero.
        const bucketOf = (value: number): number => sketchKey(value) >> (sketch.shift - SHIFT_MIN);
        if (quantile === 0) assert.ok(Math.abs(exact) < 1e-299, `0 for ${exact}`);
        else assert.is(bucketOf(quantile), bucketOf(exact), `${quantile} for ${exact} at shift ${sketch.shift}`);
      },
    ),
    { numRuns: 300 },
  );
});

test("quantiles of what sensors send are exact to 2^-12 of their value", () => {
  for (const centre of [20, -273.15, 1e-3, 101_325]) {
    const values = Array.from({ length: 400 }, (_, i) => centre * (1 + i / 10_000));
    const sorted = values.toSorted((a, b) => a - b);
    const sketch = sketchOf(values);
    assert.is(sketch.shift, SHIFT_MIN);
    for (const q of [0.01, 0.05, 0.5, 0.95, 0.99]) {
      const exact = sorted[Math.ceil(q * 400) - 1]!;
      const quantile = sketchQuantile(sketch, q, sorted[0]!, sorted.at(-1)!);
      assert.ok(Math.abs(quantile - exact) <= Math.abs(exact) * 2 ** -13, `${quantile} for ${exact}`);
    }
  }
});

test("of a constant series says that constant, to the last bit", () => {
  for (const value of [0, 21.7, -3.1, 5e-324, -1e-310, 1e-305, 2 ** 960]) {
    const sketch = sketchOf(Array.from({ length: 9 }, () => value));
    for (const q of [0, 0.3, 0.5, 1]) assert.is(sketchQuantile(sketch, q, value, value), value);
  }
});

test("ends are exact, zero is zero, and an empty sketch has no quantile", () => {
  const values = [-7.123, 0, 0, 0, 9.876];
  const sketch = sketchOf(values);
  assert.is(sketchQuantile(sketch, 0, -7.123, 9.876), -7.123);
  assert.is(sketchQuantile(sketch, 1, -7.123, 9.876), 9.876);
  assert.is(sketchQuantile(sketch, 0.5, -7.123, 9.876), 0);
  assert.ok(Number.isNaN(sketchQuantile(EMPTY_SKETCH, 0.5, 0, 0)));
});

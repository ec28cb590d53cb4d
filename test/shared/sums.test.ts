import type { Block } from "@weir/shared/model/reading";
import { BlockBatch } from "@weir/shared/operators/block-batch";
import { createCalendar, HOUR_MS } from "@weir/shared/operators/calendar";
import { PAGE_SERIES } from "@weir/shared/operators/columns";
import { HourCells } from "@weir/shared/operators/hour-cells";
import type { Partial } from "@weir/shared/operators/partial";
import { mergeAll, mergePartials, partialQuantile, PartialSum, PartialSums } from "@weir/shared/operators/partial";
import { applyWindowPartial } from "@weir/shared/operators/rollup";
import { roundSum } from "@weir/shared/operators/exact-sum";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import type { Sketch } from "@weir/shared/operators/sketch";
import { EMPTY_SKETCH, mergeSketches, sketchKey } from "@weir/shared/operators/sketch";
import { sketchOfKeys } from "@weir/shared/operators/sketch-of-keys";
import { SketchSums } from "@weir/shared/operators/sketch-sums";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { WindowAccumulator } from "@weir/shared/operators/windows";
import { decodePartial, decodeWindows, encodePartial, encodeWindows } from "@weir/shared/wire/partial-codec";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { exactSum } from "../support/exact-mean.ts";
import { suite } from "../support/suite.ts";
import type { JudgedReading } from "./arbitraries.ts";
import { addAll, anyReading, anyValue, windowsOf } from "./arbitraries.ts";
import { MemoryCellStore } from "./memory-cells.ts";
import { band, version } from "./thresholds-support.ts";

const test = suite("sums in place");

/** Few buckets, many, and so many that they collapse. */
const anySketch: fc.Arbitrary<Sketch> = fc
  .oneof(
    fc.array(anyValue, { maxLength: 30 }),
    fc
      .tuple(
        fc.integer({ min: 1, max: 1500 }),
        fc.constantFrom(0.0002, 0.003, 0.1),
        fc.double({ min: -9, max: 9, noNaN: true }),
      )
      .map(([count, step, from]) => Array.from({ length: count }, (_, i) => from + i * step)),
  )
  .map((values) => Int32Array.from(values, (value) => sketchKey(value + 0)).sort())
  .map((keys) => sketchOfKeys(keys, keys.length, keys[0] ?? 0, keys.at(-1) ?? 0));

test("sketches added to rows, interleaved and cleared at times, are those merged", () => {
  const anySteps = fc.array(
    fc.record({ row: fc.constantFrom(0, 1, 4097), sketch: anySketch, clears: fc.nat(9).map((n) => n === 0) }),
    { maxLength: 24 },
  );
  fc.assert(
    fc.property(anySteps, (steps) => {
      const sums = new SketchSums();
      const expected = new Map<number, Sketch>();
      for (const { row, sketch, clears } of steps) {
        if (clears) {
          sums.clear(row);
          expected.delete(row);
        }
        sums.add(row, sketch);
        expected.set(row, mergeSketches(expected.get(row) ?? EMPTY_SKETCH, sketch));
        for (const [one, merged] of expected) assert.equal(sums.toSketch(one), merged);
      }
      assert.equal(sums.toSketch(9999), EMPTY_SKETCH);
    }),
    { numRuns: 150 },
  );
});

const anyWindows = fc.array(anyReading, { maxLength: 60 }).map((readings) => windowsOf(readings));

test("partials added to rows, interleaved and cleared at times, are those merged", () => {
  fc.assert(
    fc.property(anyWindows, fc.array(fc.nat(9), { minLength: 1 }), (windows, clears) => {
      const sums = new PartialSums();
      const one = new PartialSum();
      const added = new Map<number, Partial[]>();
      const all: Partial[] = [];
      windows.forEach(({ series, partial }, i) => {
        if (clears[i % clears.length] === 0) {
          sums.clear(series);
          one.clear();
          added.delete(series);
          all.length = 0;
        }
        sums.add(series, partial);
        one.add(partial);
        all.push(partial);
        added.set(series, [...(added.get(series) ?? []), partial]);
        for (const [row, partials] of added) assert.equal(sums.toPartial(row), mergeAll(partials));
        assert.equal(one.toPartial(), mergeAll(all));
      });
      assert.is(sums.toPartial(7), undefined);
      assert.is(new PartialSum().toPartial(), undefined);
    }),
    { numRuns: 200 },
  );
});

test("hour cells are those of a plain store, in whatever order windows come", () => {
  const quarterMs = 900_000;
  const anyPlaces = fc.array(
    fc.record({ series: fc.constantFrom(0, 1, 5000), quarter: fc.nat(40), ms: fc.nat(quarterMs - 1), value: anyValue }),
    { minLength: 1, maxLength: 60 },
  );
  fc.assert(
    fc.property(
      fc.constantFrom("UTC", "Asia/Kathmandu", "Australia/Lord_Howe"),
      anyPlaces.map((places) => places.map((one) => ({ ...one, stamped: 0, judged: 0, version: 1 }))),
      fc.nat(60),
      fc.boolean(),
      (zone, places, cut, reversed) => {
        const calendar = createCalendar(zone);
        const fromMs = Date.parse("2026-04-05T00:00:00+11:00");
        const readings = places.map((one) => ({ ...one, tsMs: fromMs + one.quarter * quarterMs + one.ms }));
        const windows = [...windowsOf(readings.slice(0, cut), quarterMs), ...windowsOf(readings.slice(cut), quarterMs)];
        const cells = new HourCells(calendar);
        const plain = new MemoryCellStore();
        for (const { series, windowStartMs, partial } of reversed ? windows.toReversed() : windows) {
          cells.add(series, windowStartMs, partial);
          applyWindowPartial(plain, calendar, series, windowStartMs, partial, false);
        }
        const middleMs = fromMs + 20 * quarterMs;
        for (const series of [0, 1, 5000, 9999]) {
          for (const [from, to] of [
            [-Infinity, Infinity],
            [middleMs, Infinity],
            [-Infinity, middleMs],
          ] as const) {
            assert.equal(cells.range(series, from, to), plain.range(series, "hour", from, to));
          }
        }
      },
    ),
    { numRuns: 200 },
  );
});

interface Row {
  readonly series: number;
  readonly value: number;
}

function blockOf(rows: readonly Row[], fromMs: number): Block {
  return {
    count: rows.length,
    series: Uint32Array.from(rows, ({ series }) => series),
    tsMs: Float64Array.from(rows, (_, i) => fromMs + i),
    value: Float64Array.from(rows, ({ value }) => value),
    stamped: new Uint8Array(rows.length),
  };
}

test("blocks folded in batches, page by page, are as folded one by one", () => {
  const anyRow = fc.record({
    series: fc.constantFrom(0, 1, PAGE_SERIES - 1, PAGE_SERIES, 3 * PAGE_SERIES + 5),
    value: fc.integer({ min: -3, max: 12 }),
  });
  const anyBlocks = fc.array(
    fc
      .tuple(fc.array(anyRow, { maxLength: 40 }), fc.nat(4))
      .map(([rows, draw]) => (draw === 0 ? rows : rows.toSorted((a, b) => a.series - b.series))),
    { maxLength: 20 },
  );
  const newFold = (): SeriesFold => {
    const thresholds = new ThresholdHistory();
    thresholds.add(version(1, 0, { rules: [["*", band({ warningHigh: 8, gapMs: 500 })]] }));
    const keyOf = (series: number) => ({ site: "s", device: `d${series}`, metric: "m" });
    return new SeriesFold(keyOf, thresholds, { windowMs: 1000 });
  };
  fc.assert(
    fc.property(anyBlocks, fc.nat(60), (blocks, readingsMax) => {
      const [plain, batched] = [newFold(), newFold()];
      const [expected, out] = [createEmissions(), createEmissions()];
      const batch = new BlockBatch(batched, out, readingsMax);
      // One set of columns, as the log lends them.
      const lent = blockOf(
        Array.from({ length: 40 }, () => ({ series: 0, value: 0 })),
        0,
      );
      blocks.forEach((rows, i) => {
        const block = blockOf(rows, i * 300);
        plain.applyBlock(block, expected);
        lent.series.set(block.series);
        lent.tsMs.set(block.tsMs);
        lent.value.set(block.value);
        batch.add({ ...lent, count: block.count });
      });
      batch.drain();
      assert.equal(out.refolds, []);
      const bySeries = <T extends { readonly series: number }>(items: readonly T[]): T[] =>
        items.toSorted((a, b) => a.series - b.series);
      assert.equal(bySeries(out.closed), bySeries(expected.closed));
      assert.equal(bySeries([...batched.openEpisodes()]), bySeries([...plain.openEpisodes()]));
      const byDevice = ({ alerts }: typeof out) =>
        alerts.toSorted((a, b) => (a.device < b.device ? -1 : Number(a.device > b.device)));
      assert.equal(byDevice(out), byDevice(expected));
      assert.equal(batched.flush(out), plain.flush(expected));
    }),
    { numRuns: 300 },
  );
});

/** One value of any magnitude that a reading may have, all magnitudes alike: 2^-1074 to 2^960, both signs. */
const ofAnyMagnitude = fc
  .tuple(
    fc.integer({ min: -1074, max: 959 }),
    fc.double({ min: 1, max: 2, maxExcluded: true, noNaN: true }),
    fc.boolean(),
  )
  .map(([exponent, mantissa, isNegative]) => (isNegative ? -1 : 1) * mantissa * 2 ** exponent);

/** Readings of one series within an hour, of which some cancel out; what a fold could have judged of them is drawn. */
const readingsOfAnyMagnitude: fc.Arbitrary<JudgedReading[]> = fc
  .tuple(
    fc.array(fc.record({ one: anyReading, value: fc.oneof(ofAnyMagnitude, anyValue), ms: fc.nat(HOUR_MS - 1) }), {
      minLength: 1,
      maxLength: 80,
    }),
    fc.nat(80),
  )
  .map(([drawn, cancelled]) => {
    const readings = drawn.map(({ one, value, ms }) => ({ ...one, series: 0, tsMs: ms, value }));
    const opposite = readings.slice(0, cancelled).map((one) => ({ ...one, tsMs: one.tsMs + 1, value: 0 - one.value }));
    return [...readings, ...opposite];
  });

test("values of every magnitude are drawn", () => {
  const values = fc
    .sample(readingsOfAnyMagnitude, { numRuns: 300, seed: 4 })
    .flat()
    .map(({ value }) => value);
  const magnitudes = values.map((value) => Math.abs(value)).filter((value) => value > 0);
  for (let exponent = -1074; exponent < 960; exponent += 50) {
    const [from, to] = [2 ** exponent, 2 ** (exponent + 50)];
    assert.ok(
      magnitudes.some((value) => value >= from && value < to),
      `2^${exponent} to 2^${exponent + 50}`,
    );
  }
  assert.ok(values.includes(0) && values.some((value) => value < 0));
  assert.not.ok(values.some((value) => Object.is(value, -0)));
});

/** One for all tests of this file: it costs more than what it is filled with. */
const accumulator = new WindowAccumulator(1e15);

/** The partial of readings of one series, all in one window. */
function partialOf(readings: readonly JudgedReading[]): Partial {
  addAll(accumulator, readings);
  const [window] = accumulator.drain();
  return window!.partial;
}

const anyDraws = fc.integer({ min: 1, max: 2 ** 31 - 2 });

/** Draws whole numbers below others, the same for the same seed (Lehmer's generator). */
function drawsOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => (state = (state * 48_271) % 2_147_483_647) % below;
}

/** Ways to merge two partials: as they are, summed in place, in the other order, and each through the wire before. */
const MERGES: ReadonlyArray<(a: Partial, b: Partial) => Partial> = [
  mergePartials,
  (a, b) => mergePartials(b, a),
  (a, b) => {
    const sum = new PartialSum();
    for (const one of [a, b]) sum.add(one);
    return sum.toPartial()!;
  },
  (a, b) => mergePartials(decodePartial(encodePartial(a)), throughWindows(b)),
];

function hex(partial: Partial): string {
  return Buffer.from(encodePartial(partial)).toString("hex");
}

function throughWindows(partial: Partial): Partial {
  return decodeWindows(encodeWindows([{ series: 3, windowStartMs: 60_000, partial }]))[0]!.partial;
}

test("a partial is the same bytes for readings of every magnitude in any order, split and merged in any tree", () => {
  fc.assert(
    fc.property(
      readingsOfAnyMagnitude,
      anyDraws,
      fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 8 }), fc.constant(1000)),
      (readings, seed, splits) => {
        const draw = drawsOf(seed);
        const whole = partialOf(readings);
        const sets = new Map<number, JudgedReading[]>();
        for (const one of shuffled(readings, draw)) {
          const set = draw(splits);
          sets.set(set, [...(sets.get(set) ?? []), one]);
        }
        const parts = [...sets.values()].map((set) => partialOf(set));
        while (parts.length > 1) {
          const [a] = parts.splice(draw(parts.length), 1);
          const [b] = parts.splice(draw(parts.length), 1);
          parts.push(MERGES[draw(MERGES.length)]!(a!, b!));
        }
        assert.is(hex(parts[0]!), hex(whole));
        assert.is(roundSum(parts[0]!.sum), exactSum(readings.map(({ value }) => value)));
        for (const q of [0, 0.01, 0.5, 0.99, 1]) assert.is(partialQuantile(parts[0]!, q), partialQuantile(whole, q));
      },
    ),
    { numRuns: 600 },
  );
});

test("a window and its hour are the same bytes whatever came in parts, and was replaced in between", () => {
  const calendar = createCalendar("UTC");
  fc.assert(
    fc.property(
      readingsOfAnyMagnitude,
      fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.boolean()), { minLength: 1, maxLength: 6 }),
      anyDraws,
      (readings, steps, seed) => {
        const come = shuffled(readings, drawsOf(seed));
        const store = new MemoryCellStore();
        for (let done = 0, step = 0; done < come.length; step++) {
          const [count, replace] = steps[step % steps.length]!;
          // A replacement holds all readings that have come to its windows, a delta the new ones.
          const windows = windowsOf(come.slice(replace ? 0 : done, done + count), HOUR_MS / 4);
          for (const { series, windowStartMs, partial } of decodeWindows(encodeWindows(windows))) {
            applyWindowPartial(store, calendar, series, windowStartMs, partial, replace);
          }
          done += count;
        }
        for (const [level, lengthMs] of [
          ["window", HOUR_MS / 4],
          ["hour", HOUR_MS],
        ] as const) {
          const expected = windowsOf(readings, lengthMs).map((one) => `${one.windowStartMs} ${hex(one.partial)}`);
          const cells = store.range(0, level, -Infinity, Infinity);
          const found = cells.map(({ startMs, partial }) => `${startMs} ${hex(partial)}`);
          assert.is(found.toSorted().join("; "), expected.toSorted().join("; "));
        }
      },
    ),
    { numRuns: 400 },
  );
});

test("thousands of partials of one reading each, of every magnitude, are the partial of all of them", () => {
  const values = fc.sample(ofAnyMagnitude, { numRuns: 4000, seed: 11 });
  const readings = values.map((value, tsMs) => ({ series: 0, tsMs, value, stamped: 0, judged: 0, version: 1 }));
  const parts = readings.map((one) => partialOf([one]));
  const whole = hex(partialOf(readings));
  const sum = new PartialSum();
  for (const one of parts) sum.add(one);
  assert.is(hex(sum.toPartial()!), whole);
  assert.is(hex(mergeAll(parts.toReversed())!), whole);
  assert.is(roundSum(sum.toPartial()!.sum), exactSum(values));
});

function shuffled<T>(items: readonly T[], draw: (below: number) => number): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(draw(rest.length), 1)[0]!);
}

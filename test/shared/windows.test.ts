import type { Partial } from "@weir/shared/operators/partial";
import {
  isBefore,
  mergeAll,
  mergePartials,
  mergeVersions,
  partialMean,
  partialQuantile,
} from "@weir/shared/operators/partial";
import type { WindowPartial } from "@weir/shared/operators/windows";
import { JUDGED_CRITICAL, JUDGED_HIGH, JUDGED_LOW, WindowAccumulator } from "@weir/shared/operators/windows";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { addAll, anyReading, partialOf, steady, WINDOW_MS, windowsOf } from "./arbitraries.ts";
import type { JudgedReading } from "./arbitraries.ts";

const test = suite("windows and partials");

const anyReadings = fc.array(anyReading, { maxLength: 80 });

/** What a window says beside sum and sketch, which have oracles of their own, by plain definition. */
function plainly(readings: readonly JudgedReading[]): Omit<Partial, "sum" | "sketch"> {
  const inOrder = readings.toSorted((a, b) => a.tsMs - b.tsMs || a.value - b.value);
  const values = readings.map(({ value }) => value);
  const judged = (flag: number): number => readings.filter((one) => (one.judged & flag) !== 0).length;
  return {
    count: readings.length,
    stamped: readings.filter(({ stamped }) => stamped === 1).length,
    min: Math.min(...values),
    max: Math.max(...values),
    firstTsMs: inOrder[0]!.tsMs,
    firstValue: inOrder[0]!.value,
    lastTsMs: inOrder.at(-1)!.tsMs,
    lastValue: inOrder.at(-1)!.value,
    low: judged(JUDGED_LOW),
    high: judged(JUDGED_HIGH),
    critical: judged(JUDGED_CRITICAL),
    versions: [...new Set(readings.map(({ version }) => version))]
      .filter((version) => version > 0)
      .toSorted((a, b) => a - b),
  };
}

/** Window partials of several drains, merged by series and window, in the order of a single drain. */
function merged(drains: readonly WindowPartial[][]): WindowPartial[] {
  const cells = new Map<string, WindowPartial>();
  for (const one of drains.flat()) {
    const name = `${one.series} ${one.windowStartMs}`;
    const before = cells.get(name);
    cells.set(name, before ? { ...one, partial: mergePartials(before.partial, one.partial) } : one);
  }
  return [...cells.values()].toSorted((a, b) => a.series - b.series || a.windowStartMs - b.windowStartMs);
}

test("hold what their readings' definition says, by series and window", () => {
  fc.assert(
    fc.property(anyReadings, (readings) => {
      const groups = new Map<string, JudgedReading[]>();
      for (const one of readings) {
        const name = `${one.series} ${Math.floor(one.tsMs / WINDOW_MS) * WINDOW_MS}`;
        groups.set(name, [...(groups.get(name) ?? []), one]);
      }
      const windows = windowsOf(readings);
      assert.equal(
        windows.map(({ series, windowStartMs }) => `${series} ${windowStartMs}`).toSorted(),
        [...groups.keys()].toSorted(),
      );
      for (const { series, windowStartMs, partial } of windows) {
        const { sum: _, sketch: __, ...rest } = partial;
        assert.equal(rest, plainly(groups.get(`${series} ${windowStartMs}`)!));
      }
    }),
    { numRuns: 300 },
  );
});

test("are the same bytes for readings in any order, drained at any points", () => {
  fc.assert(
    fc.property(
      anyReadings.chain((readings) =>
        fc.record({
          readings: fc.constant(readings),
          reordered: fc.shuffledSubarray(readings, { minLength: readings.length }),
          cuts: fc.array(fc.nat(readings.length), { maxLength: 6 }),
        }),
      ),
      ({ readings, reordered, cuts }) => {
        const windows = new WindowAccumulator(WINDOW_MS);
        const drains: WindowPartial[][] = [];
        let from = 0;
        for (const cut of [...cuts.toSorted((a, b) => a - b), readings.length]) {
          addAll(windows, reordered.slice(from, cut));
          assert.is(windows.readings, cut - from);
          drains.push(windows.drain());
          assert.is(windows.readings, 0);
          from = cut;
        }
        const once = windowsOf(readings);
        assert.equal(merged(drains), once);
        assert.equal(merged(drains.toReversed()), once);
      },
    ),
    { numRuns: 300 },
  );
});

test("grow over many series, windows and thousands of readings", () => {
  const readings: JudgedReading[] = [];
  for (let i = 0; i < 20_000; i++) {
    readings.push({
      series: (i * 7919) % 9000,
      tsMs: (i % 3) * WINDOW_MS + i,
      value: i / 8,
      stamped: 0,
      judged: 0,
      version: 1,
    });
  }
  const halves = [windowsOf(readings.slice(0, 11_111)), windowsOf(readings.slice(11_111))];
  const once = windowsOf(readings);
  assert.is(
    once.reduce((sum, { partial }) => sum + partial.count, 0),
    20_000,
  );
  assert.equal(merged(halves), once);
});

test("the first and the last reading of one time are the smallest and the largest value", () => {
  const partial = partialOf([4, 9, 1, 7].map((value) => ({ tsMs: 10, value })));
  assert.equal([partial.firstValue, partial.lastValue], [1, 9]);
  const [a, b] = [partialOf([{ tsMs: 10, value: 4 }]), partialOf([{ tsMs: 10, value: 2 }])];
  for (const both of [mergePartials(a, b), mergePartials(b, a)])
    assert.equal([both.firstValue, both.lastValue], [2, 4]);
  assert.not(isBefore(1, 2, 1, 2));
  assert.ok(isBefore(1, 2, 1, 3) && isBefore(0, 9, 1, 2));
});

test("versions are a set, ascending", () => {
  const versions = fc.uniqueArray(fc.integer({ min: 1, max: 12 })).map((list) => list.toSorted((a, b) => a - b));
  fc.assert(
    fc.property(versions, versions, (a, b) => {
      assert.equal(
        mergeVersions(a, b),
        [...new Set([...a, ...b])].toSorted((x, y) => x - y),
      );
    }),
  );
});

test("merging all of many is pairwise merging, and of none is nothing", () => {
  assert.is(mergeAll([]), undefined);
  const parts = [3, 1, 2].map((value) => partialOf(steady(value, 2, 5, value)));
  assert.equal(mergeAll(parts), mergePartials(parts[2]!, mergePartials(parts[1]!, parts[0]!)));
});

test("the mean is the exact sum rounded once, and the median a reading's value to a bucket", () => {
  const partial = partialOf([0.1, 0.2, 0.3, 1e16, -1e16].map((value, i) => ({ tsMs: i, value })));
  // Naive addition from left to right gives 0 for the sum.
  assert.is(partialMean(partial), (0.1 + 0.2 + 0.3 - 2 ** -53) / 5);
  assert.ok(Math.abs(partialQuantile(partial, 0.5) - 0.2) < 0.2 * 2 ** -12);
});

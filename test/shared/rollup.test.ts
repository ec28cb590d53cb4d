import { createCalendar, hourEnd } from "@weir/shared/operators/calendar";
import type { Partial } from "@weir/shared/operators/partial";
import { applyWindowPartial, mergeHour } from "@weir/shared/operators/rollup";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { partialOf, windowsOf } from "./arbitraries.ts";
import { MemoryCellStore } from "./memory-cells.ts";

const test = suite("rollup");

const HOUR_MS = 3_600_000;
const QUARTER_MS = HOUR_MS / 4;

/** An hour with the clocks of three zones changing within reach. */
const anyPlace = fc.constantFrom(
  { zone: "Europe/Berlin", fromMs: Date.parse("2026-10-24T23:00:00Z") },
  { zone: "Australia/Lord_Howe", fromMs: Date.parse("2026-10-04T00:00:00+10:30") },
  { zone: "Australia/Lord_Howe", fromMs: Date.parse("2026-04-05T00:00:00+11:00") },
  { zone: "Asia/Kolkata", fromMs: Date.parse("2026-04-05T00:00:00Z") },
);
const anyReadings = fc.uniqueArray(fc.record({ offset: fc.nat(4 * HOUR_MS), value: fc.integer({ min: -9, max: 9 }) }), {
  minLength: 1,
  maxLength: 40,
  selector: ({ offset }) => offset,
});

function readingsAt(fromMs: number, drawn: ReadonlyArray<{ offset: number; value: number }>, series = 0) {
  return drawn.map(({ offset, value }) => ({
    series,
    tsMs: fromMs + offset,
    value,
    stamped: 0,
    judged: 0,
    version: 1,
  }));
}

test("hours hold just the readings of their local hour, whatever parts came, merged or replaced", () => {
  fc.assert(
    fc.property(
      anyPlace,
      anyReadings,
      fc.nat(40),
      fc.array(fc.nat(20), { maxLength: 6 }),
      ({ zone, fromMs }, drawn, cut, again) => {
        const calendar = createCalendar(zone);
        const readings = readingsAt(fromMs, drawn);
        const store = new MemoryCellStore();
        let grown = 0;
        const apply = (partials: ReturnType<typeof windowsOf>, replace: boolean): void => {
          for (const { series, windowStartMs, partial } of partials) {
            grown += applyWindowPartial(store, calendar, series, windowStartMs, partial, replace);
          }
        };
        apply(windowsOf(readings.slice(0, cut), QUARTER_MS), false);
        apply(windowsOf(readings.slice(cut), QUARTER_MS), false);
        // Sent again as what the windows hold in whole: nothing may change.
        const whole = windowsOf(readings, QUARTER_MS);
        apply(
          again.map((index) => whole[index % whole.length]!),
          true,
        );

        assert.is(grown, readings.length);
        const hours = store.range(0, "hour", -Infinity, Infinity);
        const expected = new Map<number, typeof readings>();
        for (const one of readings) {
          const hourMs = calendar.hourStart(one.tsMs);
          expected.set(hourMs, [...(expected.get(hourMs) ?? []), one]);
        }
        assert.equal(
          hours,
          [...expected].toSorted(([a], [b]) => a - b).map(([startMs, ones]) => ({ startMs, partial: partialOf(ones) })),
        );
        for (const { startMs, partial } of hours) {
          assert.equal(mergeHour(store, calendar, 0, startMs), partial);
          assert.ok(partial.lastTsMs < hourEnd(calendar, startMs));
        }
      },
    ),
    { numRuns: 250 },
  );
});

test("a replacement takes the place of its window, and the hour is made anew", () => {
  const calendar = createCalendar("UTC");
  const store = new MemoryCellStore();
  const put = (value: number, startMs: number, replace: boolean): number =>
    applyWindowPartial(store, calendar, 7, startMs, partialOf([{ tsMs: startMs + 1, value }]), replace);
  assert.is(put(1, 0, false), 1);
  assert.is(put(5, QUARTER_MS, false), 1);
  assert.is(put(9, 0, true), 0);
  const hour = store.get(7, "hour", 0) as Partial;
  assert.equal([hour.count, hour.min, hour.max], [2, 5, 9]);
  assert.is(put(2, 2 * QUARTER_MS, true), 1, "a replacement of nothing is an addition");
  assert.is(store.get(7, "hour", 0)?.count, 3);
});

test("ranges take their start, leave their end, ascend, and keep series and levels apart", () => {
  const store = new MemoryCellStore();
  const partial = partialOf([{ tsMs: 0, value: 1 }]);
  for (const startMs of [30, 10, 20, 40]) store.put(1, "window", startMs, partial);
  store.put(2, "window", 10, partial);
  store.put(1, "hour", 10, partial);
  assert.equal(
    store.range(1, "window", 10, 40).map(({ startMs }) => startMs),
    [10, 20, 30],
  );
  assert.equal(store.range(3, "window", 0, 99), []);
  assert.is(store.get(1, "window", 11), undefined);
  assert.is(mergeHour(store, createCalendar("UTC"), 9, 0), undefined);
});

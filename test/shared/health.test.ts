import {
  breachShare,
  driftFrom,
  expectedCount,
  expectedInterval,
  healthParts,
  healthScore,
  healthTrend,
} from "@weir/shared/operators/health";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { partialOf, steady } from "./arbitraries.ts";
import { band } from "./thresholds-support.ts";

const test = suite("health");

/** Cells of readings, one for each group. */
const cellsOf = (...groups: ReadonlyArray<ReadonlyArray<{ tsMs: number; value: number }>>) =>
  groups.map((group) => ({ startMs: group[0]!.tsMs, partial: partialOf(group) }));

test("the expected interval is the band's where it says one", () => {
  assert.is(expectedInterval(cellsOf(steady(0, 5, 10, 1)), band({ intervalMs: 250 })), 250);
  assert.is(expectedInterval(cellsOf(steady(0, 5, 10, 1)), band({ intervalMs: null })), 10);
  assert.is(expectedInterval(cellsOf(steady(0, 5, 10, 1)), band({ intervalMs: 0 })), 10);
});

test("else it is the lower median of the gaps, by each cell's mean gap and the gaps between cells", () => {
  const anyCells = fc.array(
    fc.record({
      pause: fc.integer({ min: 0, max: 500 }),
      count: fc.integer({ min: 1, max: 9 }),
      stepMs: fc.integer({ min: 1, max: 50 }),
    }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(anyCells, (drawn) => {
      const gaps: number[] = [];
      let atMs = 0;
      const groups = drawn.map(({ pause, count, stepMs }, i) => {
        atMs += pause;
        if (i > 0) gaps.push(pause);
        for (let n = 1; n < count; n++) gaps.push(stepMs);
        const group = steady(atMs, count, stepMs, 1);
        atMs = group.at(-1)!.tsMs;
        return group;
      });
      const median = gaps.toSorted((a, b) => a - b)[Math.ceil(gaps.length / 2) - 1];
      assert.is(expectedInterval(cellsOf(...groups), undefined), median === undefined || median === 0 ? null : median);
    }),
    { numRuns: 400 },
  );
});

test("an outage does not stretch the expected interval", () => {
  assert.is(expectedInterval(cellsOf(steady(0, 60, 1000, 1), steady(8_000_000, 60, 1000, 1)), undefined), 1000);
});

test("expected readings are the stretch over the interval, rounded, and never none", () => {
  assert.is(expectedCount(86_400_000, 1000, 5), 86_400);
  assert.is(expectedCount(1499, 1000, 5), 1);
  assert.is(expectedCount(1500, 1000, 5), 2);
  assert.is(expectedCount(10, 1000, 5), 1);
  assert.is(expectedCount(10, null, 5), 5);
});

test("drift is the mean shift of three quantiles as a share of the baseline's spread", () => {
  const partial = partialOf([...steady(0, 100, 1, 4)]);
  assert.is(driftFrom({ p05: 4, p50: 4, p95: 4 }, partial), 0);
  assert.is(driftFrom({ p05: 3, p50: 4, p95: 7 }, partial), (1 + 0 + 3) / 3 / 4);
  assert.is(driftFrom({ p05: -100, p50: -99, p95: -98 }, partial), 1, "no more than whole");
  assert.is(driftFrom({ p05: 5, p50: 5, p95: 5 }, partial), 1, "a constant baseline is left altogether or not at all");
});

test("parts and score weigh availability 0.3, breaches 0.5 and drift 0.2", () => {
  const perfect = healthParts({ availability: 1, breachShare: 0, drift: null });
  assert.equal(perfect, { availability: 100, breaches: 100, drift: 100 });
  assert.is(healthScore(perfect), 100);
  const parts = healthParts({ availability: 0.95, breachShare: 0.04, drift: 0.25 });
  assert.equal(parts, { availability: 95, breaches: 60, drift: 75 });
  assert.is(healthScore(parts), 73.5);
  assert.is(healthParts({ availability: 0, breachShare: 0.7, drift: 1 }).breaches, 0);
});

test("a breach share counts critical breaches thrice", () => {
  const readings = [0, 1, 2, 2, 5, 6, 0, 0, 0, 0].map((judged, i) => ({ tsMs: i, value: 1, judged }));
  assert.is(breachShare(partialOf(readings)), (3 + 2 * 3) / 10);
});

const anyScores = fc
  .uniqueArray(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 30 })
  .chain((days) =>
    fc.tuple(
      ...days
        .toSorted((a, b) => a - b)
        .map((day) =>
          fc.record({ day: fc.constant(day), health: fc.integer({ min: 0, max: 1000 }).map((tenths) => tenths / 10) }),
        ),
    ),
  );

test("the trend is the median of all pairwise slopes, to a thousandth", () => {
  fc.assert(
    fc.property(anyScores, (scores) => {
      const trend = healthTrend(scores);
      assert.is(trend.days, scores.length);
      if (scores.length < 3) {
        assert.equal(trend, { days: scores.length, slopePerDay: null, daysUntilCritical: null });
        return;
      }
      const slopes = scores
        .flatMap((a) => scores.filter((b) => b.day > a.day).map((b) => (b.health - a.health) / (b.day - a.day)))
        .toSorted((a, b) => a - b);
      const median = (slopes[Math.floor((slopes.length - 1) / 2)]! + slopes[Math.ceil((slopes.length - 1) / 2)]!) / 2;
      assert.ok(Math.abs(trend.slopePerDay! - median) <= 0.0005 + 1e-9);
      assert.not(Object.is(trend.slopePerDay, -0));
      if (trend.slopePerDay! < 0) {
        const days = Math.max(0, (scores.at(-1)!.health - 40) / -trend.slopePerDay!);
        assert.ok(Math.abs(trend.daysUntilCritical! - days) <= 0.05 + 1e-9 * days);
      } else assert.is(trend.daysUntilCritical, null);
    }),
    { numRuns: 400 },
  );
});

test("a device that loses two points a day is critical in the days its score lasts, bad days aside", () => {
  const falling = Array.from({ length: 10 }, (_, day) => ({ day, health: day === 4 ? 0 : 90 - 2 * day }));
  assert.equal(healthTrend(falling), { days: 10, slopePerDay: -2, daysUntilCritical: 16 });
  const still = [50, 50, 49.9].map((health, i) => ({ day: i * 1000, health }));
  assert.ok(Object.is(healthTrend(still).slopePerDay, 0), "a slope that rounds to nothing has no sign");
  assert.equal(healthTrend([0, 1, 2].map((day) => ({ day, health: 30 - day }))).daysUntilCritical, 0);
  assert.equal(healthTrend([0, 1, 2].map((day) => ({ day, health: 77 }))), {
    days: 3,
    slopePerDay: 0,
    daysUntilCritical: null,
  });
});

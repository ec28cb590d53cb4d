import fc from "fast-check";
import * as assert from "uvu/assert";
import { LogReplay } from "@weir/agent/replay";
import type { Alert } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { longestGapMs } from "@weir/shared/model/thresholds";
import type { DailyReport } from "@weir/shared/model/report";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { createCalendar } from "@weir/shared/operators/calendar";
import { TREND_DAYS } from "@weir/shared/operators/health";
import type { MemoryReport } from "@weir/shared/operators/memory-report";
import { dailyReport, dayPart, joinParts } from "@weir/shared/operators/report";
import { createPlant } from "../support/plant.ts";
import type { Plant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { agent } from "./import-fixture.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("replay of some days", { timeoutMs: 60_000 });

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Midnight in UTC; where the plant is, clocks go forward on 29 March 2026. */
const FIRST_MS = Date.UTC(2026, 1, 1);
const TIMEZONE = "Europe/Berlin";
const DAYS = 62;
/** Where replays begin: local midnight of this day, counted from 0. */
const FROM_DAY = 20;
/** Everything is cut at once, and hours are merged as soon as they are over. */
const SMALL_CUTS = { cutReadings: 1, cutAfterMs: 0, mergeReadings: 40, settleMs: 0, mergeAgainMs: 0 };

/** Bands of a day's gap between breaches, at most, and of silences. */
function longGaps(number: number, effectiveFromMs: number, high: number): ThresholdVersion {
  const made = version(number, effectiveFromMs, high);
  const band = { forMs: 10 * MINUTE_MS, gapMs: number * 8 * HOUR_MS, intervalMs: HOUR_MS };
  return { ...made, rules: made.rules.map((rule) => ({ ...rule, band: { ...rule.band, ...band } })) };
}

interface Burst {
  readonly device: number;
  readonly hour: number;
  readonly count: number;
  readonly everyMs: number;
  readonly value: number;
}

type Step = { readonly kind: "send"; readonly burst: Burst } | { readonly kind: "settle" | "compact" | "restart" };

/** Readings around where a replay begins, around the days asked for, and anywhere. */
const burst: fc.Arbitrary<Burst> = fc.record({
  device: fc.integer({ min: 0, max: 2 }),
  // Whole hours make breaches whose distance is exactly a gap.
  hour: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: (FROM_DAY - 1) * 24, max: (FROM_DAY + 1) * 24 }) },
    { weight: 1, arbitrary: fc.integer({ min: (FROM_DAY + TREND_DAYS - 2) * 24, max: (FROM_DAY + TREND_DAYS) * 24 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: (DAYS - 10) * 24 }) },
  ),
  count: fc.integer({ min: 1, max: 30 }),
  everyMs: fc.constantFrom(MINUTE_MS, HOUR_MS, 8 * HOUR_MS),
  value: fc.constantFrom(1, 9, 12),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("send" as const), burst }) },
  { weight: 2, arbitrary: fc.constant({ kind: "settle" as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: "compact" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
);

function alertsFrom(report: MemoryReport, fromMs: number): Alert[] {
  return [...report.alerts()]
    .filter(({ startedAtMs, state }) => startedAtMs >= fromMs && state !== "withdrawn")
    .toSorted(byId);
}

function byId(a: Alert, b: Alert): number {
  return a.id < b.id ? -1 : 1;
}

function fill(plant: Plant, steps: readonly Step[]): void {
  plant.publish(longGaps(1, 0, 10));
  plant.publish(longGaps(2, FIRST_MS + 35 * DAY_MS, 8));
  // Watched all the time, in steps short enough to be watched time.
  for (let hour = 0; hour <= DAYS * 24; hour += 12) plant.tick(FIRST_MS + hour * HOUR_MS, true);
  for (const one of steps) {
    if (one.kind === "send") {
      const { device, hour, count, everyMs, value } = one.burst;
      for (let i = 0; i < count; i++) {
        const tsMs = FIRST_MS + hour * HOUR_MS + i * everyMs;
        plant.send(`s/hall/${device}/m${hour % 2}`, tsMs, value + (i % 3));
      }
      plant.pipeline.commit();
    } else if (one.kind === "settle") plant.pipeline.checkpoint();
    else if (one.kind === "compact") plant.pipeline.compact();
    else plant.restart();
  }
  plant.pipeline.commit();
}

test("from some day on and device by device, a replay makes the reports and alerts of the whole log", () => {
  const calendar = createCalendar(TIMEZONE);
  const runs = fc.array(step, { minLength: 5, maxLength: 20 });
  fc.assert(
    fc.property(runs, (steps) => {
      const plant = createPlant(tempFolder(), {
        nowMs: FIRST_MS + DAYS * DAY_MS,
        timezone: TIMEZONE,
        pipeline: { compaction: SMALL_CUTS },
      });
      fill(plant, steps);
      const dayOf = (days: number): string => new Date(FIRST_MS + days * DAY_MS).toISOString().slice(0, 10);
      const fromMs = calendar.dayRange(dayOf(FROM_DAY)).startMs;
      const whole = new LogReplay(plant.store, calendar, "a").fold();
      const replay = new LogReplay(plant.store, calendar, "a", { fromMs });
      const groups = replay.groups(1);
      const folds = groups.map((group) => replay.fold(group));
      const sureMs = fromMs + longestGapMs(whole.thresholds.versions()) + 1;
      assert.equal(folds.flatMap((fold) => alertsFrom(fold, sureMs)).toSorted(byId), alertsFrom(whole, sureMs));
      for (let day = FROM_DAY + TREND_DAYS - 1; day < DAYS; day++) {
        // Alerts of the first day may have begun before; what is asked for begins a gap later.
        if (calendar.dayRange(dayOf(day)).startMs < sureMs) continue;
        const parts = folds.map((fold) => dayPart(fold, dayOf(day)));
        const joined = joinParts(replay, dayOf(day), 1, parts);
        const expected = dailyReport(whole, dayOf(day), 1);
        assert.is(joined && canonicalJson(joined), expected && canonicalJson(expected));
      }
      plant.close();
    }),
    { numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 10) },
  );
});

test("devices are folded in groups that fit into memory, each whole", () => {
  const plant = createPlant(tempFolder(), { nowMs: FIRST_MS + DAY_MS });
  // Metrics of a device are not next to each other, and three hours have readings.
  for (const metric of ["a", "b"]) {
    for (let device = 0; device < 5; device++) {
      for (const hour of [0, 1, 5]) plant.send(`s/hall/${device}/${metric}`, FIRST_MS + hour * HOUR_MS, 1);
    }
  }
  plant.pipeline.compact();
  plant.send("s/hall/0/a", FIRST_MS + 1, 1);
  plant.pipeline.commit();
  const replay = new LogReplay(plant.store, createCalendar("UTC"), "a");
  assert.equal(replay.groups(3 * 10), [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
  assert.equal(replay.groups(3 * 5), [
    [0, 1, 5, 6],
    [2, 3, 7, 8],
    [4, 9],
  ]);
  // A device is folded whole, however small the room.
  assert.is(replay.groups(1).length, 5);
  assert.is(
    new LogReplay(plant.store, createCalendar("UTC"), "a", { fromMs: FIRST_MS + 2 * HOUR_MS }).groups(10).length,
    1,
  );
  const counts = replay
    .groups(15)
    .map((group) => dayPart(replay.fold(group), "2026-02-01")!.lineage.sources[0]!.readings);
  assert.equal(counts, [13, 12, 6]);
  plant.close();
});

test("a reading that came last and from before is where its series begins", () => {
  const calendar = createCalendar("UTC");
  const plant = createPlant(tempFolder(), { nowMs: FIRST_MS + DAYS * DAY_MS });
  const noonMs = FIRST_MS + 40 * DAY_MS + 12 * HOUR_MS;
  plant.publish(longGaps(1, 0, 10));
  plant.tick(FIRST_MS + DAYS * DAY_MS, true);
  for (let i = 0; i < 12; i++) plant.send("s/hall/1/m", noonMs + i * HOUR_MS, 1);
  plant.pipeline.checkpoint();
  const reportOf = (fromMs?: number): DailyReport | undefined =>
    dailyReport(
      new LogReplay(plant.store, calendar, "a", fromMs === undefined ? {} : { fromMs }).fold(),
      "2026-03-13",
      1,
    );
  assert.is(reportOf(noonMs)?.devices[0]?.expectedReadings, 12);
  plant.send("s/hall/1/m", FIRST_MS, 1);
  plant.pipeline.commit();
  assert.is(reportOf(noonMs)?.devices[0]?.expectedReadings, 24);
  assert.equal(reportOf(noonMs), reportOf());
  plant.close();
});

test("of a log that was trimmed, days that are not whole are left out, and it is said", async () => {
  const folder = tempFolder();
  const plant = createPlant(folder, { nowMs: FIRST_MS, pipeline: { logAgeMaxMs: 3 * DAY_MS } });
  plant.publish(version(1, 0, 10));
  for (let day = 0; day < 6; day++) {
    for (let hour = 0; hour < 24; hour++) {
      plant.nowMs = FIRST_MS + day * DAY_MS + hour * HOUR_MS;
      plant.send("s/hall/pump/temp", plant.nowMs, hour === 12 ? 20 : 1);
      plant.pipeline.checkpoint();
    }
  }
  plant.ship();
  const { wholeFromMs } = plant.store;
  assert.ok(wholeFromMs > FIRST_MS + 2 * DAY_MS && wholeFromMs < FIRST_MS + 3 * DAY_MS);
  const live = ["2026-02-04", "2026-02-05", "2026-02-06"].map((day) => plant.reports(day).live!);
  plant.close();

  const range = ["replay", "--from", "2026-02-01", "--to", "2026-02-06"];
  const reports = await agent(folder, ...range);
  assert.is(reports.code, 0, reports.stderr);
  assert.match(reports.stderr, /whole only from 2026-02-04 on; days before are left out: older reports are at/);
  assert.match(reports.stderr, /Trends look back to before the log was trimmed/);
  // But for the trend, which looks back on days that the log no longer has.
  const withoutTrend = (text: string): string => text.replaceAll(/"trend":\{[^}]*\}/g, "");
  assert.is(withoutTrend(reports.stdout), withoutTrend(live.map((report) => `${report}\n`).join("")));

  const alerts = await agent(folder, ...range, "--alerts");
  const starts = alerts.stdout
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as Alert).startedAtMs);
  assert.equal(
    starts,
    [3, 4, 5].map((day) => FIRST_MS + day * DAY_MS + 12 * HOUR_MS),
  );
  assert.not.match(alerts.stderr, /Trends/);
  const gone = await agent(folder, "replay", "--day", "2026-02-03");
  assert.is(gone.code, 1);
  assert.match(gone.stderr, /The log is whole only from 2026-02-04 on, and cannot tell of 2026-02-03/);
  const bad = await agent(folder, "replay", "--from", "2026-02-30", "--to", "2026-03-01");
  assert.is(bad.code, 2);
  assert.match(bad.stderr, /2026-02-30 is not a day/);
});

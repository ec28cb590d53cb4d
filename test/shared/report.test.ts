import type { Alert } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { createCalendar } from "@weir/shared/operators/calendar";
import { MemoryReport } from "@weir/shared/operators/memory-report";
import type { ReportSource } from "@weir/shared/operators/report";
import { dailyReport, dayHealth } from "@weir/shared/operators/report";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { JUDGED_CRITICAL, JUDGED_HIGH, JUDGED_LOW } from "@weir/shared/operators/windows";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import type { JudgedReading } from "./arbitraries.ts";
import { windowsOf } from "./arbitraries.ts";
import { band, version } from "./thresholds-support.ts";

const test = suite("report");

const DAY = "2026-03-14";
const DAY_MS = 86_400_000;
const START_MS = Date.parse(`${DAY}T00:00:00Z`);
const HOUR_MS = 3_600_000;

const SERIES = [
  { site: "hall", device: "pump", metric: "temp" },
  { site: "hall", device: "pump", metric: "flow" },
  { site: "hall", device: "fan", metric: "rpm" },
];

const NO_LOSSES = { rejected: {}, dropped: {} };

/** Readings every `stepMs` from the day's start; the value is the index. */
function readings(
  series: number,
  fromMs: number,
  count: number,
  stepMs: number,
  more: Partial<JudgedReading> = {},
): JudgedReading[] {
  return Array.from({ length: count }, (_, i) => ({
    series,
    tsMs: fromMs + i * stepMs,
    value: i + 1,
    stamped: 0,
    judged: 0,
    version: 1,
    ...more,
  }));
}

function reportOf(all: readonly JudgedReading[], timezone = "UTC"): MemoryReport {
  const thresholds = new ThresholdHistory();
  const one = version(1, 0, { rules: [["*", band({ warningHigh: 1000 })]] });
  const baseline = { p05: 1, p50: 2, p95: 3 };
  thresholds.add({ ...one, series: [{ ...SERIES[1]!, band: band({ intervalMs: 6 * HOUR_MS }), baseline }] });
  const report = new MemoryReport("gate-1", (series) => SERIES[series]!, thresholds, createCalendar(timezone));
  report.applyWindows(windowsOf(all));
  return report;
}

function alert(startedAtMs: number, state: Alert["state"], device = "pump"): Alert {
  const judged = { value: 1, low: null, high: null, thresholdVersion: 1, breaches: 1 } as const;
  const id = `${device}/${startedAtMs}`;
  return {
    ...SERIES[0]!,
    device,
    id,
    kind: "high",
    severity: "warning",
    state,
    startedAtMs,
    endedAtMs: null,
    ...judged,
  };
}

/** A day of a pump, with all that a report counts, and things that it must not count. */
function pumpDay(): MemoryReport {
  const temp = readings(0, START_MS, 12, 2 * HOUR_MS);
  temp[0] = { ...temp[0]!, judged: JUDGED_LOW, stamped: 1 };
  temp[11] = { ...temp[11]!, judged: JUDGED_HIGH | JUDGED_CRITICAL };
  const flow = readings(1, START_MS, 3, 6 * HOUR_MS);
  const report = reportOf([...temp, ...flow]);
  report.applyAlerts([alert(START_MS, "firing"), alert(START_MS + 1, "withdrawn"), alert(START_MS - 1, "resolved")]);
  report.applyAlerts([
    alert(START_MS, "resolved"),
    alert(START_MS + DAY_MS, "firing"),
    alert(START_MS + 5, "firing", "fan"),
  ]);
  report.applyTick({ nowMs: START_MS + 10, rejected: { UNDECODABLE: 2 }, dropped: {} });
  report.applyTick({ nowMs: START_MS + DAY_MS, rejected: { UNDECODABLE: 5 }, dropped: { OUTBOX_FULL: 9 } });
  report.applyTick({ nowMs: START_MS + 20, rejected: { UNDECODABLE: 1, FUTURE: 4 }, dropped: { QUEUE_FULL: 3 } });
  return report;
}

test("a day worked out by hand", () => {
  assert.equal(dailyReport(pumpDay(), DAY, 2), {
    day: DAY,
    timezone: "UTC",
    revision: 2,
    completeness: {
      readings: 15,
      // temp: every two hours by its own readings; flow: every six by its band.
      expectedReadings: 12 + 4,
      ratio: 15 / 16,
      stampedReadings: 1,
      rejected: { UNDECODABLE: 3, FUTURE: 4 },
      dropped: { QUEUE_FULL: 3 },
    },
    lineage: {
      operatorVersion: 2,
      thresholdVersions: [1],
      sources: [{ agent: "gate-1", firstTsMs: START_MS, lastTsMs: START_MS + 22 * HOUR_MS, readings: 15 }],
    },
    devices: [
      {
        site: "hall",
        device: "pump",
        // 0.3 × 93.8 + 0.5 × 0 + 0.2 × 100: 2 breaches and a critical one more twice, of 12, are over a tenth.
        health: 48.1,
        healthParts: { availability: 93.8, breaches: 0, drift: 100 },
        availability: 15 / 16,
        readings: 15,
        expectedReadings: 16,
        alerts: 1,
        breaches: 2,
        metrics: [
          {
            metric: "flow",
            count: 3,
            min: 1,
            max: 3,
            mean: 2,
            p50: dayMedian(2),
            p99: 3,
            breaches: 0,
            drift: dayDrift(2),
          },
          {
            metric: "temp",
            count: 12,
            min: 1,
            max: 12,
            mean: 6.5,
            p50: dayMedian(6),
            p99: 12,
            breaches: 2,
            drift: null,
          },
        ],
        trend: { days: 1, slopePerDay: null, daysUntilCritical: null },
      },
    ],
  });
});

/** A whole number's place in the middle of its bucket, which is 2^-12 of the power of two below it wide. */
function dayMedian(value: number): number {
  return value + 2 ** (Math.floor(Math.log2(value)) - 13) - 2 ** (Math.floor(Math.log2(value)) - 21);
}

function dayDrift(median: number): number {
  return (dayMedian(median) - median) / 3 / 2;
}

test("the present day is expected up to the agent's clock, or the device's where that is ahead; a finished one whole", () => {
  const report = reportOf(readings(0, START_MS, 7, HOUR_MS));
  const expected = (): number | undefined => dailyReport(report, DAY, 0)?.completeness.expectedReadings;
  assert.is(expected(), 6);
  report.applyTick({ nowMs: START_MS + 5 * HOUR_MS, ...NO_LOSSES });
  assert.is(expected(), 6);
  report.applyTick({ nowMs: START_MS + 9 * HOUR_MS, ...NO_LOSSES });
  assert.is(expected(), 9);
  report.applyTick({ nowMs: START_MS + DAY_MS, ...NO_LOSSES });
  assert.is(dailyReport(report, DAY, 0)?.completeness.expectedReadings, 24);
});

test("a device whose clock runs ahead moves what is expected of itself, and of no other", () => {
  // pump's second metric stops after two hours; fan's clock is six hours ahead of the agent's.
  const pump = [...readings(0, START_MS, 4, HOUR_MS), ...readings(1, START_MS, 1, HOUR_MS)];
  const report = reportOf(pump);
  report.applyTick({ nowMs: START_MS + 3 * HOUR_MS, ...NO_LOSSES });
  const deviceOf = (device: string) => dailyReport(report, DAY, 0)?.devices.find((one) => one.device === device);
  const before = deviceOf("pump");
  report.applyWindows(windowsOf(readings(2, START_MS, 10, HOUR_MS)));
  assert.equal(deviceOf("pump"), before);
  assert.is(deviceOf("fan")?.expectedReadings, 9);
  // Every metric of the device that is ahead is expected up to where it is.
  report.applyWindows(windowsOf(readings(0, START_MS + 11 * HOUR_MS, 8, HOUR_MS)));
  assert.is(deviceOf("pump")?.expectedReadings, 18 + 3);
  assert.is(deviceOf("fan")?.expectedReadings, 9);
});

test("nothing is expected of a series before its first reading ever", () => {
  const report = reportOf(readings(0, START_MS + 12 * HOUR_MS, 12, HOUR_MS));
  report.applyTick({ nowMs: START_MS + DAY_MS, ...NO_LOSSES });
  assert.equal(dailyReport(report, DAY, 0)?.completeness.ratio, 1);
  // The same readings a day later: the series is known, and half of the day is missing.
  const known = reportOf([...readings(0, START_MS - 1000, 1, 1), ...readings(0, START_MS + 12 * HOUR_MS, 12, HOUR_MS)]);
  known.applyTick({ nowMs: START_MS + DAY_MS, ...NO_LOSSES });
  assert.equal(dailyReport(known, DAY, 0)?.completeness.ratio, 0.5);
});

test("a series that sends more than expected makes up for no other", () => {
  const report = reportOf([...readings(1, START_MS, 24, HOUR_MS), ...readings(0, START_MS, 12, HOUR_MS)]);
  report.applyTick({ nowMs: START_MS + DAY_MS, ...NO_LOSSES });
  // flow: 24 of 4, temp: 12 of 24.
  assert.is(dailyReport(report, DAY, 0)?.devices[0]?.availability, (4 + 12) / (4 + 24));
});

test("days are the plant's: hours around a clock change fall on their side of midnight", () => {
  const startMs = Date.parse("2026-03-29T00:00:00+01:00");
  const report = reportOf(readings(0, startMs - HOUR_MS, 30, HOUR_MS), "Europe/Berlin");
  report.applyTick({ nowMs: startMs + 3 * DAY_MS, ...NO_LOSSES });
  const counts = ["2026-03-28", "2026-03-29", "2026-03-30"].map((day) => dailyReport(report, day, 0)?.completeness);
  assert.equal(
    counts.map((one) => [one?.readings, one?.expectedReadings]),
    [
      [1, 1],
      [23, 23],
      [6, 24],
    ],
  );
});

test("a day without readings has no report", () => {
  assert.is(dailyReport(reportOf(readings(0, START_MS, 2, 1000)), "2026-03-15", 0), undefined);
  assert.is(dailyReport(reportOf([]), DAY, 0), undefined);
});

test("the trend is taken from the days before, without those of no readings, and thirty at most", () => {
  const days = [0, 1, 2, 5, 29, 30, 31];
  const all = days.flatMap((ago) => readings(0, START_MS - ago * DAY_MS, 24 - (ago < 3 ? ago : 0), HOUR_MS));
  const report = reportOf(all);
  report.applyTick({ nowMs: START_MS + DAY_MS, ...NO_LOSSES });
  const device = dailyReport(report, DAY, 0)?.devices[0];
  assert.is(device?.trend.days, 5);
  // Days with one and two readings fewer, of 24: 30 points are availability's.
  const tenth = (value: number): number => Math.round(value * 10) / 10;
  const scoreOf = (count: number): number => tenth(0.3 * tenth((100 * count) / 24) + 70);
  assert.equal(
    [0, 1, 2].map((ago) => dayHealth(report, dayBefore(ago)).get("hall/pump")),
    [24, 23, 22].map(scoreOf),
  );
});

function dayBefore(ago: number): string {
  return new Date(START_MS - ago * DAY_MS).toISOString().slice(0, 10);
}

test("late readings change the health of days asked for before", () => {
  const report = reportOf(readings(0, START_MS, 12, HOUR_MS));
  report.applyTick({ nowMs: START_MS + DAY_MS, ...NO_LOSSES });
  const before = report.knownHealth(DAY).get("hall/pump")!;
  report.applyWindows(windowsOf(readings(0, START_MS + 12 * HOUR_MS, 12, HOUR_MS)));
  assert.ok(report.knownHealth(DAY).get("hall/pump")! > before);
  // And so do a series and an alert that come late.
  report.applyWindows(windowsOf(readings(2, START_MS, 12, HOUR_MS)));
  assert.equal([...report.knownHealth(DAY).keys()].toSorted(), ["hall/fan", "hall/pump"]);
  assert.is(report.alertCount("hall", "pump", START_MS, START_MS + DAY_MS), 0);
  report.applyAlerts([alert(START_MS, "firing")]);
  assert.is(report.alertCount("hall", "pump", START_MS, START_MS + DAY_MS), 1);
});

test("is the same bytes for series and windows in any order, and of two agents", () => {
  const all = [
    ...readings(0, START_MS, 24, HOUR_MS),
    ...readings(1, START_MS, 5, HOUR_MS),
    ...readings(2, START_MS, 9, 2 * HOUR_MS),
  ];
  const forward = reportOf(all);
  const backward = reportOf([]);
  backward.applyWindows(windowsOf(all).toReversed());
  assert.is(canonicalJson(dailyReport(backward, DAY, 1)), canonicalJson(dailyReport(forward, DAY, 1)));

  // The store may list series in any order, also where two agents have readings of one metric.
  const sourceOf = (reversed: boolean): ReportSource => {
    const series = [
      ...forward.allSeries(),
      { ...SERIES[0]!, series: 2, agent: "gate-2", firstTsMs: START_MS },
      { ...SERIES[2]!, site: "annex", series: 2, agent: "gate-0", firstTsMs: START_MS },
    ];
    return Object.assign(Object.create(forward) as MemoryReport, {
      allSeries: () => (reversed ? series.toReversed() : series),
      hours: (one: number, fromMs: number, toMs: number) => forward.hours(one, fromMs, toMs),
      knownHealth: () => new Map<string, number>(),
      clockMs: () => START_MS + DAY_MS,
      alertCount: () => 0,
      losses: () => NO_LOSSES,
      thresholds: forward.thresholds,
      calendar: forward.calendar,
    });
  };
  const report = dailyReport(sourceOf(false), DAY, 1)!;
  assert.is(canonicalJson(dailyReport(sourceOf(true), DAY, 1)), canonicalJson(report));
  assert.equal(
    report.devices.map(({ site, device }) => `${site}/${device}`),
    ["annex/fan", "hall/fan", "hall/pump"],
  );
  assert.equal(
    report.devices[2]?.metrics.map(({ metric, count }) => `${metric} ${count}`),
    ["flow 5", "temp 24", "temp 9"],
  );
  assert.equal(
    report.lineage.sources.map(({ agent, readings: count }) => `${agent} ${count}`),
    ["gate-0 9", "gate-1 38", "gate-2 9"],
  );
});

import { CodedError } from "@weir/shared/errors";
import type { Band } from "@weir/shared/model/thresholds";
import { partialQuantile } from "@weir/shared/operators/partial";
import { parseBandRules } from "@weir/shared/rules/parse-rules";
import { TRAIN_READINGS_MIN, trainSeries } from "@weir/shared/rules/train";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { partialOf, steady } from "./arbitraries.ts";

const test = suite("rules");

const KEY = { site: "s", device: "d", metric: "m" };

function problemsOf(json: unknown): string {
  try {
    parseBandRules(json);
  } catch (error) {
    assert.ok(error instanceof CodedError);
    assert.is(error.code, "BAD_RULES");
    return error.message;
  }
  return assert.unreachable("the rules were taken") as never;
}

test("rules get `*` for absent matches, none for absent limits, and the default gap", () => {
  assert.equal(
    parseBandRules({ rules: [{ match: { device: "pump-*" }, band: { warningHigh: 80, forMs: 5000 } }, { band: {} }] }),
    [
      {
        match: { site: "*", device: "pump-*", metric: "*" },
        band: {
          warningLow: null,
          warningHigh: 80,
          criticalLow: null,
          criticalHigh: null,
          forMs: 5000,
          gapMs: 300_000,
          intervalMs: null,
        },
      },
      {
        match: { site: "*", device: "*", metric: "*" },
        band: {
          warningLow: null,
          warningHigh: null,
          criticalLow: null,
          criticalHigh: null,
          forMs: 0,
          gapMs: 300_000,
          intervalMs: null,
        },
      },
    ],
  );
  assert.equal(parseBandRules({ rules: [] }), []);
});

test("every problem of a file is named with its place", () => {
  const message = problemsOf({
    rules: [
      { match: { site: 3, metric: "" }, band: { warningHigh: "80", gapMs: -1, forMs: null } },
      { band: { warningHihg: 1 } },
      { match: {} },
      7,
      { band: { warningLow: 5, warningHigh: 4, intervalMs: Infinity, silenceIntervals: -1 } },
    ],
  });
  for (const part of [
    "rules[0].match.site must be text",
    "rules[0].match.metric must be text",
    "rules[0].band.warningHigh must be a number or null",
    "rules[0].band.gapMs must be a number of milliseconds",
    "rules[1].band.warningHihg is not known",
    "rules[2].band is missing",
    "rules[3] is not an object",
    "rules[4].band: warningLow 5 is above warningHigh 4",
    "rules[4].band.intervalMs must be",
    "rules[4].band.silenceIntervals must be a number of intervals",
  ]) {
    assert.ok(message.includes(part), `${part} in: ${message}`);
  }
  assert.not(message.includes("forMs"));
});

test("a misspelt or misplaced match is refused: it would make the rule one for every series", () => {
  assert.match(
    problemsOf({ rules: [{ match: { devise: "pump" }, band: {} }] }),
    /rules\[0\]\.match\.devise is not known/,
  );
  assert.match(problemsOf({ rules: [{ mach: { device: "pump" }, band: {} }] }), /rules\[0\]\.mach is not known/);
  assert.match(problemsOf({ rules: [{ match: "pump", band: {} }] }), /rules\[0\]\.match is not an object/);
});

test("the length of a silence is taken as it was written, and stays away where it was not", () => {
  const bands = [{ silenceIntervals: 0 }, { silenceIntervals: 2.5 }, { silenceIntervals: null }, {}];
  const parsed = parseBandRules({ rules: bands.map((one) => ({ band: one })) });
  assert.equal(
    parsed.map((rule) => ("silenceIntervals" in rule.band ? rule.band.silenceIntervals : "absent")),
    [0, 2.5, "absent", "absent"],
  );
});

test("critical limits that leave no room are refused", () => {
  assert.match(
    problemsOf({ rules: [{ band: { criticalLow: 2, criticalHigh: 1 } }] }),
    /criticalLow 2 is above criticalHigh 1/,
  );
});

test("what is no list of rules is refused", () => {
  for (const json of [null, 3, "x", [], {}, { rules: {} }]) assert.match(problemsOf(json), /\{"rules": \[/);
});

test("a band is made of quantiles, symmetric data giving symmetric limits around them", () => {
  const readings = Array.from({ length: 2001 }, (_, i) => ({ tsMs: i * 1000, value: 1000 + (i % 201) - 100 }));
  const cells = [{ startMs: 0, partial: partialOf(readings) }];
  const trained = trainSeries(KEY, cells)!;
  const near = (actual: number | null, expected: number): void =>
    assert.ok(Math.abs(actual! - expected) < 1, `${actual} for ${expected}`);
  // 1 % and 99 %: 902 and 1098, 98 from the median.
  near(trained.band.warningHigh, 1098 + 0.75 * 98);
  near(trained.band.warningLow, 902 - 0.75 * 98);
  near(trained.band.criticalHigh, 1098 + 1.5 * 98);
  near(trained.band.criticalLow, 902 - 1.5 * 98);
  assert.equal([trained.band.intervalMs, trained.band.gapMs, trained.band.forMs], [1000, 300_000, 0]);
  const quantile = (q: number): number => partialQuantile(cells[0]!.partial, q);
  assert.equal(trained.baseline, { p05: quantile(0.05), p50: quantile(0.5), p95: quantile(0.95) });
});

test("a series that reports in bursts may be quiet between them, and one that was away for hours no longer than others", () => {
  const silence = (timesMs: readonly number[]): unknown => {
    const cells = Array.from({ length: 20 }, (_, hour) => {
      const times = timesMs.filter((tsMs) => Math.floor(tsMs / 3_600_000) === hour);
      return { startMs: hour * 3_600_000, times };
    })
      .filter(({ times }) => times.length > 0)
      .map(({ startMs, times }) => ({ startMs, partial: partialOf(times.map((tsMs, i) => ({ tsMs, value: i }))) }));
    return trainSeries(KEY, cells)!.band.silenceIntervals;
  };
  const seconds = Array.from({ length: 20 * 3600 }, (_, i) => i * 1000 + 500);
  assert.is(silence(seconds), undefined, "every second");
  assert.is(silence(seconds.filter((tsMs) => tsMs % 60_000 < 1000)), undefined, "every minute");
  const away = seconds.filter((tsMs) => tsMs < 5 * 3_600_000 || tsMs > 9 * 3_600_000);
  assert.is(silence(away), undefined, "away for four hours");
  // Ten seconds of every ten minutes; 59 or 60 readings an hour, one a minute on average, 591 seconds apart at the most.
  const bursts = seconds.filter((tsMs) => tsMs % 600_000 < 10_000);
  const limitMs = Number(silence(bursts)) * 60_000;
  assert.ok(limitMs >= 3 * 591_000 && limitMs < 4 * 591_000, String(limitMs));
});

test("a few outliers do not widen the band", () => {
  const calm = Array.from({ length: 1000 }, (_, i) => ({ tsMs: i, value: 50 + (i % 10) }));
  const wild = calm.map((one, i) => (i % 200 === 0 ? { ...one, value: 1e9 } : one));
  const bandOf = (readings: typeof calm): Band =>
    trainSeries(KEY, [{ startMs: 0, partial: partialOf(readings) }])!.band;
  assert.ok(bandOf(wild).criticalHigh! < 80, String(bandOf(wild).criticalHigh));
  assert.ok(bandOf(calm).warningLow! < 50 && bandOf(calm).warningHigh! > 59);
});

test("a constant series has a band that its own value does not breach", () => {
  for (const value of [0, 21.7, -4, 1e12]) {
    const { band } = trainSeries(KEY, [{ startMs: 0, partial: partialOf(steady(0, 200, 10, value)) }])!;
    assert.ok(band.warningLow! < value && value < band.warningHigh!, `${band.warningLow} ${value} ${band.warningHigh}`);
    assert.ok(band.criticalLow! < band.warningLow! && band.criticalHigh! > band.warningHigh!);
  }
});

test("a slow series gets a gap of three of its intervals, and too few readings get no band", () => {
  const readings = steady(0, TRAIN_READINGS_MIN, 600_000, 1);
  assert.is(trainSeries(KEY, [{ startMs: 0, partial: partialOf(readings) }])?.band.gapMs, 1_800_000);
  assert.is(trainSeries(KEY, [{ startMs: 0, partial: partialOf(readings.slice(1)) }]), undefined);
  assert.is(trainSeries(KEY, []), undefined);
});

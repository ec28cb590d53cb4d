import type { Alert } from "@weir/shared/model/alert";
import type { Band } from "@weir/shared/model/thresholds";
import { SILENCE_NOT_JUDGED, silenceLimitMs } from "@weir/shared/model/thresholds";
import type { Emissions } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { SILENT_TICK_MAX } from "@weir/shared/operators/quiet-series";
import { GAPS_KEPT_MAX } from "@weir/shared/operators/silence";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { STRETCHES_MAX, WATCH_GAP_MS, WATCH_GAP_MS_MAX, WatchedTime } from "@weir/shared/operators/watched";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { band, version } from "./thresholds-support.ts";

const test = suite("silence");

const keyOf = (series: number) => ({ site: "s", device: "d", metric: `m${series}` });

/** A fold under one band from time 0 on; times in seconds. */
class Line {
  readonly fold: SeriesFold;
  out: Emissions = createEmissions();

  constructor(limits: Partial<Band>) {
    const thresholds = new ThresholdHistory();
    thresholds.add(version(7, 0, { rules: [["*", band(limits)]] }));
    this.fold = new SeriesFold(keyOf, thresholds, { windowMs: 60_000 });
  }

  read(...seconds: readonly number[]): void {
    for (const second of seconds) this.readAll(second, 1);
  }

  readAll(second: number, series: number): void {
    const block = {
      count: series,
      series: Uint32Array.from({ length: series }, (_, i) => i),
      tsMs: new Float64Array(series).fill(second * 1000),
      value: new Float64Array(series),
      stamped: new Uint8Array(series),
    };
    this.fold.applyBlock(block, this.out);
  }

  /** Returns how many series the tick found silent. */
  tick(second: number, watching = true): number {
    return this.fold.applyTick({ nowMs: second * 1000, watching }, this.out).length;
  }

  /** What was said of silences since the last call: state, from, to. */
  said(): string[] {
    const { alerts } = this.out;
    this.out = createEmissions();
    return alerts.map(({ state, startedAtMs, endedAtMs }) =>
      [state, startedAtMs / 1000, endedAtMs === null ? "" : endedAtMs / 1000].join(" ").trim(),
    );
  }
}

const MINUTE = { intervalMs: 10_000, silenceIntervals: 6 };

test("the silence that a band allows: ten intervals but no less than a minute, or exactly as many as it says", () => {
  const limits: ReadonlyArray<readonly [Partial<Band> | undefined, number]> = [
    [undefined, SILENCE_NOT_JUDGED],
    [{}, SILENCE_NOT_JUDGED],
    [{ silenceIntervals: 5 }, SILENCE_NOT_JUDGED],
    [{ intervalMs: 0, silenceIntervals: 5 }, SILENCE_NOT_JUDGED],
    [{ intervalMs: 1000 }, 60_000],
    [{ intervalMs: 1000, silenceIntervals: null }, 60_000],
    [{ intervalMs: 7000 }, 70_000],
    [{ intervalMs: 1000, silenceIntervals: 0 }, SILENCE_NOT_JUDGED],
    [{ intervalMs: 1000, silenceIntervals: 2 }, 2000],
    [{ intervalMs: 333.3, silenceIntervals: 1 }, 334],
    [{ intervalMs: 1e9 }, 2 ** 31 - 2],
  ];
  for (const [one, limitMs] of limits) assert.is(silenceLimitMs(one && band(one)), limitMs, JSON.stringify(one));
});

test("fires when nothing came for as long as the band allows, and is resolved by the next reading", () => {
  const line = new Line(MINUTE);
  line.read(0, 10);
  for (const second of [0, 10, 20, 30, 40, 50, 60, 69]) assert.is(line.tick(second), 0);
  assert.equal(line.said(), []);
  assert.is(line.tick(70), 1);
  const firing: Alert = {
    id: "s/d/m0/silence/10000",
    ...keyOf(0),
    kind: "silence",
    severity: "warning",
    state: "firing",
    startedAtMs: 10_000,
    endedAtMs: null,
    value: 60,
    low: null,
    high: 60,
    thresholdVersion: 7,
    breaches: 0,
  };
  assert.equal(line.out.alerts, [firing]);
  line.said();
  assert.equal([line.tick(80), line.tick(90)], [0, 0], "said once");
  line.read(95);
  line.tick(100);
  assert.equal(line.out.alerts, [{ ...firing, state: "resolved", endedAtMs: 95_000, value: 85 }]);
  const [closed] = line.out.closed;
  assert.equal([closed?.kind, closed?.lastTsMs, closed?.gapMs, closed?.fired], ["silence", 95_000, 0, true]);
});

test("nobody is silent while the agent was down, its sources were not connected, or the clock was set", () => {
  for (const outage of [
    [[10], [600], [620]],
    [[10], [40], [70, false], [100, false], [129]],
    [[10], [10_000], [20], [50]],
  ] as const) {
    const line = new Line(MINUTE);
    line.read(0, 10);
    line.tick(0);
    for (const [second, watching] of outage) line.tick(second, watching);
    assert.equal(line.said(), [], JSON.stringify(outage));
  }
});

test("a silence that had ended before it was seen is said once, as it was", () => {
  const line = new Line(MINUTE);
  for (let second = 0; second <= 200; second += 10) line.tick(second);
  line.read(10, 40, 120, 130);
  line.tick(210);
  assert.equal(line.said(), ["resolved 40 120"]);
});

test("the end of a gap may lie ahead of the clock: it is judged as the clock gets there", () => {
  const line = new Line(MINUTE);
  line.tick(0);
  line.read(10, 75);
  line.tick(50);
  assert.equal(line.said(), []);
  line.tick(80);
  assert.equal(line.said(), ["resolved 10 75"]);
});

test("a device whose clock is behind, or that sends an old backlog in order, is not silent", () => {
  const line = new Line(MINUTE);
  for (let second = 1000; second < 1400; second += 10) {
    line.read(second - 900);
    assert.is(line.tick(second), 0);
  }
  assert.equal(line.said(), []);
  const after = [1400, 1420, 1440, 1450, 1460].map((second) => line.tick(second));
  assert.equal(after, [0, 0, 0, 1, 0], "a minute after it was last heard of");
  assert.equal(line.said(), ["firing 490"]);
});

test("late readings make a silence shorter, divide it, or take it back", () => {
  const line = new Line(MINUTE);
  for (let second = 0; second <= 400; second += 20) line.tick(second);
  line.read(0, 300);
  line.tick(420);
  assert.equal(line.said(), ["resolved 0 300"]);
  line.read(100);
  line.tick(425);
  assert.equal(line.said(), ["resolved 0 100", "resolved 100 300"]);
  line.read(50, 240);
  line.tick(430);
  assert.equal(line.said(), ["withdrawn 0 0", "resolved 100 240", "resolved 240 300"]);
  line.read(299, 241, 150, 151, 200);
  line.tick(435);
  assert.equal(line.said(), ["withdrawn 100 100", "withdrawn 240 240"]);
  assert.equal(line.out.refolds, []);
});

test("the backlog of an outage that comes in order takes the silence back", () => {
  const line = new Line(MINUTE);
  line.read(0);
  for (let second = 0; second <= 100; second += 20) line.tick(second);
  line.read(1);
  line.tick(110);
  assert.equal(line.said(), ["firing 0", "withdrawn 0 0"]);
});

test("only late readings among what was forgotten ask for a re-fold", () => {
  const line = new Line(MINUTE);
  const gaps = GAPS_KEPT_MAX + 2;
  for (let second = 0; second <= 100 * gaps; second += 20) line.tick(second);
  for (let gap = 0; gap <= gaps; gap++) line.read(gap * 100);
  line.tick(100 * gaps + 20);
  assert.is(line.said().length, gaps);
  assert.is([...line.fold.silences.rowsOf(0)][0]?.gaps.length, GAPS_KEPT_MAX);
  line.read(200.5, 599);
  assert.equal(line.out.refolds, []);
  line.read(199);
  assert.equal(line.out.refolds, [{ series: 0, fromMs: 199_000, replacePartials: false }]);
});

test("readings in order that are not far apart leave nothing behind", () => {
  const line = new Line(MINUTE);
  for (let second = 0; second < 300; second += 10) {
    line.read(second, second + 5);
    line.tick(second);
  }
  assert.equal([...line.fold.silences.rowsOf(0)], []);
  line.tick(10_000);
  line.read(10_000, 10_001);
  line.tick(10_010);
  assert.equal([...line.fold.silences.rowsOf(0)], [], "nor does an outage");
});

test("as many silences begin at one tick as its entry has room for, and the rest at the next", () => {
  const line = new Line(MINUTE);
  line.readAll(0, SILENT_TICK_MAX + 5);
  for (const second of [0, 30]) line.tick(second);
  assert.equal([line.tick(60), line.tick(61), line.tick(62)], [SILENT_TICK_MAX, 5, 0]);
});

/** Watched time after ticks at these seconds; a negative one was not watched up to. */
function watchedBy(...seconds: readonly number[]): WatchedTime {
  const watched = new WatchedTime();
  for (const second of seconds) watched.add({ nowMs: Math.abs(second) * 1000, watching: second >= 0 });
  return watched;
}

test("watched are the stretches between ticks that are close to each other", () => {
  const watched = watchedBy(10, 20, 30, -40, 50, 1000, 1010);
  assert.is(watched.totalMs, 40_000);
  assert.is(watched.throughMs, 1_010_000);
  const between = (from: number, to: number): number => watched.between(from * 1000, to * 1000) / 1000;
  assert.equal([between(0, 10), between(0, 15), between(12, 15), between(15, 45)], [0, 5, 3, 20]);
  assert.equal([between(50, 1000), between(45, 1005), between(1010, Infinity), between(0, 1e9)], [0, 10, 0, 40]);
  assert.is(new WatchedTime().between(-Infinity, Infinity), 0);
});

test("a clock that was set back covers nothing until it gets beyond where it had been", () => {
  const watched = watchedBy(100, 150, 20, 60, 120, 140, 180);
  assert.is(watched.totalMs, 80_000);
  assert.is(watched.between(0, 100_000), 0);
  assert.is(watched.throughMs, 180_000);
});

test("a clock that was set back far had been wrong: what it passes through now is watched", () => {
  const watched = watchedBy(100, 150, 20_000, 20_060, 200, 240, 280);
  const between = (from: number, to: number): number => watched.between(from * 1000, to * 1000) / 1000;
  assert.equal([between(0, 1000), between(150, 200), between(220, 20_030), between(0, 1e9)], [130, 0, 90, 190]);
  assert.equal([watched.throughMs, watched.totalMs, watched.elapsedMs], [280_000, 190_000, 190_000]);
  assert.equal([watched.back(280_000, 80_000), watched.back(280_000, 100_000)], [200_000, 130_000]);
  assert.equal([watched.back(240_000, 50_000), watched.back(280_000, 131_000)], [140_000, -Infinity]);
});

test("what is to be judged anew is told when time before what was watched is watched, and of each series once", () => {
  const told = (...days: readonly number[]): Array<readonly number[] | undefined> => {
    const watched = watchedBy(0, 100, -7000, 7100);
    for (let day = 1; day < 9; day++) {
      for (const second of [0, 100]) watched.add({ nowMs: day * 86_400_000 + second * 1000 });
    }
    return days.map((day) => {
      const reopened = watched.add({ nowMs: day * 86_400_000 });
      return reopened && [reopened.fromMs, reopened.firstAfterMs, reopened.firstThroughMs].map((ms) => ms / 86_400_000);
    });
  };
  const [from, to, later] = [0.5, 0.501, 0.502];
  assert.equal(told(from, to, later), [undefined, [from, -Infinity, to + 1], undefined]);
  assert.equal(
    told(-9000, from, to, later),
    [undefined, undefined, [from, -Infinity, to + 1], undefined],
    "elsewhere first",
  );
  assert.equal(told(from, to, 3.5, 3.501).slice(2), [undefined, [3.5, to + 1, 4.501]], "of later series later");
  assert.equal(told(7.999, 8), [undefined, undefined], "not so far");
  assert.equal(told(9, 9.001), [undefined, undefined], "nothing was watched beyond");
});

test("ticks further apart than some minutes are watched only where that is their way", () => {
  const gap = WATCH_GAP_MS / 1000;
  assert.equal([watchedBy(0, gap).totalMs, watchedBy(0, gap + 1).totalMs], [gap * 1000, 0]);
  assert.is(watchedBy(0, 300, 600, 1200, 2401).totalMs, 900_000);
  const longest = WATCH_GAP_MS_MAX / 1000;
  assert.is(watchedBy(0, 1e6, 1e6 + longest + 1).totalMs, 0);
});

test("of watched time the oldest goes when there is too much of it", () => {
  const watched = new WatchedTime();
  for (let i = 0; i <= STRETCHES_MAX; i++) {
    watched.add({ nowMs: i * 1000, watching: false });
    watched.add({ nowMs: i * 1000 + 10 });
  }
  assert.is(watched.between(0, 500), 0);
  assert.is(watched.between(1000, 1500), 10);
  assert.is(watched.between(0, Infinity), STRETCHES_MAX * 10);
});

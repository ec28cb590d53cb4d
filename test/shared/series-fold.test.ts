import type { Alert } from "@weir/shared/model/alert";
import type { Block } from "@weir/shared/model/reading";
import type { Band } from "@weir/shared/model/thresholds";
import type { Episode } from "@weir/shared/operators/episodes";
import { alertOf } from "@weir/shared/operators/episodes";
import type { Emissions } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { band, version } from "./thresholds-support.ts";

const test = suite("series fold");

/** Warning above 10 and below -10, critical from twice that; a gap of 100 ms. */
const BAND = band({ warningLow: -10, warningHigh: 10, criticalLow: -20, criticalHigh: 20 });

interface Reading {
  readonly tsMs: number;
  readonly value: number;
  readonly series?: number;
}

const keyOf = (series: number) => ({ site: "s", device: "d", metric: `m${series}` });

function blockOf(readings: readonly Reading[]): Block {
  return {
    count: readings.length,
    series: Uint32Array.from(readings, ({ series = 0 }) => series),
    tsMs: Float64Array.from(readings, ({ tsMs }) => tsMs),
    value: Float64Array.from(readings, ({ value }) => value),
    stamped: new Uint8Array(readings.length),
  };
}

function foldUnder(...bands: ReadonlyArray<readonly [fromMs: number, band: Band]>): SeriesFold {
  const thresholds = new ThresholdHistory();
  bands.forEach(([fromMs, one], i) => thresholds.add(version(i + 1, fromMs, { rules: [["*", one]] })));
  return new SeriesFold(keyOf, thresholds, { windowMs: 60_000 });
}

/** Applies readings one block each and returns what came out. */
function feed(fold: SeriesFold, ...readings: ReadonlyArray<readonly [tsMs: number, value: number]>): Emissions {
  const out = createEmissions();
  for (const [tsMs, value] of readings) fold.applyBlock(blockOf([{ tsMs, value }]), out);
  return out;
}

const states = (out: Emissions): string[] =>
  out.alerts.map(({ state, severity, startedAtMs }) => `${state} ${severity} ${startedAtMs}`);

test("fires at the first breach, hears of becoming critical once, and resolves after the gap", () => {
  const fold = foldUnder([0, BAND]);
  assert.equal(states(feed(fold, [0, 5], [10, 11])), ["firing warning 10"]);
  assert.equal(states(feed(fold, [20, 12], [30, 5], [40, 15])), []);
  assert.equal(states(feed(fold, [50, 25], [60, 26])), ["firing critical 10"]);
  assert.equal(states(feed(fold, [160, 3])), [], "as far as the gap, and not further");
  const out = feed(fold, [161, 3]);
  const resolved: Alert = {
    id: "s/d/m0/high/10",
    ...keyOf(0),
    kind: "high",
    severity: "critical",
    state: "resolved",
    startedAtMs: 10,
    endedAtMs: 60,
    value: 26,
    low: -10,
    high: 10,
    thresholdVersion: 1,
    breaches: 5,
  };
  assert.equal(out.alerts, [resolved]);
  assert.is(out.closed.length, 1);
  assert.equal([...fold.openEpisodes()], []);
});

test("an episode ends by the gap of its latest breach, be it shorter or longer than those before", () => {
  const shorter = foldUnder([0, band({ warningHigh: 10, gapMs: 1000 })], [100, band({ warningHigh: 10, gapMs: 10 })]);
  assert.equal(states(feed(shorter, [50, 11], [110, 11], [120, 1])), ["firing warning 50"]);
  assert.equal(states(feed(shorter, [121, 1])), ["resolved warning 50"]);
  const longer = foldUnder([0, band({ warningHigh: 10, gapMs: 60 })], [100, band({ warningHigh: 10, gapMs: 1000 })]);
  assert.equal(states(feed(longer, [50, 11], [110, 11], [1110, 1])), ["firing warning 50"]);
  assert.equal(states(feed(longer, [1111, 1])), ["resolved warning 50"]);
});

test("limits themselves are in the band", () => {
  const fold = foldUnder([0, BAND]);
  const out = feed(fold, [0, 10], [1, -10]);
  assert.equal(out.alerts, []);
  assert.equal(states(feed(fold, [2, 20])), ["firing warning 2"]);
});

test("a critical limit without a warning limit, or inside it, makes critical breaches", () => {
  for (const limits of [{ criticalHigh: 20 }, { criticalHigh: 20, warningHigh: 30 }]) {
    const fold = foldUnder([0, band(limits)]);
    const out = feed(fold, [0, 19], [1, 21]);
    assert.equal(states(out), ["firing critical 1"]);
    const { partial } = fold.flush(out)[0]!;
    assert.equal([partial.low, partial.high, partial.critical], [0, 1, 1]);
  }
});

test("with `for`, breaches fire once they have spanned it; shorter episodes close unheard", () => {
  const slow = band({ warningHigh: 10, criticalHigh: 20, forMs: 50, gapMs: 100 });
  const fold = foldUnder([0, slow]);
  assert.equal(states(feed(fold, [0, 11], [40, 25], [49, 11])), [], "critical, but too short");
  assert.equal(states(feed(fold, [50, 11])), ["firing critical 0"]);
  const brief = foldUnder([0, slow]);
  const out = feed(brief, [0, 11], [30, 11]);
  brief.flush(out);
  assert.equal(out.alerts, [], "nothing to tell of yet");
  brief.applyBlock(blockOf([{ tsMs: 500, value: 1 }]), out);
  assert.equal(out.alerts, []);
  assert.equal(
    out.closed.map(({ fired, breaches }) => [fired, breaches]),
    [[false, 2]],
  );
});

test("high and low are different episodes, side by side", () => {
  const out = feed(foldUnder([0, BAND]), [0, 11], [10, -11], [20, 12], [30, -25], [131, 0]);
  // Which of two that end at once comes first is nobody's business.
  assert.equal(states(out).toSorted(), [
    "firing critical 10",
    "firing warning 0",
    "firing warning 10",
    "resolved critical 10",
    "resolved warning 0",
  ]);
  assert.equal(
    out.closed.map(({ worstValue }) => worstValue).toSorted((a, b) => a - b),
    [-25, 12],
  );
});

test("a flush tells of episodes that went on since they were last told of, once", () => {
  const fold = foldUnder([0, BAND]);
  feed(fold, [0, 11], [10, 12]);
  const out = createEmissions();
  assert.is(fold.flush(out).length, 1);
  assert.equal(
    out.alerts.map(({ state, breaches, value, endedAtMs }) => ({ state, breaches, value, endedAtMs })),
    [{ state: "firing", breaches: 2, value: 12, endedAtMs: null }],
  );
  const again = createEmissions();
  assert.equal(fold.flush(again), []);
  assert.equal(again.alerts, []);
});

test("windows count breaches and carry the version that judged", () => {
  const fold = foldUnder([0, BAND], [50, band({ warningHigh: 4 })]);
  const out = feed(fold, [0, 11], [10, -25], [20, 5], [60, 5]);
  const { partial } = fold.flush(out)[0]!;
  assert.equal([partial.count, partial.low, partial.high, partial.critical], [4, 1, 2, 1]);
  assert.equal(partial.versions, [1, 2]);
});

test("a reading is judged by the version in force at its event time, not by the last to arrive", () => {
  const fold = foldUnder([0, BAND], [100, band({ warningHigh: 4, gapMs: 100 })]);
  const out = feed(fold, [200, 1], [150, 5], [90, 5]);
  assert.equal(out.refolds, [{ series: 0, fromMs: 150, replacePartials: false }]);
});

test("a version that begins before readings already judged asks for a re-fold of those series only", () => {
  const fold = foldUnder([0, BAND]);
  const out = createEmissions();
  fold.applyBlock(
    blockOf([
      { tsMs: 100, value: 1 },
      { tsMs: 200, value: 1, series: 3 },
      { tsMs: 150, value: 1, series: 7 },
    ]),
    out,
  );
  fold.applyThresholds(version(2, 150, { rules: [["*", band({ warningHigh: 0 })]] }), out);
  assert.equal(out.refolds, [
    { series: 3, fromMs: 150, replacePartials: true },
    { series: 7, fromMs: 150, replacePartials: true },
  ]);
  // Known already, or yet to begin: nothing to do; and it judges from its start.
  const later = createEmissions();
  fold.applyThresholds(version(2, 0, {}), later);
  fold.applyThresholds(version(3, 1000, { rules: [["*", band({ warningHigh: -5 })]] }), later);
  assert.equal(later.refolds, []);
  assert.equal(feed(fold, [999, -1]).alerts.length, 0);
  assert.equal(states(feed(fold, [1000, -1])), ["firing warning 1000"]);
});

test("a late breach within the open episode extends it; before it, or between episodes, it asks for a re-fold", () => {
  const fold = foldUnder([0, BAND]);
  feed(fold, [1000, 11], [1090, 12]);
  const within = feed(fold, [1050, 30]);
  assert.equal(within.refolds, []);
  assert.equal(states(within), ["firing critical 1000"]);
  assert.equal(feed(fold, [950, 11]).refolds, [{ series: 0, fromMs: 950, replacePartials: false }]);
  feed(fold, [1500, 0]);
  assert.equal(feed(fold, [1060, 11]).refolds, [{ series: 0, fromMs: 1060, replacePartials: false }]);
  assert.equal(feed(fold, [1070, 5]).refolds, [], "late readings in the band change no episode");
});

test("a late breach whose own gap is short asks for a re-fold, since it can split the episode", () => {
  const fold = foldUnder([0, BAND], [100, band({ warningHigh: 10, gapMs: 10 })], [120, BAND]);
  feed(fold, [50, 11], [140, 11]);
  assert.equal(feed(fold, [110, 11]).refolds, [{ series: 0, fromMs: 110, replacePartials: false }]);
  assert.equal(feed(fold, [130, 11], [60, 11]).refolds, [], "gaps no shorter than before");
});

/** The episodes of a set of readings, from their definition. */
function episodesOf(readings: readonly Reading[], bandAt: (tsMs: number) => Band): string[] {
  const found: string[] = [];
  for (const kind of ["high", "low"] as const) {
    const sign = kind === "high" ? 1 : -1;
    const limit = (one: Band, level: "warning" | "critical"): number =>
      (kind === "high" ? one[`${level}High`] : one[`${level}Low`]) ?? sign * Infinity;
    const breaches = readings
      .filter(({ tsMs, value }) => sign * value > sign * limit(bandAt(tsMs), "warning"))
      .toSorted((a, b) => a.tsMs - b.tsMs || a.value - b.value);
    while (breaches.length > 0) {
      const group = [breaches.shift()!];
      while (breaches[0] && breaches[0].tsMs - group.at(-1)!.tsMs <= bandAt(group.at(-1)!.tsMs).gapMs)
        group.push(breaches.shift()!);
      const [first, last] = [group[0]!.tsMs, group.at(-1)!.tsMs];
      const worst = Math.max(...group.map(({ value }) => sign * value)) * sign;
      const critical = group.some(({ tsMs, value }) => sign * value > sign * limit(bandAt(tsMs), "critical"));
      const fired = last - first >= bandAt(first).forMs;
      found.push(`${kind} ${first}-${last} ${group.length} ${worst} ${critical ? "critical" : "warning"} ${fired}`);
    }
  }
  return found.toSorted();
}

function described(episodes: Iterable<Episode>): string[] {
  return [...episodes]
    .map(
      (one) =>
        `${one.kind} ${one.startedAtMs}-${one.lastTsMs} ${one.breaches} ${one.worstValue} ${one.severity} ${one.fired}`,
    )
    .toSorted();
}

const anyBand = fc
  .record({
    warning: fc.integer({ min: 2, max: 8 }),
    forMs: fc.constantFrom(0, 30, 60),
    gapMs: fc.constantFrom(0, 10, 30, 100),
  })
  .map(({ warning, forMs, gapMs }) =>
    band({ warningLow: -warning, warningHigh: warning, criticalLow: -8, criticalHigh: 8, forMs, gapMs }),
  );
/** Few enough that gaps between breaches are long and short, and often outside the band. */
const anyReadings = fc.uniqueArray(
  fc.record({
    tsMs: fc.integer({ min: 0, max: 60 }).map((n) => n * 10),
    value: fc.oneof(fc.integer({ min: -10, max: 10 }), fc.constantFrom(8, 9, 10)),
  }),
  { maxLength: 24, selector: ({ tsMs, value }) => `${tsMs} ${value}` },
);
/** Bands in force from 0, 200 and 400 ms. */
const anyBands = fc.tuple(anyBand, anyBand, anyBand);
const bandsAt = (bands: readonly [Band, Band, Band]) => (tsMs: number) => bands[Math.floor(Math.min(tsMs, 599) / 200)]!;

test("episodes of readings in event-time order are those of the definition", () => {
  fc.assert(
    fc.property(anyBands, anyReadings, (bands, readings) => {
      const fold = foldUnder([0, bands[0]], [200, bands[1]], [400, bands[2]]);
      const out = createEmissions();
      // Ties in time may come in any order; the draw's is kept.
      fold.applyBlock(blockOf(readings.toSorted((a, b) => a.tsMs - b.tsMs)), out);
      assert.equal(described([...out.closed, ...fold.openEpisodes()]), episodesOf(readings, bandsAt(bands)));
      assert.equal(out.refolds, []);
      for (const one of out.alerts) assert.ok(one.state === "firing" || one.state === "resolved");
      const told = new Set(out.alerts.map(({ id }) => id));
      const fired = [...out.closed, ...fold.openEpisodes()].filter((one) => one.fired);
      assert.equal(told, new Set(fired.map((one) => alertOf(one, keyOf(0), "firing").id)));
    }),
    { numRuns: 500 },
  );
});

test("in any other order they are the same, or a re-fold was asked for from no later than where they differ", () => {
  let extended = 0;
  fc.assert(
    fc.property(
      anyBands,
      anyReadings.chain((all) => fc.shuffledSubarray(all, { minLength: all.length })),
      (bands, readings) => {
        const fold = foldUnder([0, bands[0]], [200, bands[1]], [400, bands[2]]);
        const out = createEmissions();
        fold.applyBlock(blockOf(readings), out);
        if (out.refolds.length > 0) return;
        extended++;
        assert.equal(described([...out.closed, ...fold.openEpisodes()]), episodesOf(readings, bandsAt(bands)));
      },
    ),
    { numRuns: 1000 },
  );
  assert.ok(extended > 30, `${extended} runs came through without a re-fold`);
});

test("with one reading late, the common case, they are the same or a re-fold was asked for", () => {
  // Long and short gaps take turns, so that a late breach may bridge two others, split them, or neither.
  const turnMs = 40;
  const gapAt = (tsMs: number): number => (Math.floor(tsMs / turnMs) % 2 === 0 ? 100 : 10);
  const bandAt = (tsMs: number): Band => band({ warningHigh: 5, criticalHigh: 8, forMs: 30, gapMs: gapAt(tsMs) });
  const thresholds = new ThresholdHistory();
  for (let i = 0; i <= 15; i++) thresholds.add(version(i + 1, i * turnMs, { rules: [["*", bandAt(i * turnMs)]] }));
  let same = 0;
  fc.assert(
    fc.property(anyReadings, fc.nat(24), fc.nat(8), (drawn, index, by) => {
      const readings = drawn.toSorted((a, b) => a.tsMs - b.tsMs);
      const [moved] = readings.splice(index, 1);
      if (moved) readings.splice(Math.min(index + by, readings.length), 0, moved);
      const fold = new SeriesFold(keyOf, thresholds, { windowMs: 60_000 });
      const out = createEmissions();
      fold.applyBlock(blockOf(readings), out);
      if (out.refolds.length > 0) return;
      same++;
      assert.equal(described([...out.closed, ...fold.openEpisodes()]), episodesOf(readings, bandAt));
    }),
    { numRuns: 2000 },
  );
  assert.ok(same > 1000, `${same} runs came through without a re-fold`);
});

test("a fold restored from its positions and open episodes goes on as if it had not stopped", () => {
  fc.assert(
    fc.property(anyBands, anyReadings, fc.nat(24), (bands, drawn, cut) => {
      const readings = drawn.toSorted((a, b) => a.tsMs - b.tsMs);
      const forced = [
        [0, bands[0]],
        [200, bands[1]],
        [400, bands[2]],
      ] as const;
      const whole = foldUnder(...forced);
      const expected = createEmissions();
      whole.applyBlock(blockOf(readings), expected);

      const before = foldUnder(...forced);
      const out = createEmissions();
      before.applyBlock(blockOf(readings.slice(0, cut)), out);
      const after = foldUnder(...forced);
      before.positions().forEach((positionMs, series) => after.restorePosition(series, positionMs));
      for (const episode of JSON.parse(JSON.stringify([...before.openEpisodes()])) as Episode[])
        after.restoreEpisode(episode);
      after.applyBlock(blockOf(readings.slice(cut)), out);
      assert.equal(out, expected);
      assert.is(after.positionMs(0), whole.positionMs(0));
      assert.equal(described(after.openEpisodes()), described(whole.openEpisodes()));
    }),
    { numRuns: 300 },
  );
});

test("the worst reading is the furthest out, the earliest of equals, with what judged it", () => {
  const fold = foldUnder([0, band({ warningHigh: 10, gapMs: 1000 })], [25, band({ warningHigh: 5, gapMs: 1000 })]);
  feed(fold, [10, 12], [30, 15], [40, 15], [50, 11]);
  const [episode] = [...fold.openEpisodes()];
  assert.equal([episode?.worstValue, episode?.worstTsMs, episode?.high, episode?.thresholdVersion], [15, 30, 5, 2]);
  feed(fold, [20, 15]);
  assert.equal([episode?.worstValue, episode?.worstTsMs, episode?.high, episode?.thresholdVersion], [15, 20, 10, 1]);
});

test("positions are the newest event times, and nothing before the first reading", () => {
  const fold = foldUnder();
  assert.is(fold.positionMs(99_999), -Infinity);
  feed(fold, [50, 1], [20, 1]);
  assert.is(fold.positionMs(0), 50);
  assert.is(fold.positionMs(1), -Infinity);
  assert.is(fold.windowReadings, 2);
});

test("without a band nothing breaches", () => {
  const otherMetrics = foldUnder();
  otherMetrics.applyThresholds(version(1, 0, { rules: [["other", BAND]] }), createEmissions());
  for (const fold of [foldUnder(), otherMetrics]) {
    const out = feed(fold, [0, 1e9], [1, -1e9]);
    assert.equal([out.alerts, out.closed, out.refolds], [[], [], []]);
    assert.equal(fold.flush(out)[0]?.partial.versions, [], "a version that says nothing of a series did not judge it");
  }
});

import * as assert from "uvu/assert";
import fc from "fast-check";
import { createColumns, growColumns, retainRows } from "@weir/agent/pipeline/batch";
import { CommitTimer } from "@weir/agent/pipeline/commit-timer";
import { SeriesIndex, SeriesNames } from "@weir/agent/pipeline/dictionary";
import { Ledger } from "@weir/agent/pipeline/ledger";
import { DirtyPages } from "@weir/agent/pipeline/pages";
import { SeriesOrder } from "@weir/agent/pipeline/series-order";
import { suite } from "../support/suite.ts";

const test = suite("ledger, dictionary and checkpoint pages");

test("the ledger's rows give the ledger back, ticked losses included", () => {
  const ledger = new Ledger([]);
  ledger.add("mqtt", "received", 5);
  ledger.add("mqtt", "rejected.json_shape", 2);
  ledger.add("uplink", "lost.outbox_full", 3);
  assert.equal(ledger.takeLosses(), { rejected: { json_shape: 2 }, dropped: { outbox_full: 3 } });
  ledger.add("mqtt", "rejected.json_shape", 1);
  const rows = ledger.takeDirty();
  assert.equal(ledger.takeDirty(), []);
  const again = new Ledger(rows);
  assert.equal(again.totals(), ledger.totals());
  assert.equal(again.takeDirty(), []);
  assert.equal(again.takeLosses(), { rejected: { json_shape: 1 }, dropped: {} });
});

test("losses of all sources add up by reason", () => {
  const ledger = new Ledger([]);
  for (const name of ["a", "b", "a"]) ledger.add(name, "rejected.time_ahead", 1);
  assert.equal(ledger.totals().rejected, { time_ahead: 3 });
  assert.equal(
    ledger.takeDirty().map(({ source, count }) => [source, count]),
    [
      ["a", 2],
      ["b", 1],
    ],
  );
});

test("the dictionary keeps indexes, tells of a new series once, and has an end", () => {
  const dictionary = new SeriesIndex(3, [{ site: "s", device: "d", metric: "a" }]);
  assert.equal(dictionary.takeFresh(), []);
  assert.equal(
    ["a", "b", "b", "c", "d", "a"].map((metric) => dictionary.resolve("s", "d", metric)),
    [0, 1, 1, 2, -2, 0],
  );
  assert.equal(
    dictionary.takeFresh().map(({ index, metric }) => [index, metric]),
    [
      [1, "b"],
      [2, "c"],
    ],
  );
  assert.equal(dictionary.takeFresh(), []);
  for (const [site, device, metric] of [
    ["s/d", "a", ""],
    ["s", "d/a", "x"],
    ["", "d", "a"],
    ["s", "+", "a"],
  ] as const) {
    assert.is(dictionary.resolve(site, device, metric), -1);
  }
});

test("names come back by index", () => {
  const keys = [
    { site: "s", device: "d", metric: "a" },
    { site: "s", device: "d", metric: "b" },
    { site: "t", device: "e", metric: "a" },
  ];
  const names = new SeriesNames(keys.slice(0, 1));
  for (const key of keys.slice(1)) names.add(key);
  assert.equal(names.all(), keys);
  assert.equal(names.keyOf(2), keys[2]);
});

test("recovery begins before the oldest entry that a page still needs", () => {
  const dirty = new DirtyPages();
  assert.is(dirty.recoverSeq(9), 9);
  dirty.touchAll(Uint32Array.from([0, 5, 1024, 1025, 4096]), 5, 10);
  dirty.touchAll(Uint32Array.from([3, 4096]), 2, 11);
  dirty.clean(0);
  assert.is(dirty.recoverSeq(11), 9);
  dirty.clean(4);
  dirty.touch(4, 12);
  dirty.clean(1);
  assert.is(dirty.recoverSeq(12), 11);
  assert.equal(
    [0, 1, 2, 4, 9].map((page) => dirty.isDirty(page)),
    [false, false, false, true, false],
  );
});

test("columns grow, and keep the chosen rows in order", () => {
  const columns = createColumns(10);
  for (let i = 0; i < 20_000; i++) {
    if (i === columns.series.length) growColumns(columns, i * 2);
    columns.series[i] = i;
    columns.tsMs[i] = i * 2;
    columns.value[i] = i / 2;
    columns.stamped[i] = i % 2;
    columns.source[i] = i % 5;
    columns.count++;
  }
  retainRows(
    columns,
    Uint8Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? 1 : 0)),
    1,
  );
  assert.is(columns.count, 10_000);
  for (const row of [0, 1, 9999]) {
    const i = row * 2;
    const { series, tsMs, value, stamped, source } = columns;
    assert.equal([series[row], tsMs[row], value[row], stamped[row], source[row]], [i, i * 2, i / 2, i % 2, i % 5]);
  }
});

test("readings are ordered by series, those of one series stay in order of receipt", () => {
  const order = new SeriesOrder();
  const seriesArb = fc.oneof(fc.nat({ max: 5 }), fc.nat({ max: 3000 }), fc.nat({ max: 1_048_575 }));
  fc.assert(
    fc.property(fc.array(seriesArb, { maxLength: 300 }), (series) => {
      const columns = createColumns(series.length);
      series.forEach((one, i) => {
        columns.series[i] = one;
        columns.tsMs[i] = i;
        columns.value[i] = i / 4;
        columns.stamped[i] = i % 2;
        columns.source[i] = i % 7;
      });
      columns.count = series.length;
      const ordered = order.apply(columns);
      const expected = series.map((one, i) => [one, i, i / 4, i % 2, i % 7]).toSorted((a, b) => a[0]! - b[0]!);
      const got = expected.map((_, i) => [
        ordered.series[i],
        ordered.tsMs[i],
        ordered.value[i],
        ordered.stamped[i],
        ordered.source[i],
      ]);
      assert.equal(got, expected);
      assert.is(ordered.count, series.length);
    }),
  );
});

test("commits are at once on an idle disk, and rest in proportion to what they take under load", () => {
  let nowMs = 0;
  const waits: number[] = [];
  let cancelled = 0;
  const later = (_: () => void, waitMs: number): (() => void) => {
    waits.push(waitMs);
    return () => cancelled++;
  };
  const timer = new CommitTimer(() => {}, { now: () => nowMs, later }, 20);
  timer.soon();
  timer.soon();
  assert.equal(waits, [0], "one waits");
  const commit = (tookMs: number): void => {
    timer.cancel();
    const beganMs = nowMs;
    nowMs += tookMs;
    timer.committed(beganMs);
  };
  commit(4);
  timer.soon();
  assert.is(waits.at(-1), 12);
  commit(50);
  timer.soon();
  assert.is(waits.at(-1), 20, "at most the interval");
  timer.next();
  assert.equal([waits.at(-1), cancelled], [0, 3]);
  commit(5);
  nowMs += 1000;
  timer.soon();
  assert.is(waits.at(-1), 0);
});

import * as assert from "uvu/assert";
import fc from "fast-check";
import { BlockBuilder } from "@weir/agent/pipeline/block-builder";
import { changedPages, restorePages } from "@weir/agent/pipeline/checkpoint";
import { CommitTimer } from "@weir/agent/pipeline/commit-timer";
import { Dictionary } from "@weir/agent/pipeline/dictionary";
import { Ledger } from "@weir/agent/pipeline/ledger";
import { suite } from "../support/suite.ts";

const test = suite("ledger, dictionary and checkpoint pages");

test("the ledger's rows give the ledger back, ticked losses included", () => {
  const ledger = new Ledger([]);
  const source = ledger.sourceNumber("mqtt");
  ledger.add(source, "received", 5);
  ledger.add(source, "rejected.json_shape", 2);
  ledger.add(ledger.sourceNumber("uplink"), "lost.outbox_full", 3);
  assert.equal(ledger.takeLosses(), { rejected: { json_shape: 2 }, dropped: { outbox_full: 3 } });
  ledger.add(source, "rejected.json_shape", 1);
  const rows = ledger.takeDirty();
  assert.equal(ledger.takeDirty(), []);
  const again = new Ledger(rows);
  assert.equal(again.totals(), ledger.totals());
  assert.equal(again.takeDirty(), []);
  assert.equal(again.takeLosses(), { rejected: { json_shape: 1 }, dropped: {} });
});

test("losses of all sources add up by reason, and a source keeps its number", () => {
  const ledger = new Ledger([]);
  for (const name of ["a", "b", "a"]) ledger.add(ledger.sourceNumber(name), "rejected.time_ahead", 1);
  assert.is(ledger.sourceNumber("b"), 1);
  assert.equal(ledger.totals().rejected, { time_ahead: 3 });
  assert.equal(
    ledger.takeDirty().map(({ source, count }) => [source, count]),
    [
      ["a", 2],
      ["b", 1],
    ],
  );
});

test("more sources than a byte can tell apart share the last number", () => {
  const ledger = new Ledger([]);
  for (let i = 0; i < 300; i++) ledger.add(ledger.sourceNumber(`s${i}`), "received", 1);
  assert.is(ledger.sourceNumber("s299"), 255);
  assert.is(ledger.totals().received, 300);
});

test("the dictionary keeps indexes, tells of a new series once, and has an end", () => {
  const dictionary = new Dictionary(3, [{ index: 0, site: "s", device: "d", metric: "a" }]);
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

test("pages of positions give the positions back, and only changed ones are written", () => {
  const positionArb = fc.tuple(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 0, max: 2e12 }));
  fc.assert(
    fc.property(fc.array(fc.array(positionArb, { maxLength: 8 }), { maxLength: 6 }), (rounds) => {
      const positions = new Float64Array(5001).fill(-Infinity);
      const written = new Map<number, Uint8Array>();
      const stored = new Map<number, Uint8Array>();
      for (const round of rounds) {
        const touched = new Set<number>();
        for (const [series, tsMs] of round) {
          if (positions[series] !== tsMs) touched.add(series >> 10);
          positions[series] = tsMs;
        }
        const pages = changedPages(positions, written);
        for (const { page, body } of pages) stored.set(page, body);
        assert.ok(pages.every(({ page }) => touched.has(page)));
      }
      const restored = new Float64Array(5001).fill(-Infinity);
      restorePages(
        [...stored].map(([page, body]) => ({ page, body })),
        (series, tsMs) => (restored[series] = tsMs),
      );
      assert.equal(restored, positions);
    }),
  );
});

test("a block under construction grows, and keeps the chosen rows in order", () => {
  const builder = new BlockBuilder();
  for (let i = 0; i < 20_000; i++) builder.push(i, i * 2, i / 2, i % 3 === 0, i % 5);
  builder.retain(Uint8Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? 1 : 0)));
  assert.is(builder.count, 10_000);
  for (const row of [0, 1, 9999]) {
    const i = row * 2;
    const { series, tsMs, value, stamped, source } = builder;
    assert.equal(
      [series[row], tsMs[row], value[row], stamped[row], source[row]],
      [i, i * 2, i / 2, i % 3 === 0 ? 1 : 0, i % 5],
    );
  }
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
  timer.retry();
  assert.ok(waits.at(-1)! >= 500);
});

import type { Block } from "@weir/shared/model/reading";
import { PAGE_SERIES } from "@weir/shared/operators/columns";
import type { Episode } from "@weir/shared/operators/episodes";
import { CHUNK_WORDS, KeyChunks, NO_CHUNK } from "@weir/shared/operators/key-chunks";
import type { Partial } from "@weir/shared/operators/partial";
import { mergePartials } from "@weir/shared/operators/partial";
import type { Emissions } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { WindowPartial } from "@weir/shared/operators/windows";
import { JUDGED_IN_BAND, WindowAccumulator } from "@weir/shared/operators/windows";
import { encodePartial } from "@weir/shared/wire/partial-codec";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { addAll, anyValue, WINDOW_MS, windowsOf } from "./arbitraries.ts";
import { band, version } from "./thresholds-support.ts";

const test = suite("pages of the fold", { timeoutMs: 60_000 });

interface Reading {
  readonly series: number;
  readonly tsMs: number;
  readonly value: number;
  readonly stamped: number;
}

/** First and last of three pages, and one far off, with a page of nothing in between. */
const SERIES = [0, 1, PAGE_SERIES - 1, PAGE_SERIES, 2 * PAGE_SERIES, 4 * PAGE_SERIES + 7];
const PAGES = 5;

const keyOf = (series: number) => ({ site: "s", device: `d${series}`, metric: "m" });

/** Two versions, the second from the middle of the readings on. */
function newFold(): SeriesFold {
  const thresholds = new ThresholdHistory();
  const limits = { warningLow: -8, warningHigh: 8, criticalHigh: 9, gapMs: 40_000 };
  thresholds.add(version(1, -1e6, { rules: [["*", band(limits)]] }));
  thresholds.add(version(2, 200_000, { rules: [["*", band({ ...limits, warningHigh: 6, forMs: 20_000 })]] }));
  return new SeriesFold(keyOf, thresholds, { windowMs: WINDOW_MS });
}

function blockOf(readings: readonly Reading[]): Block {
  return {
    count: readings.length,
    series: Uint32Array.from(readings, ({ series }) => series),
    tsMs: Float64Array.from(readings, ({ tsMs }) => tsMs),
    value: Float64Array.from(readings, ({ value }) => value),
    stamped: Uint8Array.from(readings, ({ stamped }) => stamped),
  };
}

/** Values around the limits, and of all magnitudes; times over more windows than are looked through one by one. */
const anyReading: fc.Arbitrary<Reading> = fc.record({
  series: fc.constantFrom(...SERIES),
  tsMs: fc
    .oneof(
      fc.integer({ min: -30, max: 400 }),
      fc.integer({ min: 0, max: 12 }).map((n) => n * 60),
    )
    .map((s) => s * 1000),
  value: fc.oneof({ arbitrary: fc.integer({ min: -9, max: 10 }), weight: 3 }, anyValue),
  stamped: fc.nat(1),
});
const anyReadings = fc.uniqueArray(anyReading, {
  maxLength: 120,
  selector: ({ series, tsMs, value }) => `${series} ${tsMs} ${value}`,
});

type Step =
  | { readonly kind: "block"; readonly readings: number; readonly isSorted: boolean }
  | { readonly kind: "page"; readonly page: number }
  | { readonly kind: "all" };

const anySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      arbitrary: fc.record({ kind: fc.constant("block" as const), readings: fc.nat(30), isSorted: fc.boolean() }),
      weight: 4,
    },
    { arbitrary: fc.record({ kind: fc.constant("page" as const), page: fc.nat(PAGES) }), weight: 3 },
    { arbitrary: fc.constant({ kind: "all" as const }), weight: 1 },
  ),
  { maxLength: 24 },
);

interface Run {
  readonly fold: SeriesFold;
  readonly out: Emissions;
  readonly flushed: WindowPartial[][];
}

/** Folds the readings in this order, cut and flushed as the steps say, and the rest at the end. */
function runOf(readings: readonly Reading[], steps: readonly Step[]): Run {
  const run: Run = { fold: newFold(), out: createEmissions(), flushed: [] };
  const { fold, out, flushed } = run;
  let from = 0;
  for (const step of [...steps, { kind: "block", readings: readings.length, isSorted: false } as const]) {
    if (step.kind === "block") {
      const taken = readings.slice(from, from + step.readings);
      from += taken.length;
      // As the pipeline hands them over: by series, else in the order of receipt.
      fold.applyBlock(blockOf(step.isSorted ? taken.toSorted((a, b) => a.series - b.series) : taken), out);
    } else {
      const waiting = step.kind === "page" ? fold.pageWindowReadings(step.page) : fold.windowReadings;
      const partials = step.kind === "page" ? fold.flushPage(step.page, out) : fold.flush(out);
      assert.is(readingsOf(partials), waiting);
      if (step.kind === "page") assert.ok(partials.every(({ series }) => pageOf(series) === step.page));
      flushed.push(partials);
    }
    const pages = Array.from({ length: fold.pages }, (_, page) => fold.pageWindowReadings(page));
    assert.is(
      fold.windowReadings,
      pages.reduce((sum, count) => sum + count, 0),
    );
  }
  flushed.push(fold.flush(out));
  assert.equal([fold.windowReadings, fold.windowBytes], [0, 0]);
  return run;
}

const pageOf = (series: number): number => Math.floor(series / PAGE_SERIES);
const readingsOf = (partials: readonly WindowPartial[]): number =>
  partials.reduce((sum, { partial }) => sum + partial.count, 0);

/** Bytes of the merged partials by series and window. */
function merged(flushed: readonly WindowPartial[][]): Map<string, string> {
  const cells = new Map<string, Partial>();
  for (const { series, windowStartMs, partial } of flushed.flat()) {
    const name = `${series} ${windowStartMs}`;
    const before = cells.get(name);
    cells.set(name, before ? mergePartials(before, partial) : partial);
  }
  return new Map(
    [...cells]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, partial]) => [name, Buffer.from(encodePartial(partial)).toString("hex")]),
  );
}

const inOrder = (readings: readonly Reading[]): Reading[] =>
  readings.toSorted((a, b) => a.tsMs - b.tsMs || a.value - b.value);

test("any order, any blocks and any flushes give the partials of a plain fold, to the byte", () => {
  fc.assert(
    fc.property(
      anyReadings.chain((all) => fc.shuffledSubarray(all, { minLength: all.length })),
      anySteps,
      (readings, steps) => {
        const plain = runOf(inOrder(readings), []);
        const { flushed } = runOf(readings, steps);
        assert.equal(merged(flushed), merged(plain.flushed));
        for (const partials of flushed) {
          const places = partials.map(({ series, windowStartMs }) => [series, windowStartMs] as const);
          assert.equal(
            places,
            places.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]),
            "by series, then by window",
          );
        }
      },
    ),
    { numRuns: 400 },
  );
});

test("in each series' order of time, the episodes of each page are those of a plain fold as well", () => {
  const described = (episodes: Iterable<Episode>): string[] =>
    [...episodes].map((one) => JSON.stringify({ ...one, dirty: false })).toSorted();
  fc.assert(
    fc.property(anyReadings, fc.infiniteStream(fc.nat()), anySteps, (readings, draws, steps) => {
      const sorted = inOrder(readings);
      const plain = runOf(sorted, []);
      const { fold, out } = runOf(interleaved(sorted, draws), steps);
      assert.equal(out.refolds, []);
      assert.equal(described(out.closed), described(plain.out.closed));
      let open = 0;
      for (let page = 0; page < PAGES + 1; page++) {
        const episodes = [...fold.openEpisodesOf(page)];
        assert.ok(episodes.every(({ series }) => pageOf(series) === page));
        assert.equal(described(episodes), described(plain.fold.openEpisodesOf(page)));
        open += episodes.length;
      }
      assert.is([...fold.openEpisodes()].length, open);
      // The last word on each alert is the same, however often flushes told of it in between.
      const lastWords = (emissions: Emissions) => new Map(emissions.alerts.map((one) => [one.id, one]));
      assert.equal(Object.fromEntries(lastWords(out)), Object.fromEntries(lastWords(plain.out)));
    }),
    { numRuns: 400 },
  );
});

/** Another order, in which each series keeps its own. */
function interleaved(readings: readonly Reading[], draws: fc.Stream<number>): Reading[] {
  const queues = SERIES.map((series) => readings.filter((one) => one.series === series));
  const order: Reading[] = [];
  while (order.length < readings.length) {
    const waiting = queues.filter(({ length }) => length > 0);
    order.push(waiting[[...draws.take(1)][0]! % waiting.length]!.shift()!);
  }
  return order;
}

test("readings in a run are added as they are one by one", () => {
  const anyRun = fc.uniqueArray(
    fc.record({ tsMs: fc.integer({ min: -200, max: 600 }).map((s) => s * 1000), value: anyValue, stamped: fc.nat(1) }),
    { minLength: 1, maxLength: 100, selector: ({ tsMs }) => tsMs },
  );
  fc.assert(
    fc.property(anyRun, fc.nat(100), fc.nat(2), (drawn, cut, later) => {
      const readings = drawn
        .toSorted((a, b) => a.tsMs - b.tsMs)
        .map((one, i) => ({ ...one, series: 3, judged: JUDGED_IN_BAND, version: i < cut ? 1 : later }));
      const windows = new WindowAccumulator(WINDOW_MS);
      const block = blockOf(readings);
      const words = new Int32Array(block.value.buffer);
      const middle = Math.min(cut, block.count);
      windows.addRun(3, block, words, 0, middle, 1);
      windows.addRun(3, block, words, middle, block.count, later);
      assert.equal(windows.drain(), windowsOf(readings));
    }),
    { numRuns: 300 },
  );
});

test("many windows of a series may wait at once, in any order", () => {
  const anyWindows = fc.array(fc.record({ series: fc.nat(1), window: fc.nat(60), ms: fc.nat(WINDOW_MS - 1) }), {
    minLength: 30,
    maxLength: 200,
  });
  fc.assert(
    fc.property(anyWindows, fc.nat(200), (places, cut) => {
      const readings = places.map(({ series, window, ms }, i) => {
        const tsMs = window * WINDOW_MS + ms;
        return { series, tsMs, value: i, stamped: 0, judged: JUDGED_IN_BAND, version: 0 };
      });
      const windows = new WindowAccumulator(WINDOW_MS);
      const inTime = (some: typeof readings) => windowsOf(some.toSorted((a, b) => a.tsMs - b.tsMs));
      addAll(windows, readings.slice(0, cut));
      const first: WindowPartial[] = [];
      windows.drainPage(0, (partial) => first.push(partial));
      assert.equal(first, inTime(readings.slice(0, cut)));
      addAll(windows, readings.slice(cut));
      assert.equal(windows.drain(), inTime(readings.slice(cut)));
      assert.is(windows.bytes, 0);
    }),
    { numRuns: 200 },
  );
});

test("a window is found again among many, whether it was there before they were many or not", () => {
  const windows = new WindowAccumulator(WINDOW_MS);
  const at = (window: number) => ({
    series: 0,
    tsMs: window * WINDOW_MS,
    value: 1,
    stamped: 0,
    judged: JUDGED_IN_BAND,
    version: 0,
  });
  const upTo = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => at(from + i));
  addAll(windows, [...upTo(0, 20), at(2), ...upTo(20, 40), at(22), at(3), at(2)]);
  const counts = windows.drain().map(({ partial }) => partial.count);
  assert.equal(
    counts,
    Array.from({ length: 40 }, (_, window) => ({ 2: 3, 3: 2, 22: 2 })[window] ?? 1),
  );
});

test("a window drained leaves nothing to the next, also of sums that two doubles do not hold", () => {
  const windows = new WindowAccumulator(WINDOW_MS);
  for (const [i, values] of [
    [1, 2 ** -60, 2 ** -130],
    [3, 2 ** -61, 2 ** -131],
  ].entries()) {
    const readings = values.map((value, ms) => {
      return { series: 0, tsMs: i * WINDOW_MS + ms, value, stamped: 0, judged: JUDGED_IN_BAND, version: i + 1 };
    });
    addAll(windows, readings);
    const [drained] = windows.drain();
    assert.equal(drained?.partial.sum, values.toReversed());
    assert.equal(drained?.partial.versions, [i + 1]);
  }
});

test("a flush of one page tells of its own episodes alone", () => {
  const fold = newFold();
  const breaches = [10, 11].map((tsMs) => [0, PAGE_SERIES].map((series) => ({ series, tsMs, value: 9, stamped: 0 })));
  for (const rows of breaches) fold.applyBlock(blockOf(rows), createEmissions());
  for (const page of [1, 0]) {
    const out = createEmissions();
    assert.is(fold.flushPage(page, out).length, 1);
    assert.equal(
      out.alerts.map(({ device, breaches: count }) => `${device} ${count}`),
      [`d${page * PAGE_SERIES} 2`],
    );
    fold.flushPage(page, out);
    assert.is(out.alerts.length, 1, "and only once");
  }
});

test("what one page gave back another uses: memory stays at its highest need", () => {
  const windows = new WindowAccumulator(WINDOW_MS);
  const readings = (page: number, atMs: number) =>
    Array.from({ length: 12_000 }, (_, i) => ({
      series: page * PAGE_SERIES + (i % 100),
      tsMs: atMs + (i % 3) * WINDOW_MS,
      value: i,
      stamped: 0,
      judged: JUDGED_IN_BAND,
      version: 0,
    }));
  addAll(windows, readings(0, 0));
  const { bytes, reservedBytes } = windows;
  // 300 windows of 40 readings: two full chunks of 64 bytes each, and 192 for the 200 that are not the newest.
  assert.is(bytes, 300 * 2 * 64 + 200 * 192);
  for (let round = 1; round < 50; round++) {
    let drained = 0;
    windows.drainPage((round - 1) % 4, () => drained++);
    assert.is(drained, 300);
    assert.is(windows.bytes, 0);
    addAll(windows, readings(round % 4, round * 3 * WINDOW_MS));
    assert.is(windows.bytes, bytes);
    assert.is(windows.reservedBytes, reservedBytes);
  }
});

test("chunks hold the keys of many cells side by side, and are used again", () => {
  const anyTurns = fc.array(fc.record({ cell: fc.nat(5), keys: fc.nat(70), takes: fc.boolean() }), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(anyTurns, (turns) => {
      const chunks = new KeyChunks();
      const fillings = Array.from({ length: 6 }, () => Int32Array.of(NO_CHUNK));
      const held: number[][] = fillings.map(() => []);
      let next = 0;
      for (const { cell, keys, takes } of turns) {
        for (let i = 0; i < keys; i++) {
          if (fillings[cell]!.length === CHUNK_WORDS) fillings[cell] = Int32Array.of(chunks.put(fillings[cell]!, 0));
          fillings[cell] = Int32Array.of(...fillings[cell]!, next);
          held[cell]!.push(next++);
        }
        const full = held.map(({ length }) => Math.max(0, Math.ceil(length / 15) - 1));
        assert.is(
          chunks.used,
          full.reduce((sum, count) => sum + count, 0),
        );
        if (!takes) continue;
        const count = chunks.take(fillings[cell]!, 0, fillings[cell]!.length);
        assert.equal(
          [...chunks.taken.subarray(0, count)].toSorted((a, b) => a - b),
          held[cell],
        );
        fillings[cell] = Int32Array.of(NO_CHUNK);
        held[cell] = [];
      }
    }),
    { numRuns: 200 },
  );
});

test("chunks given back are the first to be used again", () => {
  const chunks = new KeyChunks();
  const full = Int32Array.from({ length: CHUNK_WORDS }, (_, i) => i);
  for (let round = 0; round < 20; round++) {
    let link = NO_CHUNK;
    for (let i = 0; i < 2000; i++) link = chunks.put(Int32Array.of(link, ...full.subarray(1)), 0);
    assert.is(chunks.used, 2000);
    assert.is(chunks.take(Int32Array.of(link), 0, 1), 2000 * 15);
    assert.is(chunks.used, 0);
  }
  assert.is(chunks.bytes, 128 * 1024);
});

test("positions come in whole pages, and pages end with the highest series", () => {
  const fold = newFold();
  assert.is(fold.pages, 0);
  assert.is(fold.positions().length, 0);
  fold.restorePosition(PAGE_SERIES, 5);
  assert.is(fold.pages, 2);
  fold.applyBlock(blockOf([{ series: 3 * PAGE_SERIES - 1, tsMs: 7, value: 0, stamped: 0 }]), createEmissions());
  assert.is(fold.pages, 3);
  const positions = fold.positions();
  assert.is(positions.length, 3 * PAGE_SERIES);
  assert.equal(fold.pagePositions(1), positions.slice(PAGE_SERIES, 2 * PAGE_SERIES));
  assert.equal([positions[0], positions[PAGE_SERIES], positions[3 * PAGE_SERIES - 1]], [-Infinity, 5, 7]);
  assert.equal([fold.pageWindowReadings(2), fold.pageWindowReadings(1), fold.pageWindowReadings(99)], [1, 0, 0]);
  assert.equal([...fold.openEpisodesOf(99)], []);
});

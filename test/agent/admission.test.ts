import * as assert from "uvu/assert";
import fc from "fast-check";
import { Admission } from "@weir/agent/pipeline/admission";
import type { Wanted } from "@weir/agent/store/stored-readings";
import type { Block } from "@weir/shared/model/reading";
import { suite } from "../support/suite.ts";

const test = suite("admission");

type Reading = readonly [series: number, tsMs: number, value: number];

function blockOf(readings: readonly Reading[]): Block {
  return {
    count: readings.length,
    series: Uint32Array.from(readings, ([series]) => series),
    tsMs: Float64Array.from(readings, ([, tsMs]) => tsMs),
    value: Float64Array.from(readings, ([, , value]) => value),
    stamped: new Uint8Array(readings.length),
  };
}

/** An admission over a log in memory; what it admits is stored, as its contract asks. */
class Log {
  readonly stored: Block[] = [];
  admission = new Admission(this);

  *holding(wanted: Wanted): Generator<Block> {
    for (const block of this.stored) {
      if (block.tsMs.some((tsMs) => wanted.tsMs.includes(tsMs))) yield block;
    }
  }

  /** Returns the readings of the block that were taken for new. */
  take(...readings: Reading[]): Reading[] {
    const keep = new Uint8Array(readings.length);
    const duplicates = this.admission.admit(blockOf(readings), keep);
    const kept = readings.filter((_, i) => keep[i] === 1);
    assert.is(duplicates, readings.length - kept.length);
    if (kept.length > 0) this.stored.push(blockOf(kept));
    return kept;
  }

  /** As after a restart: only each series' newest time is known. */
  restart(): void {
    this.admission = new Admission(this);
    const newest = new Map<number, number>();
    for (const block of this.stored) {
      block.series.forEach((series, i) =>
        newest.set(series, Math.max(newest.get(series) ?? -Infinity, block.tsMs[i]!)),
      );
    }
    for (const [series, tsMs] of newest) this.admission.restore(series, tsMs);
  }
}

/** One series, `count` readings a second apart from `fromMs`. */
function run(series: number, fromMs: number, count: number): Reading[] {
  return Array.from({ length: count }, (_, i) => [series, fromMs + i * 1000, i] as const);
}

test("finds a duplicate among the recent readings without reading the log", () => {
  const log = new Log();
  log.take(...run(0, 0, 5));
  assert.equal(log.take(...run(0, 0, 5)), []);
  assert.is(log.admission.lookups, 0);
});

test("finds a duplicate that only the log still knows", () => {
  const log = new Log();
  log.take(...run(0, 0, 500));
  log.take(...run(0, 500_000, 500));
  assert.equal(log.take([0, 3000, 3]), []);
  assert.is(log.admission.lookups, 1);
  assert.equal(log.take([0, 3000, 4]), [[0, 3000, 4]]);
});

test("finds a duplicate within one block after it was pushed out of the recent ones", () => {
  const log = new Log();
  const readings = run(0, 0, 100);
  assert.equal(log.take(...readings, readings[3]!, readings[99]!), readings);
});

test("finds two copies of one late reading in one block", () => {
  const log = new Log();
  log.take(...run(0, 0, 100));
  assert.equal(log.take([0, 1500, 7], [0, 1500, 7], [0, 1500, 8]), [
    [0, 1500, 7],
    [0, 1500, 8],
  ]);
});

test("takes two values at one time, and one value of two series, for two readings", () => {
  const log = new Log();
  assert.is(log.take([0, 1000, 1], [0, 1000, 2], [1, 1000, 1]).length, 3);
  assert.is(log.take([0, 1000, 1], [0, 1000, 2], [1, 1000, 1]).length, 0);
});

test("keeps more values at one time apart than it remembers", () => {
  const log = new Log();
  const readings = Array.from({ length: 40 }, (_, i): Reading => [0, 1000, i]);
  assert.is(log.take(...readings).length, 40);
  assert.is(log.take(...readings).length, 0);
  assert.is(log.take([0, 1000, 40], [0, 999, 0]).length, 2);
});

test("asks the log about everything old after a restart", () => {
  const log = new Log();
  log.take(...run(0, 0, 5));
  log.restart();
  assert.equal(log.take([0, 2000, 2], [0, 2000, 3], [0, 4000, 4], [0, 9000, 9]), [
    [0, 2000, 3],
    [0, 9000, 9],
  ]);
});

test("remembers series with a high index", () => {
  const log = new Log();
  const readings: Reading[] = [
    [20_000, 1, 1],
    [3, 1, 1],
    [200_000, 1, 1],
  ];
  assert.equal(log.take(...readings), readings);
  assert.equal(log.take(...readings), []);
});

const readingArb = fc.tuple(
  fc.integer({ min: 0, max: 2 }),
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 2 }),
);
const stepArb = fc.oneof(
  { weight: 6, arbitrary: fc.array(readingArb, { minLength: 1, maxLength: 40 }) },
  { weight: 1, arbitrary: fc.constant("restart" as const) },
);

test("agrees with a set of everything seen, over any blocks, disorder and restarts", () => {
  fc.assert(
    fc.property(fc.array(stepArb, { maxLength: 25 }), (steps) => {
      const log = new Log();
      const seen = new Set<string>();
      for (const step of steps) {
        if (step === "restart") {
          log.restart();
          continue;
        }
        const expected: string[] = [];
        for (const reading of step) {
          if (seen.has(String(reading))) continue;
          seen.add(String(reading));
          expected.push(String(reading));
        }
        // Of copies in one block any may be the one that is kept: compare as sets.
        assert.equal(
          log
            .take(...step)
            .map(String)
            .toSorted(),
          expected.toSorted(),
        );
      }
    }),
    { numRuns: 400 },
  );
});

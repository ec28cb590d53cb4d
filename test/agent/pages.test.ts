import * as assert from "uvu/assert";
import fc from "fast-check";
import type { Partial } from "@weir/shared/operators/partial";
import { mergePartials } from "@weir/shared/operators/partial";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { decodeWindows, encodePartial } from "@weir/shared/wire/partial-codec";
import { suite } from "../support/suite.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";

const test = suite("checkpoint page by page");

let line: Line;
test.after.each(() => line.close());

/** Everything is cut at once, and merged within a second. */
const SMALL = { cutReadings: 1, cutAfterMs: 0, mergeReadings: 4, settleMs: 0, mergeAgainMs: 1000 };

/** Series 0, 1030 and 2060 lie on three pages. */
const SERIES_COUNT = 2100;
const CHOSEN = [0, 1, 1030, 2060] as const;
const KEY = { site: "s", device: "d" } as const;

/** Registers all series with one message, and stores a reading of each. */
function register(): void {
  const values = Object.fromEntries(Array.from({ length: SERIES_COUNT }, (_, i) => [`m${i}`, 0]));
  line.raw("t/s/d/x", JSON.stringify({ ts: NOW_MS - 3_600_000, values }));
  line.pipeline.checkpoint();
}

/** What an aggregator would hold of the windows, from everything that was put into the outbox. */
function summarised(): Map<string, string> {
  const cells = new Map<string, Partial>();
  for (const frame of line.frames("data")) {
    if (frame.kind !== "partials") continue;
    for (const { series, windowStartMs, partial } of decodeWindows(frame.windows)) {
      const cell = `${series}@${windowStartMs}`;
      const before = frame.replace ? undefined : cells.get(cell);
      cells.set(cell, before ? mergePartials(before, partial) : partial);
    }
  }
  return new Map([...cells].map(([cell, partial]) => [cell, Buffer.from(encodePartial(partial)).toString("hex")]));
}

/** The same from a plain fold over the log, all versions known. */
function expected(): Map<string, string> {
  const thresholds = new ThresholdHistory();
  for (const one of line.store.thresholdVersions(1e9)) thresholds.add(one);
  const keyOf = (series: number): { site: string; device: string; metric: string } => ({
    ...KEY,
    metric: `x.m${series}`,
  });
  const fold = new SeriesFold(keyOf, thresholds, { windowMs: 60_000 });
  for (const block of line.store.readings.all()) fold.applyBlock(block, createEmissions());
  const windows = fold.flush(createEmissions());
  return new Map(
    windows.map(({ series, windowStartMs, partial }) => [
      `${series}@${windowStartMs}`,
      Buffer.from(encodePartial(partial)).toString("hex"),
    ]),
  );
}

const stepArb = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      series: fc.constantFrom(...CHOSEN),
      value: fc.integer({ min: -20, max: 20 }),
      agoMs: fc.integer({ min: 0, max: 200_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "commit" as const }) },
  // A turn does one step of a job: others come in the middle of it.
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("turn" as const), times: fc.integer({ min: 1, max: 12 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "compact" as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: "restart" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("version" as const),
      agoMs: fc.integer({ min: 0, max: 200_000 }),
      high: fc.integer({ min: 1, max: 15 }),
    }),
  },
);

test("each page recovers from its own place in the log: every reading is summarised once, whenever it is killed", () => {
  fc.assert(
    fc.property(fc.array(stepArb, { minLength: 15, maxLength: 40, size: "max" }), (steps) => {
      line = new Line({ seriesMax: 3000, checkpointIntervalMs: 1000, backgroundTurnMs: 0, compaction: SMALL });
      try {
        register();
        let versions = 0;
        for (const step of steps) {
          line.nowMs += 400;
          if (step.kind === "send") {
            line.raw(
              "t/s/d/x",
              JSON.stringify({ ts: NOW_MS - step.agoMs, values: { [`m${step.series}`]: step.value } }),
            );
          } else if (step.kind === "commit") line.pipeline.commit();
          else if (step.kind === "restart") line.restart();
          else if (step.kind === "version")
            line.pipeline.addThresholds(version(++versions, NOW_MS - step.agoMs, step.high));
          else if (step.kind === "compact") line.pipeline.compact();
          else {
            for (let i = 0; i < step.times; i++) {
              line.nowMs += 150;
              line.pipeline.core.checkpointTurn();
            }
          }
        }
        line.pipeline.checkpoint();
        assert.equal(summarised(), expected());
        const { recoverSeq } = line.store.readCheckpoint();
        assert.is(recoverSeq, line.store.lastSeq, "nothing is left to recover");
      } finally {
        line.close();
      }
    }),
    { numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 25) },
  );
  line = new Line();
});

test("a turn flushes one page, in its turn, and passes over those in which nothing happened", () => {
  line = new Line({ seriesMax: 3000, checkpointIntervalMs: 1000 });
  register();
  const flushed: number[][] = [];
  const commit = line.store.commit.bind(line.store);
  line.store.commit = (batch) => {
    if (batch.checkpoint) flushed.push(batch.checkpoint.pages.map(({ page }) => page));
    commit(batch);
  };
  const send = (series: number, i: number): void => {
    line.raw("t/s/d/x", JSON.stringify({ ts: NOW_MS + i, values: { [`m${series}`]: i } }));
    line.pipeline.commit();
  };
  send(0, 1);
  send(2060, 1);
  for (let turn = 0; turn < 12; turn++) {
    line.nowMs += 100;
    line.pipeline.core.checkpointTurn();
  }
  assert.equal(
    flushed.toSorted((a, b) => a[0]! - b[0]!),
    [[0], [2]],
  );
});

/** Two readings on two pages in one log entry; then a turn flushes the first page alone. */
function flushFirstPage(): void {
  register();
  line.raw("t/s/d/x", JSON.stringify({ ts: NOW_MS, values: { m0: 11, m2060: 11 } }));
  line.pipeline.commit();
  line.nowMs += 500;
  line.pipeline.core.checkpointTurn();
}

test("recovery passes over the readings of an entry that a page has sent already, and takes the others", () => {
  line = new Line({ seriesMax: 3000, checkpointIntervalMs: 1000 });
  flushFirstPage();
  assert.ok(line.store.readCheckpoint().recoverSeq < line.store.lastSeq, "one page is not yet written");
  line.restart();
  line.pipeline.checkpoint();
  assert.equal(summarised(), expected());
});

test("a re-fold that waits survives a kill, whether its page has been flushed or not", () => {
  line = new Line({ seriesMax: 3000, checkpointIntervalMs: 1000 });
  register();
  line.raw("t/s/d/x", JSON.stringify({ ts: NOW_MS, values: { m0: 11 } }));
  line.pipeline.commit();
  line.pipeline.addThresholds(version(1, NOW_MS - 1000, 10));
  line.nowMs += 500;
  line.pipeline.core.checkpointTurn();
  line.restart();
  line.pipeline.checkpoint();
  assert.equal(summarised(), expected());
});

test("a re-fold that was run is not run again after a kill, though the log is folded from before it", () => {
  line = new Line({ seriesMax: 3000, checkpointIntervalMs: 1000 });
  register();
  line.raw("t/s/d/x", JSON.stringify({ ts: NOW_MS, values: { m0: 11, m2060: 1 } }));
  line.pipeline.commit();
  line.pipeline.addThresholds(version(1, NOW_MS - 1000, 10));
  line.pipeline.checkpoint();
  const replacements = (): number =>
    line.frames("data").filter((frame) => frame.kind === "partials" && frame.replace).length;
  const before = replacements();
  assert.ok(before > 0);
  // As if another page had been written last before the version came.
  line.store.setMeta("recover_seq", 0);
  line.restart();
  line.pipeline.checkpoint();
  assert.is(replacements(), before);
  assert.equal(summarised(), expected());
});

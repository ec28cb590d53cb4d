import * as assert from "uvu/assert";
import type { RefoldContext } from "@weir/agent/pipeline/refold";
import { RefoldJob } from "@weir/agent/pipeline/refold";
import type { Refolded, RefoldLog } from "@weir/agent/pipeline/refolder";
import { Refolder } from "@weir/agent/pipeline/refolder";
import type { Block } from "@weir/shared/model/reading";
import { mergePartials } from "@weir/shared/operators/partial";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { encodePartial } from "@weir/shared/wire/partial-codec";
import { suite } from "../support/suite.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("re-folds");

const WINDOW_MS = 60_000;
const KEY = { site: "s", device: "d", metric: "m" };

/** Readings of one series a millisecond apart. */
function blockOf(fromMs: number, count: number, valueOf: (i: number) => number, series = 0): Block {
  return {
    count,
    series: new Uint32Array(count).fill(series),
    tsMs: Float64Array.from({ length: count }, (_, i) => fromMs + i),
    value: Float64Array.from({ length: count }, (_, i) => valueOf(i)),
    stamped: new Uint8Array(count),
  };
}

function contextOf(): RefoldContext {
  const thresholds = new ThresholdHistory();
  thresholds.add(version(1, 0, 10));
  const keyOf = (): typeof KEY => KEY;
  const live = new SeriesFold(keyOf, thresholds, { windowMs: WINDOW_MS });
  const source = { wholeFromMs: -Infinity, episodesFrom: () => [] };
  return { source, live, thresholds, keyOf, windowMs: WINDOW_MS };
}

test("a window that is too long for memory goes in parts: one that replaces, and more to be merged into it", () => {
  const context = contextOf();
  const job = new RefoldJob([{ series: 0, fromMs: 0, replacePartials: true }], context);
  const many = 2 ** 21 + 10;
  const first = { ...blockOf(0, many, (i) => i % 9), tsMs: new Float64Array(many).map((_, i) => i / 100) };
  const second = blockOf(30_000, 1000, (i) => i % 7);
  job.apply(first);
  job.apply(second);
  const { partials, more } = job.finish();
  assert.equal([partials.length, more.length], [1, 1]);
  const whole = new SeriesFold(() => KEY, context.thresholds, { windowMs: WINDOW_MS });
  whole.applyBlock(first, createEmissions());
  const [firstPart] = whole.flush(createEmissions());
  whole.applyBlock(second, createEmissions());
  const [secondPart] = whole.flush(createEmissions());
  const bytes = (one: Parameters<typeof encodePartial>[0]): string => Buffer.from(encodePartial(one)).toString("hex");
  assert.is(
    bytes(mergePartials(partials[0]!.partial, more[0]!.partial)),
    bytes(mergePartials(firstPart!.partial, secondPart!.partial)),
  );
});

/** A log of blocks that grows as the test says. */
class GrowingLog implements RefoldLog {
  readonly blocks: Block[] = [];

  get lastSeq(): number {
    return this.blocks.length;
  }

  *inTimeOrder(_wanted: ReadonlyMap<number, number>, throughSeq: number): Generator<Block | undefined> {
    for (const block of this.blocks.slice(0, throughSeq)) {
      yield undefined;
      yield block;
    }
  }

  *blocksAfter(afterSeq: number, throughSeq: number): Generator<Block> {
    yield* this.blocks.slice(afterSeq, throughSeq);
  }
}

/** Turns until a job is at its end, with something to be done between them; returns what it wants written. */
function runJob(refolder: Refolder, between: () => void): Refolded {
  let refolded: Refolded | undefined;
  for (let turn = 0; turn < 1000 && !refolded; turn++) {
    refolder.turn(0, (_page, take) => (refolded = take()));
    if (!refolded) between();
  }
  return refolded!;
}

test("a job takes in what comes while it runs, and what is asked for meanwhile waits for the next", () => {
  const log = new GrowingLog();
  log.blocks.push(
    blockOf(0, 50, () => 20),
    blockOf(60_000, 50, () => 1),
  );
  const refolder = new Refolder(contextOf(), log, [
    { series: 0, fromMs: 0, replacePartials: true, owed: 0 },
    { series: 5, fromMs: 0, replacePartials: false, owed: 0 },
  ]);
  assert.is(refolder.waiting, 2);
  let grown = 0;
  const first = runJob(refolder, () => {
    if (grown === 0) refolder.add({ series: 0, fromMs: 5, replacePartials: false });
    // More than a job takes in one go, at first.
    const blocks = grown === 0 ? 30 : 1;
    for (let i = 0; i < blocks; i++) log.blocks.push(blockOf(600_000 + ++grown * 1000, 10, () => 30));
  });
  assert.ok(grown > 30);
  assert.equal(first.series, [0, 5]);
  assert.equal(first.again, [{ series: 0, fromMs: 5, replacePartials: false, owed: 0 }]);
  assert.is(
    first.result.partials.reduce((sum, { partial }) => sum + partial.count, 0),
    100 + 10 * grown,
  );
  assert.is(refolder.waiting, 1);
  const second = runJob(refolder, () => {});
  assert.equal([second.series, second.again], [[0], []]);
  assert.is(refolder.waiting, 0);
});

test("a job that fails leaves its requests waiting", () => {
  const log = new GrowingLog();
  log.blocks.push(blockOf(0, 5, () => 20));
  const refolder = new Refolder(contextOf(), log, [{ series: 0, fromMs: 0, replacePartials: true, owed: 0 }]);
  const reading = log.inTimeOrder.bind(log);
  log.inTimeOrder = () => {
    throw new Error("disk I/O error");
  };
  assert.throws(() => refolder.turn(0, () => {}), /disk I\/O error/);
  assert.not.ok(refolder.isBusy);
  log.inTimeOrder = reading;
  assert.equal(runJob(refolder, () => {}).series, [0]);
});

test("series of one page are done together, others later; a long stretch that replaces windows stands alone", () => {
  const log = new GrowingLog();
  const context = contextOf();
  const days = 40 * 86_400_000;
  context.live.restorePosition(1, days);
  const refolder = new Refolder(context, log, [
    { series: 1, fromMs: 0, replacePartials: true, owed: 0 },
    { series: 2, fromMs: 0, replacePartials: true, owed: 0 },
    { series: 5000, fromMs: 0, replacePartials: false, owed: 0 },
    { series: 3, fromMs: 0, replacePartials: false, owed: 0 },
  ]);
  assert.equal(runJob(refolder, () => {}).series, [1]);
  assert.equal(runJob(refolder, () => {}).series, [2, 3]);
  assert.equal(runJob(refolder, () => {}).series, [5000]);
});

import { rmSync } from "node:fs";
import { dirname } from "node:path";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { decodeBlock } from "@weir/agent/store/block-codec";
import type { CompactorOptions } from "@weir/agent/pipeline/compactor";
import { inTimeOrder } from "@weir/agent/store/time-order";
import { suite } from "../support/suite.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";

const test = suite("compaction", { timeoutMs: 60_000 });

const HOUR_MS = 3_600_000;
/** Small enough that a hundred readings are cut and merged many times. */
const SMALL: CompactorOptions = {
  cutReadings: 20,
  cutAfterMs: 60_000,
  mergeReadings: 60,
  settleMs: 60_000,
  mergeAgainMs: 120_000,
};
/** Nothing is due by itself. */
const NEVER: CompactorOptions = {
  cutReadings: 1e9,
  cutAfterMs: 1e15,
  mergeReadings: 1e9,
  settleMs: 1e15,
  mergeAgainMs: 1e15,
};

interface Counts {
  readonly blocks: number;
  readonly pieces: number;
  readonly chunks: number;
}

/** Rows of the log's readings by kind. */
function countsOf({ store }: Line): Counts {
  const count = (sql: string): number => store.sql.number(sql) ?? 0;
  return {
    blocks: count("SELECT count(*) FROM log WHERE kind = 1"),
    pieces: count("SELECT count(*) FROM pieces"),
    chunks: count("SELECT count(*) FROM chunks"),
  };
}

/** Bytes of bodies that the file really holds. */
function bytesOf({ store }: Line): number {
  const sum = (table: string): number => store.sql.number(`SELECT sum(length(body)) FROM ${table}`) ?? 0;
  return sum("log") + sum("pieces") + sum("chunks");
}

function names(line: Line): string[] {
  return line
    .stored()
    .map((one) => one.join(" "))
    .toSorted();
}

/** Every chunk's rows are its own, in order, and no two chunks of a series and hour overlap. */
function checkChunks({ store }: Line): void {
  type Row = { hour_ms: number; series: number; min_ts: number; max_ts: number; readings: number; body: Buffer };
  const rows = store.sql.all<Row>("SELECT * FROM chunks ORDER BY hour_ms, series, min_ts");
  let before: Row | undefined;
  for (const row of rows) {
    const { count, series, tsMs } = decodeBlock(row.body);
    assert.is(count, row.readings);
    assert.is(tsMs[0], row.min_ts);
    assert.is(tsMs[count - 1], row.max_ts);
    assert.ok(row.min_ts >= row.hour_ms && row.max_ts < row.hour_ms + HOUR_MS);
    for (let i = 0; i < count; i++) {
      assert.is(series[i], row.series);
      if (i > 0) assert.ok(tsMs[i - 1]! <= tsMs[i]!);
    }
    if (before?.series === row.series && before.hour_ms === row.hour_ms) assert.ok(before.max_ts < row.min_ts);
    before = row;
  }
}

const stepArb = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("send" as const), from: fc.nat(600), count: fc.nat(40) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("checkpoint" as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("turn" as const), turns: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("compact" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 200_000 }) }) },
);

/** Reading number i: of one of 600 series, so three strips, within eight hours of the past. */
function reading(i: number): { readonly metric: string; readonly tsMs: number; readonly value: number } {
  return { metric: `m${(i * 7) % 600}`, tsMs: NOW_MS - 8 * HOUR_MS + ((i * 104_729) % 28_800) * 1000, value: i % 5 };
}

test("whatever is cut and merged when, every reading is stored once, found, and told from its duplicates", () => {
  fc.assert(
    fc.property(fc.array(stepArb, { minLength: 10, maxLength: 60 }), (steps) => {
      const line = new Line({ compaction: SMALL, seriesMax: 1000 });
      const sent = new Set<string>();
      let uncommitted: number[] = [];
      const series = new Map<string, number>();
      const send = (i: number): void => {
        const { metric, tsMs, value } = reading(i);
        if (!series.has(metric)) series.set(metric, series.size);
        line.send(metric, tsMs, value);
        uncommitted.push(i);
      };
      const commit = (): void => {
        for (const i of uncommitted) {
          const { metric, tsMs, value } = reading(i);
          sent.add(`${series.get(metric)!} ${tsMs} ${value}`);
        }
        uncommitted = [];
      };
      for (const step of steps) {
        if (step.kind === "send") for (let i = step.from; i < step.from + step.count; i++) send(i);
        else if (step.kind === "wait") line.nowMs += step.ms;
        else if (step.kind === "restart") {
          line.pipeline.commit();
          commit();
          line.restart();
        } else if (step.kind === "turn") {
          // Each turn does one step of a job: the next comes in the middle of it.
          for (let i = 0; i < step.turns; i++) {
            line.nowMs += 1001;
            line.pipeline.core.checkpointTurn();
          }
        } else {
          line.pipeline[step.kind]();
          commit();
        }
      }
      line.pipeline.commit();
      commit();
      const expected = [...sent].toSorted();
      assert.equal(names(line), expected);
      checkChunks(line);
      assert.is(line.store.logBytes, bytesOf(line));
      // All of it again, in another order.
      for (const { metric, tsMs, value } of Array.from({ length: 640 }, (_, i) => reading(639 - i))) {
        const name = `${series.get(metric)} ${tsMs} ${value}`;
        if (sent.has(name)) line.send(metric, tsMs, value);
      }
      line.pipeline.commit();
      assert.equal(names(line), expected);
      line.pipeline.compact();
      assert.equal(names(line), expected);
      assert.is(line.store.logBytes, bytesOf(line));
      const { blocks, pieces } = countsOf(line);
      assert.equal([blocks, pieces], [0, 0]);
      checkChunks(line);
      line.close();
      rmSync(dirname(line.path), { recursive: true });
    }),
    { numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 60) },
  );
});

test("a series' readings from a time on are read wherever they are", () => {
  const line = new Line({ compaction: NEVER, seriesMax: 1000 });
  for (let i = 0; i < 400; i++) {
    const { metric, tsMs, value } = reading(i);
    line.send(metric, tsMs, value);
    if (i === 200) line.pipeline.compact();
    if (i === 300) line.pipeline.checkpoint();
  }
  line.pipeline.commit();
  const all = line.stored();
  const fromMsOf = (series: number): number => NOW_MS - 4 * HOUR_MS - series * 60_000;
  const wanted = Array.from({ length: 50 }, (_, i) => i * 7);
  const found: string[] = [];
  const positions = new Map<number, number>();
  const stretches = new Map(wanted.map((series) => [series, fromMsOf(series)]));
  for (const block of inTimeOrder(line.store.readings, stretches, Infinity)) {
    for (let i = 0; i < (block?.count ?? 0); i++) {
      const [series, tsMs] = [block!.series[i]!, block!.tsMs[i]!];
      found.push(`${series} ${tsMs} ${block!.value[i]}`);
      assert.ok(tsMs >= (positions.get(series) ?? -Infinity), "in the order of time");
      positions.set(series, tsMs);
    }
  }
  const needed = all.filter(([series, tsMs]) => wanted.includes(series) && tsMs >= fromMsOf(series));
  assert.ok(needed.length > 2);
  assert.equal(found.toSorted(), needed.map((one) => one.join(" ")).toSorted());
  line.close();
});

test("an hour is merged once it has settled, and a late reading finds its place in it", () => {
  const line = new Line({ compaction: { ...SMALL, cutReadings: 1, mergeReadings: 1e9 } });
  const hourMs = NOW_MS - HOUR_MS;
  for (let i = 0; i < 60; i++) line.send("m", hourMs + i * 60_000, i);
  line.send("m", NOW_MS, 1);
  const turns = (): void => {
    line.pipeline.checkpoint();
    for (let i = 0; i < 20; i++) {
      line.nowMs += 1001;
      line.pipeline.core.checkpointTurn();
    }
  };
  turns();
  assert.equal(countsOf(line), { blocks: 0, pieces: 1, chunks: 0 });
  line.nowMs = NOW_MS + SMALL.settleMs;
  turns();
  // The reading of the hour that goes on stays a piece.
  assert.equal(countsOf(line), { blocks: 0, pieces: 1, chunks: 1 });
  line.send("m", hourMs + 90_000, 5);
  line.nowMs += SMALL.mergeAgainMs;
  turns();
  assert.is(line.store.sql.number("SELECT max(readings) FROM chunks"), 61);
  checkChunks(line);
  line.close();
});

test("a long hour is cut into chunks of a bounded length, but not within a millisecond", () => {
  const line = new Line({ compaction: NEVER, batchReadingsMax: 100_000 });
  const hourMs = NOW_MS - HOUR_MS;
  for (let i = 0; i < 10_000; i++) line.send("m", hourMs + Math.floor(i / 10) * 100, i);
  line.pipeline.compact();
  checkChunks(line);
  const readings = line.store.sql.all<{ readings: number }>("SELECT readings FROM chunks").map((row) => row.readings);
  assert.ok(readings.length >= 5 && readings.every((count) => count <= 2058));
  line.close();
});

test("a job left in the middle, or refused by the disk, changes nothing", () => {
  const line = new Line({ compaction: SMALL });
  for (let i = 0; i < 50; i++) line.send("m", NOW_MS - i * 1000, i);
  line.pipeline.checkpoint();
  const before = names(line);
  const rewrite = line.store.sql.transaction.bind(line.store.sql);
  let refuse = true;
  line.store.sql.transaction = (work) => {
    if (refuse) throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
    return rewrite(work);
  };
  for (let i = 0; i < 20; i++) {
    line.nowMs += 1001;
    line.pipeline.core.checkpointTurn();
  }
  assert.is(line.warnings.length, 1);
  assert.match(line.warnings[0]!, "Cannot compact the log: database or disk is full");
  assert.equal(countsOf(line), { blocks: 1, pieces: 0, chunks: 0 });
  refuse = false;
  line.nowMs += 60_000;
  for (let i = 0; i < 20; i++) {
    line.nowMs += 1001;
    line.pipeline.core.checkpointTurn();
  }
  assert.is(countsOf(line).blocks, 0);
  assert.equal(names(line), before);
  line.close();
});

test("re-folds read compacted readings: a late version judges them anew", () => {
  const line = new Line({ compaction: NEVER });
  for (let i = 0; i < 100; i++) line.send("m", NOW_MS - 7_200_000 + i * 60_000, i === 50 ? 100 : 1);
  line.pipeline.compact();
  line.pipeline.addThresholds(version(1, 0, 10));
  line.pipeline.checkpoint();
  assert.equal(
    line.alerts.map(({ value, state }) => [value, state]),
    [[100, "resolved"]],
  );
  line.close();
});

test("trimming takes the oldest hours; what comes from before them is refused, counted and kept as a dead letter", () => {
  const line = new Line({ compaction: NEVER, logAgeMaxMs: 3 * HOUR_MS });
  for (let i = 0; i < 10; i++) line.send("m", NOW_MS - 2 * HOUR_MS + i * 1000, i);
  line.pipeline.compact();
  line.nowMs += 2 * HOUR_MS;
  for (let i = 0; i < 10; i++) line.send("m", line.nowMs - 60_000 + i * 1000, i);
  line.pipeline.compact();
  line.nowMs += 1.5 * HOUR_MS;
  line.pipeline.checkpoint();
  assert.is(countsOf(line).chunks, 1);
  assert.is(line.store.wholeFromMs, NOW_MS - HOUR_MS);
  assert.is(line.store.logBytes, bytesOf(line));
  line.send("m", NOW_MS - 2 * HOUR_MS + 3000, 3);
  line.send("m", NOW_MS - 2 * HOUR_MS + 3500, 3);
  line.send("m", NOW_MS - HOUR_MS, 3);
  line.pipeline.commit();
  const { received, stored, rejected } = line.pipeline.core.ledger;
  assert.equal([received, stored, rejected], [23, 21, { time_before_log: 2 }]);
  assert.equal(
    line.store.deadLetters(10).map(({ topic, reason }) => `${topic} ${reason}`),
    ["s/d/m time_before_log", "s/d/m time_before_log"],
  );
  line.restart();
  line.send("m", NOW_MS - 2 * HOUR_MS, 77);
  line.pipeline.commit();
  assert.is(line.pipeline.core.ledger.rejected["time_before_log"], 3);
  line.close();
});

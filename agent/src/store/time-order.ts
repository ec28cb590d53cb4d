import { HOUR_MS } from "@weir/shared/operators/calendar";
import type { Block } from "@weir/shared/model/reading";
import { STRIP_SHIFT } from "./compacted.ts";
import { Rows } from "./rows.ts";
import type { StoredReadings } from "./stored-readings.ts";

/** Series, and from when on each is wanted, ms of event time. */
export type Stretches = ReadonlyMap<number, number>;

/**
 * All readings of some series in the log up to an entry, of each from its own time on, by series and in the order of time
 * and value: block after block, each of one hour (UTC), but for the last. undefined: a place to leave off. Until the end
 * nothing may be compacted or trimmed.
 */
export function* inTimeOrder(
  stored: StoredReadings,
  wanted: Stretches,
  throughSeq: number,
): Generator<Block | undefined> {
  let earliestMs = Infinity;
  const fromMsOfStrip = new Map<number, number>();
  for (const [series, fromMs] of wanted) {
    const strip = series >>> STRIP_SHIFT;
    fromMsOfStrip.set(strip, Math.min(fromMsOfStrip.get(strip) ?? Infinity, fromMs));
    earliestMs = Math.min(earliestMs, fromMs);
  }
  const recent = new Rows();
  for (const [strip, fromMs] of fromMsOfStrip) {
    for (const block of stored.piecesFrom(strip, fromMs)) {
      takeWanted(recent, block, wanted);
      yield undefined;
    }
  }
  for (const block of stored.logBlocksFrom(earliestMs, 0, throughSeq)) {
    takeWanted(recent, block, wanted);
    yield undefined;
  }
  recent.sort();
  const runs = runsOf(recent);
  const rows = new Rows();
  for (const hourMs of stored.chunkHours(earliestMs)) {
    rows.clear();
    for (const [series, fromMs] of wanted) {
      if (hourMs + HOUR_MS <= fromMs) continue;
      for (const block of stored.chunksFrom(hourMs, series, fromMs)) takeWanted(rows, block, wanted);
    }
    giveBefore(hourMs + HOUR_MS, recent, runs, rows);
    rows.sort();
    yield rows;
  }
  rows.clear();
  giveBefore(Infinity, recent, runs, rows);
  yield rows;
}

/** Appends those readings of a block that are wanted. */
export function takeWanted(rows: Rows, block: Block, wanted: Stretches): void {
  const { count, series, tsMs } = block;
  for (let from = 0, to = 0; from < count; from = to) {
    const one = series[from]!;
    to = from + 1;
    while (to < count && series[to] === one) to++;
    const fromMs = wanted.get(one);
    if (fromMs === undefined) continue;
    for (let start = from, end = from; start < to; start = end) {
      while (start < to && tsMs[start]! < fromMs) start++;
      end = start;
      while (end < to && tsMs[end]! >= fromMs) end++;
      if (end > start) rows.append(block, start, end);
    }
  }
}

/** Rows of one series: the first that was not given yet, and where they end. */
interface Run {
  next: number;
  readonly end: number;
}

function runsOf(rows: Rows): Run[] {
  const runs: Run[] = [];
  for (let from = 0, to = 0; from < rows.count; from = to) {
    to = rows.endOfSeries(from);
    runs.push({ next: from, end: to });
  }
  return runs;
}

/** Appends to `rows` what was not given yet of `recent` from before a time. */
function giveBefore(endMs: number, recent: Rows, runs: readonly Run[], rows: Rows): void {
  for (const run of runs) {
    let to = run.next;
    while (to < run.end && recent.tsMs[to]! < endMs) to++;
    if (to > run.next) rows.append(recent, run.next, to);
    run.next = to;
  }
}

import { HOUR_MS } from "@weir/shared/operators/calendar";
import type { Block } from "@weir/shared/model/reading";
import { STRIP_SHIFT } from "./compacted.ts";
import type { Stretches } from "./rows.ts";
import { Rows } from "./rows.ts";
import type { StoredReadings } from "./stored-readings.ts";

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
      recent.appendWanted(block, wanted);
      yield undefined;
    }
  }
  for (const block of stored.logBlocksFrom(earliestMs, 0, throughSeq)) {
    recent.appendWanted(block, wanted);
    yield undefined;
  }
  recent.sort();
  const runs = runsOf(recent);
  const rows = new Rows();
  for (const hourMs of stored.chunkHours(earliestMs)) {
    rows.clear();
    for (const [series, fromMs] of wanted) {
      if (hourMs + HOUR_MS <= fromMs) continue;
      for (const block of stored.chunksFrom(hourMs, series, fromMs)) rows.appendWanted(block, wanted);
    }
    giveBefore(hourMs + HOUR_MS, recent, runs, rows);
    rows.sort();
    yield rows;
  }
  rows.clear();
  giveBefore(Infinity, recent, runs, rows);
  yield rows;
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

import type { Block } from "@weir/shared/model/reading";

/** Where a re-fold's readings are. */
export interface ReadingRows {
  /** Blocks that may hold readings with fromMs ≤ time ≤ toMs; each is lent until the next. */
  blocks(fromMs: number, toMs: number): Iterable<Block>;
}

/** Readings of one pass over the log, at most: bounds its memory to some 130 MB; more series are done in more passes. */
const PASS_READINGS_MAX = 4_000_000;

/**
 * Reads as many of the series as fit, whole, each from its own time on, in the order of series, time and value. One
 * series is always taken, however long.
 */
export function readPass(
  candidates: readonly number[],
  fromMsOf: (series: number) => number,
  source: ReadingRows,
): { readonly series: readonly number[]; readonly block: Block } {
  let series = candidates;
  for (;;) {
    const rows = readRows(new Set(series), fromMsOf, source);
    if (rows) return { series, block: rows };
    // Too many readings for one pass: half the series.
    series = series.slice(0, Math.ceil(series.length / 2));
  }
}

function readRows(
  wanted: ReadonlySet<number>,
  fromMsOf: (series: number) => number,
  source: ReadingRows,
): Block | undefined {
  let fromMs = Infinity;
  for (const series of wanted) fromMs = Math.min(fromMs, fromMsOf(series));
  const rows: Array<{ series: number; tsMs: number; value: number; stamped: number }> = [];
  for (const block of source.blocks(fromMs, Number.MAX_SAFE_INTEGER)) {
    for (let i = 0; i < block.count; i++) {
      const series = block.series[i]!;
      if (!wanted.has(series) || block.tsMs[i]! < fromMsOf(series)) continue;
      rows.push({ series, tsMs: block.tsMs[i]!, value: block.value[i]!, stamped: block.stamped[i]! });
    }
    if (rows.length > PASS_READINGS_MAX && wanted.size > 1) return undefined;
  }
  rows.sort((a, b) => a.series - b.series || a.tsMs - b.tsMs || a.value - b.value);
  return {
    count: rows.length,
    series: Uint32Array.from(rows, (row) => row.series),
    tsMs: Float64Array.from(rows, (row) => row.tsMs),
    value: Float64Array.from(rows, (row) => row.value),
    stamped: Uint8Array.from(rows, (row) => row.stamped),
  };
}

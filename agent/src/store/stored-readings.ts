import type { Block } from "@weir/shared/model/reading";
import { HOUR_MS } from "@weir/shared/operators/calendar";
import { BlockColumns, decodeBlockInto } from "./block-codec.ts";
import { chunkHour, STRIP_SHIFT } from "./compacted.ts";
import { Rows } from "./rows.ts";
import type { Sql } from "./sql.ts";

/** Identities to look for, in the order of series and then of time; a view of the first `count`. */
export interface Wanted {
  readonly count: number;
  readonly series: Uint32Array;
  readonly tsMs: Float64Array;
}

/** Readings of one block of a history, about. */
const HISTORY_BLOCK_READINGS = 65_536;
/** Rows read at once: bounds what is held encoded. */
const CHUNKS_PER_READ = 256;

/** Hours that a piece or block counts for, at most. */
const ROW_HOURS_MAX = 1000;

interface TimedRow {
  readonly key: number;
  readonly minTsMs: number;
  readonly maxTsMs: number;
}

/** Finds readings wherever in the log they are: in its blocks, in pieces or in chunks. Blocks are lent until the next. */
export class StoredReadings {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** Blocks that hold every stored reading of the series and times that are wanted, and others. */
  *holding(wanted: Wanted): Generator<Block> {
    if (wanted.count === 0) return;
    yield* this.#logBlocksAt(wanted.tsMs.slice(0, wanted.count).toSorted());
    for (let from = 0, to = 0; from < wanted.count; from = to) {
      const strip = wanted.series[from]! >>> STRIP_SHIFT;
      to = from + 1;
      while (to < wanted.count && wanted.series[to]! >>> STRIP_SHIFT === strip) to++;
      yield* this.#piecesAt(strip, wanted.tsMs.slice(from, to).toSorted());
    }
    yield* this.#chunksAt(wanted);
  }

  /** Pieces of a strip that may hold readings from a time on. */
  piecesFrom(strip: number, fromMs: number): Generator<Block> {
    return this.#pieces(strip, this.#pieceRows(strip, fromMs, Infinity));
  }

  /** Blocks of the log that may hold readings from a time on: those after one entry and up to another. */
  logBlocksFrom(fromMs: number, afterSeq: number, throughSeq: number): Generator<Block> {
    const rows = this.#logRows(fromMs, Infinity);
    return this.#logBlocks(rows.filter(({ key }) => key > afterSeq && key <= throughSeq));
  }

  /** Chunks of a series and hour that hold readings from a time on, by time. */
  *chunksFrom(hourMs: number, series: number, fromMs: number): Generator<Block> {
    const sql = "SELECT body FROM chunks WHERE hour_ms = ? AND series = ? AND max_ts >= ? ORDER BY min_ts";
    const columns = new BlockColumns();
    const found = this.#sql.all<{ body: Buffer }>(sql, hourMs, series, fromMs);
    for (const { body } of found) yield decodeBlockInto(body, columns);
  }

  /**
   * The readings of the log: the compacted ones by hour and series, then those of pieces, the rest in the order of the log.
   * All from fromMs on are among them, and some from before. only: of these series, ascending; else of all.
   */
  *all(fromMs: number = -Infinity, only?: readonly number[]): Generator<Block> {
    yield* this.#chunksOf(this.chunkHours(fromMs), only ? neighbours(only) : [ALL_SERIES]);
    if (only) yield* this.#recentOf(fromMs, only);
    else yield* this.#recent(fromMs, () => true);
  }

  /** What is not in chunks, of some series. */
  *#recentOf(fromMs: number, only: readonly number[]): Generator<Block> {
    const strips = new Set(only.map((series) => series >>> STRIP_SHIFT));
    const wanted = new Map(only.map((series) => [series, fromMs]));
    const rows = new Rows();
    for (const block of this.#recent(fromMs, (strip) => strips.has(strip))) yield rows.only(block, wanted);
  }

  *#recent(fromMs: number, isWanted: (strip: number) => boolean): Generator<Block> {
    const strips = this.#sql.all<{ strip: number }>("SELECT DISTINCT strip FROM pieces ORDER BY strip");
    for (const { strip } of strips) if (isWanted(strip)) yield* this.piecesFrom(strip, fromMs);
    yield* this.logBlocksFrom(fromMs, 0, Infinity);
  }

  /** How many hours (UTC) there are readings of from a time on: about, and rather more than fewer. */
  hoursFrom(fromMs: number): number {
    const hours = new Set(this.chunkHours(fromMs));
    const pieces =
      "SELECT min_ts AS minTsMs, max_ts AS maxTsMs FROM pieces INDEXED BY pieces_by_strip WHERE max_ts >= ?";
    const recent = this.#sql.all<Omit<TimedRow, "key">>(pieces, fromMs);
    for (const { minTsMs, maxTsMs } of [...recent, ...this.#logRows(fromMs, Infinity)]) {
      // Late readings make a row reach far back and hold little of it.
      const startMs = Math.max(fromMs, minTsMs, maxTsMs - ROW_HOURS_MAX * HOUR_MS);
      for (let hourMs = chunkHour(startMs); hourMs <= maxTsMs; hourMs += HOUR_MS) hours.add(hourMs);
    }
    return hours.size;
  }

  /** Hours of which there are chunks, from the one that holds fromMs on. Chunks lie by hour: each look skips to the next. */
  chunkHours(fromMs: number): number[] {
    const hours: number[] = [];
    let hourMs = this.#sql.number("SELECT min(hour_ms) FROM chunks WHERE hour_ms > ?", fromMs - HOUR_MS);
    while (hourMs !== undefined) {
      hours.push(hourMs);
      hourMs = this.#sql.number("SELECT min(hour_ms) FROM chunks WHERE hour_ms > ?", hourMs);
    }
    return hours;
  }

  *#chunksOf(hours: readonly number[], runs: readonly Run[]): Generator<Block> {
    const sql = `SELECT series, min_ts AS minTsMs, body FROM chunks
      WHERE hour_ms = ? AND (series, min_ts) > (?, ?) AND series < ? ORDER BY series, min_ts LIMIT ?`;
    type Row = { series: number; minTsMs: number; body: Buffer };
    const columns = new BlockColumns();
    const rows = new Rows();
    for (const hourMs of hours) {
      for (const { from, to } of runs) {
        let last = { series: from, minTsMs: -Infinity };
        for (;;) {
          const chunks = this.#sql.all<Row>(sql, hourMs, last.series, last.minTsMs, to, CHUNKS_PER_READ);
          for (const chunk of chunks) {
            last = chunk;
            decodeBlockInto(chunk.body, columns);
            rows.append(columns, 0, columns.count);
            if (rows.count < HISTORY_BLOCK_READINGS) continue;
            yield rows;
            rows.clear();
          }
          if (chunks.length < CHUNKS_PER_READ) break;
        }
      }
      // A block is of one hour, so that it is ordered by series.
      if (rows.count > 0) yield rows;
      rows.clear();
    }
  }

  *#chunksAt({ count, series, tsMs }: Wanted): Generator<Block> {
    const sql = "SELECT body FROM chunks WHERE hour_ms = ? AND series = ? AND max_ts >= ? AND min_ts <= ?";
    const columns = new BlockColumns();
    for (let from = 0, to = 0; from < count; from = to) {
      const hourMs = chunkHour(tsMs[from]!);
      to = from + 1;
      while (to < count && series[to] === series[from] && chunkHour(tsMs[to]!) === hourMs) to++;
      const found = this.#sql.all<{ body: Buffer }>(sql, hourMs, series[from]!, tsMs[from]!, tsMs[to - 1]!);
      for (const { body } of found) yield decodeBlockInto(body, columns);
    }
  }

  *#piecesAt(strip: number, times: Float64Array): Generator<Block> {
    const rows = this.#pieceRows(strip, times[0]!, times.at(-1)!);
    yield* this.#pieces(
      strip,
      rows.filter((row) => hasWithin(times, row)),
    );
  }

  *#logBlocksAt(times: Float64Array): Generator<Block> {
    const rows = this.#logRows(times[0]!, times.at(-1)!);
    yield* this.#logBlocks(rows.filter((row) => hasWithin(times, row)));
  }

  #pieceRows(strip: number, fromMs: number, toMs: number): TimedRow[] {
    const sql = `SELECT seq AS key, min_ts AS minTsMs, max_ts AS maxTsMs FROM pieces INDEXED BY pieces_by_strip
      WHERE strip = ? AND max_ts >= ? AND min_ts <= ? ORDER BY seq`;
    return this.#sql.all(sql, strip, fromMs, toMs);
  }

  *#pieces(strip: number, rows: readonly TimedRow[]): Generator<Block> {
    const columns = new BlockColumns();
    for (const { key } of rows) {
      const row = this.#sql.get<{ body: Buffer }>("SELECT body FROM pieces WHERE strip = ? AND seq = ?", strip, key);
      if (row) yield decodeBlockInto(row.body, columns);
    }
  }

  #logRows(fromMs: number, toMs: number): TimedRow[] {
    const sql = `SELECT seq AS key, min_ts AS minTsMs, max_ts AS maxTsMs FROM log INDEXED BY log_blocks
      WHERE kind = 1 AND max_ts >= ? AND min_ts <= ? ORDER BY seq`;
    return this.#sql.all(sql, fromMs, toMs);
  }

  *#logBlocks(rows: readonly TimedRow[]): Generator<Block> {
    const columns = new BlockColumns();
    for (const { key } of rows) {
      const row = this.#sql.get<{ body: Buffer }>("SELECT body FROM log WHERE seq = ?", key);
      if (row) yield decodeBlockInto(row.body, columns);
    }
  }
}

/** Series from one to before another. */
interface Run {
  readonly from: number;
  readonly to: number;
}

const ALL_SERIES: Run = { from: 0, to: 2 ** 32 };

/** Runs of neighbours among series, ascending. */
function neighbours(series: readonly number[]): Run[] {
  const runs: Array<{ from: number; to: number }> = [];
  for (const one of series) {
    const last = runs.at(-1);
    if (last?.to === one) last.to++;
    else runs.push({ from: one, to: one + 1 });
  }
  return runs;
}

/** Whether one of some times, ascending, lies within a row's. */
function hasWithin(times: Float64Array, { minTsMs, maxTsMs }: TimedRow): boolean {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! < minTsMs) low = middle + 1;
    else high = middle;
  }
  return low < times.length && times[low]! <= maxTsMs;
}

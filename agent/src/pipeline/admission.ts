import type { Block } from "@weir/shared/model/reading";
import { grownRows, growFloat64 } from "@weir/shared/operators/columns";
import type { Wanted } from "../store/stored-readings.ts";
import { LateReadings } from "./late-readings.ts";

/** Newest readings of a series that are remembered: covers redelivery and small disorder without reading the log. */
const RECENT = 6;

/**
 * What is remembered of a series lies together, in two cache lines: a row of a Float64Array.
 *
 *   newest time | covered from | place in the ring | - | 6 times | 6 values
 *
 * Every stored reading of the series newer than `covered from` is in the ring.
 */
const ROW = 16;
const COVERED = 1;
const NEXT = 2;
const TIMES = 4;
const VALUES: number = TIMES + RECENT;

/** Finds stored readings: the log. */
export interface StoredReadings {
  /** Blocks that hold every stored reading of the series and times that are wanted, and others. */
  holding(wanted: Wanted): Iterable<Block>;
}

/** What becomes of a reading. */
export const DUPLICATE = 0;
export const NEW = 1;
/** From before what the log still holds whole: whether it is a duplicate cannot be told. */
export const TOO_LATE = 2;

/**
 * Tells new readings from ones the log already holds, exactly, however late a duplicate comes.
 *
 * A reading's identity is (series, tsMs, value). Newer than its series' newest: new. Within the recent ones: they
 * tell. Older: the log is asked, once a block; where it is so old that the log has been trimmed, nobody can tell. What
 * is remembered is a cache of the log, so a restart begins with nothing but each series' newest time.
 */
export class Admission {
  readonly #stored: StoredReadings;
  #rows = 0;
  #table = new Float64Array(0);
  /** Looked up in the log since the start: for metrics. */
  lookups = 0;

  constructor(stored: StoredReadings) {
    this.#stored = stored;
  }

  /** Sets the newest stored time of a series, at a start. */
  restore(series: number, newestMs: number): void {
    if (series >= this.#rows) this.#grow(series);
    this.#table[series * ROW] = newestMs;
    this.#table[series * ROW + COVERED] = newestMs;
  }

  /**
   * Marks in `keep` what becomes of each reading of the block (NEW, DUPLICATE, TOO_LATE), and remembers the new ones.
   * Returns how many are not new. The caller must then store the new ones: asked again, they are duplicates.
   * wholeFromMs: event time from which on the log holds every reading.
   */
  admit(block: Block, keep: Uint8Array, wholeFromMs: number = -Infinity): number {
    let refused = 0;
    const late: number[] = [];
    for (let i = 0; i < block.count; i++) {
      const series = block.series[i]!;
      const tsMs = block.tsMs[i]!;
      const value = block.value[i]!;
      if (series >= this.#rows) this.#grow(series);
      const table = this.#table;
      const row = series * ROW;
      keep[i] = NEW;
      if (tsMs > table[row]!) {
        table[row] = tsMs;
        remember(table, row, tsMs, value);
      } else if (tsMs > table[row + COVERED]!) {
        if (isRecent(table, row, tsMs, value)) {
          keep[i] = DUPLICATE;
          refused++;
        } else remember(table, row, tsMs, value);
      } else if (tsMs < wholeFromMs) {
        keep[i] = TOO_LATE;
        refused++;
      } else late.push(i);
    }
    return late.length === 0 ? refused : refused + this.#admitLate(block, late, keep);
  }

  #admitLate(block: Block, late: readonly number[], keep: Uint8Array): number {
    this.lookups += late.length;
    const readings = new LateReadings(block, late);
    // This block's own new readings are not in the log yet, and may have been pushed out of the recent ones already.
    readings.lookIn(block, (i) => keep[i] === NEW && !readings.has(i));
    for (const stored of this.#stored.holding(readings.wanted)) readings.lookIn(stored);
    return readings.markDuplicates(keep, DUPLICATE);
  }

  #grow(series: number): void {
    const rows = grownRows(this.#rows, series);
    const known = this.#rows * ROW;
    this.#table = growFloat64(this.#table, rows * ROW, -Infinity);
    for (let row = known; row < rows * ROW; row += ROW) this.#table[row + NEXT] = 0;
    this.#rows = rows;
  }
}

function isRecent(table: Float64Array, row: number, tsMs: number, value: number): boolean {
  for (let i = row; i < row + RECENT; i++) {
    if (table[i + TIMES] === tsMs && table[i + VALUES] === value) return true;
  }
  return false;
}

/** Takes the place of the recent reading remembered longest, of which the log alone then knows. */
function remember(table: Float64Array, row: number, tsMs: number, value: number): void {
  const next = table[row + NEXT]!;
  table[row + NEXT] = next + 1 === RECENT ? 0 : next + 1;
  const at = row + TIMES + next;
  const evictedMs = table[at]!;
  if (evictedMs > table[row + COVERED]!) table[row + COVERED] = evictedMs;
  table[at] = tsMs;
  table[at + RECENT] = value;
}

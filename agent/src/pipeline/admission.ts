import type { Block } from "@weir/shared/model/reading";
import { grownRows, growFloat64 } from "@weir/shared/operators/columns";

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

/** Finds stored readings of a stretch of event time: the log. */
export interface StoredReadings {
  blocks(fromMs: number, toMs: number): Iterable<Block>;
}

/**
 * Tells new readings from ones the log already holds, exactly, however late a duplicate comes.
 *
 * A reading's identity is (series, tsMs, value). Newer than its series' newest: new. Within the recent ones: they
 * tell. Older: the log is asked, once a block. What is remembered is a cache of the log, so a restart begins with
 * nothing but each series' newest time.
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
   * Marks in `keep` (1 new, 0 duplicate) which readings of the block are new, and remembers those. Returns how many
   * are duplicates. The caller must then store the new ones: asked again, they are duplicates.
   */
  admit(block: Block, keep: Uint8Array): number {
    let duplicates = 0;
    const late: number[] = [];
    for (let i = 0; i < block.count; i++) {
      const series = block.series[i]!;
      const tsMs = block.tsMs[i]!;
      const value = block.value[i]!;
      if (series >= this.#rows) this.#grow(series);
      const table = this.#table;
      const row = series * ROW;
      keep[i] = 1;
      if (tsMs > table[row]!) {
        table[row] = tsMs;
        remember(table, row, tsMs, value);
      } else if (tsMs > table[row + COVERED]!) {
        if (isRecent(table, row, tsMs, value)) {
          keep[i] = 0;
          duplicates++;
        } else remember(table, row, tsMs, value);
      } else late.push(i);
    }
    return late.length === 0 ? duplicates : duplicates + this.#admitLate(block, late, keep);
  }

  #admitLate(block: Block, late: readonly number[], keep: Uint8Array): number {
    this.lookups += late.length;
    const wanted = new Set<string>();
    const isLate = new Uint8Array(block.count);
    let fromMs = Infinity;
    let toMs = -Infinity;
    for (const i of late) {
      isLate[i] = 1;
      wanted.add(identity(block, i));
      fromMs = Math.min(fromMs, block.tsMs[i]!);
      toMs = Math.max(toMs, block.tsMs[i]!);
    }
    const seen = new Set<string>();
    const look = (among: Block, skip: Uint8Array | undefined): void => {
      for (let i = 0; i < among.count; i++) {
        if (skip?.[i] === 1 || among.tsMs[i]! < fromMs || among.tsMs[i]! > toMs) continue;
        const name = identity(among, i);
        if (wanted.has(name)) seen.add(name);
      }
    };
    // This block's own new readings are not in the log yet, and may have been pushed out of the recent ones already.
    look(block, isLate);
    for (const stored of this.#stored.blocks(fromMs, toMs)) look(stored, undefined);
    let duplicates = 0;
    for (const i of late) {
      const name = identity(block, i);
      if (seen.has(name)) {
        keep[i] = 0;
        duplicates++;
      } else seen.add(name);
    }
    return duplicates;
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

function identity(block: Block, i: number): string {
  return `${block.series[i]!}:${block.tsMs[i]!}:${block.value[i]!}`;
}

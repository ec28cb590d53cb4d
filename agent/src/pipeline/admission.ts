import type { Block } from "@weir/shared/model/reading";
import { grownRows, growFloat64 } from "@weir/shared/operators/columns";

/** Newest readings of a series that are remembered: covers redelivery and small disorder without reading the log. */
const RECENT = 8;

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
  #newestMs = new Float64Array(0);
  /** Every stored reading of the series newer than this is among the recent ones. */
  #coveredFromMs = new Float64Array(0);
  #recentTsMs = new Float64Array(0);
  #recentValue = new Float64Array(0);
  /** Looked up in the log since the start: for metrics. */
  lookups = 0;

  constructor(stored: StoredReadings) {
    this.#stored = stored;
  }

  /** Sets the newest stored time of a series, at a start. */
  restore(series: number, newestMs: number): void {
    if (series >= this.#rows) this.#grow(series);
    this.#newestMs[series] = newestMs;
    this.#coveredFromMs[series] = newestMs;
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
      keep[i] = 1;
      if (tsMs > this.#newestMs[series]!) {
        this.#newestMs[series] = tsMs;
        this.#remember(series, tsMs, value);
      } else if (tsMs > this.#coveredFromMs[series]!) {
        if (this.#isRecent(series, tsMs, value)) {
          keep[i] = 0;
          duplicates++;
        } else this.#remember(series, tsMs, value);
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

  #isRecent(series: number, tsMs: number, value: number): boolean {
    for (let i = series * RECENT; i < series * RECENT + RECENT; i++) {
      if (this.#recentTsMs[i] === tsMs && this.#recentValue[i] === value) return true;
    }
    return false;
  }

  /** Takes the place of the oldest recent reading, of which the log alone then knows. */
  #remember(series: number, tsMs: number, value: number): void {
    const base = series * RECENT;
    let oldest = base;
    for (let i = base + 1; i < base + RECENT; i++) {
      if (this.#recentTsMs[i]! < this.#recentTsMs[oldest]!) oldest = i;
    }
    // The oldest of all goes, be it the new one.
    const evictedMs = Math.min(this.#recentTsMs[oldest]!, tsMs);
    if (evictedMs > this.#coveredFromMs[series]!) this.#coveredFromMs[series] = evictedMs;
    if (this.#recentTsMs[oldest]! > tsMs) return;
    this.#recentTsMs[oldest] = tsMs;
    this.#recentValue[oldest] = value;
  }

  #grow(series: number): void {
    const rows = grownRows(this.#rows, series);
    this.#newestMs = growFloat64(this.#newestMs, rows, -Infinity);
    this.#coveredFromMs = growFloat64(this.#coveredFromMs, rows, -Infinity);
    this.#recentTsMs = growFloat64(this.#recentTsMs, rows * RECENT, -Infinity);
    this.#recentValue = growFloat64(this.#recentValue, rows * RECENT, NaN);
    this.#rows = rows;
  }
}

function identity(block: Block, i: number): string {
  return `${block.series[i]!}:${block.tsMs[i]!}:${block.value[i]!}`;
}

import type { Block } from "../model/reading.ts";
import { PAGE_SERIES } from "./columns.ts";
import type { Emissions, SeriesFold } from "./series-fold.ts";

/** Readings of a batch, at most: 21 bytes each, 11 MB. */
export const BATCH_READINGS_MAX: number = 2 ** 19;

/**
 * Blocks on their way into a fold, many at a time and then page by page, for a replay of many series: the state of a
 * page stays in the processor's cache for all of them, where a block alone would go through the state of all pages.
 *
 * Each series' readings stay in their order; so the fold is the same, and what it emits, but for the order in which it
 * emits for series of different pages. Whatever else is applied to the fold has to come between two calls of drain().
 */
export class BlockBatch {
  readonly #fold: SeriesFold;
  readonly #out: Emissions;
  readonly #rows: Block;
  #count = 0;
  /** Where each block's next row is, and where it ends. */
  readonly #next: number[] = [];
  readonly #ends: number[] = [];

  /** out: receives what the fold emits. readingsMax: of the batch. */
  constructor(fold: SeriesFold, out: Emissions, readingsMax: number = BATCH_READINGS_MAX) {
    this.#fold = fold;
    this.#out = out;
    this.#rows = {
      count: readingsMax,
      series: new Uint32Array(readingsMax),
      tsMs: new Float64Array(readingsMax),
      value: new Float64Array(readingsMax),
      stamped: new Uint8Array(readingsMax),
    };
  }

  /** Takes a block in, and applies those that were taken before when there is no more room. */
  add(block: Block): void {
    if (this.#count + block.count > this.#rows.count) this.drain();
    if (block.count > this.#rows.count || !isSorted(block)) {
      this.drain();
      this.#fold.applyBlock(block, this.#out);
      return;
    }
    const { count } = block;
    this.#rows.series.set(block.series.subarray(0, count), this.#count);
    this.#rows.tsMs.set(block.tsMs.subarray(0, count), this.#count);
    this.#rows.value.set(block.value.subarray(0, count), this.#count);
    this.#rows.stamped.set(block.stamped.subarray(0, count), this.#count);
    this.#next.push(this.#count);
    this.#count += count;
    this.#ends.push(this.#count);
  }

  /** Applies what was taken in. */
  drain(): void {
    const { series } = this.#rows;
    let rest = this.#count;
    for (let end = PAGE_SERIES; rest > 0; end += PAGE_SERIES) {
      for (let i = 0; i < this.#ends.length; i++) {
        const from = this.#next[i]!;
        const blockEnd = this.#ends[i]!;
        let to = from;
        while (to < blockEnd && series[to]! < end) to++;
        if (to === from) continue;
        this.#fold.applyRows(this.#rows, from, to, this.#out);
        this.#next[i] = to;
        rest -= to - from;
      }
    }
    this.#count = 0;
    this.#next.length = 0;
    this.#ends.length = 0;
  }
}

function isSorted({ count, series }: Block): boolean {
  for (let i = 1; i < count; i++) if (series[i - 1]! > series[i]!) return false;
  return true;
}

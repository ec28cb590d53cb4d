import type { ReadingColumns } from "./batch.ts";
import { createColumns } from "./batch.ts";

/** Bits of a series index that one pass orders by; two passes cover 2^22 series. */
const DIGIT_BITS = 11;
const DIGITS = 1 << DIGIT_BITS;

/**
 * Orders the readings of a batch by series, those of one series in order of receipt: a least-significant-digit radix
 * sort (Knuth, TAOCP 5.2.5). The fold then finds the state of a series once for all its readings, in the order of
 * memory, and the log's codec finds neighbours that resemble each other.
 */
export class SeriesOrder {
  #spare: ReadingColumns = createColumns(0);
  #order = new Uint32Array(0);
  #next = new Uint32Array(0);
  readonly #starts = new Uint32Array(DIGITS);

  /** The readings of `columns` in order: the same object where they were in order already, else one to be used until the next call. */
  apply(columns: ReadingColumns): ReadingColumns {
    const { count, series } = columns;
    let highest = 0;
    let isOrdered = true;
    for (let i = 0, previous = 0; i < count; i++) {
      const index = series[i]!;
      if (index < previous) isOrdered = false;
      if (index > highest) highest = index;
      previous = index;
    }
    if (isOrdered) return columns;
    this.#makeRoom(count);
    for (let i = 0; i < count; i++) this.#order[i] = i;
    for (let shift = 0; highest >>> shift > 0; shift += DIGIT_BITS) this.#pass(series, count, shift);
    return this.#gather(columns);
  }

  #pass(series: Uint32Array, count: number, shift: number): void {
    const starts = this.#starts;
    const order = this.#order;
    const next = this.#next;
    starts.fill(0);
    for (let i = 0; i < count; i++) starts[(series[i]! >>> shift) & (DIGITS - 1)]!++;
    let sum = 0;
    for (let digit = 0; digit < DIGITS; digit++) {
      const size = starts[digit]!;
      starts[digit] = sum;
      sum += size;
    }
    for (let i = 0; i < count; i++) {
      const row = order[i]!;
      next[starts[(series[row]! >>> shift) & (DIGITS - 1)]!++] = row;
    }
    this.#order = next;
    this.#next = order;
  }

  #gather(from: ReadingColumns): ReadingColumns {
    const to = this.#spare;
    const order = this.#order;
    for (let i = 0; i < from.count; i++) {
      const row = order[i]!;
      to.series[i] = from.series[row]!;
      to.tsMs[i] = from.tsMs[row]!;
      to.value[i] = from.value[row]!;
      to.stamped[i] = from.stamped[row]!;
      to.source[i] = from.source[row]!;
    }
    to.count = from.count;
    return to;
  }

  #makeRoom(rows: number): void {
    if (rows <= this.#order.length) return;
    const room = Math.max(4096, 2 ** Math.ceil(Math.log2(rows)));
    this.#order = new Uint32Array(room);
    this.#next = new Uint32Array(room);
    this.#spare = createColumns(room);
  }
}

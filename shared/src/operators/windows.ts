import type { Block } from "../model/reading.ts";
import { growInt32, PAGE_SERIES, PAGE_SHIFT } from "./columns.ts";
import { CHUNK_BYTES, KeyChunks } from "./key-chunks.ts";
import type { Partial } from "./partial.ts";
import { CELL_BYTES, WindowCells } from "./window-cells.ts";

export { JUDGED_CRITICAL, JUDGED_HIGH, JUDGED_IN_BAND, JUDGED_LOW } from "./window-cells.ts";

/** A partial of one window of one series, as the fold emits it. */
export interface WindowPartial {
  readonly series: number;
  readonly windowStartMs: number;
  readonly partial: Partial;
}

/** Readings held before they must be drained. */
export const WINDOW_READINGS_MAX: number = 2 ** 23;

/**
 * Bytes that waiting readings may take before they must be drained: 4.3 a reading, and 192 a window beside the newest
 * of its series, of which late or sparse readings make many.
 */
export const WINDOW_BYTES_MAX: number = 2 ** 26;

/** Windows of a series beside the newest that are looked through before an index of them is made. */
const WALK_MAX = 8;

/** Windows are indexed by their number since the epoch × this + series. */
const SERIES_SPACE = 2 ** 20;

/**
 * Accumulates readings into windows of event time, order-free.
 *
 * Holds only what came since the last drain: the partials it then returns merge downstream with those before, so
 * nothing here needs a checkpoint. Pages of PAGE_SERIES series are drained one at a time. Each series has the cell of
 * its newest window at its own index; older windows that are still waiting hang from it in a list, newest first.
 */
export class WindowAccumulator {
  readonly #windowMs: number;
  readonly #chunks = new KeyChunks();
  readonly #newest: WindowCells;
  readonly #older: WindowCells;
  /** Rows of #older ever used, those in use, and the first of the free ones, plus 1. */
  #olderMade = 0;
  #olderUsed = 0;
  #olderFree = 0;
  /** Rows of #older of the series that have many, by window and series; made when one of them is looked for. */
  readonly #index = new Map<number, number>();
  readonly #indexed = new Set<number>();
  #readings = 0;
  #pageReadings = new Int32Array(0);

  /** windowMs: length of a window; windows start at multiples of it since the epoch. */
  constructor(windowMs: number) {
    this.#windowMs = windowMs;
    this.#newest = new WindowCells(windowMs, this.#chunks);
    this.#older = new WindowCells(windowMs, this.#chunks);
  }

  /** Readings that wait. */
  get readings(): number {
    return this.#readings;
  }

  /** Readings that wait in a page. */
  pageReadings(page: number): number {
    return this.#pageReadings[page] ?? 0;
  }

  /** Bytes that the waiting readings take, beside 192 for each series. */
  get bytes(): number {
    return this.#olderUsed * CELL_BYTES + this.#chunks.used * CHUNK_BYTES;
  }

  /** Bytes of memory held for waiting readings and for series, in use or not. */
  get reservedBytes(): number {
    return (this.#newest.rows + this.#older.rows) * CELL_BYTES + this.#chunks.bytes;
  }

  /** Adds one reading. judged: JUDGED_…; version: the threshold version that judged it, 0 for none. */
  add(series: number, tsMs: number, value: number, stamped: number, judged: number, version: number): void {
    if (series >= this.#newest.rows) this.#grow(series);
    this.#readings++;
    this.#pageReadings[series >>> PAGE_SHIFT]!++;
    const startMs = Math.floor(tsMs / this.#windowMs) * this.#windowMs;
    if (this.#newest.isFree(series) || startMs !== this.#newest.startMs(series)) {
      if (!this.#newest.isFree(series) && startMs < this.#newest.startMs(series)) {
        const row = this.#olderCell(series, startMs, tsMs, value, version);
        this.#older.addOne(row, tsMs, value, stamped, judged, version);
        return;
      }
      this.#beginNewest(series, startMs, tsMs, value, version);
    }
    this.#newest.addOne(series, tsMs, value, stamped, judged, version);
  }

  /**
   * Adds readings [from, to) of a block, all of one series, in their band as judged by `version`, each later than the
   * one before and than any that was added of the series. words: of the block's values.
   */
  addRun(series: number, block: Block, words: Int32Array, from: number, to: number, version: number): void {
    if (series >= this.#newest.rows) this.#grow(series);
    this.#readings += to - from;
    this.#pageReadings[series >>> PAGE_SHIFT]! += to - from;
    let next = from;
    while (next < to) {
      const tsMs = block.tsMs[next]!;
      if (this.#newest.isFree(series) || tsMs >= this.#newest.endMs(series)) {
        const startMs = Math.floor(tsMs / this.#windowMs) * this.#windowMs;
        this.#beginNewest(series, startMs, tsMs, block.value[next]!, version);
      }
      next = this.#newest.addRun(series, block, words, next, to, version);
    }
  }

  /** Reads what adding readings [from, to) of these series will need, all at once; returns something made of it. */
  readAhead(seriesOf: Uint32Array, from: number, to: number): number {
    return this.#newest.readAhead(seriesOf, from, to);
  }

  /** The partials of everything that waits, by series and window; then nothing does. */
  drain(): WindowPartial[] {
    const partials: WindowPartial[] = [];
    for (let page = 0; page < this.#pageReadings.length; page++) {
      this.drainPage(page, (partial) => partials.push(partial));
    }
    return partials;
  }

  /** As drain(), of the series of one page; each partial goes to `sink`. */
  drainPage(page: number, sink: (partial: WindowPartial) => void): void {
    if (this.pageReadings(page) === 0) return;
    const newest = this.#newest;
    const end = Math.min((page + 1) * PAGE_SERIES, newest.rows);
    for (let series = page * PAGE_SERIES; series < end; series++) {
      if (newest.isFree(series)) continue;
      if (newest.next(series) > 0) this.#drainOlder(series, sink);
      sink({ series, windowStartMs: newest.startMs(series), partial: newest.take(series) });
    }
    this.#readings -= this.#pageReadings[page]!;
    this.#pageReadings[page] = 0;
  }

  #drainOlder(series: number, sink: (partial: WindowPartial) => void): void {
    const older = this.#older;
    const rows: number[] = [];
    for (let link = this.#newest.next(series); link > 0; link = older.next(link - 1)) rows.push(link - 1);
    // The list begins with the newest; only what was looked for beyond WALK_MAX is out of order.
    rows.reverse();
    if (rows.length > WALK_MAX) rows.sort((a, b) => older.startMs(a) - older.startMs(b));
    const isIndexed = this.#indexed.delete(series);
    for (const row of rows) {
      const windowStartMs = older.startMs(row);
      if (isIndexed) this.#index.delete(this.#placeOf(series, windowStartMs));
      sink({ series, windowStartMs, partial: older.take(row) });
      older.setNext(row, this.#olderFree);
      this.#olderFree = row + 1;
      this.#olderUsed--;
    }
  }

  /** Begins the newest window of a series; what was the newest goes to the front of the older ones. */
  #beginNewest(series: number, startMs: number, tsMs: number, value: number, version: number): void {
    if (this.#newest.isFree(series)) {
      this.#newest.begin(series, startMs, tsMs, value, version);
      return;
    }
    const row = this.#freeOlder();
    const formerMs = this.#newest.startMs(series);
    // It takes its place in the list with it: what came after it still does.
    this.#newest.move(series, this.#older, row);
    if (this.#indexed.has(series)) this.#index.set(this.#placeOf(series, formerMs), row);
    this.#newest.begin(series, startMs, tsMs, value, version);
    this.#newest.setNext(series, row + 1);
  }

  /** The row in #older of a window before the newest: found, or made for this reading. */
  #olderCell(series: number, startMs: number, tsMs: number, value: number, version: number): number {
    const older = this.#older;
    let link = this.#newest.next(series);
    let later = 0;
    for (let steps = 0; link > 0 && steps < WALK_MAX; steps++) {
      const linkMs = older.startMs(link - 1);
      if (linkMs === startMs) return link - 1;
      if (linkMs > startMs) later = link;
      link = older.next(link - 1);
    }
    if (link > 0) {
      const found = this.#findIndexed(series, startMs);
      if (found !== undefined) return found;
    }
    const row = this.#freeOlder();
    older.begin(row, startMs, tsMs, value, version);
    if (later === 0) {
      older.setNext(row, this.#newest.next(series));
      this.#newest.setNext(series, row + 1);
    } else {
      older.setNext(row, older.next(later - 1));
      older.setNext(later - 1, row + 1);
    }
    if (this.#indexed.has(series)) this.#index.set(this.#placeOf(series, startMs), row);
    return row;
  }

  #findIndexed(series: number, startMs: number): number | undefined {
    if (!this.#indexed.has(series)) {
      this.#indexed.add(series);
      for (let link = this.#newest.next(series); link > 0; link = this.#older.next(link - 1)) {
        this.#index.set(this.#placeOf(series, this.#older.startMs(link - 1)), link - 1);
      }
    }
    return this.#index.get(this.#placeOf(series, startMs));
  }

  #placeOf(series: number, startMs: number): number {
    return (startMs / this.#windowMs) * SERIES_SPACE + series;
  }

  #freeOlder(): number {
    this.#olderUsed++;
    if (this.#olderFree > 0) {
      const row = this.#olderFree - 1;
      this.#olderFree = this.#older.next(row);
      return row;
    }
    const row = this.#olderMade++;
    if (row >= this.#older.rows) this.#older.grow(row);
    return row;
  }

  #grow(series: number): void {
    this.#newest.grow(series);
    this.#pageReadings = growInt32(this.#pageReadings, Math.ceil(this.#newest.rows / PAGE_SERIES), 0);
  }
}

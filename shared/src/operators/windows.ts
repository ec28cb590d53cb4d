import type { ExactSum } from "./exact-sum.ts";
import { addExact, canonicalSum } from "./exact-sum.ts";
import { grownRows, growFloat64, growInt32 } from "./columns.ts";
import type { Partial } from "./partial.ts";
import { isBefore } from "./partial.ts";
import { sketchKey, sketchOfSortedKeys } from "./sketch.ts";

/** A partial of one window of one series, as the fold emits it. */
export interface WindowPartial {
  readonly series: number;
  readonly windowStartMs: number;
  readonly partial: Partial;
}

/** How a reading was judged. */
export const JUDGED_IN_BAND = 0;
export const JUDGED_LOW = 1;
export const JUDGED_HIGH = 2;
/** Added to the above when the reading is outside the critical limits as well. */
export const JUDGED_CRITICAL = 4;

/** Readings held before drain() must be called: bounds the arena (8 bytes each) at 16 MiB. */
export const WINDOW_READINGS_MAX: number = 2 ** 21;

/** Cells are found by window index × this + series. */
const SERIES_SPACE = 2 ** 20;

/**
 * Accumulates readings into windows of event time, order-free.
 *
 * Holds only what came since the last drain(): the partials it then returns merge downstream with those before, so
 * nothing here needs a checkpoint. Cells are columns; sketch keys wait in an arena and are sorted once, at the drain.
 */
export class WindowAccumulator {
  readonly #windowMs: number;
  #slots = 0;
  #rows = 0;
  #series = new Int32Array(0);
  #startMs = new Float64Array(0);
  #count = new Int32Array(0);
  #stamped = new Int32Array(0);
  #sumHigh = new Float64Array(0);
  #sumLow = new Float64Array(0);
  #min = new Float64Array(0);
  #max = new Float64Array(0);
  #firstTsMs = new Float64Array(0);
  #firstValue = new Float64Array(0);
  #lastTsMs = new Float64Array(0);
  #lastValue = new Float64Array(0);
  #low = new Int32Array(0);
  #high = new Int32Array(0);
  #critical = new Int32Array(0);
  #version = new Int32Array(0);
  /** What did not fit into the two doubles of a cell's sum: rare. */
  readonly #sumRest = new Map<number, ExactSum>();
  /** Versions of a cell beside its first: rare. */
  readonly #otherVersions = new Map<number, Set<number>>();
  /** The slot a series wrote to last, by series index; -1: none. */
  #currentSlot = new Int32Array(0);
  readonly #slotOfCell = new Map<number, number>();
  #arenaLength = 0;
  #arenaSlot = new Int32Array(0);
  #arenaKey = new Int32Array(0);

  /** windowMs: length of a window; windows start at multiples of it since the epoch. */
  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get readings(): number {
    return this.#arenaLength;
  }

  /** Adds one reading. judged: JUDGED_…; version: the threshold version that judged it, 0 for none. */
  add(series: number, tsMs: number, value: number, stamped: number, judged: number, version: number): void {
    const startMs = Math.floor(tsMs / this.#windowMs) * this.#windowMs;
    let slot = series < this.#currentSlot.length ? this.#currentSlot[series]! : -1;
    if (slot < 0 || this.#startMs[slot] !== startMs) slot = this.#slotFor(series, startMs, tsMs, value, version);

    this.#count[slot]!++;
    this.#stamped[slot]! += stamped;
    this.#addToSum(slot, value);
    if (value < this.#min[slot]!) this.#min[slot] = value;
    if (value > this.#max[slot]!) this.#max[slot] = value;
    if (isBefore(tsMs, value, this.#firstTsMs[slot]!, this.#firstValue[slot]!)) {
      this.#firstTsMs[slot] = tsMs;
      this.#firstValue[slot] = value;
    }
    if (isBefore(this.#lastTsMs[slot]!, this.#lastValue[slot]!, tsMs, value)) {
      this.#lastTsMs[slot] = tsMs;
      this.#lastValue[slot] = value;
    }
    if (judged !== JUDGED_IN_BAND) {
      if (judged & JUDGED_LOW) this.#low[slot]!++;
      else this.#high[slot]!++;
      if (judged & JUDGED_CRITICAL) this.#critical[slot]!++;
    }
    if (version !== this.#version[slot]) this.#addVersion(slot, version);
    this.#addToArena(slot, sketchKey(value));
  }

  /** The partials of everything added since the last drain, by series and window; then empty. */
  drain(): WindowPartial[] {
    const keys = this.#sortedKeys();
    const partials: WindowPartial[] = [];
    let start = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      const end = start + this.#count[slot]!;
      partials.push({
        series: this.#series[slot]!,
        windowStartMs: this.#startMs[slot]!,
        partial: this.#partialOf(slot, keys, start, end),
      });
      start = end;
    }
    this.#reset();
    return partials.sort((a, b) => a.series - b.series || a.windowStartMs - b.windowStartMs);
  }

  #partialOf(slot: number, keys: Int32Array, start: number, end: number): Partial {
    const sum: ExactSum = [...(this.#sumRest.get(slot) ?? [])];
    addExact(sum, this.#sumLow[slot]!);
    addExact(sum, this.#sumHigh[slot]!);
    const others = this.#otherVersions.get(slot);
    const versions = [this.#version[slot]!, ...(others ?? [])].filter((version) => version > 0);
    return {
      count: this.#count[slot]!,
      stamped: this.#stamped[slot]!,
      sum: canonicalSum(sum),
      min: this.#min[slot]!,
      max: this.#max[slot]!,
      firstTsMs: this.#firstTsMs[slot]!,
      firstValue: this.#firstValue[slot]!,
      lastTsMs: this.#lastTsMs[slot]!,
      lastValue: this.#lastValue[slot]!,
      low: this.#low[slot]!,
      high: this.#high[slot]!,
      critical: this.#critical[slot]!,
      versions: versions.toSorted((a, b) => a - b),
      sketch: sketchOfSortedKeys(keys, start, end),
    };
  }

  /** Adds to the pair of doubles, exactly: what a pair cannot hold goes to the rest (two-sum: Knuth, TAOCP 4.2.2). */
  #addToSum(slot: number, value: number): void {
    const high = this.#sumHigh[slot]!;
    const sum = high + value;
    const part = sum - high;
    const error = high - (sum - part) + (value - part);
    this.#sumHigh[slot] = sum;
    if (error === 0) return;
    const low = this.#sumLow[slot]!;
    const lowSum = low + error;
    const lowPart = lowSum - low;
    const rest = low - (lowSum - lowPart) + (error - lowPart);
    this.#sumLow[slot] = lowSum;
    if (rest !== 0) {
      const sumRest = this.#sumRest.get(slot) ?? [];
      addExact(sumRest, rest);
      this.#sumRest.set(slot, sumRest);
    }
  }

  #addVersion(slot: number, version: number): void {
    const others = this.#otherVersions.get(slot) ?? new Set();
    others.add(version);
    this.#otherVersions.set(slot, others);
  }

  #addToArena(slot: number, key: number): void {
    if (this.#arenaLength === this.#arenaKey.length) {
      const rows = grownRows(this.#arenaLength, this.#arenaLength);
      this.#arenaSlot = growInt32(this.#arenaSlot, rows, 0);
      this.#arenaKey = growInt32(this.#arenaKey, rows, 0);
    }
    this.#arenaSlot[this.#arenaLength] = slot;
    this.#arenaKey[this.#arenaLength] = key;
    this.#arenaLength++;
  }

  /** The slot of a window that is not the series' current one: found, or made with this reading as its first. */
  #slotFor(series: number, startMs: number, tsMs: number, value: number, version: number): number {
    const cell = (startMs / this.#windowMs) * SERIES_SPACE + series;
    let slot = this.#slotOfCell.get(cell);
    if (slot === undefined) {
      slot = this.#slots++;
      if (slot >= this.#rows) this.#growCells(slot);
      this.#slotOfCell.set(cell, slot);
      this.#series[slot] = series;
      this.#startMs[slot] = startMs;
      this.#count[slot] = 0;
      this.#stamped[slot] = 0;
      this.#sumHigh[slot] = 0;
      this.#sumLow[slot] = 0;
      this.#min[slot] = value;
      this.#max[slot] = value;
      this.#firstTsMs[slot] = tsMs;
      this.#firstValue[slot] = value;
      this.#lastTsMs[slot] = tsMs;
      this.#lastValue[slot] = value;
      this.#low[slot] = 0;
      this.#high[slot] = 0;
      this.#critical[slot] = 0;
      this.#version[slot] = version;
    }
    if (series >= this.#currentSlot.length) {
      this.#currentSlot = growInt32(this.#currentSlot, grownRows(this.#currentSlot.length, series), -1);
    }
    this.#currentSlot[series] = slot;
    return slot;
  }

  #growCells(slot: number): void {
    const rows = grownRows(this.#rows, slot);
    this.#rows = rows;
    this.#series = growInt32(this.#series, rows, 0);
    this.#startMs = growFloat64(this.#startMs, rows, 0);
    this.#count = growInt32(this.#count, rows, 0);
    this.#stamped = growInt32(this.#stamped, rows, 0);
    this.#sumHigh = growFloat64(this.#sumHigh, rows, 0);
    this.#sumLow = growFloat64(this.#sumLow, rows, 0);
    this.#min = growFloat64(this.#min, rows, 0);
    this.#max = growFloat64(this.#max, rows, 0);
    this.#firstTsMs = growFloat64(this.#firstTsMs, rows, 0);
    this.#firstValue = growFloat64(this.#firstValue, rows, 0);
    this.#lastTsMs = growFloat64(this.#lastTsMs, rows, 0);
    this.#lastValue = growFloat64(this.#lastValue, rows, 0);
    this.#low = growInt32(this.#low, rows, 0);
    this.#high = growInt32(this.#high, rows, 0);
    this.#critical = growInt32(this.#critical, rows, 0);
    this.#version = growInt32(this.#version, rows, 0);
  }

  /** The arena's keys by slot, ascending within each: one counting sort, then one short sort a slot. */
  #sortedKeys(): Int32Array {
    const next = new Int32Array(this.#slots);
    let offset = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      next[slot] = offset;
      offset += this.#count[slot]!;
    }
    const keys = new Int32Array(this.#arenaLength);
    for (let i = 0; i < this.#arenaLength; i++) keys[next[this.#arenaSlot[i]!]!++] = this.#arenaKey[i]!;
    let start = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      const end = next[slot]!;
      keys.subarray(start, end).sort();
      start = end;
    }
    return keys;
  }

  #reset(): void {
    for (let slot = 0; slot < this.#slots; slot++) this.#currentSlot[this.#series[slot]!] = -1;
    this.#slots = 0;
    this.#arenaLength = 0;
    this.#sumRest.clear();
    this.#otherVersions.clear();
    this.#slotOfCell.clear();
  }
}

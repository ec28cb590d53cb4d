import type { Block } from "../model/reading.ts";
import { grownRows } from "./columns.ts";
import type { ExactSum } from "./exact-sum.ts";
import { addExact, canonicalSum } from "./exact-sum.ts";
import type { KeyChunks } from "./key-chunks.ts";
import type { Partial } from "./partial.ts";
import { isBefore } from "./partial.ts";
import { keyOfUpperWord, sketchKey, sketchOfKeys, UPPER_WORD } from "./sketch.ts";

/** How a reading was judged. */
export const JUDGED_IN_BAND = 0;
export const JUDGED_LOW = 1;
export const JUDGED_HIGH = 2;
/** Added to the above when the reading is outside the critical limits as well. */
export const JUDGED_CRITICAL = 4;

/**
 * A cell is a row of 16 doubles, the last six of which are twelve integers: a reading touches two lines of the cache
 * instead of one a column. The places are constants of this file because those of another would be loaded each time.
 */
const DOUBLES_SHIFT = 4;
const START = 0;
const END = 1;
const SUM_HIGH = 2;
const SUM_LOW = 3;
const MIN = 4;
const MAX = 5;
const FIRST_TS = 6;
const FIRST_VALUE = 7;
const LAST_TS = 8;
const LAST_VALUE = 9;
const DOUBLES_USED = 10;

const INTEGERS_SHIFT = 5;
const COUNT = 20;
const STAMPED = 21;
const LOW = 22;
const HIGH = 23;
const CRITICAL = 24;
const VERSION = 25;
/** The position of the cell's next key among the chunks. */
const KEYS = 26;
/** For the caller: the row after this one in some list, plus 1. */
const NEXT = 27;
/** What the cell has in the maps. */
const EXTRAS = 28;
const INTEGERS_END = 29;

const HAS_REST = 1;
const HAS_OTHER_VERSIONS = 2;

/** Bytes of a cell. */
export const CELL_BYTES = 128;

/** See KeyChunks. */
const CHUNK_MASK = 15;
const SEGMENT_SHIFT = 15;
const WORD_MASK = 2 ** SEGMENT_SHIFT - 1;

const NO_VERSIONS: readonly number[] = [];

/** Cells of windows by row. A row with no readings is free: its range holds no time. */
export class WindowCells {
  readonly #windowMs: number;
  readonly #chunks: KeyChunks;
  #rows = 0;
  #doubles = new Float64Array(0);
  #integers = new Int32Array(0);
  /** What did not fit into the two doubles of a cell's sum: rare. */
  readonly #sumRest = new Map<number, ExactSum>();
  /** Versions of a cell beside its first: rare. */
  readonly #otherVersions = new Map<number, Set<number>>();
  /** The versions of the newest partial: nearly all have the same. */
  #versions = NO_VERSIONS;

  /** chunks: where the keys of the cells wait; may be shared with other cells. */
  constructor(windowMs: number, chunks: KeyChunks) {
    this.#windowMs = windowMs;
    this.#chunks = chunks;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Makes room so that index `row` fits. */
  grow(row: number): void {
    this.#rows = grownRows(this.#rows, row);
    const doubles = new Float64Array(this.#rows << DOUBLES_SHIFT);
    doubles.set(this.#doubles);
    this.#doubles = doubles;
    this.#integers = new Int32Array(doubles.buffer);
  }

  /** Whether the time lies in the cell's window. */
  holds(row: number, tsMs: number): boolean {
    const at = row << DOUBLES_SHIFT;
    return tsMs >= this.#doubles[at + START]! && tsMs < this.#doubles[at + END]!;
  }

  startMs(row: number): number {
    return this.#doubles[(row << DOUBLES_SHIFT) + START]!;
  }

  count(row: number): number {
    return this.#integers[(row << INTEGERS_SHIFT) + COUNT]!;
  }

  next(row: number): number {
    return this.#integers[(row << INTEGERS_SHIFT) + NEXT]!;
  }

  setNext(row: number, next: number): void {
    this.#integers[(row << INTEGERS_SHIFT) + NEXT] = next;
  }

  /** Makes a free row the cell of a window, for this reading, which is then to be added. */
  begin(row: number, startMs: number, tsMs: number, value: number, version: number): void {
    const doubles = this.#doubles;
    const at = row << DOUBLES_SHIFT;
    doubles[at + START] = startMs;
    doubles[at + END] = startMs + this.#windowMs;
    doubles[at + SUM_HIGH] = 0;
    doubles[at + SUM_LOW] = 0;
    doubles[at + MIN] = value;
    doubles[at + MAX] = value;
    doubles[at + FIRST_TS] = tsMs;
    doubles[at + FIRST_VALUE] = value;
    doubles[at + LAST_TS] = tsMs;
    doubles[at + LAST_VALUE] = value;
    const integersAt = row << INTEGERS_SHIFT;
    this.#integers.fill(0, integersAt + COUNT, integersAt + INTEGERS_END);
    this.#integers[integersAt + VERSION] = version;
  }

  /** Adds a reading that the cell's window holds, in any order. judged: JUDGED_…; version: what judged it, 0: nothing. */
  addOne(row: number, tsMs: number, value: number, stamped: number, judged: number, version: number): void {
    const doubles = this.#doubles;
    const integers = this.#integers;
    const at = row << DOUBLES_SHIFT;
    const integersAt = row << INTEGERS_SHIFT;
    integers[integersAt + COUNT]!++;
    integers[integersAt + STAMPED]! += stamped;
    this.#addToSum(row, value);
    if (value < doubles[at + MIN]!) doubles[at + MIN] = value;
    if (value > doubles[at + MAX]!) doubles[at + MAX] = value;
    if (isBefore(tsMs, value, doubles[at + FIRST_TS]!, doubles[at + FIRST_VALUE]!)) {
      doubles[at + FIRST_TS] = tsMs;
      doubles[at + FIRST_VALUE] = value;
    }
    if (isBefore(doubles[at + LAST_TS]!, doubles[at + LAST_VALUE]!, tsMs, value)) {
      doubles[at + LAST_TS] = tsMs;
      doubles[at + LAST_VALUE] = value;
    }
    if (judged !== JUDGED_IN_BAND) {
      if (judged & JUDGED_LOW) integers[integersAt + LOW]!++;
      else integers[integersAt + HIGH]!++;
      if (judged & JUDGED_CRITICAL) integers[integersAt + CRITICAL]!++;
    }
    if (version !== integers[integersAt + VERSION]) this.#addVersion(row, version);
    let position = integers[integersAt + KEYS]!;
    if ((position & CHUNK_MASK) === 0) position = this.#chunks.extend(position);
    this.#chunks.segments[position >>> SEGMENT_SHIFT]![position & WORD_MASK] = sketchKey(value);
    integers[integersAt + KEYS] = position + 1;
  }

  /**
   * Adds readings [from, to) of a block, as many from `from` on as the cell's window holds, at least one; returns the
   * index behind them. All must be in their band, judged by `version`, each later than the one before and than any
   * in the cell; but the first of a new cell is the one it was begun for. words: of the block's values.
   */
  addRun(row: number, block: Block, words: Int32Array, from: number, to: number, version: number): number {
    const doubles = this.#doubles;
    const integers = this.#integers;
    const { tsMs, value: values, stamped: stamps } = block;
    const at = row << DOUBLES_SHIFT;
    const integersAt = row << INTEGERS_SHIFT;
    const endMs = doubles[at + END]!;
    let sumHigh = doubles[at + SUM_HIGH]!;
    let sumLow = doubles[at + SUM_LOW]!;
    let min = doubles[at + MIN]!;
    let max = doubles[at + MAX]!;
    let stamped = integers[integersAt + STAMPED]!;
    let position = integers[integersAt + KEYS]!;
    let segment = this.#chunks.segments[position >>> SEGMENT_SHIFT]!;
    let i = from;
    do {
      const value = values[i]!;
      if (value < min) min = value;
      if (value > max) max = value;
      stamped += stamps[i]!;
      // Two-sum (Knuth, TAOCP 4.2.2), as in #addToSum.
      const sum = sumHigh + value;
      const part = sum - sumHigh;
      const error = sumHigh - (sum - part) + (value - part);
      sumHigh = sum;
      if (error !== 0) {
        const lowSum = sumLow + error;
        const lowPart = lowSum - sumLow;
        const rest = sumLow - (lowSum - lowPart) + (error - lowPart);
        sumLow = lowSum;
        if (rest !== 0) this.#addToRest(row, rest);
      }
      if ((position & CHUNK_MASK) === 0) {
        position = this.#chunks.extend(position);
        segment = this.#chunks.segments[position >>> SEGMENT_SHIFT]!;
      }
      segment[position & WORD_MASK] = keyOfUpperWord(words[2 * i + UPPER_WORD]!);
      position++;
      i++;
    } while (i < to && tsMs[i]! < endMs);
    doubles[at + SUM_HIGH] = sumHigh;
    doubles[at + SUM_LOW] = sumLow;
    doubles[at + MIN] = min;
    doubles[at + MAX] = max;
    doubles[at + LAST_TS] = tsMs[i - 1]!;
    doubles[at + LAST_VALUE] = values[i - 1]!;
    integers[integersAt + COUNT]! += i - from;
    integers[integersAt + STAMPED] = stamped;
    integers[integersAt + KEYS] = position;
    if (version !== integers[integersAt + VERSION]) this.#addVersion(row, version);
    return i;
  }

  /** Reads of the cells of rows[from, to) what addRun needs; returns something made of it. */
  fetch(rows: Uint32Array, from: number, to: number): number {
    const doubles = this.#doubles;
    const integers = this.#integers;
    const segments = this.#chunks.segments;
    let read = 0;
    for (let i = from; i < to; i++) {
      const row = rows[i]!;
      if (row >= this.#rows) continue;
      const position = integers[(row << INTEGERS_SHIFT) + KEYS]!;
      read += doubles[row << DOUBLES_SHIFT]!;
      if ((position & CHUNK_MASK) !== 0) read += segments[position >>> SEGMENT_SHIFT]![position & WORD_MASK]!;
    }
    return read;
  }

  /** Moves a cell to a free row of `to`, which shares its chunks; `row` is free then. */
  move(row: number, to: WindowCells, toRow: number): void {
    const at = row << DOUBLES_SHIFT;
    const toAt = toRow << DOUBLES_SHIFT;
    for (let i = 0; i < DOUBLES_USED; i++) to.#doubles[toAt + i] = this.#doubles[at + i]!;
    const integersAt = row << INTEGERS_SHIFT;
    const toIntegersAt = toRow << INTEGERS_SHIFT;
    for (let i = COUNT; i < INTEGERS_END; i++) to.#integers[toIntegersAt + i] = this.#integers[integersAt + i]!;
    if (this.#integers[integersAt + EXTRAS] !== 0) {
      const rest = this.#sumRest.get(row);
      const others = this.#otherVersions.get(row);
      if (rest) to.#sumRest.set(toRow, rest);
      if (others) to.#otherVersions.set(toRow, others);
    }
    this.#clear(row);
  }

  /** The partial of a cell; its row is free then. keys: scratch, for as many as the cell has readings. */
  take(row: number, keys: Int32Array): Partial {
    const doubles = this.#doubles;
    const integers = this.#integers;
    const at = row << DOUBLES_SHIFT;
    const integersAt = row << INTEGERS_SHIFT;
    const count = integers[integersAt + COUNT]!;
    const min = doubles[at + MIN]!;
    const max = doubles[at + MAX]!;
    this.#chunks.take(integers[integersAt + KEYS]!, keys);
    const partial = {
      count,
      stamped: integers[integersAt + STAMPED]!,
      sum: this.#sumOf(row),
      min,
      max,
      firstTsMs: doubles[at + FIRST_TS]!,
      firstValue: doubles[at + FIRST_VALUE]!,
      lastTsMs: doubles[at + LAST_TS]!,
      lastValue: doubles[at + LAST_VALUE]!,
      low: integers[integersAt + LOW]!,
      high: integers[integersAt + HIGH]!,
      critical: integers[integersAt + CRITICAL]!,
      versions: this.#versionsOf(row),
      sketch: sketchOfKeys(keys, count, sketchKey(min), sketchKey(max)),
    };
    this.#clear(row);
    return partial;
  }

  #clear(row: number): void {
    const at = row << DOUBLES_SHIFT;
    const integersAt = row << INTEGERS_SHIFT;
    if (this.#integers[integersAt + EXTRAS] !== 0) {
      this.#sumRest.delete(row);
      this.#otherVersions.delete(row);
    }
    this.#doubles[at + END] = this.#doubles[at + START]!;
    this.#integers[integersAt + COUNT] = 0;
    this.#integers[integersAt + NEXT] = 0;
  }

  #sumOf(row: number): ExactSum {
    const at = row << DOUBLES_SHIFT;
    const high = this.#doubles[at + SUM_HIGH]!;
    const low = this.#doubles[at + SUM_LOW]!;
    if (this.#integers[(row << INTEGERS_SHIFT) + EXTRAS]! & HAS_REST) {
      const sum = [...this.#sumRest.get(row)!];
      addExact(sum, low);
      addExact(sum, high);
      return canonicalSum(sum);
    }
    // Two doubles: the sum rounded, and what rounding left, are the canonical expansion.
    const sum = high + low;
    const part = sum - high;
    const error = high - (sum - part) + (low - part);
    if (sum === 0) return [];
    return error === 0 ? [sum] : [error, sum];
  }

  #versionsOf(row: number): readonly number[] {
    const integersAt = row << INTEGERS_SHIFT;
    const version = this.#integers[integersAt + VERSION]!;
    if (this.#integers[integersAt + EXTRAS]! & HAS_OTHER_VERSIONS) {
      const all = [version, ...this.#otherVersions.get(row)!].filter((one) => one > 0);
      return all.toSorted((a, b) => a - b);
    }
    if (version === 0) return NO_VERSIONS;
    if (this.#versions[0] !== version) this.#versions = [version];
    return this.#versions;
  }

  /** Adds to the pair of doubles, exactly: what a pair cannot hold goes to the rest (two-sum: Knuth, TAOCP 4.2.2). */
  #addToSum(row: number, value: number): void {
    const at = row << DOUBLES_SHIFT;
    const high = this.#doubles[at + SUM_HIGH]!;
    const sum = high + value;
    const part = sum - high;
    const error = high - (sum - part) + (value - part);
    this.#doubles[at + SUM_HIGH] = sum;
    if (error === 0) return;
    const low = this.#doubles[at + SUM_LOW]!;
    const lowSum = low + error;
    const lowPart = lowSum - low;
    const rest = low - (lowSum - lowPart) + (error - lowPart);
    this.#doubles[at + SUM_LOW] = lowSum;
    if (rest !== 0) this.#addToRest(row, rest);
  }

  #addToRest(row: number, part: number): void {
    const rest = this.#sumRest.get(row) ?? [];
    addExact(rest, part);
    this.#sumRest.set(row, rest);
    this.#integers[(row << INTEGERS_SHIFT) + EXTRAS]! |= HAS_REST;
  }

  #addVersion(row: number, version: number): void {
    const others = this.#otherVersions.get(row) ?? new Set();
    others.add(version);
    this.#otherVersions.set(row, others);
    this.#integers[(row << INTEGERS_SHIFT) + EXTRAS]! |= HAS_OTHER_VERSIONS;
  }
}

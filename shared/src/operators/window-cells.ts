import type { Block } from "../model/reading.ts";
import { alignedRows, grownRows } from "./columns.ts";
import type { ExactSum } from "./exact-sum.ts";
import { addExact, addToPair, canonicalSum } from "./exact-sum.ts";
import { NO_CHUNK } from "./key-chunks.ts";
import type { KeyChunks } from "./key-chunks.ts";
import type { Partial } from "./partial.ts";
import { isBefore } from "./partial.ts";
import { keyOfUpperWord, sketchKey, UPPER_WORD } from "./sketch.ts";
import { sketchOfKeys } from "./sketch-of-keys.ts";

/** How a reading was judged. */
export const JUDGED_IN_BAND = 0;
export const JUDGED_LOW = 1;
export const JUDGED_HIGH = 2;
/** Added to the above when the reading is outside the critical limits as well. */
export const JUDGED_CRITICAL = 4;

/**
 * A cell is a row of 24 doubles, some of which are two integers: three lines of the cache. What every reading touches
 * are the first line and, for its key, the second. The places are constants of this file because those of another would
 * be loaded each time.
 */
const ROW_DOUBLES = 24;
const END = 0;
/** The sum: two doubles next to each other, for addToPair. */
const SUM_HIGH = 1;
const SUM_LOW = 2;
const MIN = 3;
const MAX = 4;
const LAST_TS = 5;
const LAST_VALUE = 6;
const START = 16;
const FIRST_TS = 17;
const FIRST_VALUE = 18;

const ROW_INTEGERS = 48;
/** Of the words of KEYS, the next that is free; CHUNK_END: none is. 0: the row is the cell of no window. */
const NEXT_KEY = 14;
const VERSION = 15;
/** The chunk of keys that is being filled: see KeyChunks. */
const KEYS = 16;
const CHUNK_END = 16;
const STAMPED = 38;
const LOW = 39;
const HIGH = 40;
const CRITICAL = 41;
/** For the caller: the row after this one in some list, plus 1. */
const NEXT = 42;
/** What the cell has in the maps. */
const EXTRAS = 43;

const HAS_REST = 1;
const HAS_OTHER_VERSIONS = 2;

/** Bytes of a cell. */
export const CELL_BYTES = 192;

const NO_VERSIONS: readonly number[] = [];

/** Cells of windows by row. */
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
    const { doubles, integers } = alignedRows(this.#rows * CELL_BYTES);
    integers.set(this.#integers);
    this.#doubles = doubles;
    this.#integers = integers;
  }

  /** Whether the row is free: not the cell of any window. */
  isFree(row: number): boolean {
    return this.#integers[row * ROW_INTEGERS + NEXT_KEY] === 0;
  }

  /** The end of a cell's window, exclusive. */
  endMs(row: number): number {
    return this.#doubles[row * ROW_DOUBLES + END]!;
  }

  startMs(row: number): number {
    return this.#doubles[row * ROW_DOUBLES + START]!;
  }

  next(row: number): number {
    return this.#integers[row * ROW_INTEGERS + NEXT]!;
  }

  setNext(row: number, next: number): void {
    this.#integers[row * ROW_INTEGERS + NEXT] = next;
  }

  /** Makes a free row the cell of a window, for this reading, which is then to be added. */
  begin(row: number, startMs: number, tsMs: number, value: number, version: number): void {
    const doubles = this.#doubles;
    const at = row * ROW_DOUBLES;
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
    const integers = this.#integers;
    const integersAt = row * ROW_INTEGERS;
    integers[integersAt + NEXT_KEY] = 1;
    integers[integersAt + VERSION] = version;
    integers[integersAt + KEYS] = NO_CHUNK;
    integers[integersAt + STAMPED] = 0;
    integers[integersAt + LOW] = 0;
    integers[integersAt + HIGH] = 0;
    integers[integersAt + CRITICAL] = 0;
    integers[integersAt + NEXT] = 0;
    integers[integersAt + EXTRAS] = 0;
  }

  /** Adds a reading that the cell's window holds, in any order. judged: JUDGED_…; version: what judged it, 0: nothing. */
  addOne(row: number, tsMs: number, value: number, stamped: number, judged: number, version: number): void {
    const doubles = this.#doubles;
    const integers = this.#integers;
    const at = row * ROW_DOUBLES;
    const integersAt = row * ROW_INTEGERS;
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
    const keysAt = integersAt + KEYS;
    let nextKey = integers[integersAt + NEXT_KEY]!;
    if (nextKey === CHUNK_END) {
      integers[keysAt] = this.#chunks.put(integers, keysAt);
      nextKey = 1;
    }
    integers[keysAt + nextKey] = sketchKey(value);
    integers[integersAt + NEXT_KEY] = nextKey + 1;
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
    const at = row * ROW_DOUBLES;
    const integersAt = row * ROW_INTEGERS;
    const endMs = doubles[at + END]!;
    let sumHigh = doubles[at + SUM_HIGH]!;
    let sumLow = doubles[at + SUM_LOW]!;
    let min = doubles[at + MIN]!;
    let max = doubles[at + MAX]!;
    let stamped = 0;
    const keysAt = integersAt + KEYS;
    let nextKey = integers[integersAt + NEXT_KEY]!;
    let i = from;
    do {
      const value = values[i]!;
      if (value < min) min = value;
      if (value > max) max = value;
      stamped += stamps[i]!;
      // As addToPair does it, on the two doubles that the loop has at hand.
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
      if (nextKey === CHUNK_END) {
        integers[keysAt] = this.#chunks.put(integers, keysAt);
        nextKey = 1;
      }
      integers[keysAt + nextKey] = keyOfUpperWord(words[2 * i + UPPER_WORD]!);
      nextKey++;
      i++;
    } while (i < to && tsMs[i]! < endMs);
    doubles[at + SUM_HIGH] = sumHigh;
    doubles[at + SUM_LOW] = sumLow;
    doubles[at + MIN] = min;
    doubles[at + MAX] = max;
    doubles[at + LAST_TS] = tsMs[i - 1]!;
    doubles[at + LAST_VALUE] = values[i - 1]!;
    integers[integersAt + NEXT_KEY] = nextKey;
    if (stamped > 0) integers[integersAt + STAMPED]! += stamped;
    if (version !== integers[integersAt + VERSION]) this.#addVersion(row, version);
    return i;
  }

  /** Reads of the cells of rows[from, to) what addRun needs; returns something made of it. */
  readAhead(rows: Uint32Array, from: number, to: number): number {
    const doubles = this.#doubles;
    const integers = this.#integers;
    let read = 0;
    for (let i = from; i < to; i++) {
      const row = rows[i]!;
      if (row < this.#rows) read += doubles[row * ROW_DOUBLES + END]! + integers[row * ROW_INTEGERS + KEYS]!;
    }
    return read;
  }

  /** Moves a cell to a free row of `to`, which shares its chunks; `row` is free then. */
  move(row: number, to: WindowCells, toRow: number): void {
    const integersAt = row * ROW_INTEGERS;
    const toIntegersAt = toRow * ROW_INTEGERS;
    for (let i = 0; i < ROW_INTEGERS; i++) to.#integers[toIntegersAt + i] = this.#integers[integersAt + i]!;
    if (this.#integers[integersAt + EXTRAS] !== 0) {
      const rest = this.#sumRest.get(row);
      const others = this.#otherVersions.get(row);
      if (rest) to.#sumRest.set(toRow, rest);
      if (others) to.#otherVersions.set(toRow, others);
    }
    this.#clear(row);
  }

  /** The partial of a cell; its row is free then. */
  take(row: number): Partial {
    const doubles = this.#doubles;
    const integers = this.#integers;
    const at = row * ROW_DOUBLES;
    const integersAt = row * ROW_INTEGERS;
    const keysAt = integersAt + KEYS;
    const count = this.#chunks.take(integers, keysAt, keysAt + integers[integersAt + NEXT_KEY]!);
    const min = doubles[at + MIN]!;
    const max = doubles[at + MAX]!;
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
      sketch: sketchOfKeys(this.#chunks.taken, count, sketchKey(min), sketchKey(max)),
    };
    this.#clear(row);
    return partial;
  }

  #clear(row: number): void {
    const integersAt = row * ROW_INTEGERS;
    if (this.#integers[integersAt + EXTRAS] !== 0) {
      this.#sumRest.delete(row);
      this.#otherVersions.delete(row);
    }
    this.#integers[integersAt + NEXT_KEY] = 0;
    this.#integers[integersAt + NEXT] = 0;
  }

  #sumOf(row: number): ExactSum {
    const at = row * ROW_DOUBLES;
    const high = this.#doubles[at + SUM_HIGH]!;
    const low = this.#doubles[at + SUM_LOW]!;
    if (this.#integers[row * ROW_INTEGERS + EXTRAS]! & HAS_REST) {
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
    const integersAt = row * ROW_INTEGERS;
    const version = this.#integers[integersAt + VERSION]!;
    if (this.#integers[integersAt + EXTRAS]! & HAS_OTHER_VERSIONS) {
      const all = [version, ...this.#otherVersions.get(row)!].filter((one) => one > 0);
      return all.toSorted((a, b) => a - b);
    }
    if (version === 0) return NO_VERSIONS;
    if (this.#versions[0] !== version) this.#versions = [version];
    return this.#versions;
  }

  #addToSum(row: number, value: number): void {
    const rest = addToPair(this.#doubles, row * ROW_DOUBLES + SUM_HIGH, value);
    if (rest !== 0) this.#addToRest(row, rest);
  }

  #addToRest(row: number, part: number): void {
    const rest = this.#sumRest.get(row) ?? [];
    addExact(rest, part);
    this.#sumRest.set(row, rest);
    this.#integers[row * ROW_INTEGERS + EXTRAS]! |= HAS_REST;
  }

  #addVersion(row: number, version: number): void {
    const others = this.#otherVersions.get(row) ?? new Set();
    others.add(version);
    this.#otherVersions.set(row, others);
    this.#integers[row * ROW_INTEGERS + EXTRAS]! |= HAS_OTHER_VERSIONS;
  }
}

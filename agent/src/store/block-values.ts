import { CodedError } from "@weir/shared/errors";
import type { ByteReader, ByteWriter } from "@weir/shared/wire/bytes";
import { isDecimal, PLACES_MAX, POWERS_OF_TEN, ROUNDER, WHOLE_ABS_MAX } from "@weir/shared/wire/decimal";
import { readStream, writeStream } from "./bit-packing.ts";
import { readColumn, writeColumn } from "./block-columns.ts";

/**
 * Doubles of a block, bit for bit.
 *
 *   values   := places:u8 (0 to PLACES_MAX) column exceptions:varint(n) n×(rows since the one before:varint value:f64)
 *             | WORDS:u8(0xff) shift:u8 column stream(count)
 *
 * With `places`, a row is the whole number of a decimal; the few rows that are none are exceptions, and their place in
 * the column is filled with the number before. Anything else is the upper words of the doubles, as a column, and the
 * lower ones, less the `shift` zeros that all of them end with: a float32 has only three bits there.
 */
const WORDS = 0xff;

/** Values looked at to choose the number of places, at most. */
const SAMPLE = 64;
/** Exceptions of a block, at most: with more, words are shorter. */
const EXCEPTIONS_SHARE_MAX = 3 / 8;
/** Roughly what an exception costs, and a decimal place, in bits. */
const EXCEPTION_BITS = 76;
const PLACE_BITS = 3.3;

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);
/** Index of the upper word in `words`: 1 on little-endian machines. */
const UPPER = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;

let numbers: Float64Array = new Float64Array(0);
let lower: Float64Array = new Float64Array(0);
let exceptionRows: Uint32Array = new Uint32Array(0);

/** Appends the first `count` values. */
export function writeValues(
  writer: ByteWriter,
  values: Float64Array,
  count: number,
  series: Uint32Array,
  headCount: number,
): void {
  growScratch(count);
  const places = choosePlaces(values, count);
  const exceptions = places < 0 ? -1 : scale(values, count, POWERS_OF_TEN[places]!);
  if (exceptions < 0) {
    writeWords(writer, values, count, series, headCount);
    return;
  }
  writer.uint8(places);
  writeColumn(writer, numbers, count, series, headCount);
  writer.varint(exceptions);
  let before = 0;
  for (let i = 0; i < exceptions; i++) {
    const row = exceptionRows[i]!;
    writer.varint(row - before);
    writer.float64(values[row]!);
    before = row;
  }
}

/** Gives back a double that may be in a column, and throws for any other. */
export type ValueCheck = (value: number) => number;

/** Reads `count` values. Throws CodedError TRUNCATED or BAD_BLOCK, or what `check` throws. */
export function readValues(
  reader: ByteReader,
  values: Float64Array,
  count: number,
  series: Uint32Array,
  headCount: number,
  check: ValueCheck,
): void {
  const places = reader.uint8();
  if (places === WORDS) {
    readWords(reader, values, count, series, headCount, check);
    return;
  }
  if (places > PLACES_MAX) {
    throw new CodedError(
      "BAD_BLOCK",
      `A block of the log has values with ${places} places; the most is ${PLACES_MAX}.`,
    );
  }
  readColumn(reader, values, count, series, headCount);
  if (places > 0) {
    const power = POWERS_OF_TEN[places]!;
    for (let i = 0; i < count; i++) values[i]! /= power;
  }
  let row = 0;
  for (let rest = reader.itemCount(9); rest > 0; rest--) {
    row += reader.varint();
    if (row >= count) throw new CodedError("BAD_BLOCK", `A block of ${count} readings in the log has a row ${row}.`);
    values[row] = check(reader.float64());
  }
}

/** The number of places that a sample of the values can be written with in the fewest bits; -1: none is good. */
function choosePlaces(values: Float64Array, count: number): number {
  const step = Math.max(1, Math.floor(count / SAMPLE));
  const having = Array.from({ length: PLACES_MAX + 1 }, () => 0);
  let sampled = 0;
  for (let i = 0; i < count; i += step) {
    sampled++;
    const value = values[i]!;
    for (let places = 0; places <= PLACES_MAX; places++) {
      if (!isDecimal(value, POWERS_OF_TEN[places]!)) continue;
      having[places]!++;
      break;
    }
  }
  let best = -1;
  let bestBits = Infinity;
  let covered = 0;
  for (let places = 0; places <= PLACES_MAX; places++) {
    covered += having[places]!;
    const exceptions = sampled - covered;
    const bits = exceptions * EXCEPTION_BITS + sampled * places * PLACE_BITS;
    if (bits >= bestBits || exceptions > sampled * EXCEPTIONS_SHARE_MAX) continue;
    best = places;
    bestBits = bits;
  }
  return best;
}

/** Fills `numbers` with values × power; returns the number of rows in `exceptionRows`, or -1 for too many. */
function scale(values: Float64Array, count: number, power: number): number {
  const [toNumbers, toRows] = [numbers, exceptionRows];
  const exceptionsMax = Math.floor(count * EXCEPTIONS_SHARE_MAX);
  let exceptions = 0;
  let before = 0;
  for (let i = 0; i < count; i++) {
    const value = values[i]!;
    const number = value * power + ROUNDER - ROUNDER;
    if (number / power === value && number <= WHOLE_ABS_MAX && number >= -WHOLE_ABS_MAX) before = number;
    else if (exceptions === exceptionsMax) return -1;
    else toRows[exceptions++] = i;
    toNumbers[i] = before;
  }
  return exceptions;
}

function writeWords(
  writer: ByteWriter,
  values: Float64Array,
  count: number,
  series: Uint32Array,
  headCount: number,
): void {
  let ones = 0;
  for (let i = 0; i < count; i++) {
    double[0] = values[i]!;
    numbers[i] = words[UPPER]!;
    const word = words[1 - UPPER]!;
    lower[i] = word;
    ones |= word;
  }
  const shift = ones === 0 ? 0 : 31 - Math.clz32(ones & -ones);
  if (shift > 0) for (let i = 0; i < count; i++) lower[i] = lower[i]! >>> shift;
  writer.uint8(WORDS);
  writer.uint8(shift);
  writeColumn(writer, numbers, count, series, headCount);
  writeStream(writer, lower, count);
}

function readWords(
  reader: ByteReader,
  values: Float64Array,
  count: number,
  series: Uint32Array,
  headCount: number,
  check: ValueCheck,
): void {
  growScratch(count);
  const shift = reader.uint8();
  if (shift > 31) throw new CodedError("BAD_BLOCK", `A block of the log has words shifted by ${shift} bits.`);
  readColumn(reader, values, count, series, headCount);
  readStream(reader, lower, count);
  for (let i = 0; i < count; i++) {
    words[UPPER] = values[i]!;
    words[1 - UPPER] = lower[i]! << shift;
    values[i] = check(double[0]!);
  }
}

function growScratch(count: number): void {
  if (numbers.length >= count) return;
  numbers = new Float64Array(count);
  lower = new Float64Array(count);
  exceptionRows = new Uint32Array(count);
}

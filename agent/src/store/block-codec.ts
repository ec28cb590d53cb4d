import { crc32 } from "node:zlib";
import { assert, CodedError } from "@weir/shared/errors";
import type { Block } from "@weir/shared/model/reading";
import { VALUE_ABS_MAX } from "@weir/shared/model/reading";
import { ByteReader, ByteWriter } from "@weir/shared/wire/bytes";
import { WHOLE_ABS_MAX } from "@weir/shared/wire/decimal";
import { readStream, streamBytesMin, writeStream } from "./bit-packing.ts";
import { readColumn, writeColumn } from "./block-columns.ts";
import { readValues, writeValues } from "./block-values.ts";

/**
 * A block of the log as bytes. See docs/format/log.md, bit-packing.ts for streams, block-columns.ts for columns and
 * block-values.ts for values. Made for readings sorted by series, in order of receipt within one; any others come back
 * as they were, too.
 *
 *   block  := version:u8(3) count:varint series times values stamps checksum:u32
 *   series := stream(count)  differences to the row before; the first: to -1
 *   times  := unitMs:varint baseMs:zigzag column   tsMs = baseMs + unitMs × number
 *           | 0:varint values                      for times further than WHOLE_ABS_MAX from 1970
 *   stamps := u8 (0: none is stamped, 1: all are, 2: a bit a reading follows, lowest bits first)
 *
 * The checksum is the CRC-32 of zlib over all before it, little-endian: a disk that gives back other bytes than it was
 * given is found out, where they would often still decode.
 */
const BLOCK_VERSION = 3;
const CHECKSUM_BYTES = 4;
const STAMPS_NONE = 0;
const STAMPS_ALL = 1;
const STAMPS_EACH = 2;

/** Readings in a block that is written or read, at most: no bytes make this program allocate more. */
const ROWS_MAX: number = 2 ** 21;
const SERIES_MAX: number = 2 ** 32 - 1;
/** The farthest times that dates can have, ms from 1970 either way. */
const TS_ABS_MAX_MS = 8.64e15;

const writer = new ByteWriter(65_536);
const reader = new ByteReader(new Uint8Array(0));
let numbers: Float64Array = new Float64Array(0);

/** A block whose columns are filled anew for each one that is decoded. They may be longer than `count`. */
export class BlockColumns implements Block {
  count = 0;
  series: Uint32Array = new Uint32Array(0);
  tsMs: Float64Array = new Float64Array(0);
  value: Float64Array = new Float64Array(0);
  stamped: Uint8Array = new Uint8Array(0);

  /** Makes room for `count` rows. What was in the columns may be gone. */
  reserve(count: number): void {
    if (count <= this.series.length) return;
    // Half as much again, so that blocks which vary in length do not each make columns anew.
    const rows = Math.max(count, Math.floor(this.series.length * 1.5));
    this.series = new Uint32Array(rows);
    this.tsMs = new Float64Array(rows);
    this.value = new Float64Array(rows);
    this.stamped = new Uint8Array(rows);
  }
}

/** The bytes of a block. */
export function encodeBlock(block: Block): Uint8Array {
  const { count, series, tsMs, value } = block;
  assert(count <= ROWS_MAX, `A block of ${count} readings is too long; the most is ${ROWS_MAX}.`);
  growScratch(count);
  writer.clear();
  writer.uint8(BLOCK_VERSION);
  writer.varint(count);
  const headCount = writeSeries(series, count);
  writeTimes(tsMs, count, series, headCount);
  writeValues(writer, value, count, series, headCount);
  writeStamps(block.stamped, count);
  const end = writer.claim(CHECKSUM_BYTES);
  const bytes = writer.toBytes();
  checksumView(bytes).setUint32(end, crc32(bytes.subarray(0, end)), true);
  return bytes;
}

/** The block of encodeBlock's bytes. Throws CodedError BAD_BLOCK or TRUNCATED for others. */
export function decodeBlock(bytes: Uint8Array): Block {
  const { count, series, tsMs, value, stamped } = decodeBlockInto(bytes, new BlockColumns());
  return { count, series, tsMs, value, stamped };
}

/**
 * As decodeBlock, into columns that are used again and again, and returned. They grow as needed; after an error, what
 * they hold is undefined, and their count 0.
 */
export function decodeBlockInto(bytes: Uint8Array, columns: BlockColumns): BlockColumns {
  columns.count = 0;
  // A damaged row can hold anything, whatever its column says.
  if (!((bytes as unknown) instanceof Uint8Array)) throw bad("is not made of bytes");
  reader.load(bytes);
  const version = reader.uint8();
  if (version !== BLOCK_VERSION) {
    throw bad(`has format ${version}; this program reads ${BLOCK_VERSION}`);
  }
  const end = Math.max(1, bytes.length - CHECKSUM_BYTES);
  reader.load(bytes.subarray(0, end));
  reader.uint8();
  if (bytes.length <= CHECKSUM_BYTES || checksumView(bytes).getUint32(end, true) !== crc32(bytes.subarray(0, end))) {
    throw bad(`of ${bytes.length} bytes is not as it was written: its checksum is another`);
  }
  const count = reader.varint();
  if (count > ROWS_MAX || streamBytesMin(count) > reader.restBytes) {
    throw bad(`has ${bytes.length} bytes, too few for its ${count} readings, or more than ${ROWS_MAX} of them`);
  }
  growScratch(count);
  columns.reserve(count);
  const { series, tsMs, value, stamped } = columns;
  const headCount = readSeries(series, count);
  readTimes(tsMs, count, series, headCount);
  readValues(reader, value, count, series, headCount, checkValue);
  readStamps(stamped, count);
  if (!reader.done) throw bad(`of ${count} readings has ${reader.restBytes} bytes behind its end`);
  columns.count = count;
  return columns;
}

function checksumView({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** Returns the number of runs. */
function writeSeries(series: Uint32Array, count: number): number {
  const differences = numbers;
  let headCount = 0;
  let before = -1;
  for (let i = 0; i < count; i++) {
    const one = series[i]!;
    if (one !== before) headCount++;
    differences[i] = one - before;
    before = one;
  }
  writeStream(writer, differences, count);
  return headCount;
}

/** Returns the number of runs. */
function readSeries(series: Uint32Array, count: number): number {
  const differences = numbers;
  readStream(reader, differences, count);
  let headCount = 0;
  let one = -1;
  for (let i = 0; i < count; i++) {
    const difference = differences[i]!;
    if (difference !== 0) headCount++;
    one += difference;
    if (!(one >= 0 && one <= SERIES_MAX)) throw bad(`has a series ${one}`);
    series[i] = one;
  }
  return headCount;
}

function writeTimes(tsMs: Float64Array, count: number, series: Uint32Array, headCount: number): void {
  const toNumbers = numbers;
  const baseMs = count > 0 ? tsMs[0]! : 0;
  let least = baseMs;
  let most = baseMs;
  for (let i = 0; i < count; i++) {
    const one = tsMs[i]!;
    toNumbers[i] = one - baseMs;
    if (one < least) least = one;
    else if (one > most) most = one;
  }
  if (least < -WHOLE_ABS_MAX / 2 || most > WHOLE_ABS_MAX / 2) {
    writer.varint(0);
    writeValues(writer, tsMs, count, series, headCount);
    return;
  }
  const unitMs = commonUnit(toNumbers, count);
  if (unitMs > 1) for (let i = 0; i < count; i++) toNumbers[i]! /= unitMs;
  writer.varint(unitMs);
  writer.zigzag(baseMs);
  writeColumn(writer, toNumbers, count, series, headCount);
}

function readTimes(tsMs: Float64Array, count: number, series: Uint32Array, headCount: number): void {
  const unitMs = reader.varint();
  if (unitMs === 0) {
    readValues(reader, tsMs, count, series, headCount, checkValue);
    for (let i = 0; i < count; i++) if (!isTime(tsMs[i]!)) throw bad(`has a time of ${tsMs[i]} ms`);
    return;
  }
  const baseMs = reader.zigzag();
  readColumn(reader, tsMs, count, series, headCount);
  for (let i = 0; i < count; i++) {
    const one = baseMs + tsMs[i]! * unitMs;
    if (!(one >= -TS_ABS_MAX_MS && one <= TS_ABS_MAX_MS)) throw bad(`has a time of ${one} ms`);
    tsMs[i] = one;
  }
}

function isTime(tsMs: number): boolean {
  return Number.isInteger(tsMs) && Math.abs(tsMs) <= TS_ABS_MAX_MS;
}

/** The greatest common divisor of integers, at least 1. Ends as soon as it is 1, with most blocks at once. */
function commonUnit(differences: Float64Array, count: number): number {
  let unit = 0;
  for (let i = 0; i < count && unit !== 1; i++) {
    let rest = Math.abs(differences[i]!);
    // Far quicker than a remainder, and exact: differences have fewer than 53 bits.
    if (unit > 0 && Math.floor(rest / unit) * unit === rest) continue;
    while (rest !== 0) [unit, rest] = [rest, unit % rest];
  }
  return Math.max(1, unit);
}

function checkValue(value: number): number {
  if (Math.abs(value) <= VALUE_ABS_MAX && !Object.is(value, -0)) return value;
  throw bad(`has a value ${value}`);
}

function writeStamps(stamped: Uint8Array, count: number): void {
  let total = 0;
  for (let i = 0; i < count; i++) total += stamped[i]!;
  if (total === 0 || total === count) {
    writer.uint8(total === 0 ? STAMPS_NONE : STAMPS_ALL);
    return;
  }
  writer.uint8(STAMPS_EACH);
  for (let from = 0; from < count; from += 8) {
    let bits = 0;
    for (let i = Math.min(count, from + 8) - 1; i >= from; i--) bits = (bits << 1) | stamped[i]!;
    writer.uint8(bits);
  }
}

function readStamps(stamped: Uint8Array, count: number): void {
  const stamps = reader.uint8();
  if (stamps === STAMPS_NONE) stamped.fill(0, 0, count);
  else if (stamps === STAMPS_ALL) stamped.fill(1, 0, count);
  else if (stamps === STAMPS_EACH) {
    const offset = reader.claim(Math.ceil(count / 8));
    const { view } = reader;
    for (let i = 0; i < count; i++) stamped[i] = (view.getUint8(offset + (i >>> 3)) >>> (i & 7)) & 1;
  } else throw bad(`has stamps of kind ${stamps}`);
}

function growScratch(count: number): void {
  if (numbers.length < count) numbers = new Float64Array(count);
}

function bad(what: string): CodedError {
  return new CodedError("BAD_BLOCK", `A block of the log ${what}. It was refused.`);
}

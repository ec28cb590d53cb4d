import { CodedError } from "../errors.ts";
import { VALUE_ABS_MAX } from "../model/reading.ts";
import type { ExactSum } from "../operators/exact-sum.ts";
import type { Partial } from "../operators/partial.ts";
import type { Sketch } from "../operators/sketch.ts";
import { BUCKETS_MAX, SHIFT_MIN } from "../operators/sketch.ts";
import type { WindowPartial } from "../operators/windows.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";

/**
 * Partials as bytes: on the uplink and in the aggregator's store. See docs/format/partial.md.
 *
 *   partial := version:u8(1) count:varint stamped:varint
 *              sum:varint(n) n×f64
 *              min:f64 max:f64 firstTsMs:zigzag (lastTsMs-firstTsMs):varint firstValue:f64 lastValue:f64
 *              low:varint high:varint critical:varint
 *              versions:varint(n) n×varint
 *              shift:u8 buckets:varint(n) n×(bucket-previous:zigzag count:varint)
 *   windows := n×( series:varint windowStartMs:zigzag partial )
 */
const PARTIAL_VERSION = 1;

/** A partial as bytes: equal partials give equal bytes. */
export function encodePartial(partial: Partial): Uint8Array {
  const writer = new ByteWriter(128);
  writePartial(writer, partial);
  return writer.toBytes();
}

/** Throws CodedError TRUNCATED or BAD_PARTIAL for bytes that encodePartial did not write. */
export function decodePartial(bytes: Uint8Array): Partial {
  const reader = new ByteReader(bytes);
  const partial = readPartial(reader);
  if (!reader.done) throw bad(`ends before its ${bytes.length} bytes do`);
  return partial;
}

/** Window partials one after another, as a partials frame carries them. */
export function encodeWindows(windows: readonly WindowPartial[]): Uint8Array {
  const writer = new ByteWriter(windows.length * 128 + 16);
  for (const { series, windowStartMs, partial } of windows) {
    writer.varint(series);
    writer.zigzag(windowStartMs);
    writePartial(writer, partial);
  }
  return writer.toBytes();
}

/** Throws as decodePartial. */
export function decodeWindows(bytes: Uint8Array): WindowPartial[] {
  const reader = new ByteReader(bytes);
  const windows: WindowPartial[] = [];
  while (!reader.done) {
    windows.push({ series: reader.varint(), windowStartMs: reader.zigzag(), partial: readPartial(reader) });
  }
  return windows;
}

function writePartial(writer: ByteWriter, partial: Partial): void {
  writer.uint8(PARTIAL_VERSION);
  writer.varint(partial.count);
  writer.varint(partial.stamped);
  writer.varint(partial.sum.length);
  for (const part of partial.sum) writer.float64(part);
  writer.float64(partial.min);
  writer.float64(partial.max);
  writer.zigzag(partial.firstTsMs);
  writer.varint(partial.lastTsMs - partial.firstTsMs);
  writer.float64(partial.firstValue);
  writer.float64(partial.lastValue);
  writer.varint(partial.low);
  writer.varint(partial.high);
  writer.varint(partial.critical);
  writer.varint(partial.versions.length);
  for (const version of partial.versions) writer.varint(version);
  const { shift, buckets, counts } = partial.sketch;
  writer.uint8(shift);
  writer.varint(buckets.length);
  let previous = 0;
  for (let i = 0; i < buckets.length; i++) {
    writer.zigzag(buckets[i]! - previous);
    writer.varint(counts[i]!);
    previous = buckets[i]!;
  }
}

function readPartial(reader: ByteReader): Partial {
  const version = reader.uint8();
  if (version !== PARTIAL_VERSION) throw bad(`has format ${version}; this program reads ${PARTIAL_VERSION}`);
  const count = reader.varint();
  const stamped = reader.varint();
  const sum = readSum(reader, count);
  const min = reader.float64();
  const max = reader.float64();
  const firstTsMs = reader.zigzag();
  const lastTsMs = firstTsMs + reader.varint();
  const firstValue = reader.float64();
  const lastValue = reader.float64();
  const low = reader.varint();
  const high = reader.varint();
  const critical = reader.varint();
  const versions = readVersions(reader);
  const sketch = readSketch(reader, count);
  if (!(min >= -VALUE_ABS_MAX && max <= VALUE_ABS_MAX)) throw bad(`has values from ${min} to ${max}`);
  for (const value of [firstValue, lastValue]) {
    if (!(value >= min && value <= max)) throw bad(`has a value ${value}, not between ${min} and ${max}`);
  }
  if (stamped > count || low + high > count || critical > count)
    throw bad(`counts parts greater than its ${count} readings`);
  return {
    count,
    stamped,
    sum,
    min,
    max,
    firstTsMs,
    firstValue,
    lastTsMs,
    lastValue,
    low,
    high,
    critical,
    versions,
    sketch,
  };
}

/** Parts that are not finite, or overlap, would keep the arithmetic of sums from ever ending. */
function readSum(reader: ByteReader, count: number): ExactSum {
  const sum: ExactSum = [];
  for (let rest = reader.itemCount(8); rest > 0; rest--) {
    const part = reader.float64();
    if (part === 0 || !(Math.abs(part) <= count * VALUE_ABS_MAX)) throw bad(`has ${part} in its sum`);
    // As encoded, each part is what rounding the parts above it left: at most half a unit in their last place.
    if (Math.abs(sum.at(-1) ?? 0) > Math.abs(part) * 2 ** -53) throw bad("has a sum whose parts overlap");
    sum.push(part);
  }
  return sum;
}

function readVersions(reader: ByteReader): number[] {
  const versions: number[] = [];
  for (let rest = reader.itemCount(1); rest > 0; rest--) {
    const version = reader.varint();
    if (version <= (versions.at(-1) ?? 0)) throw bad("has threshold versions that do not ascend");
    versions.push(version);
  }
  return versions;
}

function readSketch(reader: ByteReader, count: number): Sketch {
  const shift = reader.uint8();
  const buckets: number[] = [];
  const counts: number[] = [];
  const length = reader.itemCount(2);
  if (shift < SHIFT_MIN || shift > 31 || length > BUCKETS_MAX) throw bad(`has ${length} buckets at shift ${shift}`);
  let bucket = 0;
  let total = 0;
  for (let i = 0; i < length; i++) {
    const previous = bucket;
    bucket += reader.zigzag();
    if ((i > 0 && bucket <= previous) || bucket !== (bucket << shift) >> shift) throw bad(`has a bucket ${bucket}`);
    buckets.push(bucket);
    const readings = reader.varint();
    counts.push(readings);
    total += readings;
    if (readings === 0) throw bad("has an empty bucket");
  }
  if (total !== count) throw bad(`of ${count} readings has a sketch of ${total}`);
  return { shift, buckets, counts };
}

function bad(what: string): CodedError {
  return new CodedError("BAD_PARTIAL", `A stored or sent partial ${what}. It was refused.`);
}

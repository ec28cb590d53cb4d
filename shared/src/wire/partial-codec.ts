import { CodedError } from "../errors.ts";
import type { Partial } from "../operators/partial.ts";
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

export function encodePartial(partial: Partial): Uint8Array {
  const writer = new ByteWriter(128);
  writePartial(writer, partial);
  return writer.toBytes();
}

/** Throws CodedError TRUNCATED or BAD_PARTIAL for bytes that encodePartial did not write. */
export function decodePartial(bytes: Uint8Array): Partial {
  return readPartial(new ByteReader(bytes));
}

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
  if (version !== PARTIAL_VERSION) {
    throw new CodedError("BAD_PARTIAL", `A partial has format ${version}; this program reads ${PARTIAL_VERSION}.`);
  }
  const count = reader.varint();
  const stamped = reader.varint();
  const sum = Array.from({ length: reader.varint() }, () => reader.float64());
  const min = reader.float64();
  const max = reader.float64();
  const firstTsMs = reader.zigzag();
  const lastTsMs = firstTsMs + reader.varint();
  const firstValue = reader.float64();
  const lastValue = reader.float64();
  const low = reader.varint();
  const high = reader.varint();
  const critical = reader.varint();
  const versions = Array.from({ length: reader.varint() }, () => reader.varint());
  const shift = reader.uint8();
  const buckets: number[] = [];
  const counts: number[] = [];
  const length = reader.varint();
  let bucket = 0;
  for (let i = 0; i < length; i++) {
    bucket += reader.zigzag();
    buckets.push(bucket);
    counts.push(reader.varint());
  }
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
    sketch: { shift, buckets, counts },
  };
}

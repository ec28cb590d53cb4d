import { CodedError } from "@weir/shared/errors";
import type { Block } from "@weir/shared/model/reading";
import { ByteReader, ByteWriter } from "@weir/shared/wire/bytes";

/**
 * A block of the log as bytes. See docs/format/log.md.
 *
 *   block := version:u8(1) count:varint
 *            count×(series-previous:zigzag) count×(tsMs-previous:zigzag) count×(value:f64)
 *            stamps:u8 (0: none is stamped, 1: all are, 2: count×u8 follow)
 */
const BLOCK_VERSION = 1;
const STAMPS_NONE = 0;
const STAMPS_ALL = 1;
const STAMPS_EACH = 2;

/** Bytes of a reading in a block, at least: a claimed count is held against them before columns are made for it. */
const READING_BYTES_MIN = 10;

/** The bytes of a block. */
export function encodeBlock(block: Block): Uint8Array {
  const { count } = block;
  const writer = new ByteWriter(16 + count * 12);
  writer.uint8(BLOCK_VERSION);
  writer.varint(count);
  let previous = 0;
  for (let i = 0; i < count; i++) {
    writer.zigzag(block.series[i]! - previous);
    previous = block.series[i]!;
  }
  previous = 0;
  for (let i = 0; i < count; i++) {
    writer.zigzag(block.tsMs[i]! - previous);
    previous = block.tsMs[i]!;
  }
  let stamped = 0;
  for (let i = 0; i < count; i++) {
    writer.float64(block.value[i]!);
    stamped += block.stamped[i]!;
  }
  if (stamped === 0) writer.uint8(STAMPS_NONE);
  else if (stamped === count) writer.uint8(STAMPS_ALL);
  else {
    writer.uint8(STAMPS_EACH);
    writer.bytes(block.stamped.subarray(0, count));
  }
  return writer.toBytes();
}

/** The block of encodeBlock's bytes. Throws CodedError BAD_BLOCK or TRUNCATED for others. */
export function decodeBlock(bytes: Uint8Array): Block {
  const reader = new ByteReader(bytes);
  const version = reader.uint8();
  if (version !== BLOCK_VERSION) {
    throw new CodedError("BAD_BLOCK", `A block of the log has format ${version}; this program reads ${BLOCK_VERSION}.`);
  }
  const count = reader.varint();
  if (count * READING_BYTES_MIN > bytes.length) {
    throw new CodedError(
      "BAD_BLOCK",
      `A block of the log has ${bytes.length} bytes, too few for its ${count} readings.`,
    );
  }
  const series = new Uint32Array(count);
  const tsMs = new Float64Array(count);
  const value = new Float64Array(count);
  const stamped = new Uint8Array(count);
  let previous = 0;
  for (let i = 0; i < count; i++) series[i] = previous += reader.zigzag();
  previous = 0;
  for (let i = 0; i < count; i++) tsMs[i] = previous += reader.zigzag();
  for (let i = 0; i < count; i++) value[i] = reader.float64();
  const stamps = reader.uint8();
  if (stamps === STAMPS_ALL) stamped.fill(1);
  else if (stamps === STAMPS_EACH) stamped.set(reader.bytes(count));
  else if (stamps !== STAMPS_NONE)
    throw new CodedError("BAD_BLOCK", `A block of the log has stamps of kind ${stamps}.`);
  if (!reader.done)
    throw new CodedError("BAD_BLOCK", `A block of ${count} readings in the log has bytes behind its end.`);
  return { count, series, tsMs, value, stamped };
}

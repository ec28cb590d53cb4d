import { CodedError } from "@weir/shared/errors";
import type { ByteReader, ByteWriter } from "@weir/shared/wire/bytes";

/**
 * Streams of whole numbers, packed into as few bits as each stretch of them needs: frame of reference with the width
 * chosen for each 128 numbers, as in Lemire & Boytsov, "Decoding billions of integers per second" (2015).
 *
 *   stream(n) := ceil(n/128)×mini                 the last mini holds the rest
 *   mini      := width:u8 min:zigzag low high     min: less the min of the mini before; the first: less 0
 *   low, high := the numbers less their min, each in `width` bits, lowest bits first: the lower 32 bits of all, then
 *                what is above them; each part to a whole byte. Width 0: all are equal, and no bytes follow.
 */

/** Numbers in one mini. */
const MINI = 128;
/** Differences of numbers up to WHOLE_ABS_MAX, less their min, have no more bits than this. */
const WIDTH_MAX = 52;
const TWO_32 = 2 ** 32;

/** Bytes of a stream of `count` numbers, at least: a claimed count is held against them. */
export function streamBytesMin(count: number): number {
  return Math.ceil(count / MINI) * 2;
}

/** Bits of the numbers from `from` to `end`, packed, without the heads of the minis. */
export function streamBits(numbers: Float64Array, from: number, end: number): number {
  let bits = 0;
  for (let start = from; start < end; start += MINI) {
    const stop = Math.min(end, start + MINI);
    let min = numbers[start]!;
    let max = min;
    for (let i = start + 1; i < stop; i++) {
      const number = numbers[i]!;
      if (number < min) min = number;
      else if (number > max) max = number;
    }
    bits += (stop - start) * widthOf(max - min);
  }
  return bits;
}

/** Appends the first `count` numbers: integers that differ by less than 2^52 from each other. */
export function writeStream(writer: ByteWriter, numbers: Float64Array, count: number): void {
  let minBefore = 0;
  for (let from = 0; from < count; from += MINI) {
    const end = Math.min(count, from + MINI);
    let min = numbers[from]!;
    let max = min;
    for (let i = from + 1; i < end; i++) {
      const number = numbers[i]!;
      if (number < min) min = number;
      else if (number > max) max = number;
    }
    const width = widthOf(max - min);
    if (width > WIDTH_MAX)
      throw new CodedError("ASSERTION", `Numbers from ${min} to ${max} do not fit into a packed stream.`);
    writer.uint8(width);
    writer.zigzag(min - minBefore);
    minBefore = min;
    if (width === 0) continue;
    if (width <= 32) pack(writer, numbers, from, end, min, width);
    else {
      pack(writer, numbers, from, end, min, 32);
      packUpper(writer, numbers, from, end, min, width - 32);
    }
  }
}

/** Reads `count` numbers into `numbers`. Throws CodedError TRUNCATED or BAD_BLOCK for what writeStream did not write. */
export function readStream(reader: ByteReader, numbers: Float64Array, count: number): void {
  let min = 0;
  for (let from = 0; from < count; from += MINI) {
    const end = Math.min(count, from + MINI);
    const width = reader.uint8();
    min += reader.zigzag();
    if (width > WIDTH_MAX) {
      throw new CodedError("BAD_BLOCK", `A block of the log has numbers of ${width} bits; the most is ${WIDTH_MAX}.`);
    }
    if (width === 0) numbers.fill(min, from, end);
    else if (width <= 25) unpackNarrow(reader, numbers, from, end, min, width);
    else {
      unpackWide(reader, numbers, from, end, min, Math.min(32, width));
      if (width > 32) addUpper(reader, numbers, from, end, width - 32);
    }
  }
}

/** Bits of a whole number from 0 to 2^53 - 1. */
function widthOf(range: number): number {
  return range < TWO_32 ? 32 - Math.clz32(range) : 64 - Math.clz32(range / TWO_32);
}

function packedBytes(count: number, width: number): number {
  return (count * width + 7) >>> 3;
}

/** Packs the lower `width` ≤ 32 bits of each number - min. */
function pack(writer: ByteWriter, numbers: Float64Array, from: number, end: number, min: number, width: number): void {
  // Whole words are written, so up to three bytes more than are kept.
  let at = writer.claim(packedBytes(end - from, width), 4);
  const { view } = writer;
  let word = 0;
  let filled = 0;
  for (let i = from; i < end; i++) {
    const bits = (numbers[i]! - min) | 0;
    word |= bits << filled;
    filled += width;
    if (filled >= 32) {
      view.setInt32(at, word, true);
      at += 4;
      filled -= 32;
      // A shift by 32 would be one by 0.
      word = filled === 0 ? 0 : bits >>> (width - filled);
    }
  }
  if (filled > 0) view.setInt32(at, word, true);
}

/** Packs the `width` bits above the lower 32 of each number - min. */
function packUpper(
  writer: ByteWriter,
  numbers: Float64Array,
  from: number,
  end: number,
  min: number,
  width: number,
): void {
  const upper = new Float64Array(end - from);
  for (let i = from; i < end; i++) upper[i - from] = Math.floor((numbers[i]! - min) / TWO_32);
  pack(writer, upper, 0, end - from, 0, width);
}

/** Unpacks numbers of at most 25 bits: with the bits before them they are in one word, wherever they begin. */
function unpackNarrow(
  reader: ByteReader,
  numbers: Float64Array,
  from: number,
  end: number,
  min: number,
  width: number,
): void {
  let bit = reader.claim(packedBytes(end - from, width)) * 8;
  const { view } = reader;
  const mask = (1 << width) - 1;
  for (let i = from; i < end; i++) {
    numbers[i] = min + ((view.getInt32(bit >>> 3, true) >>> (bit & 7)) & mask);
    bit += width;
  }
}

/** Unpacks numbers of 26 to 32 bits, which may reach into a fifth byte. */
function unpackWide(
  reader: ByteReader,
  numbers: Float64Array,
  from: number,
  end: number,
  min: number,
  width: number,
): void {
  let bit = reader.claim(packedBytes(end - from, width)) * 8;
  const { view } = reader;
  const unused = 32 - width;
  for (let i = from; i < end; i++) {
    const at = bit >>> 3;
    const shift = bit & 7;
    // A shift by 32 would be one by 0, hence two shifts.
    const word = (view.getInt32(at, true) >>> shift) | ((view.getUint8(at + 4) << 1) << (31 - shift));
    numbers[i] = min + ((word << unused) >>> unused);
    bit += width;
  }
}

/** Adds the bits above the lower 32. */
function addUpper(reader: ByteReader, numbers: Float64Array, from: number, end: number, width: number): void {
  let bit = reader.claim(packedBytes(end - from, width)) * 8;
  const { view } = reader;
  const mask = (1 << width) - 1;
  for (let i = from; i < end; i++) {
    numbers[i]! += ((view.getInt32(bit >>> 3, true) >>> (bit & 7)) & mask) * TWO_32;
    bit += width;
  }
}

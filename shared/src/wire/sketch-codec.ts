import { CodedError } from "../errors.ts";
import type { Sketch } from "../operators/sketch.ts";
import { BUCKETS_MAX, SHIFT_MIN, sketchKey } from "../operators/sketch.ts";
import type { ByteReader, ByteWriter } from "./bytes.ts";

/**
 * A sketch as bytes, beside the count and the minimum of its readings. See docs/format/partial.md.
 *
 *   first   := shift:u8 bucket:zigzag              where it is not usual; bucket: less that of the minimum
 *   buckets := READINGS|k codes(count-1, k)        from each reading's bucket to the next one's
 *            | BUCKETS|k  n:varint codes(n-1, k) k':u8 codes(n, k')
 *                                                  gaps between buckets less 1, then readings of buckets less 1
 *            | VARINTS    n:varint readings:varint (n-1)×(gap:zigzag readings:varint)
 *   codes(n, k) := n exponential Golomb codes of order k, highest bit first, filled up with zeros to a whole byte.
 *                  A number's code is x = number + 2^k, with as many zeros before it as x has bits more than k + 1.
 *
 * READINGS is for buckets with a reading or two each, BUCKETS for those with many, VARINTS for numbers too large for
 * codes, which only sketches of 2^24 readings and more have. Sketches of noise have gaps of near-exponential
 * distribution, with a longer tail. For these such codes came within 7 % of the best Rice codes when measured, mostly
 * within 3 %, and unlike those are short for outliers too (Teuhola, "A compression method for clustered bit-vectors",
 * 1978).
 */
const READINGS = 0x00;
const BUCKETS = 0x10;
const VARINTS = 0x20;
const K_MAX = 15;

/** A code's zeros and its x have this many bits at most: one word holds either, wherever in a byte it begins. */
const CODE_BITS_MAX = 25;
const CODED_MAX: number = 2 ** 24 - 1;

/** READINGS is not tried where buckets hold more readings than this on average. */
const READINGS_EACH_MAX = 4;

/** READINGS is taken at once where buckets hold fewer readings than this beside their first, on average. */
const EXTRAS_SHARE_SURE = 1 / 8;

/** Numbers being coded or decoded. */
const gaps = new Int32Array(BUCKETS_MAX);
const extras = new Int32Array(BUCKETS_MAX);
const steps = new Int32Array(BUCKETS_MAX * READINGS_EACH_MAX);

/** True when a sketch has the shift that most have, and begins with its minimum's bucket: `first` is left out. */
export function isUsual(sketch: Sketch, min: number): boolean {
  return sketch.shift === SHIFT_MIN && (sketch.buckets.length === 0 || sketch.buckets[0] === sketchKey(min));
}

/** Appends `first`. */
export function writeFirst(writer: ByteWriter, { shift, buckets }: Sketch, min: number): void {
  writer.uint8(shift);
  writer.zigzag((buckets[0] ?? 0) - bucketOf(min, shift));
}

/** Appends `buckets`. count: readings of the partial. */
export function writeBuckets(writer: ByteWriter, sketch: Sketch, count: number): void {
  if (!fillNumbers(sketch, count)) {
    writeVarints(writer, sketch);
    return;
  }
  const { length } = sketch.buckets;
  if (count <= length * READINGS_EACH_MAX) {
    fillSteps(sketch);
    const k = chooseK(steps, count - 1);
    // Saying how many each bucket holds takes a bit for each at least, so with few that hold more the rest is not asked.
    if (
      count - length <= length * EXTRAS_SHARE_SURE ||
      codesBits(steps, count - 1, k) <= codesBitsLeast(gaps, length - 1) + codesBitsLeast(extras, length) + 16
    ) {
      writer.uint8(READINGS | k);
      writeCodes(writer, steps, count - 1, k);
      return;
    }
  }
  const gapsK = chooseK(gaps, length - 1);
  const extrasK = chooseK(extras, length);
  writer.uint8(BUCKETS | gapsK);
  writer.varint(length);
  writeCodes(writer, gaps, length - 1, gapsK);
  writer.uint8(extrasK);
  writeCodes(writer, extras, length, extrasK);
}

/**
 * Reads a sketch. hasFirst: whether `first` stands before the buckets. Throws CodedError TRUNCATED or BAD_PARTIAL for
 * what is no sketch of `count` readings. The reader must have been loaded.
 */
export function readSketch(reader: ByteReader, hasFirst: boolean, count: number, min: number): Sketch {
  const shift = hasFirst ? reader.uint8() : SHIFT_MIN;
  if (shift < SHIFT_MIN || shift > 31) throw bad(`at shift ${shift}`);
  const first = bucketOf(min, shift) + (hasFirst ? reader.zigzag() : 0);
  const mode = reader.uint8();
  const sketch: MutableSketch = { shift, buckets: [], counts: [] };
  const k = mode & K_MAX;
  if (mode === VARINTS) readVarints(reader, sketch, first);
  else if ((mode & ~K_MAX) === READINGS) readReadings(reader, sketch, first, count, k);
  else if ((mode & ~K_MAX) === BUCKETS) readCodedBuckets(reader, sketch, first, k);
  else throw bad(`of kind ${mode}`);
  let total = 0;
  for (const readings of sketch.counts) total += readings;
  if (total !== count) throw bad(`of ${total} readings, and ${count} readings`);
  return sketch;
}

interface MutableSketch extends Sketch {
  readonly buckets: number[];
  readonly counts: number[];
}

function bucketOf(value: number, shift: number): number {
  return sketchKey(value) >> (shift - SHIFT_MIN);
}

/** Fills `gaps` and `extras`; false where the sketch cannot be written in codes. */
function fillNumbers({ buckets, counts }: Sketch, count: number): boolean {
  const { length } = buckets;
  if (length === 0 || length > BUCKETS_MAX) return false;
  let total = 0;
  for (let i = 0; i < length; i++) {
    const gap = i === 0 ? 0 : buckets[i]! - buckets[i - 1]! - 1;
    const readings = counts[i]!;
    if (!(gap >= 0 && gap < CODED_MAX && readings > 0 && readings <= CODED_MAX)) return false;
    if (i > 0) gaps[i - 1] = gap;
    extras[i] = readings - 1;
    total += readings;
  }
  return total === count;
}

/** Fills `steps` from `gaps` and `extras`. */
function fillSteps({ buckets }: Sketch): void {
  let length = 0;
  for (let i = 0; i < buckets.length; i++) {
    if (i > 0) steps[length++] = gaps[i - 1]! + 1;
    for (let extra = extras[i]!; extra > 0; extra--) steps[length++] = 0;
  }
}

function writeVarints(writer: ByteWriter, { buckets, counts }: Sketch): void {
  writer.uint8(VARINTS);
  writer.varint(buckets.length);
  for (let i = 0; i < buckets.length; i++) {
    if (i > 0) writer.zigzag(buckets[i]! - buckets[i - 1]!);
    writer.varint(counts[i]!);
  }
}

function readVarints(reader: ByteReader, sketch: MutableSketch, first: number): void {
  const length = reader.itemCount(1);
  let bucket = first;
  for (let i = 0; i < length; i++) {
    if (i > 0) bucket += reader.zigzag();
    addBucket(sketch, bucket, reader.varint());
  }
}

function readReadings(reader: ByteReader, sketch: MutableSketch, first: number, count: number, k: number): void {
  if (count < 1 || count > steps.length) throw bad(`of ${count} readings one by one`);
  readCodes(reader, steps, count - 1, k);
  let bucket = first;
  let readings = 1;
  for (let i = 0; i < count - 1; i++) {
    const step = steps[i]!;
    if (step === 0) readings++;
    else {
      addBucket(sketch, bucket, readings);
      bucket += step;
      readings = 1;
    }
  }
  addBucket(sketch, bucket, readings);
}

function readCodedBuckets(reader: ByteReader, sketch: MutableSketch, first: number, k: number): void {
  const length = reader.varint();
  if (length < 1 || length > BUCKETS_MAX) throw bad(`of ${length} buckets`);
  readCodes(reader, gaps, length - 1, k);
  const extrasK = reader.uint8();
  if (extrasK > K_MAX) throw bad(`with codes of order ${extrasK}`);
  readCodes(reader, extras, length, extrasK);
  let bucket = first;
  for (let i = 0; i < length; i++) {
    if (i > 0) bucket += gaps[i - 1]! + 1;
    addBucket(sketch, bucket, extras[i]! + 1);
  }
}

function addBucket({ shift, buckets, counts }: MutableSketch, bucket: number, readings: number): void {
  const { length } = buckets;
  if (length === BUCKETS_MAX) throw bad(`of more than ${BUCKETS_MAX} buckets`);
  if ((length > 0 && bucket <= buckets[length - 1]!) || bucket !== (bucket << shift) >> shift)
    throw bad(`with a bucket ${bucket}`);
  if (readings === 0) throw bad("with an empty bucket");
  buckets.push(bucket);
  counts.push(readings);
}

/** The order of codes that takes about the fewest bits: a pure function of the numbers. */
function chooseK(numbers: Int32Array, length: number): number {
  let total = 0;
  for (let i = 0; i < length; i++) total += numbers[i]!;
  let k = Math.min(K_MAX, 32 - Math.clz32(total / length));
  let bits = codesBits(numbers, length, k);
  // The mean suits an exponential distribution. Outliers raise it, and the best order is below.
  while (k > 0) {
    const fewer = codesBits(numbers, length, k - 1);
    if (fewer > bits) break;
    bits = fewer;
    k--;
  }
  return k;
}

function codesBitsLeast(numbers: Int32Array, length: number): number {
  return codesBits(numbers, length, chooseK(numbers, length));
}

function codesBits(numbers: Int32Array, length: number, k: number): number {
  const least = 1 << k;
  let bits = 0;
  for (let i = 0; i < length; i++) bits += 32 - Math.clz32(numbers[i]! + least);
  return 2 * bits - length * (1 + k);
}

function writeCodes(writer: ByteWriter, numbers: Int32Array, length: number, k: number): void {
  const bytes = (codesBits(numbers, length, k) + 7) >>> 3;
  const offset = writer.claim(bytes, 4);
  const { view } = writer;
  for (let i = 0; i < bytes; i++) view.setUint8(offset + i, 0);
  const least = 1 << k;
  let bit = offset * 8;
  for (let i = 0; i < length; i++) {
    const x = numbers[i]! + least;
    const xBits = 32 - Math.clz32(x);
    bit += xBits - 1 - k;
    const at = bit >>> 3;
    view.setInt32(at, view.getInt32(at) | (x << (32 - xBits - (bit & 7))));
    bit += xBits;
  }
}

function readCodes(reader: ByteReader, numbers: Int32Array, length: number, k: number): void {
  const offset = reader.claim(0);
  const endBit = (offset + reader.restBytes) * 8;
  const { view } = reader;
  const least = 1 << k;
  let bit = offset * 8;
  for (let i = 0; i < length; i++) {
    const zeros = Math.clz32(view.getInt32(bit >>> 3) << (bit & 7));
    const xBits = zeros + 1 + k;
    bit += zeros;
    // No x begins past the end: this throws.
    if (bit >= endBit) reader.claim(reader.restBytes + 1);
    if (xBits > CODE_BITS_MAX) throw bad(`with a number of ${xBits} bits`);
    numbers[i] = ((view.getInt32(bit >>> 3) << (bit & 7)) >>> (32 - xBits)) - least;
    bit += xBits;
  }
  // As this does, when the last x ends there.
  reader.claim(((bit + 7) >>> 3) - offset);
}

function bad(what: string): CodedError {
  return new CodedError("BAD_PARTIAL", `A stored or sent partial has a sketch ${what}. It was refused.`);
}

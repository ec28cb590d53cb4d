import { CodedError } from "../errors.ts";
import { VALUE_ABS_MAX } from "../model/reading.ts";
import type { ExactSum } from "../operators/exact-sum.ts";
import type { Partial } from "../operators/partial.ts";
import type { WindowPartial } from "../operators/windows.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import { isDecimal, PLACES_MAX, POWERS_OF_TEN, WHOLE_ABS_MAX, wholeOf } from "./decimal.ts";
import { isUsual, readSketch, writeBuckets, writeFirst } from "./sketch-codec.ts";

/**
 * Partials as bytes: on the uplink and in the aggregator's store. See docs/format/partial.md, and sketch-codec.ts for
 * sketches. The encoder is a pure function of the partial, so equal partials are equal bytes.
 *
 *   partial := version:u8(2) body                  relative to time 0 and to no versions
 *   windows := version:u8(2) n×( key:varint start:zigzag? body ), or nothing at all for no windows
 *              key: zigzag(series - the one before) × 2, plus 1 where start - the start before - follows.
 *              body: relative to the start, and to the versions before
 *   body    := flags:u8 count:varint stamped:varint? values times sum
 *              breaches:( low:varint high:varint critical:varint )? versions:( varint(n) n×varint )? first? buckets
 *   values  := min:zigzag max-min:varint firstValue-min:varint lastValue-min:varint     × 10^places
 *            | doubles(min max firstValue lastValue)
 *   times   := firstTsMs-start:zigzag lastTsMs-firstTsMs:varint
 *   sum     := parts:varint ( sum-count×min:zigzag )? doubles(parts, greatest first)
 *              parts: 2 × those among the doubles, plus 1 where the greatest stands before them × 10^places
 *   doubles := pairs of ( lengths:u8, the upper bytes of both ): trailing bytes of zero are left out
 */
const PARTIAL_VERSION = 2;

/** The lower bits of the flags: decimal places of the values, or DOUBLES. */
const PLACES_MASK = 0x0f;
const DOUBLES = 0x0f;
const HAS_STAMPED = 0x10;
const HAS_BREACHES = 0x20;
const HAS_VERSIONS = 0x40;
const HAS_FIRST = 0x80;

/** Times are nearer to 1970 than this, either way: their differences are exact, and fit into a varint. */
const TS_ABS_LIMIT_MS: number = 2 ** 52;

const writer = new ByteWriter(65_536);
const reader = new ByteReader(new Uint8Array(0));
const bits = new DataView(new ArrayBuffer(8));

/** A partial as bytes: equal partials give equal bytes. */
export function encodePartial(partial: Partial): Uint8Array {
  writer.clear();
  writer.uint8(PARTIAL_VERSION);
  writeBody(partial, 0, NO_VERSIONS);
  return writer.toBytes();
}

/** Throws CodedError TRUNCATED or BAD_PARTIAL for bytes that encodePartial did not write. */
export function decodePartial(bytes: Uint8Array): Partial {
  reader.load(bytes);
  readVersion();
  const partial = readBody(0, NO_VERSIONS);
  if (!reader.done) throw bad(`ends before its ${bytes.length} bytes do`);
  return partial;
}

/** Window partials one after another, as a partials frame carries them. */
export function encodeWindows(windows: readonly WindowPartial[]): Uint8Array {
  writer.clear();
  let [seriesBefore, startBeforeMs, versionsBefore] = [0, 0, NO_VERSIONS];
  for (const { series, windowStartMs, partial } of windows) {
    if (writer.length === 0) writer.uint8(PARTIAL_VERSION);
    const step = series - seriesBefore;
    const startChanges = windowStartMs !== startBeforeMs;
    writer.varint((step >= 0 ? step * 2 : -step * 2 - 1) * 2 + (startChanges ? 1 : 0));
    if (startChanges) writer.zigzag(windowStartMs - startBeforeMs);
    writeBody(partial, windowStartMs, versionsBefore);
    [seriesBefore, startBeforeMs, versionsBefore] = [series, windowStartMs, partial.versions];
  }
  return writer.toBytes();
}

/** Throws as decodePartial. */
export function decodeWindows(bytes: Uint8Array): WindowPartial[] {
  const windows: WindowPartial[] = [];
  if (bytes.length === 0) return windows;
  reader.load(bytes);
  readVersion();
  let [series, windowStartMs, versions] = [0, 0, NO_VERSIONS];
  while (!reader.done) {
    const key = reader.varint();
    const step = Math.floor(key / 2);
    series += step % 2 === 0 ? step / 2 : -(step + 1) / 2;
    if (key % 2 === 1) windowStartMs += reader.zigzag();
    if (!(series >= 0 && Number.isSafeInteger(series) && Math.abs(windowStartMs) < TS_ABS_LIMIT_MS))
      throw bad(`is of series ${series} and begins at ${windowStartMs} ms`);
    const partial = readBody(windowStartMs, versions);
    windows.push({ series, windowStartMs, partial });
    ({ versions } = partial);
  }
  return windows;
}

const NO_VERSIONS: readonly number[] = [];

function readVersion(): void {
  const version = reader.uint8();
  if (version !== PARTIAL_VERSION) throw bad(`has format ${version}; this program reads ${PARTIAL_VERSION}`);
}

function writeBody(partial: Partial, startMs: number, versionsBefore: readonly number[]): void {
  const { count, stamped, min, low, high, critical, versions, sketch } = partial;
  const places = placesOf(partial);
  const hasStamped = stamped > 0;
  const hasBreaches = low > 0 || high > 0 || critical > 0;
  const hasVersions = !equalVersions(versions, versionsBefore);
  const hasFirst = !isUsual(sketch, min);
  writer.uint8(
    places |
      (hasStamped ? HAS_STAMPED : 0) |
      (hasBreaches ? HAS_BREACHES : 0) |
      (hasVersions ? HAS_VERSIONS : 0) |
      (hasFirst ? HAS_FIRST : 0),
  );
  writer.varint(count);
  if (hasStamped) writer.varint(stamped);
  writeValues(partial, places);
  writer.zigzag(partial.firstTsMs - startMs);
  writer.varint(partial.lastTsMs - partial.firstTsMs);
  writeSum(partial.sum, places, count, min);
  if (hasBreaches) for (const breaches of [low, high, critical]) writer.varint(breaches);
  if (hasVersions) {
    writer.varint(versions.length);
    for (const version of versions) writer.varint(version);
  }
  if (hasFirst) writeFirst(writer, sketch, min);
  writeBuckets(writer, sketch, count);
}

function readBody(startMs: number, versionsBefore: readonly number[]): Partial {
  const flags = reader.uint8();
  const places = flags & PLACES_MASK;
  if (places > PLACES_MAX && places !== DOUBLES) throw bad(`has values with ${places} places`);
  const count = reader.varint();
  const stamped = flags & HAS_STAMPED ? reader.varint() : 0;
  const [min, max, firstValue, lastValue] = readValues(places);
  if (!(min >= -VALUE_ABS_MAX && max <= VALUE_ABS_MAX)) throw bad(`has values from ${min} to ${max}`);
  for (const value of [firstValue, lastValue]) {
    if (!(value >= min && value <= max)) throw bad(`has a value ${value}, not between ${min} and ${max}`);
  }
  const firstTsMs = startMs + reader.zigzag();
  const lastTsMs = firstTsMs + reader.varint();
  if (!(Math.abs(firstTsMs) < TS_ABS_LIMIT_MS && lastTsMs < TS_ABS_LIMIT_MS))
    throw bad(`is of the times ${firstTsMs} to ${lastTsMs}`);
  const sum = readSum(places, count, min);
  const low = flags & HAS_BREACHES ? reader.varint() : 0;
  const high = flags & HAS_BREACHES ? reader.varint() : 0;
  const critical = flags & HAS_BREACHES ? reader.varint() : 0;
  if (stamped > count || low + high > count || critical > count)
    throw bad(`counts parts greater than its ${count} readings`);
  const versions = flags & HAS_VERSIONS ? readVersions() : versionsBefore;
  const sketch = readSketch(reader, (flags & HAS_FIRST) !== 0, count, min);
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

/** Decimal places with which all four values are whole, and none below the minimum; DOUBLES: there are none. */
function placesOf({ min, max, firstValue, lastValue }: Partial): number {
  if (!(firstValue >= min && lastValue >= min && max >= min)) return DOUBLES;
  for (let places = 0; places <= PLACES_MAX; places++) {
    const power = POWERS_OF_TEN[places]!;
    if (isDecimal(min, power) && isDecimal(max, power) && isDecimal(firstValue, power) && isDecimal(lastValue, power)) {
      return places;
    }
  }
  return DOUBLES;
}

function writeValues({ min, max, firstValue, lastValue }: Partial, places: number): void {
  if (places === DOUBLES) {
    writeDoubles(min, max);
    writeDoubles(firstValue, lastValue);
    return;
  }
  const power = POWERS_OF_TEN[places]!;
  const wholeMin = wholeOf(min, power);
  writer.zigzag(wholeMin);
  for (const value of [max, firstValue, lastValue]) writer.varint(wholeOf(value, power) - wholeMin);
}

function readValues(places: number): readonly [number, number, number, number] {
  if (places === DOUBLES) {
    const [min, max] = readDoubles();
    return [min, max, ...readDoubles()];
  }
  const power = POWERS_OF_TEN[places]!;
  const min = reader.zigzag();
  const max = min + reader.varint();
  const firstValue = min + reader.varint();
  const lastValue = min + reader.varint();
  return [min / power, max / power, firstValue / power, lastValue / power];
}

/** The greatest part of a sum of decimals is one as well, as a rule; those below are short. */
function writeSum(sum: ExactSum, places: number, count: number, min: number): void {
  let rest = sum.length;
  const base = places === DOUBLES || rest === 0 ? NaN : count * wholeOf(min, POWERS_OF_TEN[places]!);
  const isWhole = Math.abs(base) <= WHOLE_ABS_MAX && isDecimal(sum[rest - 1]!, POWERS_OF_TEN[places]!);
  if (isWhole) rest--;
  writer.varint(rest * 2 + (isWhole ? 1 : 0));
  if (isWhole) writer.zigzag(wholeOf(sum[rest]!, POWERS_OF_TEN[places]!) - base);
  for (; rest > 0; rest -= 2) writeDoubles(sum[rest - 1]!, rest > 1 ? sum[rest - 2]! : 0);
}

/** Parts that are not finite, or overlap, would keep the arithmetic of sums from ever ending. */
function readSum(places: number, count: number, min: number): ExactSum {
  const sum: ExactSum = [];
  const parts = reader.varint();
  let rest = Math.floor(parts / 2);
  if (parts % 2 === 1) {
    if (places === DOUBLES) throw bad("has a decimal sum of values that are not");
    const power = POWERS_OF_TEN[places]!;
    addPart(sum, (count * wholeOf(min, power) + reader.zigzag()) / power, count);
  }
  for (; rest > 0; rest -= 2) {
    const [upper, lower] = readDoubles();
    addPart(sum, upper, count);
    if (rest > 1) addPart(sum, lower, count);
  }
  return sum.reverse();
}

function addPart(sum: ExactSum, part: number, count: number): void {
  if (part === 0 || !(Math.abs(part) <= count * VALUE_ABS_MAX)) throw bad(`has ${part} in its sum`);
  // As encoded, each part is what rounding the parts above it left: at most half a unit in their last place.
  if (Math.abs(part) > Math.abs(sum.at(-1) ?? Infinity) * 2 ** -53) throw bad("has a sum whose parts overlap");
  sum.push(part);
}

function writeDoubles(a: number, b: number): void {
  const lengthsAt = writer.length;
  writer.uint8(0);
  const lengths = writeDouble(a) | (writeDouble(b) << 4);
  writer.view.setUint8(lengthsAt, lengths);
}

/** Appends the upper bytes of a double down to its last that is not zero; returns how many they are. */
function writeDouble(value: number): number {
  bits.setFloat64(0, value);
  let length = 8;
  while (length > 0 && bits.getUint8(length - 1) === 0) length--;
  for (let i = 0; i < length; i++) writer.uint8(bits.getUint8(i));
  return length;
}

function readDoubles(): readonly [number, number] {
  const lengths = reader.uint8();
  return [readDouble(lengths & 0x0f), readDouble(lengths >>> 4)];
}

function readDouble(length: number): number {
  if (length > 8) throw bad(`has a double of ${length} bytes`);
  bits.setFloat64(0, 0);
  for (let i = 0; i < length; i++) bits.setUint8(i, reader.uint8());
  const value = bits.getFloat64(0);
  if (Object.is(value, -0)) throw bad("has a value -0");
  return value;
}

function equalVersions(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function readVersions(): number[] {
  const versions: number[] = [];
  for (let rest = reader.itemCount(1); rest > 0; rest--) {
    const version = reader.varint();
    if (version <= (versions.at(-1) ?? 0)) throw bad("has threshold versions that do not ascend");
    versions.push(version);
  }
  return versions;
}

function bad(what: string): CodedError {
  return new CodedError("BAD_PARTIAL", `A stored or sent partial ${what}. It was refused.`);
}

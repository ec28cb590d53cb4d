import type { DecodeSink } from "./decoder.ts";
import { scanNumber } from "./json-number.ts";
import { scanTime } from "./json-time.ts";
import { scanOther, scanText } from "./json-other.ts";
import { keyEnd, type KeyTable } from "./key-table.ts";
import { afterSpace, isSpace, scanned, SPACE } from "./number-text.ts";
import { placeOfKey, type RouteKeys, routeSeries, type TopicRoute } from "./topic-route.ts";

/**
 * The fast way for JSON readings: one pass over the bytes of a message, without objects or strings.
 *
 * It takes what devices really send, and leaves all else to decodeJson before anything has been pushed, so that the
 * outcome is always decodeJson's:
 *
 *   message  = reading | "[" reading *( "," reading ) "]"
 *   reading  = "{" member *( "," member ) "}"           one value or values, at most one time
 *   member   = time | value | values | other
 *   time     = ( "ts" | "timestamp" | "time" | "t" ) ":" ( number | ISO 8601 text )
 *   value    = ( "value" | "v" ) ":" number
 *   values   = "values" ":" "{" key ":" number *( "," key ":" number ) "}"     keys that the topic had before, each once
 *   other    = key ":" any                                                     passed over; see json-other.ts
 *
 * Anything that decodeJson might refuse is left to it as well: a number out of range, a time that is none.
 *
 * All scanning functions return where what they scanned ends, -1 to leave the message to decodeJson. They rely on the
 * last byte of the message being } or ]: numbers, names and white space end there at the latest, so only texts need
 * look for the end. A scan that got past the end all the same is found out by where it ends.
 */

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const LIST_OPEN = 0x5b;
const LIST_CLOSE = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Readings of one message that are scanned; messages with more are decodeJson's. */
const ROWS_MAX = 16_384;
/** The readings of the message: nothing is pushed before its end has been seen. */
const rowSeries: Int32Array = new Int32Array(ROWS_MAX);
const rowValue: Float64Array = new Float64Array(ROWS_MAX);
/** NaN: stamped. */
const rowTsMs: Float64Array = new Float64Array(ROWS_MAX);
let rows = 0;
/** In rowSeries: the series of the topic itself. */
const KEYLESS = -1;

/** Numbers the objects scanned, to find keys that come twice; where it wraps around, a message may go the slow way. */
let objects = 0;

/**
 * Decodes one JSON message if it is of the usual shape: true when its readings have been pushed, false when nothing has
 * been done and it is for decodeJson. bytes: lent for the call.
 */
export function scanJson(
  route: TopicRoute,
  bytes: Buffer,
  start: number,
  end: number,
  receivedAtMs: number,
  sink: DecodeSink,
): boolean {
  let stop = end;
  while (stop > start && isSpace(bytes[stop - 1]!)) stop--;
  if (stop - start < 2) return false;
  const at = afterSpace(bytes, start);
  const last = bytes[stop - 1];
  rows = 0;
  let after = -1;
  if (bytes[at] === OPEN && last === CLOSE) after = scanReading(route, bytes, at + 1, stop);
  else if (bytes[at] === LIST_OPEN && last === LIST_CLOSE) after = scanList(route, bytes, at + 1, stop);
  if (after !== stop) return false;
  pushRows(route, receivedAtMs, sink);
  return true;
}

function pushRows(route: TopicRoute, receivedAtMs: number, sink: DecodeSink): void {
  for (let row = 0; row < rows; row++) {
    let series = rowSeries[row]!;
    if (series === KEYLESS) {
      const found = routeSeries(route, sink);
      if (typeof found === "string") {
        sink.reject(found);
        continue;
      }
      series = found;
    }
    const tsMs = rowTsMs[row]!;
    const stamped = tsMs !== tsMs;
    sink.push(series, stamped ? receivedAtMs : tsMs, rowValue[row]!, stamped);
  }
}

/** The readings of a list, from behind its bracket. */
function scanList(route: TopicRoute, bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  for (;;) {
    if (bytes[at] !== OPEN) at = afterSpace(bytes, at);
    if (bytes[at] !== OPEN) return -1;
    at = scanReading(route, bytes, at + 1, end);
    if (at < 0 || at >= end) return -1;
    if (bytes[at]! <= SPACE) at = afterSpace(bytes, at);
    const byte = bytes[at++];
    if (byte === LIST_CLOSE) return at;
    if (byte !== COMMA) return -1;
  }
}

const LETTER_S = 0x73;
const LETTER_T = 0x74;
const LETTER_V = 0x76;
const TIME_NAMES: Uint8Array = Buffer.from('timestamp"time"');
const VALUE_NAMES: Uint8Array = Buffer.from('value"values"');
const OTHER = 0;
const TIME = 1;
const VALUE = 2;
const VALUES = 3;

/** One reading, from behind its brace. */
function scanReading(route: TopicRoute, bytes: Uint8Array, start: number, end: number): number {
  const firstRow = rows;
  let tsMs = NaN;
  let hasTime = false;
  let hasValue = false;
  let at = start;
  for (;;) {
    if (bytes[at] !== QUOTE) at = afterSpace(bytes, at);
    if (bytes[at] !== QUOTE) return -1;
    const member = memberAt(bytes, at + 1);
    at = member === OTHER ? scanText(bytes, at + 1, end) : at + 2 + (member >> 2);
    if (at < 0) return -1;
    if (bytes[at] !== COLON) at = afterSpace(bytes, at);
    if (bytes[at++] !== COLON) return -1;
    if (bytes[at]! <= SPACE) at = afterSpace(bytes, at);
    switch (member & 3) {
      case TIME:
        if (hasTime) return -1;
        hasTime = true;
        at = scanTime(route, bytes, at, end);
        tsMs = scanned[0]!;
        break;
      case VALUE:
        if (hasValue || rows === ROWS_MAX) return -1;
        hasValue = true;
        at = scanNumber(bytes, at);
        rowSeries[rows] = KEYLESS;
        rowValue[rows++] = scanned[0]!;
        break;
      case VALUES:
        if (hasValue || bytes[at] !== OPEN || route.keys === null) return -1;
        hasValue = true;
        at = scanValues(route.keys, route.rules.keyTable, bytes, at + 1, end);
        break;
      default:
        at = scanOther(bytes, at, end);
    }
    if (at < 0 || at >= end) return -1;
    if (bytes[at]! <= SPACE) at = afterSpace(bytes, at);
    const byte = bytes[at++];
    if (byte === COMMA) continue;
    if (byte !== CLOSE || !hasValue) return -1;
    for (let row = firstRow; row < rows; row++) rowTsMs[row] = tsMs;
    return at;
  }
}

/** The members of `values`, from behind its brace. */
function scanValues(keys: RouteKeys, table: KeyTable, bytes: Uint8Array, start: number, end: number): number {
  const { numbers, series, next } = keys;
  const { text, starts, seenIn } = table;
  const object = (objects = (objects + 1) | 0);
  let before = 0;
  let at = start;
  for (;;) {
    if (bytes[at] !== QUOTE) at = afterSpace(bytes, at);
    if (bytes[at++] !== QUOTE) return -1;
    let place = next[before]!;
    let quote = place === 0 ? -1 : keyEnd(text, starts[numbers[place]!]!, bytes, at);
    if (quote < 0) {
      quote = at;
      while (quote < end && bytes[quote] !== QUOTE) quote++;
      if (quote >= end) return -1;
      place = placeOfKey(keys, table.find(bytes, at, quote));
      if (place === 0) return -1;
      next[before] = place;
    }
    before = place;
    const number = numbers[place]!;
    if (seenIn[number] === object || rows === ROWS_MAX) return -1;
    seenIn[number] = object;
    at = quote + 1;
    if (bytes[at] !== COLON) at = afterSpace(bytes, at);
    if (bytes[at++] !== COLON) return -1;
    if (bytes[at]! <= SPACE) at = afterSpace(bytes, at);
    at = scanNumber(bytes, at);
    if (at < 0) return -1;
    rowSeries[rows] = series[place]!;
    rowValue[rows++] = scanned[0]!;
    if (bytes[at]! <= SPACE) at = afterSpace(bytes, at);
    const byte = bytes[at++];
    if (byte === CLOSE) return at;
    if (byte !== COMMA) return -1;
  }
}

/** What the member is whose name begins here: its kind, and above that, times four, the length of its name. */
function memberAt(bytes: Uint8Array, at: number): number {
  switch (bytes[at]) {
    case LETTER_T:
      if (bytes[at + 1] === LETTER_S && bytes[at + 2] === QUOTE) return TIME + 4 * 2;
      if (bytes[at + 1] === QUOTE) return TIME + 4 * 1;
      if (keyEnd(TIME_NAMES, 0, bytes, at) >= 0) return TIME + 4 * 9;
      return keyEnd(TIME_NAMES, 10, bytes, at) >= 0 ? TIME + 4 * 4 : OTHER;
    case LETTER_V:
      if (bytes[at + 1] === QUOTE) return VALUE + 4 * 1;
      if (isValue(bytes, at)) return VALUE + 4 * 5;
      return keyEnd(VALUE_NAMES, 6, bytes, at) >= 0 ? VALUES + 4 * 6 : OTHER;
    default:
      return OTHER;
  }
}

/** True where `value"` stands at bytes[at]. Spelt out, as it is asked once a reading. */
function isValue(bytes: Uint8Array, at: number): boolean {
  if (bytes[at + 1] !== 0x61 || bytes[at + 2] !== 0x6c || bytes[at + 3] !== 0x75) return false;
  return bytes[at + 4] === 0x65 && bytes[at + 5] === QUOTE;
}

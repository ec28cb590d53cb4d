import { scanNumber } from "./json-number.ts";
import { scanned } from "./number-text.ts";
import { daysInMonth, timeToMs } from "./time.ts";
import type { TopicRoute } from "./topic-route.ts";

/** Times in JSON readings, read from bytes: what timeToMs makes of them. */

const QUOTE = 0x22;
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const LETTER_E = 0x65;
const LETTER_T = 0x54;
const LETTER_Z = 0x5a;
/** Of an ISO 8601 time with its quotation marks, and the byte after it; none is read beyond the message. */
const ISO_LENGTH_MIN = 23;

/**
 * Reads the time at bytes[start] into scanned[0], in ms. Returns where it ends; -1 where there is none, or one that is
 * not of the usual shapes: a number, or ISO 8601 as scanIsoTime has it.
 */
export function scanTime(route: TopicRoute, bytes: Uint8Array, start: number, end: number): number {
  if (start + 13 >= end) return scanOtherTime(route, bytes, start, end);
  // Thirteen digits are a time in ms from 2001 to 2286 and need no more work. Seven, then six, as 32 bits hold them;
  // `| 0` says so to the compiler, which else looks for overflows.
  const first = bytes[start]! - ZERO;
  const six = sixDigits(bytes, start + 1);
  if (first < 1 || first > 8 || six < 0) return scanOtherTime(route, bytes, start, end);
  const seven = (first * 1_000_000 + six) | 0;
  const low = sixDigits(bytes, start + 7);
  if (low >= 0 && route.rules.wholeMs && !goesOn(bytes[start + 13]!)) {
    scanned[0] = seven * 1e6 + low;
    return start + 13;
  }
  // Ten digits are seconds of the same years.
  const three = threeDigits(bytes, start + 7);
  if (three >= 0 && route.rules.wholeSeconds && !goesOn(bytes[start + 10]!)) {
    scanned[0] = (seven * 1e3 + three) * 1e3;
    return start + 10;
  }
  return scanOtherTime(route, bytes, start, end);
}

/** True where a number does not end with the digits before this byte. */
function goesOn(byte: number): boolean {
  return (byte - ZERO) >>> 0 <= 9 || byte === POINT || (byte | 0x20) === LETTER_E;
}

/** The number of the six digits at bytes[at]; -1 where they are none. Without a loop: it is asked twice a reading. */
function sixDigits(bytes: Uint8Array, at: number): number {
  const a = bytes[at]! - ZERO;
  const b = bytes[at + 1]! - ZERO;
  const c = bytes[at + 2]! - ZERO;
  const d = bytes[at + 3]! - ZERO;
  const e = bytes[at + 4]! - ZERO;
  const f = bytes[at + 5]! - ZERO;
  if (a >>> 0 > 9 || b >>> 0 > 9 || c >>> 0 > 9 || d >>> 0 > 9 || e >>> 0 > 9 || f >>> 0 > 9) return -1;
  return (((a * 100 + b * 10 + c) | 0) * 1000 + ((d * 100 + e * 10 + f) | 0)) | 0;
}

function threeDigits(bytes: Uint8Array, at: number): number {
  const a = bytes[at]! - ZERO;
  const b = bytes[at + 1]! - ZERO;
  const c = bytes[at + 2]! - ZERO;
  return a >>> 0 > 9 || b >>> 0 > 9 || c >>> 0 > 9 ? -1 : a * 100 + b * 10 + c;
}

function scanOtherTime(route: TopicRoute, bytes: Uint8Array, start: number, end: number): number {
  if (bytes[start] === QUOTE) return end - start < ISO_LENGTH_MIN ? -1 : scanIsoTime(bytes, start + 1);
  const at = scanNumber(bytes, start);
  if (at < 0) return -1;
  const ms = timeToMs(scanned[0]!, route.rules.mapping.timeUnit);
  if (ms !== ms) return -1;
  scanned[0] = ms;
  return at;
}

/**
 * Reads an ISO 8601 time as programs print it, from behind its quotation mark, into scanned[0], in ms:
 *
 *   YYYY-MM-DD "T" hh:mm:ss [ "." 1*9digit ] ( "Z" | (+|-)hh:mm )         years from 1000, no leap second
 *
 * Returns where it ends, behind its other quotation mark; -1 where it is not of this shape.
 */
function scanIsoTime(bytes: Uint8Array, start: number): number {
  const century = twoDigits(bytes, start);
  const yearOfCentury = twoDigits(bytes, start + 2);
  const month = twoDigits(bytes, start + 5);
  const day = twoDigits(bytes, start + 8);
  const hour = twoDigits(bytes, start + 11);
  const minute = twoDigits(bytes, start + 14);
  const second = twoDigits(bytes, start + 17);
  if (bytes[start + 4] !== MINUS || bytes[start + 7] !== MINUS || bytes[start + 10] !== LETTER_T) return -1;
  if (bytes[start + 13] !== COLON || bytes[start + 16] !== COLON) return -1;
  if (century < 10 || century > 99 || yearOfCentury > 99 || hour > 23 || minute > 59 || second > 59) return -1;
  const year = century * 100 + yearOfCentury;
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return -1;

  let at = start + 19;
  let ms = 0;
  if (bytes[at] === POINT) {
    const first = ++at;
    for (let digit = bytes[at]! - ZERO; digit >>> 0 <= 9 && at < first + 9; digit = bytes[++at]! - ZERO) {
      if (at < first + 3) ms = ms * 10 + digit;
    }
    if (at === first) return -1;
    for (let digits = at - first; digits < 3; digits++) ms *= 10;
  }
  let offsetMinutes = 0;
  const zone = bytes[at++];
  if (zone === PLUS || zone === MINUS) {
    const hours = twoDigits(bytes, at);
    const minutes = twoDigits(bytes, at + 3);
    if (hours > 23 || minutes > 59 || bytes[at + 2] !== COLON) return -1;
    offsetMinutes = (zone === MINUS ? -1 : 1) * (hours * 60 + minutes);
    at += 5;
  } else if (zone !== LETTER_Z) return -1;
  if (bytes[at] !== QUOTE) return -1;
  const minutes = (dayNumber(year, month, day) * 24 + hour) * 60 + minute - offsetMinutes;
  scanned[0] = minutes * 60_000 + second * 1000 + ms;
  return at + 1;
}

/** The number of the two digits at bytes[at]; 255, which is out of any range, where they are none. */
function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = bytes[at]! - ZERO;
  const ones = bytes[at + 1]! - ZERO;
  return tens >>> 0 <= 9 && ones >>> 0 <= 9 ? tens * 10 + ones : 255;
}

/** Days from 1970-01-01, Gregorian (Hinnant, chrono-compatible low-level date algorithms): March begins the year. */
function dayNumber(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const m = month <= 2 ? month + 9 : month - 3;
  const leapDays = ((y / 4) | 0) - ((y / 100) | 0) + ((y / 400) | 0);
  return y * 365 + leapDays + (((153 * m + 2) / 5) | 0) + day - 719_469;
}

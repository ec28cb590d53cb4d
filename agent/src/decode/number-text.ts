import { nearestDouble, POWER_MAX, POWERS_OF_TEN } from "./nearest-double.ts";

/**
 * Plain decimal numbers, read from bytes.
 *
 *   number = *space [ "+" | "-" ] ( 1*digit [ "." *digit ] | "." 1*digit ) [ ( "e" | "E" ) [ "+" | "-" ] 1*digit ] *space
 *   space  = SP | TAB | CR | LF
 *
 * No hexadecimal, no separators, no units. The texts nan, inf, infinity and null, with a sign or without and in any case,
 * are how programs print a number that is not finite; they are told apart from garbage so that the ledger can say so.
 */

/** The highest of the bytes that are white space. */
export const SPACE = 0x20;
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const LETTER_E = 0x65;

/** Digits that 32-bit arithmetic always holds. */
const PART_DIGITS = 9;

/** The number that was scanned last; a column of one, since a double that is returned or kept elsewhere costs an object. */
export const scanned: Float64Array = new Float64Array(1);

/**
 * The number that bytes[start, end) spell: NaN where they spell none, ±Infinity where they spell one that is not
 * finite (too large, nan, inf). Rounded to the nearest double, as Number() does.
 */
export function parseDecimal(bytes: Uint8Array, start: number, end: number): number {
  let first = start;
  let stop = end;
  while (first < stop && isSpace(bytes[first]!)) first++;
  while (stop > first && isSpace(bytes[stop - 1]!)) stop--;
  if (scanDecimal(bytes, first, stop) === stop) return scanned[0]!;
  return isNotFiniteText(bytes, first, stop) ? Infinity : NaN;
}

/**
 * Reads the number that begins at bytes[start] and goes on for as long as it can, at most to `end`, into scanned[0],
 * rounded to the nearest double. Returns where it ends; -1 where there is none.
 */
export function scanDecimal(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  let negative = false;
  if (at < end && (bytes[at] === MINUS || bytes[at] === PLUS)) negative = bytes[at++] === MINUS;

  // The digits from the first that is not 0: nine, nine more, and the nineteenth.
  let high = 0;
  let low = 0;
  let last = 0;
  let digits = 0;
  let point = -1;
  const first = at;
  for (; at < end; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit >>> 0 > 9) {
      if (bytes[at] !== POINT || point >= 0) break;
      point = at;
      continue;
    }
    if (digits < PART_DIGITS) high = (Math.imul(high, 10) + digit) | 0;
    else if (digits < 2 * PART_DIGITS) low = (Math.imul(low, 10) + digit) | 0;
    else last = digit;
    if (high > 0) digits++;
  }
  if (at - first === (point < 0 ? 0 : 1)) return -1;
  let scale = point < 0 ? 0 : point + 1 - at;

  if (at < end && (bytes[at]! | 0x20) === LETTER_E) {
    at++;
    let down = false;
    if (at < end && (bytes[at] === MINUS || bytes[at] === PLUS)) down = bytes[at++] === MINUS;
    let exponent = 0;
    const from = at;
    // Capped: beyond this the number is 0 or not finite, and Number() says which.
    for (; at < end && isDigit(bytes[at]!); at++) exponent = Math.min(exponent * 10 + (bytes[at]! - ZERO), 1e6);
    if (at === from) return -1;
    scale += down ? -exponent : exponent;
  }
  // Up to nine digits, as usual, are exact over an exact power of ten: no need to ask further.
  const isShort = digits <= PART_DIGITS && scale <= 0 && scale >= -POWER_MAX;
  const value = isShort ? high / POWERS_OF_TEN[-scale]! : nearestDouble(high, low, last, digits, scale);
  // Number() makes a string, so it is the last resort.
  if (value !== value) scanned[0] = Number(asciiText(bytes, start, at));
  else scanned[0] = negative ? -value : value;
  return at;
}

/** True for the white space that may surround a number or a JSON text. */
export function isSpace(byte: number): boolean {
  return byte === SPACE || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

/** Where the white space that may begin at bytes[start] ends; something else must follow. */
export function afterSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at]! <= SPACE && isSpace(bytes[at]!)) at++;
  return at;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}

function isNotFiniteText(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start <= 9 && /^[+-]?(?:nan|inf|infinity|null)$/i.test(asciiText(bytes, start, end));
}

function asciiText(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

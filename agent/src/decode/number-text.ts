/**
 * Plain decimal numbers, read from bytes.
 *
 *   number = *space [ "+" | "-" ] ( 1*digit [ "." *digit ] | "." 1*digit ) [ ( "e" | "E" ) [ "+" | "-" ] 1*digit ] *space
 *   space  = SP | TAB | CR | LF
 *
 * No hexadecimal, no separators, no units. The texts nan, inf, infinity and null, with a sign or without and in any case,
 * are how programs print a number that is not finite; they are told apart from garbage so that the ledger can say so.
 */

const SPACE = 0x20;
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** Digits that a double holds exactly, whatever they are. */
const EXACT_DIGITS_MAX = 15;
/** 10^22 is the largest power of ten that a double holds exactly. */
const POWERS_OF_TEN: Float64Array = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/**
 * The number that bytes[start, end) spell: NaN where they spell none, ±Infinity where they spell one that is not
 * finite (too large, nan, inf). Up to 15 digits and a power of ten up to 22 take the exact short cut of Clinger
 * (1990), without allocating; anything else goes through Number(), which rounds correctly too.
 */
export function parseDecimal(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  let stop = end;
  while (at < stop && isSpace(bytes[at]!)) at++;
  while (stop > at && isSpace(bytes[stop - 1]!)) stop--;
  const first = at;

  let negative = false;
  if (at < stop && (bytes[at] === MINUS || bytes[at] === PLUS)) negative = bytes[at++] === MINUS;

  let mantissa = 0;
  let digits = 0;
  let seen = 0;
  let scale = 0;
  for (; at < stop && isDigit(bytes[at]!); at++, seen++) {
    mantissa = mantissa * 10 + (bytes[at]! - ZERO);
    if (mantissa > 0) digits++;
  }
  if (at < stop && bytes[at] === POINT) {
    at++;
    for (; at < stop && isDigit(bytes[at]!); at++, seen++) {
      mantissa = mantissa * 10 + (bytes[at]! - ZERO);
      if (mantissa > 0) digits++;
      scale--;
    }
  }
  if (seen === 0) return isNotFiniteText(bytes, first, stop) ? Infinity : NaN;

  if (at < stop && (bytes[at]! | 0x20) === 0x65) {
    at++;
    let down = false;
    if (at < stop && (bytes[at] === MINUS || bytes[at] === PLUS)) down = bytes[at++] === MINUS;
    let exponent = 0;
    const from = at;
    // Capped: beyond this the number is 0 or not finite, and Number() says which.
    for (; at < stop && isDigit(bytes[at]!); at++) exponent = Math.min(exponent * 10 + (bytes[at]! - ZERO), 1e6);
    if (at === from) return NaN;
    scale += down ? -exponent : exponent;
  }
  if (at !== stop) return NaN;
  if (digits > EXACT_DIGITS_MAX || scale > 22 || scale < -22) return Number(asciiText(bytes, first, stop));
  const value = scale < 0 ? mantissa / POWERS_OF_TEN[-scale]! : mantissa * POWERS_OF_TEN[scale]!;
  return negative ? -value : value;
}

/** True for the white space that may surround a number or a JSON text. */
export function isSpace(byte: number): boolean {
  return byte === SPACE || byte === 0x09 || byte === 0x0a || byte === 0x0d;
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

import { VALUE_ABS_MAX } from "@weir/shared/model/reading";
import { POWERS_OF_TEN } from "./nearest-double.ts";
import { scanDecimal, scanned } from "./number-text.ts";

/**
 * Numbers as JSON spells them (RFC 8259), read from bytes without looking for their end first:
 *
 *   number = [ "-" ] ( "0" | digit1-9 *digit ) [ "." 1*digit ] [ ( "e" | "E" ) [ "+" | "-" ] 1*digit ]
 *
 * The number must be followed by a byte that is no part of one: in an object or list there always is one.
 */

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const LETTER_E = 0x65;

/** Digits whose number always fits the 32-bit arithmetic that integers are fast in. */
const DIGITS_INT32 = 9;

/**
 * Reads the number at bytes[start] into scanned[0]: the double nearest to it, as JSON.parse has it, but 0 for -0.
 * Returns where it ends; -1 where there is no number, or one that cannot be a reading's: not finite or beyond
 * VALUE_ABS_MAX.
 */
export function scanNumber(bytes: Uint8Array, start: number): number {
  let at = start;
  const negative = bytes[at] === MINUS;
  if (negative) at++;
  // Numbers of up to nine digits, that is nearly all, are an integer over a power of ten: both exact, so one division
  // rounds right (Clinger 1990).
  const first = at;
  const stop = first + DIGITS_INT32;
  let digits = 0;
  let digit = bytes[at]! - ZERO;
  if (digit >>> 0 > 9) return -1;
  if (digit === 0) at++;
  else {
    do {
      digits = (Math.imul(digits, 10) + digit) | 0;
      at++;
      digit = bytes[at]! - ZERO;
    } while (digit >>> 0 <= 9 && at < stop);
  }
  let value = digits;
  let after = bytes[at]!;
  if (after === POINT) {
    const point = at++;
    digit = bytes[at]! - ZERO;
    while (digit >>> 0 <= 9 && at <= stop) {
      digits = (Math.imul(digits, 10) + digit) | 0;
      at++;
      digit = bytes[at]! - ZERO;
    }
    const decimals = at - point - 1;
    if (decimals === 0) return scanAnyNumber(bytes, start);
    value = digits / POWERS_OF_TEN[decimals]!;
    after = bytes[at]!;
  }
  // More digits, digits after a leading zero, an exponent.
  if ((after - ZERO) >>> 0 <= 9 || (after | 0x20) === LETTER_E) return scanAnyNumber(bytes, start);
  scanned[0] = negative ? 0 - value : value;
  return at;
}

/** As scanNumber, for every number. */
function scanAnyNumber(bytes: Uint8Array, start: number): number {
  // What scanDecimal takes and JSON doesn't: a plus, digits after a leading zero, a point without a digit on each side.
  const first = bytes[start] === MINUS ? start + 1 : start;
  let at = first;
  while ((bytes[at]! - ZERO) >>> 0 <= 9) at++;
  if (at === first || (bytes[first] === ZERO && at > first + 1)) return -1;
  if (bytes[at] === POINT && (bytes[at + 1]! - ZERO) >>> 0 > 9) return -1;
  at = scanDecimal(bytes, start, bytes.length);
  const value = scanned[0]!;
  if (!(Math.abs(value) <= VALUE_ABS_MAX)) return -1;
  scanned[0] = value + 0;
  return at;
}

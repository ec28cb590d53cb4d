/**
 * Digits and a power of ten to the nearest double, in double arithmetic alone. Where every step but the last is exact,
 * the last rounds right by itself (Clinger 1990); where it isn't, the remainder of the division, which is exact again
 * (Dekker 1971), tells whether the quotient is the nearest.
 */

/** 10^22 is the largest power of ten that a double holds exactly. */
export const POWER_MAX = 22;
/** 10^0 to 10^22, exactly. */
export const POWERS_OF_TEN: Float64Array = Float64Array.from({ length: POWER_MAX + 1 }, (_, n) => Number(`1e${n}`));
/** Whole numbers below this are doubles, each of them; a sum that rounds cannot end below it. */
const EXACT_BELOW: number = 2 ** 53;
/** Below this, times 10^9 is exact: times 5^9 it stays below 2^53. */
const EXACT_TIMES_1E9_BELOW = 4.6e9;
/** Decimals up to which all terms of the remainder below fit 53 bits. */
const DECIMALS_MAX = 18;
/** Of a double, somewhat more than half the distance to its neighbour. */
const NEIGHBOUR: number = 2 ** -53 * (1 + 2 ** -52);
/** Splits a double into two halves of 26 bits (Veltkamp 1968). */
const SPLITTER: number = 2 ** 27 + 1;

/**
 * The double nearest to a number of so many digits, times 10^scale; NaN where this cannot tell: more than 18 digits or
 * 18 decimals, large exponents, and quotients close to the middle between two doubles.
 *
 * high: the first nine digits. low: the nine after them. last: the nineteenth, used for whole numbers such as times in
 * nanoseconds. The first digit is not 0, or there are none.
 */
export function nearestDouble(high: number, low: number, last: number, digits: number, scale: number): number {
  if (digits > 18) {
    const front = high * 10 + Math.floor(low / 1e8);
    return digits === 19 && scale === 0 && front < EXACT_TIMES_1E9_BELOW
      ? front * 1e9 + ((low % 1e8) * 10 + last)
      : NaN;
  }
  // Both terms are exact (nine digits times 5^9 fit 53 bits); their sum may round.
  const front = digits > 9 ? high * POWERS_OF_TEN[digits - 9]! : high;
  const mantissa = front + low;
  if (scale === 0) return mantissa;
  if (mantissa < EXACT_BELOW) {
    if (scale < 0) return scale >= -POWER_MAX ? mantissa / POWERS_OF_TEN[-scale]! : NaN;
    return scale <= POWER_MAX ? mantissa * POWERS_OF_TEN[scale]! : NaN;
  }
  if (scale > 0 || scale < -DECIMALS_MAX) return NaN;
  return nearestQuotient(mantissa, low - (mantissa - front), POWERS_OF_TEN[-scale]!);
}

/**
 * The double nearest to (mantissa + rest) / power; NaN where it is halfway between two, or next to a power of two.
 * rest: at most half an ulp of mantissa, so the first quotient is at most one ulp off.
 */
function nearestQuotient(mantissa: number, rest: number, power: number): number {
  let quotient = mantissa / power;
  // The neighbours of a double by addition alone (Rump, Zimmermann, Boldo and Melquiond 2009).
  const step = quotient * NEIGHBOUR;
  const ulp = quotient + step - quotient;
  if (quotient - (quotient - step) !== ulp) return NaN;
  const half = (ulp / 2) * power;
  for (let tries = 0; tries < 2; tries++) {
    const remainder = remainderOf(mantissa, rest, quotient, power);
    if (Math.abs(remainder) < half) return quotient;
    quotient += remainder > 0 ? ulp : -ulp;
  }
  return NaN;
}

/** mantissa + rest - quotient * power, exactly: the product in two doubles (Dekker 1971), and all differences fit one. */
function remainderOf(mantissa: number, rest: number, quotient: number, power: number): number {
  const product = quotient * power;
  const q = quotient * SPLITTER;
  const qHigh = q - (q - quotient);
  const qLow = quotient - qHigh;
  const p = power * SPLITTER;
  const pHigh = p - (p - power);
  const pLow = power - pHigh;
  const error = qHigh * pHigh - product + qHigh * pLow + qLow * pHigh + qLow * pLow;
  return mantissa - product + (rest - error);
}

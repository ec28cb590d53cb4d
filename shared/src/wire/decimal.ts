/**
 * Decimals as whole numbers: what sensors send is mostly decimals of few places, and a whole number takes fewer bytes
 * than a double.
 *
 * A value is a decimal of p places when the whole number nearest to value × 10^p, over 10^p, is the value again to the
 * bit. Both sides compute the same quotient of two doubles, correctly rounded, so nothing is lost.
 */

/** Places that are tried, at most. */
export const PLACES_MAX = 9;

/** 10 to the power of each number of places. */
export const POWERS_OF_TEN: readonly number[] = Array.from({ length: PLACES_MAX + 1 }, (_, places) => 10 ** places);

/** The largest magnitude of a whole number that stands for a value: sums and differences of two stay exact. */
export const WHOLE_ABS_MAX: number = 2 ** 49;

/** Added and taken away again, it rounds any |x| < 2^51 to a whole number, ties to even. */
export const ROUNDER: number = 1.5 * 2 ** 52;

/** True when value is a decimal with as many places as `power`, a power of ten, has zeros. value: never -0. */
export function isDecimal(value: number, power: number): boolean {
  const whole = wholeOf(value, power);
  return whole / power === value && Math.abs(whole) <= WHOLE_ABS_MAX;
}

/** The whole number that stands for a value of which isDecimal is true. */
export function wholeOf(value: number, power: number): number {
  return value * power + ROUNDER - ROUNDER;
}

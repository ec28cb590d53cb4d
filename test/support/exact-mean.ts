/**
 * The mean of doubles by another way than the program's: the sum in whole numbers (BigInt) of a fixed power of two,
 * rounded once to the nearest double, ties to even, then one division.
 */
export function exactMean(values: readonly number[]): number {
  return exactSum(values) / values.length;
}

/** Every double is a whole number of 2^-1074. */
const SCALE_BITS = 1074n;

/** The double nearest to the exact sum. */
export function exactSum(values: readonly number[]): number {
  let sum = 0n;
  for (const value of values) sum += scaled(value);
  return unscaled(sum);
}

function scaled(value: number): bigint {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  const raw = bits.getBigUint64(0);
  const exponent = (raw >> 52n) & 0x7ffn;
  const fraction = raw & 0xf_ffff_ffff_ffffn;
  const magnitude = exponent === 0n ? fraction : (fraction | (1n << 52n)) << (exponent - 1n);
  return raw >> 63n === 1n ? -magnitude : magnitude;
}

function unscaled(sum: bigint): number {
  const magnitude = sum < 0n ? -sum : sum;
  const length = BigInt(magnitude.toString(2).length);
  const drop = length > 53n ? length - 53n : 0n;
  let kept = magnitude >> drop;
  const rest = magnitude - (kept << drop);
  const half = drop > 0n ? 1n << (drop - 1n) : 0n;
  if (rest > half || (rest === half && drop > 0n && (kept & 1n) === 1n)) kept += 1n;
  // Number(kept) is exact; two steps, since 2^-1074 alone would lose nothing but 2^(drop - 1074) may be out of range.
  const power = Number(drop - SCALE_BITS);
  const value = Number(kept) * 2 ** Math.max(power, -1000) * (power < -1000 ? 2 ** (power + 1000) : 1);
  return sum < 0n ? -value : value;
}

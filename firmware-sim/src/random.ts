/**
 * Random numbers without state: a number is a hash of what it is for.
 *
 * The same seed therefore gives the same fleet in any order of asking, after any restart, and for any other choice of
 * what else is simulated.
 */

/** A 32-bit hash of a text (FNV-1a: Fowler, Noll, Vo 1991), for names of devices and metrics. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/**
 * A 32-bit hash of a seed and two numbers (MurmurHash3 x86_32: Appleby 2011, over the low and high half of `counter`
 * and `purpose`). counter: an integer, |counter| < 2^53, such as a time in milliseconds. purpose: tells apart the
 * numbers that one counter needs.
 */
export function hashCounter(seed: number, counter: number, purpose: number): number {
  let hash = seed >>> 0;
  hash = mixWord(hash, counter >>> 0);
  hash = mixWord(hash, Math.floor(counter / 0x1_0000_0000) >>> 0);
  hash = mixWord(hash, purpose >>> 0);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mixWord(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const mixed = hash ^ k;
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) >>> 0;
}

/** A number from 0 (included) to 1 (excluded); arguments as of hashCounter. */
export function uniform(seed: number, counter: number, purpose: number): number {
  return hashCounter(seed, counter, purpose) / 0x1_0000_0000;
}

/**
 * Bell-shaped noise that never leaves -1 to 1: the sum of four uniforms, scaled (Irwin–Hall; standard deviation 0.29).
 * Bounded, so that a healthy signal provably stays inside its limits. Arguments as of hashCounter.
 */
export function boundedNoise(seed: number, counter: number, purpose: number): number {
  const a = hashCounter(seed, counter, purpose);
  const b = hashCounter(a, counter, purpose);
  return ((a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16)) / 131_070 - 1;
}

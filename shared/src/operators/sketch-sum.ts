import type { Sketch } from "./sketch.ts";
import { BUCKETS_MAX, SHIFT_LIMIT, SHIFT_MIN } from "./sketch.ts";
import type { WordPool } from "./word-pool.ts";

const NO_PAIRS = new Int32Array(0);

/** Adds sketches up in place: to what mergeSketches gives for all of them, in less time and memory. */
export class SketchSum {
  readonly #pool: WordPool;
  #shift = SHIFT_MIN;
  #length = 0;
  /** In the pool, each bucket and behind it its count, ascending. */
  #place = 0;
  #size = 0;

  /** pool: where buckets and counts are kept. */
  constructor(pool: WordPool) {
    this.#pool = pool;
  }

  /** Adds a sketch of other readings. */
  add(sketch: Sketch): void {
    while (this.#shift < sketch.shift) this.#coarsen();
    this.#insert(sketch, this.#shift - sketch.shift);
    while (this.#length > BUCKETS_MAX && this.#shift < SHIFT_LIMIT) this.#coarsen();
  }

  /** The sum so far. */
  toSketch(): Sketch {
    const buckets: number[] = [];
    const counts: number[] = [];
    if (this.#length > 0) {
      const pairs = this.#pool.wordsOf(this.#place);
      const start = this.#pool.offsetOf(this.#place);
      for (let at = start; at < start + 2 * this.#length; at += 2) {
        buckets.push(pairs[at]!);
        counts.push(pairs[at + 1]!);
      }
    }
    return { shift: this.#shift, buckets, counts };
  }

  /** Begins anew. */
  clear(): void {
    this.#shift = SHIFT_MIN;
    this.#length = 0;
  }

  /** Merges from the end, where there is room for what is new, so that nothing is moved twice. */
  #insert({ buckets: added, counts }: Sketch, by: number): void {
    let rest = this.#length;
    this.#length += this.#countMissing(added, by);
    this.#makeRoom(rest);
    const pairs = this.#pool.wordsOf(this.#place);
    const start = this.#pool.offsetOf(this.#place);
    let from = start + 2 * rest - 2;
    let to = start + 2 * this.#length - 2;
    let next = added.length - 1;
    while (next >= 0) {
      let bucket = added[next]! >> by;
      let count = 0;
      if (rest > 0 && pairs[from]! >= bucket) {
        bucket = pairs[from]!;
        count = pairs[from + 1]!;
        from -= 2;
        rest--;
      }
      while (next >= 0 && added[next]! >> by === bucket) count += counts[next--]!;
      pairs[to] = bucket;
      pairs[to + 1] = count;
      to -= 2;
    }
  }

  /** How many different buckets of `added`, made coarser by `by`, are not in the sum. */
  #countMissing(added: readonly number[], by: number): number {
    let missing = 0;
    let last = NaN;
    const pairs = this.#size > 0 ? this.#pool.wordsOf(this.#place) : NO_PAIRS;
    let at = this.#pool.offsetOf(this.#place);
    const end = at + 2 * this.#length;
    for (let i = 0; i < added.length; i++) {
      const bucket = added[i]! >> by;
      if (bucket === last) continue;
      last = bucket;
      while (at < end && pairs[at]! < bucket) at += 2;
      if (at === end || pairs[at] !== bucket) missing++;
    }
    return missing;
  }

  /** Makes room for #length buckets, of which there are `kept` so far. */
  #makeRoom(kept: number): void {
    if (2 * this.#length <= this.#size) return;
    const size = this.#pool.sizeFor(2 * this.#length);
    const place = this.#pool.allocate(size);
    if (this.#size > 0) {
      const start = this.#pool.offsetOf(this.#place);
      const before = this.#pool.wordsOf(this.#place).subarray(start, start + 2 * kept);
      this.#pool.wordsOf(place).set(before, this.#pool.offsetOf(place));
      this.#pool.release(this.#place, this.#size);
    }
    this.#place = place;
    this.#size = size;
  }

  #coarsen(): void {
    const start = this.#pool.offsetOf(this.#place);
    const pairs = this.#size > 0 ? this.#pool.wordsOf(this.#place) : NO_PAIRS;
    let to = start;
    for (let from = start; from < start + 2 * this.#length; from += 2) {
      const bucket = pairs[from]! >> 1;
      const count = pairs[from + 1]!;
      if (to > start && pairs[to - 2] === bucket) pairs[to - 1]! += count;
      else {
        pairs[to] = bucket;
        pairs[to + 1] = count;
        to += 2;
      }
    }
    this.#length = (to - start) / 2;
    this.#shift++;
  }
}

import type { Sketch } from "./sketch.ts";
import { BUCKETS_MAX, SHIFT_LIMIT, SHIFT_MIN } from "./sketch.ts";

/** Buckets that room is made for at a time. */
const ROOM_STEP = 32;

/** Adds sketches up in place: to what mergeSketches gives for all of them, in less time and memory. */
export class SketchSum {
  #shift = SHIFT_MIN;
  #length = 0;
  /** Each bucket and behind it its count, ascending. */
  #pairs = new Int32Array(0);

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
    for (let i = 0; i < this.#length; i++) {
      buckets.push(this.#pairs[2 * i]!);
      counts.push(this.#pairs[2 * i + 1]!);
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
    let from = this.#length - 1;
    this.#length += this.#countMissing(added, by);
    this.#makeRoom();
    const pairs = this.#pairs;
    let to = this.#length - 1;
    let next = added.length - 1;
    while (next >= 0) {
      let bucket = added[next]! >> by;
      let count = 0;
      if (from >= 0 && pairs[2 * from]! >= bucket) {
        bucket = pairs[2 * from]!;
        count = pairs[2 * from + 1]!;
        from--;
      }
      while (next >= 0 && added[next]! >> by === bucket) count += counts[next--]!;
      pairs[2 * to] = bucket;
      pairs[2 * to + 1] = count;
      to--;
    }
  }

  /** How many different buckets of `added`, made coarser by `by`, are not in the sum. */
  #countMissing(added: readonly number[], by: number): number {
    const pairs = this.#pairs;
    const end = 2 * this.#length;
    let missing = 0;
    let at = 0;
    let last = NaN;
    for (let i = 0; i < added.length; i++) {
      const bucket = added[i]! >> by;
      if (bucket === last) continue;
      last = bucket;
      while (at < end && pairs[at]! < bucket) at += 2;
      if (at === end || pairs[at] !== bucket) missing++;
    }
    return missing;
  }

  #makeRoom(): void {
    if (2 * this.#length <= this.#pairs.length) return;
    const pairs = new Int32Array(2 * ROOM_STEP * Math.ceil(this.#length / ROOM_STEP));
    pairs.set(this.#pairs);
    this.#pairs = pairs;
  }

  #coarsen(): void {
    const pairs = this.#pairs;
    let kept = 0;
    for (let i = 0; i < this.#length; i++) {
      const bucket = pairs[2 * i]! >> 1;
      const count = pairs[2 * i + 1]!;
      if (kept > 0 && pairs[2 * kept - 2] === bucket) pairs[2 * kept - 1]! += count;
      else {
        pairs[2 * kept] = bucket;
        pairs[2 * kept + 1] = count;
        kept++;
      }
    }
    this.#length = kept;
    this.#shift++;
  }
}

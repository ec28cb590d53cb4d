import { growInt32, grownRows } from "./columns.ts";
import type { Sketch } from "./sketch.ts";
import { BUCKETS_MAX, SHIFT_LIMIT, SHIFT_MIN } from "./sketch.ts";
import { WordPool } from "./word-pool.ts";

/** A row is four integers: its shift, how many buckets it has, and where in the pool they are, in how many words. */
const ROW_SHIFT = 2;
const SHIFT = 0;
const LENGTH = 1;
const PLACE = 2;
const SIZE = 3;

/**
 * Sums of sketches by row, each to what mergeSketches gives for all that were added, in less time and memory, and
 * without garbage: buckets ascending, each with its count behind it, in a pool of words.
 */
export class SketchSums {
  readonly #pool = new WordPool();
  #rows = 0;
  #state = new Int32Array(0);

  /** Adds a sketch of other readings. */
  add(row: number, sketch: Sketch): void {
    if (row >= this.#rows) this.#grow(row);
    const state = this.#state;
    const at = row << ROW_SHIFT;
    while (SHIFT_MIN + state[at + SHIFT]! < sketch.shift) this.#coarsen(at);
    this.#insert(at, sketch, SHIFT_MIN + state[at + SHIFT]! - sketch.shift);
    while (state[at + LENGTH]! > BUCKETS_MAX && SHIFT_MIN + state[at + SHIFT]! < SHIFT_LIMIT) this.#coarsen(at);
  }

  /** The sum of a row so far. */
  toSketch(row: number): Sketch {
    const buckets: number[] = [];
    const counts: number[] = [];
    if (row >= this.#rows) return { shift: SHIFT_MIN, buckets, counts };
    const at = row << ROW_SHIFT;
    const { words, start } = this.#pool.at(this.#state[at + PLACE]!);
    const end = start + 2 * this.#state[at + LENGTH]!;
    for (let i = start; i < end; i += 2) {
      buckets.push(words[i]!);
      counts.push(words[i + 1]!);
    }
    return { shift: SHIFT_MIN + this.#state[at + SHIFT]!, buckets, counts };
  }

  /** The row begins anew. */
  clear(row: number): void {
    if (row >= this.#rows) return;
    this.#state[(row << ROW_SHIFT) + SHIFT] = 0;
    this.#state[(row << ROW_SHIFT) + LENGTH] = 0;
  }

  /** Merges from the end, where there is room for what is new, so that nothing is moved twice. */
  #insert(at: number, { buckets: added, counts }: Sketch, by: number): void {
    const state = this.#state;
    let rest = state[at + LENGTH]!;
    const length = rest + this.#countMissing(at, added, by);
    if (2 * length > state[at + SIZE]!) this.#makeRoom(at, 2 * length);
    state[at + LENGTH] = length;
    const { words, start } = this.#pool.at(state[at + PLACE]!);
    let from = start + 2 * rest - 2;
    let to = start + 2 * length - 2;
    let next = added.length - 1;
    while (next >= 0) {
      let bucket = added[next]! >> by;
      let count = 0;
      if (rest > 0 && words[from]! >= bucket) {
        bucket = words[from]!;
        count = words[from + 1]!;
        from -= 2;
        rest--;
      }
      while (next >= 0 && added[next]! >> by === bucket) count += counts[next--]!;
      words[to] = bucket;
      words[to + 1] = count;
      to -= 2;
    }
  }

  /** How many different buckets of `added`, made coarser by `by`, are not in the sum. */
  #countMissing(at: number, added: readonly number[], by: number): number {
    const { words, start } = this.#pool.at(this.#state[at + PLACE]!);
    const end = start + 2 * this.#state[at + LENGTH]!;
    let known = start;
    let missing = 0;
    let last = NaN;
    for (let i = 0; i < added.length; i++) {
      const bucket = added[i]! >> by;
      if (bucket === last) continue;
      last = bucket;
      while (known < end && words[known]! < bucket) known += 2;
      if (known === end || words[known] !== bucket) missing++;
    }
    return missing;
  }

  #makeRoom(at: number, words: number): void {
    const state = this.#state;
    const size = this.#pool.sizeFor(words);
    const place = this.#pool.allocate(size);
    if (state[at + SIZE]! > 0) {
      const from = this.#pool.at(state[at + PLACE]!);
      const to = this.#pool.at(place);
      for (let i = 0; i < 2 * state[at + LENGTH]!; i++) to.words[to.start + i] = from.words[from.start + i]!;
      this.#pool.release(state[at + PLACE]!, state[at + SIZE]!);
    }
    state[at + PLACE] = place;
    state[at + SIZE] = size;
  }

  #coarsen(at: number): void {
    const { words, start } = this.#pool.at(this.#state[at + PLACE]!);
    const end = start + 2 * this.#state[at + LENGTH]!;
    let to = start;
    for (let from = start; from < end; from += 2) {
      const bucket = words[from]! >> 1;
      const count = words[from + 1]!;
      if (to > start && words[to - 2] === bucket) words[to - 1]! += count;
      else {
        words[to] = bucket;
        words[to + 1] = count;
        to += 2;
      }
    }
    this.#state[at + LENGTH] = (to - start) / 2;
    this.#state[at + SHIFT]!++;
  }

  #grow(row: number): void {
    const rows = grownRows(this.#rows, row);
    this.#state = growInt32(this.#state, rows << ROW_SHIFT, 0);
    this.#rows = rows;
  }
}

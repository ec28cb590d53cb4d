/** The pool grows by segments of this many words (256 KiB): what is there is never copied. */
const SEGMENT_SHIFT = 16;
const SEGMENT_WORDS = 2 ** SEGMENT_SHIFT;

const NO_WORDS = new Int32Array(0);

/** Sizes are multiples of this many words. */
const STEP_WORDS = 64;

/**
 * Stretches of int32 words in a few large arrays: for thousands of small columns that grow, where an array each would
 * keep the garbage collector busy. A place is the index of a stretch's first word; it lies within one segment.
 */
export class WordPool {
  readonly #segments: Int32Array[] = [];
  #used = SEGMENT_WORDS;
  /** Places given back, by size in steps. */
  readonly #free: number[][] = [];

  /** How many words a stretch for `words` has: at most 65,536. */
  sizeFor(words: number): number {
    return STEP_WORDS * Math.ceil(words / STEP_WORDS);
  }

  /** A place for `size` words, from sizeFor; what is there is left from before. */
  allocate(size: number): number {
    const known = this.#free[size / STEP_WORDS]?.pop();
    if (known !== undefined) return known;
    if (this.#used + size > SEGMENT_WORDS) {
      this.#segments.push(new Int32Array(SEGMENT_WORDS));
      this.#used = 0;
    }
    const place = ((this.#segments.length - 1) << SEGMENT_SHIFT) + this.#used;
    this.#used += size;
    return place;
  }

  /** Gives a stretch of `size` words back. */
  release(place: number, size: number): void {
    (this.#free[size / STEP_WORDS] ??= []).push(place);
  }

  /** The array that holds a place, and where in it. Of place 0 also when nothing was allocated yet. */
  at(place: number): { readonly words: Int32Array; readonly start: number } {
    return { words: this.#segments[place >>> SEGMENT_SHIFT] ?? NO_WORDS, start: place & (SEGMENT_WORDS - 1) };
  }
}

/**
 * Sketch keys that wait for their window's end, one after another by cell, in chunks of one pool.
 *
 * A chunk is CHUNK_WORDS words: the chunk before it of the same cell (-1: none), then keys. A cell holds nothing but
 * the position of its next key; where its chunk is full, that position is a multiple of CHUNK_WORDS, and so it is, as
 * 0, before the first key. Chunks that a cell gave back are used again, so memory stays at its highest need.
 */

/** Words of a chunk: about a cache line; the first is the link, so 15 are keys. */
const CHUNK_WORDS = 16;
const CHUNK_SHIFT = 4;
/** Bytes of a chunk. */
export const CHUNK_BYTES: number = 4 * CHUNK_WORDS;

/** The pool grows by segments of this many words (128 KiB): what is there is never copied. */
const SEGMENT_SHIFT = 15;
const SEGMENT_WORDS = 2 ** SEGMENT_SHIFT;
const WORD_MASK = SEGMENT_WORDS - 1;

/**
 * The pool. Writing is open to the hot loop of the windows: while `position & CHUNK_MASK` is not 0, the next key goes
 * to segments[position >>> 15][position & 32767], and position moves on by one; where it is 0, extend() comes first.
 */
export class KeyChunks {
  readonly segments: Int32Array[] = [];
  /** Chunks ever made, and the first of those given back; -1: none. */
  #made = 0;
  #free = -1;
  #used = 0;

  /** Chunks that hold keys. */
  get used(): number {
    return this.#used;
  }

  /** A new chunk behind the full one that ends at `position`, or the first where that is 0: where its first key goes. */
  extend(position: number): number {
    const chunk = this.#free < 0 ? this.#make() : this.#free;
    const start = chunk << CHUNK_SHIFT;
    const segment = this.segments[start >>> SEGMENT_SHIFT]!;
    if (chunk === this.#free) this.#free = segment[start & WORD_MASK]!;
    // Of position 0 this is chunk -1: none.
    segment[start & WORD_MASK] = (position - 1) >> CHUNK_SHIFT;
    this.#used++;
    return start + 1;
  }

  /** Copies the keys of a cell to `keys`, in no particular order, and gives its chunks back. position: of its next. */
  take(position: number, keys: Int32Array): void {
    let chunk = (position - 1) >> CHUNK_SHIFT;
    let end = position;
    let taken = 0;
    while (chunk >= 0) {
      const start = chunk << CHUNK_SHIFT;
      const segment = this.segments[start >>> SEGMENT_SHIFT]!;
      const first = start & WORD_MASK;
      const last = first + (end - start);
      for (let word = first + 1; word < last; word++) keys[taken++] = segment[word]!;
      const before = segment[first]!;
      segment[first] = this.#free;
      this.#free = chunk;
      this.#used--;
      chunk = before;
      end = (before + 1) << CHUNK_SHIFT;
    }
  }

  #make(): number {
    const chunk = this.#made++;
    if ((chunk << CHUNK_SHIFT) >>> SEGMENT_SHIFT === this.segments.length) {
      this.segments.push(new Int32Array(SEGMENT_WORDS));
    }
    return chunk;
  }
}

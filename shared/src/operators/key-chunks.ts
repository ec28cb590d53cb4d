/**
 * Sketch keys that wait for their window's end, in chunks of one pool.
 *
 * A chunk is CHUNK_WORDS words: the chunk before it of the same cell (-1: none), then keys. A cell has the chunk that it
 * is filling in its own row, and puts it here when it is full. Chunks given back are used again, so memory stays at its
 * highest need.
 */

/** Words of a chunk: a line of the cache; 15 of them are keys. */
export const CHUNK_WORDS = 16;
/** Bytes of a chunk. */
export const CHUNK_BYTES: number = 4 * CHUNK_WORDS;

/** Of a cell without chunks in the pool. */
export const NO_CHUNK = -1;

/** The pool grows by segments of this many chunks (128 KiB): what is there is never copied. */
const SEGMENT_SHIFT = 11;
const SEGMENT_CHUNKS = 2 ** SEGMENT_SHIFT;

/** The pool. */
export class KeyChunks {
  readonly #segments: Int32Array[] = [];
  /** Chunks ever made, and the first of those given back. */
  #made = 0;
  #free = NO_CHUNK;
  #used = 0;
  /** The keys that take() found last, at its beginning. */
  taken: Int32Array = new Int32Array(1024);

  /** Chunks that hold keys. */
  get used(): number {
    return this.#used;
  }

  /** Bytes that the pool has for chunks, used or not. */
  get bytes(): number {
    return this.#segments.length * SEGMENT_CHUNKS * CHUNK_BYTES;
  }

  /** Copies a full chunk in; returns its index, for the link of the cell's next one. from: of its link in `words`. */
  put(words: Int32Array, from: number): number {
    const chunk = this.#free === NO_CHUNK ? this.#make() : this.#free;
    const segment = this.#segments[chunk >>> SEGMENT_SHIFT]!;
    const to = (chunk & (SEGMENT_CHUNKS - 1)) * CHUNK_WORDS;
    if (chunk === this.#free) this.#free = segment[to]!;
    for (let i = 0; i < CHUNK_WORDS; i++) segment[to + i] = words[from + i]!;
    this.#used++;
    return chunk;
  }

  /**
   * Copies the keys of a cell to `taken`, in no particular order, gives its chunks back, and returns how many keys there
   * are. from, end: its chunk in its row, which may be part full.
   */
  take(words: Int32Array, from: number, end: number): number {
    let count = 0;
    for (let i = from + 1; i < end; i++) this.taken[count++] = words[i]!;
    let chunk = words[from]!;
    while (chunk !== NO_CHUNK) {
      if (count + CHUNK_WORDS > this.taken.length) this.#growTaken();
      const { taken } = this;
      const segment = this.#segments[chunk >>> SEGMENT_SHIFT]!;
      const start = (chunk & (SEGMENT_CHUNKS - 1)) * CHUNK_WORDS;
      for (let i = 1; i < CHUNK_WORDS; i++) taken[count++] = segment[start + i]!;
      const before = segment[start]!;
      segment[start] = this.#free;
      this.#free = chunk;
      this.#used--;
      chunk = before;
    }
    return count;
  }

  #make(): number {
    const chunk = this.#made++;
    if (chunk >>> SEGMENT_SHIFT === this.#segments.length) {
      this.#segments.push(new Int32Array(SEGMENT_CHUNKS * CHUNK_WORDS));
    }
    return chunk;
  }

  #growTaken(): void {
    const taken = new Int32Array(2 * this.taken.length);
    taken.set(this.taken);
    this.taken = taken;
  }
}

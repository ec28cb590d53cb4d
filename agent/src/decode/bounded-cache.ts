/** A map that forgets: at most `entriesMax` entries, the least recently used half goes first. */
export interface BoundedCache<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  /** Entries held now. */
  readonly size: number;
}

/**
 * A cache in two generations: when the young one holds half of entriesMax it becomes the old one, whose rest is
 * forgotten; a hit in the old one moves the entry up. As good as least-recently-used for telling regular topics from
 * passing ones, at the price of one map lookup. entriesMax: at least 2.
 */
export function createBoundedCache<V>(entriesMax: number): BoundedCache<V> {
  const generationMax = Math.max(1, Math.floor(entriesMax / 2));
  let young = new Map<string, V>();
  let old = new Map<string, V>();

  const set = (key: string, value: V): void => {
    if (young.size >= generationMax && !young.has(key)) {
      old = young;
      young = new Map();
    }
    young.set(key, value);
  };
  return {
    get(key) {
      const value = young.get(key);
      if (value !== undefined) return value;
      const earlier = old.get(key);
      if (earlier !== undefined) {
        old.delete(key);
        set(key, earlier);
      }
      return earlier;
    },
    set,
    get size() {
      return young.size + old.size;
    },
  };
}

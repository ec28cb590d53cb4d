import type { SeriesKey } from "@weir/shared/model/reading";
import { isSeriesNamePart } from "@weir/shared/model/reading";

/** A series that was registered since the last commit. */
export type NewSeries = SeriesKey & { readonly index: number };

/** The data dictionary: names of series to dense indexes and back. Grows, never shrinks; bounded by seriesMax. */
export class Dictionary {
  readonly #seriesMax: number;
  readonly #keys: SeriesKey[] = [];
  readonly #indexOf = new Map<string, number>();
  #fresh: NewSeries[] = [];

  /** known: what the data file holds, by ascending index without gaps. */
  constructor(seriesMax: number, known: readonly NewSeries[]) {
    this.#seriesMax = seriesMax;
    for (const { site, device, metric } of known) this.#add({ site, device, metric });
  }

  get size(): number {
    return this.#keys.length;
  }

  /** The names of an index that resolve gave. */
  keyOf(series: number): SeriesKey {
    return this.#keys[series]!;
  }

  /** The index of a series, new or known; -1 when a name is not one, -2 when the dictionary is full. */
  resolve(site: string, device: string, metric: string): number {
    const index = this.#indexOf.get(`${site}/${device}/${metric}`);
    if (index !== undefined) return index;
    if (!isSeriesNamePart(site) || !isSeriesNamePart(device) || !isSeriesNamePart(metric)) return -1;
    if (this.#keys.length >= this.#seriesMax) return -2;
    const key = { site, device, metric };
    const added = this.#add(key);
    this.#fresh.push({ ...key, index: added });
    return added;
  }

  /** Series registered since the last call: they must be in the data file before their readings. */
  takeFresh(): NewSeries[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  #add(key: SeriesKey): number {
    const index = this.#keys.push(key) - 1;
    this.#indexOf.set(`${key.site}/${key.device}/${key.metric}`, index);
    return index;
  }
}

import type { SeriesKey } from "@weir/shared/model/reading";
import { isSeriesNamePart } from "@weir/shared/model/reading";
import type { NewSeries } from "./batch.ts";

/** The intake's side of the data dictionary: names of series to dense indexes. Grows, never shrinks; bounded by seriesMax. */
export class SeriesIndex {
  readonly #seriesMax: number;
  readonly #indexOf = new Map<string, number>();
  #fresh: NewSeries[] = [];

  /** known: the names of the series in the data file, by index. */
  constructor(seriesMax: number, known: readonly SeriesKey[]) {
    this.#seriesMax = seriesMax;
    for (const { site, device, metric } of known) this.#add(site, device, metric);
  }

  get size(): number {
    return this.#indexOf.size;
  }

  /** The index of a series, new or known; -1 when a name is not one, -2 when the dictionary is full. */
  resolve(site: string, device: string, metric: string): number {
    const index = this.#indexOf.get(`${site}/${device}/${metric}`);
    if (index !== undefined) return index;
    if (!isSeriesNamePart(site) || !isSeriesNamePart(device) || !isSeriesNamePart(metric)) return -1;
    if (this.#indexOf.size >= this.#seriesMax) return -2;
    const added = this.#add(site, device, metric);
    this.#fresh.push({ site, device, metric, index: added });
    return added;
  }

  /** Series registered since the last call: they must be in the data file before their readings. */
  takeFresh(): NewSeries[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  #add(site: string, device: string, metric: string): number {
    const index = this.#indexOf.size;
    // A copy: the engine keeps a text that was put together as its parts, and those as views of the topic.
    this.#indexOf.set(Buffer.from(`${site}/${device}/${metric}`).toString(), index);
    return index;
  }
}

/** Different names of sites and metrics that are held once, at most: beyond, each series has its own copy. */
const SHARED_NAMES_MAX = 4096;

/** The core's side: the names of an index. Names that series share are held once. */
export class SeriesNames {
  readonly #keys: SeriesKey[] = [];
  readonly #shared = new Map<string, string>();
  #lastDevice = "";

  /** known: the series of the data file, by index. */
  constructor(known: readonly SeriesKey[]) {
    for (const key of known) this.add(key);
  }

  get size(): number {
    return this.#keys.length;
  }

  /** The names of an index that add() has been given; the first has index 0. */
  keyOf(series: number): SeriesKey {
    return this.#keys[series]!;
  }

  /** All names by index: a view. */
  all(): readonly SeriesKey[] {
    return this.#keys;
  }

  add({ site, device, metric }: SeriesKey): void {
    // Series of one device mostly come one after another.
    if (device !== this.#lastDevice) this.#lastDevice = device;
    this.#keys.push({ site: this.#share(site), device: this.#lastDevice, metric: this.#share(metric) });
  }

  #share(name: string): string {
    const known = this.#shared.get(name);
    if (known !== undefined) return known;
    if (this.#shared.size < SHARED_NAMES_MAX) this.#shared.set(name, name);
    return name;
  }
}

import type { Block } from "@weir/shared/model/reading";
import type { Wanted } from "../store/stored-readings.ts";

/** Readings of a block that came late, to be told from those that are stored already. */
export class LateReadings {
  /** Their identities without the value, in the order of series and time. */
  readonly wanted: Wanted;
  readonly #block: Block;
  /** Rows of the block by series and time. */
  readonly #order: Uint32Array;
  readonly #isLate: Uint8Array;
  /** By place in the order: 1, it is known to be stored, or to repeat one before it. */
  readonly #known: Uint8Array;
  /** Places in the order by series and then by time. */
  readonly #places = new Map<number, Map<number, number[]>>();

  /** late: rows of the block, ascending. */
  constructor(block: Block, late: readonly number[]) {
    const { series, tsMs, value } = block;
    this.#block = block;
    // Those that are alike stay in the order of the block: the first is the new one.
    this.#order = Uint32Array.from(late).sort((a, b) => series[a]! - series[b]! || tsMs[a]! - tsMs[b]! || a - b);
    this.#known = new Uint8Array(late.length);
    this.#isLate = new Uint8Array(block.count);
    for (const row of late) this.#isLate[row] = 1;
    this.wanted = {
      count: late.length,
      series: Uint32Array.from(this.#order, (row) => series[row]!),
      tsMs: Float64Array.from(this.#order, (row) => tsMs[row]!),
    };
    this.#order.forEach((row, place) => {
      const places = this.#placesOf(series[row]!, tsMs[row]!);
      if (places.some((earlier) => value[this.#order[earlier]!] === value[row])) this.#known[place] = 1;
      places.push(place);
    });
  }

  /** Whether a row of the block is one of them. */
  has(row: number): boolean {
    return this.#isLate[row] === 1;
  }

  /** Notes which of them are among the readings of a block. counts: whether a row of that block is to be looked at. */
  lookIn(stored: Block, counts: (row: number) => boolean = () => true): void {
    const { series, tsMs, value } = stored;
    let one = -1;
    let times: Map<number, number[]> | undefined;
    for (let i = 0; i < stored.count; i++) {
      if (series[i] !== one) {
        one = series[i]!;
        times = this.#places.get(one);
      }
      if (!times) continue;
      const places = times.get(tsMs[i]!);
      if (!places || !counts(i)) continue;
      for (const place of places) {
        if (this.#block.value[this.#order[place]!] === value[i]) this.#known[place] = 1;
      }
    }
  }

  /** Writes `mark` for those that are known, and returns how many they are. */
  markDuplicates(marks: Uint8Array, mark: number): number {
    let duplicates = 0;
    this.#order.forEach((row, place) => {
      if (this.#known[place] === 0) return;
      marks[row] = mark;
      duplicates++;
    });
    return duplicates;
  }

  #placesOf(series: number, tsMs: number): number[] {
    let times = this.#places.get(series);
    if (!times) this.#places.set(series, (times = new Map()));
    let places = times.get(tsMs);
    if (!places) times.set(tsMs, (places = []));
    return places;
  }
}

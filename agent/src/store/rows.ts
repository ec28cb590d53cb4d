import type { Block } from "@weir/shared/model/reading";

/** Series that lie further apart than this are not sorted by counting. */
const COUNTED_SERIES_MAX: number = 2 ** 20;

/** Series, and from when on each is wanted, ms of event time. */
export type Stretches = ReadonlyMap<number, number>;

/** Readings collected in columns that grow as needed and are used again and again. */
export class Rows implements Block {
  count = 0;
  series: Uint32Array = new Uint32Array(0);
  tsMs: Float64Array = new Float64Array(0);
  value: Float64Array = new Float64Array(0);
  stamped: Uint8Array = new Uint8Array(0);
  #spare: Rows | undefined;

  clear(): void {
    this.count = 0;
  }

  /** Appends rows [from, to) of a block. */
  append(block: Block, from: number, to: number): void {
    const { count } = this;
    this.#makeRoom(count + to - from);
    if (to - from < 32) {
      // Few rows are copied sooner one by one.
      for (let i = from, row = count; i < to; i++, row++) {
        this.series[row] = block.series[i]!;
        this.tsMs[row] = block.tsMs[i]!;
        this.value[row] = block.value[i]!;
        this.stamped[row] = block.stamped[i]!;
      }
    } else {
      this.series.set(block.series.subarray(from, to), count);
      this.tsMs.set(block.tsMs.subarray(from, to), count);
      this.value.set(block.value.subarray(from, to), count);
      this.stamped.set(block.stamped.subarray(from, to), count);
    }
    this.count = count + to - from;
  }

  /** Appends those readings of a block that are wanted. */
  appendWanted(block: Block, wanted: Stretches): void {
    const { count, series, tsMs } = block;
    for (let from = 0, to = 0; from < count; from = to) {
      const one = series[from]!;
      to = from + 1;
      while (to < count && series[to] === one) to++;
      const fromMs = wanted.get(one);
      if (fromMs === undefined) continue;
      for (let start = from, end = from; start < to; start = end) {
        while (start < to && tsMs[start]! < fromMs) start++;
        end = start;
        while (end < to && tsMs[end]! >= fromMs) end++;
        if (end > start) this.append(block, start, end);
      }
    }
  }

  /** Holds those readings of a block that are wanted, and nothing else; returns itself. */
  only(block: Block, wanted: Stretches): this {
    this.clear();
    this.appendWanted(block, wanted);
    return this;
  }

  /** Rows [from, to) as a block of their own: a view. */
  view(from: number, to: number): Block {
    return {
      count: to - from,
      series: this.series.subarray(from, to),
      tsMs: this.tsMs.subarray(from, to),
      value: this.value.subarray(from, to),
      stamped: this.stamped.subarray(from, to),
    };
  }

  /** Puts rows [from, to) in the order of time, then of value; nothing where they are already. */
  sortByTime(from: number, to: number): void {
    const { tsMs, value } = this;
    let isSorted = true;
    for (let i = from + 1; i < to && isSorted; i++) {
      const stepMs = tsMs[i]! - tsMs[i - 1]!;
      isSorted = stepMs > 0 || (stepMs === 0 && value[i - 1]! <= value[i]!);
    }
    if (isSorted) return;
    const order = Uint32Array.from({ length: to - from }, (_, i) => from + i);
    order.sort((a, b) => tsMs[a]! - tsMs[b]! || value[a]! - value[b]!);
    this.#arrange(order, from, to);
  }

  /** Puts all rows in the order of series, then of time, then of value. Quick where series are close to each other. */
  sort(): void {
    this.#sortBySeries();
    for (let from = 0, to = 0; from < this.count; from = to) {
      to = this.endOfSeries(from);
      this.sortByTime(from, to);
    }
  }

  /** By counting (Knuth, TAOCP 5.2): rows of one series stay in their order, which mostly is that of time already. */
  #sortBySeries(): void {
    const { count, series } = this;
    let isSorted = true;
    let lowest = Infinity;
    let highest = 0;
    for (let i = 0, before = 0; i < count; i++) {
      const one = series[i]!;
      if (one < before) isSorted = false;
      if (one < lowest) lowest = one;
      if (one > highest) highest = one;
      before = one;
    }
    if (isSorted) return;
    const order = new Uint32Array(count);
    if (highest - lowest > COUNTED_SERIES_MAX) {
      for (let i = 0; i < count; i++) order[i] = i;
      order.sort((a, b) => series[a]! - series[b]! || a - b);
    } else {
      const starts = new Uint32Array(highest - lowest + 2);
      for (let i = 0; i < count; i++) starts[series[i]! - lowest + 1]!++;
      for (let i = 1; i < starts.length; i++) starts[i]! += starts[i - 1]!;
      for (let i = 0; i < count; i++) order[starts[series[i]! - lowest]!++] = i;
    }
    this.#arrange(order, 0, count);
  }

  /** Where the rows of the series that row `from` belongs to end, where rows are ordered by series. */
  endOfSeries(from: number): number {
    const { count, series } = this;
    const one = series[from]!;
    let to = from + 1;
    while (to < count && series[to] === one) to++;
    return to;
  }

  /** Puts the rows that `order` names into the places [from, to). */
  #arrange(order: Uint32Array, from: number, to: number): void {
    const { series, tsMs, value, stamped } = this;
    const length = to - from;
    const spare = (this.#spare ??= new Rows());
    spare.clear();
    spare.#makeRoom(length);
    for (let i = 0; i < length; i++) {
      const row = order[i]!;
      spare.series[i] = series[row]!;
      spare.tsMs[i] = tsMs[row]!;
      spare.value[i] = value[row]!;
      spare.stamped[i] = stamped[row]!;
    }
    series.set(spare.series.subarray(0, length), from);
    tsMs.set(spare.tsMs.subarray(0, length), from);
    value.set(spare.value.subarray(0, length), from);
    stamped.set(spare.stamped.subarray(0, length), from);
  }

  #makeRoom(rows: number): void {
    if (rows <= this.series.length) return;
    const room = Math.max(1024, rows, Math.ceil(this.series.length * 1.5));
    const { series, tsMs, value, stamped, count } = this;
    this.series = new Uint32Array(room);
    this.tsMs = new Float64Array(room);
    this.value = new Float64Array(room);
    this.stamped = new Uint8Array(room);
    this.series.set(series.subarray(0, count));
    this.tsMs.set(tsMs.subarray(0, count));
    this.value.set(value.subarray(0, count));
    this.stamped.set(stamped.subarray(0, count));
  }
}

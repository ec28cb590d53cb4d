import { decodePartial, encodePartial } from "../wire/partial-codec.ts";
import type { Calendar } from "./calendar.ts";
import { hourEnd } from "./calendar.ts";
import { growFloat64, grownRows } from "./columns.ts";
import type { Partial } from "./partial.ts";
import { mergePartials, PartialSums } from "./partial.ts";
import type { Cell } from "./rollup.ts";

/** Sealed cells are kept in pieces of memory of this many bytes. */
const SLAB_BYTES = 2 ** 20;

/**
 * Hour cells of many series, in memory: a few hundred bytes each.
 *
 * Each series has one hour open. When a window of another hour comes, the open one is sealed: encoded, as it would be
 * sent. A window that comes late opens its hour once more, so an hour may be in several parts, merged when it is read.
 */
export class HourCells {
  readonly #calendar: Calendar;
  /** The open hours: their sums by series, and from when until when they are; NaN: none. */
  readonly #sums = new PartialSums();
  #rows = 0;
  #startMs = new Float64Array(0);
  #endMs = new Float64Array(0);
  /** By series: start of the hour, place and bytes of each sealed part. */
  readonly #sealed: Array<number[] | undefined> = [];
  readonly #slabs: Uint8Array[] = [];
  #slabUsed = SLAB_BYTES;

  constructor(calendar: Calendar) {
    this.#calendar = calendar;
  }

  /** Adds a partial of one window, which must lie within one local hour, of readings that none before held. */
  add(series: number, windowStartMs: number, partial: Partial): void {
    if (series >= this.#rows) this.#grow(series);
    if (!(windowStartMs >= this.#startMs[series]! && windowStartMs < this.#endMs[series]!)) {
      this.#openHour(series, windowStartMs);
    }
    this.#sums.add(series, partial);
  }

  /** Cells of a series with fromMs ≤ startMs < toMs, ascending. */
  range(series: number, fromMs: number, toMs: number): readonly Cell[] {
    const cells: Cell[] = [];
    const sealed = this.#sealed[series] ?? [];
    for (let i = 0; i < sealed.length; i += 3) {
      const startMs = sealed[i]!;
      if (startMs < fromMs || startMs >= toMs) continue;
      cells.push({ startMs, partial: this.#unseal(sealed[i + 1]!, sealed[i + 2]!) });
    }
    const startMs = this.#startMs[series] ?? NaN;
    const open = startMs >= fromMs && startMs < toMs ? this.#sums.toPartial(series) : undefined;
    if (open) cells.push({ startMs, partial: open });
    return mergeParts(cells);
  }

  /** Opens the hour of a window, and seals the one that is open. */
  #openHour(series: number, windowStartMs: number): void {
    const partial = this.#sums.toPartial(series);
    if (partial) this.#seal(series, this.#startMs[series]!, encodePartial(partial));
    this.#sums.clear(series);
    const startMs = this.#calendar.hourStart(windowStartMs);
    this.#startMs[series] = startMs;
    this.#endMs[series] = hourEnd(this.#calendar, startMs);
  }

  #grow(series: number): void {
    this.#rows = grownRows(this.#rows, series);
    this.#startMs = growFloat64(this.#startMs, this.#rows, NaN);
    this.#endMs = growFloat64(this.#endMs, this.#rows, NaN);
  }

  #seal(series: number, startMs: number, bytes: Uint8Array): void {
    if (this.#slabUsed + bytes.length > SLAB_BYTES) {
      this.#slabs.push(new Uint8Array(Math.max(SLAB_BYTES, bytes.length)));
      this.#slabUsed = 0;
    }
    this.#slabs.at(-1)!.set(bytes, this.#slabUsed);
    const place = (this.#slabs.length - 1) * SLAB_BYTES + this.#slabUsed;
    this.#slabUsed += bytes.length;
    const parts = (this.#sealed[series] ??= []);
    parts.push(startMs, place, bytes.length);
  }

  #unseal(place: number, bytes: number): Partial {
    const offset = place % SLAB_BYTES;
    return decodePartial(this.#slabs[Math.floor(place / SLAB_BYTES)]!.subarray(offset, offset + bytes));
  }
}

/** Cells ascending, each hour's parts merged. */
function mergeParts(parts: Cell[]): readonly Cell[] {
  if (parts.every(({ startMs }, i) => i === 0 || startMs > parts[i - 1]!.startMs)) return parts;
  const cells: Cell[] = [];
  for (const part of parts.toSorted((a, b) => a.startMs - b.startMs)) {
    const last = cells.at(-1);
    if (last?.startMs === part.startMs) {
      cells[cells.length - 1] = { ...part, partial: mergePartials(last.partial, part.partial) };
    } else cells.push(part);
  }
  return cells;
}

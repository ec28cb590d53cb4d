import { decodePartial, encodePartial } from "../wire/partial-codec.ts";
import type { Calendar } from "./calendar.ts";
import { hourEnd } from "./calendar.ts";
import type { Partial } from "./partial.ts";
import { mergePartials, PartialSum } from "./partial.ts";
import type { Cell } from "./rollup.ts";
import { WordPool } from "./word-pool.ts";

/** Sealed cells are kept in pieces of memory of this many bytes. */
const SLAB_BYTES = 2 ** 20;

/** The hour that a series is in: windows are merged into it in place. */
interface OpenHour {
  startMs: number;
  endMs: number;
  /** Never of none. */
  readonly sum: PartialSum;
}

/**
 * Hour cells of many series, in memory: a few hundred bytes each.
 *
 * Each series has one hour open. When a window of another hour comes, the open one is sealed: encoded, as it would be
 * sent. A window that comes late opens its hour once more, so an hour may be in several parts, merged when it is read.
 */
export class HourCells {
  readonly #calendar: Calendar;
  readonly #open: Array<OpenHour | undefined> = [];
  /** By series: start of the hour, place and bytes of each sealed part. */
  readonly #sealed: Array<number[] | undefined> = [];
  readonly #pool = new WordPool();
  readonly #slabs: Uint8Array[] = [];
  #slabUsed = SLAB_BYTES;

  constructor(calendar: Calendar) {
    this.#calendar = calendar;
  }

  /** Adds a partial of one window, which must lie within one local hour, of readings that none before held. */
  add(series: number, windowStartMs: number, partial: Partial): void {
    const open = this.#open[series];
    if (open && windowStartMs >= open.startMs && windowStartMs < open.endMs) {
      open.sum.add(partial);
      return;
    }
    this.#hourOf(series, windowStartMs).sum.add(partial);
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
    const open = this.#open[series];
    if (open && open.startMs >= fromMs && open.startMs < toMs) {
      cells.push({ startMs: open.startMs, partial: open.sum.toPartial()! });
    }
    return mergeParts(cells);
  }

  /** Opens the hour of a window, in the place of the one that is open. */
  #hourOf(series: number, windowStartMs: number): OpenHour {
    const startMs = this.#calendar.hourStart(windowStartMs);
    const endMs = hourEnd(this.#calendar, startMs);
    const open = this.#open[series];
    if (!open) return (this.#open[series] = { startMs, endMs, sum: new PartialSum(this.#pool) });
    this.#seal(series, open.startMs, encodePartial(open.sum.toPartial()!));
    open.sum.clear();
    open.startMs = startMs;
    open.endMs = endMs;
    return open;
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

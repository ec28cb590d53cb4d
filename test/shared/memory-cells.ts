import type { Partial } from "@weir/shared/operators/partial";
import type { Cell, CellLevel, CellStore } from "@weir/shared/operators/rollup";

/** Cells in memory, as plainly as they can be kept. */
export class MemoryCellStore implements CellStore {
  readonly #levels: Record<CellLevel, Map<number, Map<number, Partial>>> = { window: new Map(), hour: new Map() };

  get(series: number, level: CellLevel, startMs: number): Partial | undefined {
    return this.#levels[level].get(series)?.get(startMs);
  }

  put(series: number, level: CellLevel, startMs: number, partial: Partial): void {
    let cells = this.#levels[level].get(series);
    if (!cells) this.#levels[level].set(series, (cells = new Map()));
    cells.set(startMs, partial);
  }

  add(series: number, level: CellLevel, startMs: number, partial: Partial): boolean {
    if (this.get(series, level, startMs)) return false;
    this.put(series, level, startMs, partial);
    return true;
  }

  range(series: number, level: CellLevel, fromMs: number, toMs: number): readonly Cell[] {
    return [...(this.#levels[level].get(series) ?? [])]
      .filter(([startMs]) => startMs >= fromMs && startMs < toMs)
      .map(([startMs, partial]) => ({ startMs, partial }))
      .toSorted((a, b) => a.startMs - b.startMs);
  }
}

/**
 * Positions in pages, so that a checkpoint writes only what changed: float64 little-endian by series index.
 */

/** Series in a page: 8 KiB a page. */
const PAGE_SERIES = 1024;

/** The positions of PAGE_SERIES series, beginning with series page × PAGE_SERIES. */
export interface PositionPage {
  readonly page: number;
  readonly body: Uint8Array;
}

/** The pages of positions that differ from `written`, which is brought up to date. */
export function changedPages(positions: Float64Array, written: Map<number, Uint8Array>): PositionPage[] {
  const pages: PositionPage[] = [];
  for (let page = 0; page * PAGE_SERIES < positions.length; page++) {
    const slice = positions.slice(page * PAGE_SERIES, (page + 1) * PAGE_SERIES);
    const body = new Uint8Array(slice.buffer);
    const before = written.get(page);
    if (before ? Buffer.compare(before, body) === 0 : slice.every((position) => position === -Infinity)) continue;
    written.set(page, body);
    pages.push({ page, body });
  }
  return pages;
}

/** Calls restore for every position that is set. */
export function restorePages(
  pages: readonly PositionPage[],
  restore: (series: number, positionMs: number) => void,
): void {
  for (const { page, body } of pages) {
    const positions = new Float64Array(Uint8Array.from(body).buffer);
    positions.forEach((positionMs, i) => {
      if (positionMs !== -Infinity) restore(page * PAGE_SERIES + i, positionMs);
    });
  }
}

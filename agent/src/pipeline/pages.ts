import { PAGE_SERIES } from "@weir/shared/operators/columns";
import type { Episode } from "@weir/shared/operators/episodes";

/**
 * The checkpoint, page by page: PAGE_SERIES series at a time are flushed and written, so that no checkpoint holds up
 * the rest for long, and a page in which nothing happened costs nothing.
 *
 * A page's row says up to which log entry it has been folded and its windows sent. Recovery folds the log from the
 * oldest entry that some page still needs, and passes over the readings of pages that are further already.
 */
export interface PageRow {
  readonly page: number;
  /** The newest log entry that the page's state and what it has sent take into account. */
  readonly seq: number;
  /** Positions: float64, little-endian, by series index within the page. */
  readonly positions: Uint8Array;
  /** Episodes that were open. */
  readonly episodes: readonly Episode[];
}

/** The page of a series. */
export function pageOf(series: number): number {
  return Math.floor(series / PAGE_SERIES);
}

/** Which pages changed since they were last written, and since which log entry. */
export class DirtyPages {
  /** By page: the first log entry that the page's row does not take into account; 0: there is none. */
  #sinceSeq: number[] = [];

  /** Notes that a log entry touches a page. */
  touch(page: number, seq: number): void {
    while (this.#sinceSeq.length <= page) this.#sinceSeq.push(0);
    if (this.#sinceSeq[page] === 0) this.#sinceSeq[page] = seq;
  }

  /** Notes the pages that readings sorted by series belong to. */
  touchAll(series: Uint32Array, count: number, seq: number): void {
    let page = -1;
    for (let i = 0; i < count; i++) {
      const next = pageOf(series[i]!);
      if (next === page) continue;
      page = next;
      this.touch(page, seq);
    }
  }

  isDirty(page: number): boolean {
    return (this.#sinceSeq[page] ?? 0) > 0;
  }

  /** The page's row is being written. */
  clean(page: number): void {
    if (page < this.#sinceSeq.length) this.#sinceSeq[page] = 0;
  }

  /** The entry after which recovery has to begin to fold, where lastSeq is the newest. */
  recoverSeq(lastSeq: number): number {
    let oldest = lastSeq + 1;
    for (const seq of this.#sinceSeq) if (seq > 0 && seq < oldest) oldest = seq;
    return oldest - 1;
  }
}

/** The positions of one page, as they are written: a view of them. */
export function positionBytes(positions: Float64Array): Uint8Array {
  return new Uint8Array(positions.buffer, positions.byteOffset, positions.byteLength);
}

/** Calls restore for every position of a page that is set. */
export function restorePositions(
  { page, positions }: Pick<PageRow, "page" | "positions">,
  restore: (series: number, positionMs: number) => void,
): void {
  const values = new Float64Array(Uint8Array.from(positions).buffer);
  values.forEach((positionMs, i) => {
    if (positionMs !== -Infinity) restore(page * PAGE_SERIES + i, positionMs);
  });
}
